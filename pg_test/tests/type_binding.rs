//! What may stand beside an embedding: literals, parameters and values of the types that drivers send for a vector, on
//! either side of every operator. And what the extension's operators must leave alone: everything else.

use pg_test::{
    Database, describe, explain, shared_cluster,
    vectors::{self, Generator, run},
};
use postgres::Client;

/// The value that an expression gives, as text, or the SQLSTATE that it ends with.
fn outcome(session: &mut Client, expression: &str) -> Result<String, String> {
    match session.query_one(&format!("SELECT ({expression})::text"), &[]) {
        Ok(row) => Ok(row.get::<_, Option<String>>(0).unwrap_or_else(|| "NULL".to_owned())),
        Err(error) => Err(error.code().unwrap_or_else(|| panic!("{expression}: {error}")).code().to_owned()),
    }
}

/// Quoted literals, which have no type.
const UNTYPED: [&str; 2] = ["'[1,2,3]'", "' [1, 2.0,3e0]'"];

/// Arrays of numbers.
const ARRAYS: [&str; 9] = [
    "ARRAY[1,2,3]",
    "ARRAY[1.0,2,3]",
    "'{1,2,3}'::smallint[]",
    "'{1,2,3}'::int[]",
    "'{1,2,3}'::bigint[]",
    "'{1,2,3}'::real[]",
    "'{1,2,3}'::float8[]",
    "'{1,2,3}'::numeric[]",
    "(SELECT '{1,2,3}'::float8[])",
];

/// Strings with a type.
const TEXTS: [&str; 4] = ["'[1,2,3]'::text", "'[1,2,3]'::varchar", "'[1,2,3]'::varchar(20)", "'[1,2,3]'::char(9)"];

#[test]
fn every_form_beside_every_operator() {
    let mut session = Database::shared("binding_forms").connect();
    run(
        &mut session,
        "CREATE DOMAIN picture AS image_embedding CHECK (embedding_dims(VALUE) = 3);
         CREATE TABLE one AS SELECT '[4,5,6]'::image_embedding(3) AS e, '[4,5,6]'::picture AS d",
    );
    for column in ["e", "d"] {
        for operator in ["<->", "<=>", "<#>", "<+>", "+", "-", "*", "=", "<>", "<", "<=", ">", ">="] {
            let mut check = |form: &str, expected: Option<&str>| {
                for (left, right) in [(column, form), (form, column)] {
                    let plain = |side: &str| if side == column { "e" } else { "'[1,2,3]'::image_embedding" }.to_owned();
                    let value = outcome(
                        &mut session,
                        &format!("(SELECT {} {operator} {} FROM one)", plain(left), plain(right)),
                    );
                    assert!(value.is_ok(), "{left} {operator} {right}: {value:?}");
                    let found = outcome(&mut session, &format!("(SELECT {left} {operator} {right} FROM one)"));
                    let expected = expected.map_or(value, |code| Err(code.to_owned()));
                    assert_eq!(found, expected, "{left} {operator} {right}");
                }
            };
            let distance = ["<->", "<=>", "<#>", "<+>"].contains(&operator);
            let arithmetic = ["+", "-", "*"].contains(&operator);
            check("'[1,2,3]'::image_embedding", None);
            check("'[1,2,3]'::picture", None);
            UNTYPED.iter().for_each(|form| check(form, None));
            // PostgreSQL has comparisons of arrays and of texts; embeddings are compared with embeddings.
            ARRAYS.iter().for_each(|form| check(form, (!distance && !arithmetic).then_some("42883")));
            TEXTS.iter().for_each(|form| check(form, (!distance).then_some("42883")));
        }
    }
    for (expression, code) in [
        ("'[1,2,3]'::image_embedding <-> '{1,2}'::float8[]", "22000"),
        ("'[1,2,3]'::image_embedding <-> '{1,2,3}'::text[]", "42846"),
        ("'[1,2,3]'::image_embedding <-> '{1,NULL,3}'::int[]", "22004"),
        ("'[1,2,3]'::image_embedding <-> 'no vector'::text", "22P02"),
        ("'[1,2,3]'::image_embedding <-> '{1,2,300000}'::bigint[]", "22003"),
        ("'[1,2,3]'::image_embedding <-> 5", "42883"),
    ] {
        assert_eq!(outcome(&mut session, expression), Err(code.to_owned()), "{expression}");
    }
    for expression in ["e <-> NULL::float8[]", "NULL::text <-> e", "e <-> NULL", "e + NULL::int[]"] {
        assert_eq!(outcome(&mut session, &format!("(SELECT {expression} FROM one)")).as_deref(), Ok("NULL"));
    }
}

/// What PostgreSQL makes of two operands of other types does not change by the extension.
#[test]
fn nothing_else_changes() {
    const OPERANDS: [&str; 26] = [
        "1",
        "1.5",
        "'1'",
        "'{1,2}'",
        "'[1,2]'",
        "'(0,0)'",
        "NULL",
        "'a'::text",
        "'a'::varchar",
        "'a'::char(2)",
        "'a'::name",
        "ARRAY[1,2]",
        "'{1,2}'::float8[]",
        "'{1,2}'::real[]",
        "'{1,2}'::numeric[]",
        "'{a,b}'::text[]",
        "1::float8",
        "1::real",
        "'(1,1)'::point",
        "date '2020-01-01'",
        "interval '1 day'",
        "'{\"a\":1}'::jsonb",
        "int4range(1,2)",
        "inet '10.0.0.1'",
        "true",
        "'a b'::tsvector",
    ];
    const OPERATORS: [&str; 18] =
        ["<->", "<=>", "<#>", "<+>", "+", "-", "*", "=", "<>", "<", "<=", ">", ">=", "||", "@>", "<@", "&&", "~<="];
    let make = "CREATE FUNCTION outcome(expression text) RETURNS text LANGUAGE plpgsql AS $$
        DECLARE result text; BEGIN EXECUTE 'SELECT pg_typeof(' || expression || ')::text || '': '' || coalesce((' || expression || ')::text, ''NULL'')'
        INTO result; RETURN result; EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$";
    let list = |items: &[&str]| items.iter().map(|item| format!("($q${item}$q$)")).collect::<Vec<_>>().join(", ");
    let all = format!(
        "SELECT l || ' ' || o || ' ' || r, outcome(l || ' ' || o || ' ' || r)
         FROM (VALUES {0}) a (l), (VALUES {1}) b (o), (VALUES {0}) c (r) ORDER BY l, o, r",
        list(&OPERANDS),
        list(&OPERATORS)
    );
    let outcomes = |mut session: Client| -> Vec<(String, Option<String>)> {
        session.batch_execute(make).unwrap_or_else(|e| panic!("{}", describe(&e)));
        // Others define operators of the same names.
        for extension in ["pg_trgm", "intarray", "cube"] {
            let here = session.query("SELECT 1 FROM pg_available_extensions WHERE name = $1", &[&extension]).unwrap();
            if !here.is_empty() {
                session.batch_execute(&format!("CREATE EXTENSION {extension}")).unwrap();
            }
        }
        let rows = session.query(&all, &[]).unwrap_or_else(|e| panic!("{}", describe(&e)));
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    let without = outcomes(shared_cluster().empty_database("binding_without").connect());
    let with = outcomes(Database::shared("binding_with").connect());
    assert_eq!(without.len(), OPERANDS.len() * OPERATORS.len() * OPERANDS.len());
    // Of two literals nobody knows the type; an operator of which there are two kinds is ambiguous then.
    let untyped = |expression: &str| {
        let plain = |side: Option<&str>| {
            side.is_some_and(|side| side == "NULL" || side.starts_with('\'') && side.ends_with('\''))
        };
        plain(expression.split(' ').next()) && plain(expression.split(' ').next_back())
    };
    let changed: Vec<_> =
        without.iter().zip(&with).filter(|(a, b)| a.1.is_some() && a != b && !untyped(&a.0)).collect();
    assert!(changed.is_empty(), "{} of {}: {:?}", changed.len(), with.len(), &changed[..changed.len().min(20)]);
    assert!(with.iter().filter(|(_, value)| value.is_some()).count() > 1000, "most have no value");
}

#[test]
fn the_index_serves_what_drivers_send() {
    let mut session = Database::shared("binding_index").connect();
    let mut generator = Generator::new(3, 8);
    vectors::table(&mut session, "items", &generator.vectors(4000));
    run(
        &mut session,
        "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding); SET vs_hnsw.ef_search = 100; SET enable_seqscan = off",
    );
    let vector = generator.vector();
    let elements = vector.to_text();
    let array = elements.replace('[', "{").replace(']', "}");
    let find = |session: &mut Client, sql: &str| -> Vec<i32> {
        let rows = session.query(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
        rows.iter().map(|row| row.get(0)).collect()
    };
    let expected = find(&mut session, &format!("SELECT id FROM items ORDER BY embedding <-> '{elements}' LIMIT 10"));
    for mode in ["force_generic_plan", "force_custom_plan"] {
        run(&mut session, &format!("SET plan_cache_mode = {mode}"));
        for (ty, value) in [
            ("unknown", &elements),
            ("image_embedding", &elements),
            ("float8[]", &array),
            ("real[]", &array),
            ("numeric[]", &array),
            ("text", &elements),
            ("varchar", &elements),
        ] {
            for distance in ["embedding <-> $1", "$1 <-> embedding"] {
                run(
                    &mut session,
                    &format!("PREPARE nearest ({ty}) AS SELECT id FROM items ORDER BY {distance} LIMIT 10"),
                );
                let execute = format!("EXECUTE nearest ('{value}')");
                let plan = explain(&mut session, "COSTS off", &execute);
                assert!(plan.contains("using by_likeness"), "{ty}: {plan}");
                let rows = session.simple_query(&execute).unwrap_or_else(|e| panic!("{ty}: {}", describe(&e)));
                let found: Vec<i32> = rows
                    .iter()
                    .filter_map(|message| match message {
                        postgres::SimpleQueryMessage::Row(row) => row.get(0).and_then(|id| id.parse().ok()),
                        _ => None,
                    })
                    .collect();
                assert_eq!(found, expected, "{ty}, {mode}");
                run(&mut session, "DEALLOCATE nearest");
            }
        }
    }
    // As a driver binds a list of numbers or a string, by the type that the server has told it.
    let numbers: Vec<f64> = array.trim_matches(['{', '}']).split(',').map(|number| number.parse().unwrap()).collect();
    for (ty, parameter) in [
        ("float8[]", &numbers as &(dyn postgres::types::ToSql + Sync)),
        ("text", &elements as &(dyn postgres::types::ToSql + Sync)),
    ] {
        let sql =
            format!("SELECT id FROM items WHERE embedding <-> $1::{ty} < 5 ORDER BY embedding <-> $1::{ty} LIMIT 10");
        let rows = session.query(&sql, &[parameter]).unwrap_or_else(|e| panic!("{ty}: {}", describe(&e)));
        assert_eq!(rows.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), expected, "{ty}");
    }
}

#[test]
fn json_is_an_array_of_numbers() {
    let mut session = Database::shared("binding_json").connect();
    run(&mut session, "CREATE TABLE items AS SELECT 1 AS id, '[1,0.5,-0.0001]@9f3c21aa'::image_embedding AS e");
    for (expression, expected) in [
        ("to_json(e)", "[1,0.5,-0.0001]"),
        ("to_jsonb(e)", "[1, 0.5, -0.0001]"),
        ("e::json", "[1,0.5,-0.0001]"),
        ("e::jsonb", "[1, 0.5, -0.0001]"),
        ("row_to_json(items)", r#"{"id":1,"e":[1,0.5,-0.0001]}"#),
        ("to_jsonb(items)", r#"{"e": [1, 0.5, -0.0001], "id": 1}"#),
        ("json_build_object('e', e)", r#"{"e" : [1,0.5,-0.0001]}"#),
        ("json_agg(e)", "[[1,0.5,-0.0001]]"),
        ("jsonb_agg(e)", "[[1, 0.5, -0.0001]]"),
        ("json_agg(ARRAY[e])", "[[[1,0.5,-0.0001]]]"),
        ("(SELECT string_agg(x::text, ' ') FROM jsonb_array_elements(e::jsonb) x)", "1 0.5 -0.0001"),
    ] {
        assert_eq!(
            outcome(&mut session, &format!("(SELECT {expression} FROM items)")).as_deref(),
            Ok(expected),
            "{expression}"
        );
    }
    // Every half-precision number is a JSON number that reads back.
    let sql = "SELECT count(*) FROM generate_series(1, 31743, 7) bits, LATERAL (SELECT
                   (CASE WHEN bits >> 10 = 0 THEN (bits & 1023) * 2.0::float8 ^ -24
                    ELSE (1 + (bits & 1023) / 1024.0) * 2.0::float8 ^ ((bits >> 10) - 15) END) AS number) n,
               LATERAL (SELECT ARRAY[number, -number]::image_embedding AS e) v
               WHERE e::json::text::image_embedding = e AND to_jsonb(e)::text::image_embedding = e
                   AND abs((e::jsonb ->> 1)::float8 + number) <= number / 2048 + 2.0::float8 ^ -25";
    assert_eq!(session.query_one(sql, &[]).unwrap().get::<_, i64>(0), 31743 / 7 + 1);
}
