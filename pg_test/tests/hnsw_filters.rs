//! Conditions on the further columns of a vs_hnsw index: every type and operator, compared with the sequential plan.

use pg_test::{
    Database, Embedding, error_of, explain,
    vectors::{self, Generator, assert_sound, prefer_index, prefer_table, rows, run},
};
use postgres::Client;

const DIMS: usize = 12;
const ROWS: usize = 600;

/// Every kind of key column, with NULLs, infinities, zeros of both signs, and values at both ends.
const COLUMNS: &str = "
    nullif(id % 5, 4) = 1 AS bool_,
    nullif(id % 11 - 5, 5)::int2 AS int2_,
    CASE id % 50 WHEN 7 THEN -2147483648 WHEN 8 THEN 2147483647 WHEN 9 THEN NULL ELSE id % 40 - 20 END AS int4_,
    CASE id % 50 WHEN 7 THEN -9223372036854775808 WHEN 8 THEN 9223372036854775807 ELSE id % 30 - 15 END AS int8_,
    (array['NaN', 'Infinity', '-Infinity', '0', '-0', '1.5', '-1.5', '1e-40', NULL, '0.1'])[1 + id % 10]::float4 AS float4_,
    (array['NaN', 'Infinity', '-Infinity', '0', '-0', '1.5', '-1.5', '1e-310', NULL, '0.1'])[1 + id % 10]::float8 AS float8_,
    (array['NaN', 'Infinity', '-Infinity', '0', '1e200', '-1e-200', '12345678901234567890.1', '12345678901234567890.2', NULL])
        [1 + id % 9]::numeric AS numeric_,
    CASE id % 40 WHEN 1 THEN '-infinity' WHEN 2 THEN 'infinity' WHEN 3 THEN '5874897-12-31' WHEN 4 THEN '4713-01-01 BC'
        ELSE date '2024-02-20' + id % 40 END AS date_,
    time '00:00' + id * interval '61 second' AS time_,
    CASE id % 40 WHEN 1 THEN '-infinity' WHEN 2 THEN 'infinity' WHEN 3 THEN '294276-12-31' WHEN 4 THEN NULL
        ELSE timestamp '2024-03-30 12:00' + id * interval '7 min' END AS timestamp_,
    CASE id % 40 WHEN 1 THEN '-infinity' WHEN 2 THEN 'infinity' WHEN 4 THEN NULL
        ELSE timestamptz '2024-03-30 12:00+00' + id * interval '7 min' END AS timestamptz_,
    nullif(md5((id % 20)::text), md5('3'))::uuid AS uuid_,
    CASE WHEN id % 9 = 0 THEN 4294967295 ELSE id % 25 END::oid AS oid_,
    (array['low', 'middle', 'high', NULL])[1 + id % 4]::grade AS enum_,
    CASE id % 30 WHEN 4 THEN '' WHEN 5 THEN NULL WHEN 6 THEN repeat('long', 5000) ELSE 'text ' || id % 30 END AS text_,
    ('v' || id % 12)::varchar(9) AS varchar_,
    nullif('c' || id % 12, 'c3')::char(5) AS char_,
    CASE id % 17 WHEN 0 THEN '{}' WHEN 1 THEN NULL WHEN 2 THEN '{NULL,3}' ELSE array[id % 17, id % 5, id % 3] END AS ints_,
    CASE id % 17 WHEN 0 THEN '{}' WHEN 1 THEN NULL ELSE array[id % 17, id % 5]::int8[] END AS bigints_,
    CASE id % 17 WHEN 0 THEN '{}' WHEN 1 THEN '{NULL}' ELSE array['tag ' || id % 17, 'tag ' || id % 7] END AS texts_";

fn things(name: &str) -> (Client, Embedding) {
    let mut session = Database::shared(name).connect();
    let mut generator = Generator::new(17, DIMS);
    vectors::table(&mut session, "items", &generator.vectors(ROWS));
    run(
        &mut session,
        &format!(
            "SET timezone = 'Europe/Berlin'; CREATE TYPE grade AS ENUM ('middle', 'high');
             ALTER TYPE grade ADD VALUE 'low' BEFORE 'middle';
             CREATE TABLE things AS SELECT id, embedding, {COLUMNS} FROM items;
             CREATE INDEX filtered ON things USING vs_hnsw (embedding, bool_, int2_, int4_, int8_, float4_, float8_,
                 numeric_, date_, time_, timestamp_, timestamptz_, uuid_, oid_, enum_, text_, varchar_, char_, ints_,
                 bigints_, texts_);
             ANALYZE things"
        ),
    );
    (session, generator.vector())
}

/// The ids of the rows that meet `condition`, by the index or without. All are drawn, so that what strict order has left
/// out comes at the end: they are sorted here.
fn ids(session: &mut Client, query: &Embedding, condition: &str) -> Vec<i32> {
    let sql = format!("SELECT id, NULL::float8 FROM things WHERE {condition} ORDER BY embedding <-> $1");
    let mut ids: Vec<i32> = rows(session, &sql, &[query]).into_iter().map(|row| row.0).collect();
    ids.sort_unstable();
    ids
}

/// Checks that the index gives the rows that the table has, and that it is the index that decides.
fn check(session: &mut Client, query: &Embedding, condition: &str) -> usize {
    prefer_table(session);
    let expected = ids(session, query, condition);
    prefer_index(session);
    let sql = format!(
        "SELECT id FROM things WHERE {condition} ORDER BY embedding <-> '{}'::image_embedding",
        query.to_text()
    );
    let plan = explain(session, "COSTS off", &sql);
    assert!(plan.contains("using filtered") && plan.contains("Index Cond") && !plan.contains("Filter"), "{plan}");
    assert_eq!(ids(session, query, condition), expected, "{condition}");
    // Two candidates are so few that even in an index as small as this one the graph is searched first.
    run(session, "SET vs_hnsw.ef_search = 2");
    assert_eq!(ids(session, query, condition), expected, "{condition}, with two candidates");
    run(session, "RESET vs_hnsw.ef_search");
    expected.len()
}

const COMPARISONS: [&str; 5] = ["<", "<=", "=", ">=", ">"];

#[test]
fn every_operator_of_every_ordered_type() {
    let (mut session, query) = things("filters_ordered");
    // A column, the types it is compared with, and values of each.
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("bool_", &["bool"], &["true", "false"]),
        ("int2_", &["int2", "int4", "int8"], &["-5", "0", "3"]),
        ("int2_", &["int8"], &["40000"]),
        ("int4_", &["int2", "int4", "int8"], &["-20", "7"]),
        ("int4_", &["int8"], &["-2147483649", "2147483648", "-2147483648", "2147483647"]),
        ("int8_", &["int2", "int4", "int8"], &["-15", "0"]),
        ("int8_", &["int8"], &["-9223372036854775808", "9223372036854775807"]),
        ("float4_", &["float4", "float8"], &["NaN", "Infinity", "-Infinity", "0", "-0", "1.5", "0.1"]),
        ("float8_", &["float4", "float8"], &["NaN", "Infinity", "-Infinity", "0", "-0", "1.5", "0.1"]),
        ("numeric_", &["numeric"], &["NaN", "Infinity", "0", "1e200", "-1e-200", "12345678901234567890.1", "1e400"]),
        ("date_", &["date"], &["-infinity", "infinity", "5874897-12-31", "2024-03-10", "4713-01-01 BC"]),
        (
            "date_",
            &["timestamp"],
            &["-infinity", "infinity", "2024-03-10 00:00", "2024-03-10 00:00:00.000001", "1900-01-01"],
        ),
        ("date_", &["timestamptz"], &["-infinity", "infinity", "2024-03-10 00:00", "2024-03-31 02:30+02"]),
        ("time_", &["time"], &["00:00", "00:01:01", "24:00", "12:34:56.7"]),
        ("timestamp_", &["date"], &["-infinity", "infinity", "5874897-12-31", "2024-04-01"]),
        ("timestamp_", &["timestamp"], &["-infinity", "infinity", "294276-12-31", "2024-03-31 02:01"]),
        ("timestamp_", &["timestamptz"], &["-infinity", "infinity", "2024-03-31 03:01", "2024-03-31 00:59+00"]),
        ("timestamptz_", &["date"], &["-infinity", "infinity", "5874897-12-31", "2024-04-01"]),
        ("timestamptz_", &["timestamp"], &["-infinity", "infinity", "294276-12-31", "2024-03-31 02:30"]),
        ("timestamptz_", &["timestamptz"], &["-infinity", "infinity", "2024-03-31 03:01"]),
        ("uuid_", &["uuid"], &["00000000-0000-0000-0000-000000000000", "c4ca4238-a0b9-2382-0dcc-509a6f75849b"]),
        ("oid_", &["oid"], &["0", "7", "4294967295"]),
        ("enum_", &["grade"], &["low", "middle", "high"]),
    ];
    let mut found = 0;
    for (column, types, values) in cases {
        for value in *values {
            for of in *types {
                for operator in COMPARISONS {
                    found += check(&mut session, &query, &format!("{column} {operator} '{value}'::{of}"));
                }
                check(&mut session, &query, &format!("{column} = ANY (ARRAY['{value}', NULL]::{of}[])"));
            }
        }
        let (first, last) = (values[0], values[values.len() - 1]);
        let of = types[0];
        check(&mut session, &query, &format!("{column} BETWEEN '{last}'::{of} AND '{first}'::{of}"));
        check(&mut session, &query, &format!("{column} IN ('{last}'::{of}, '{first}'::{of})"));
        check(&mut session, &query, &format!("{column} < ANY (ARRAY['{last}', '{first}']::{of}[])"));
        check(&mut session, &query, &format!("{column} IS NULL"));
        check(&mut session, &query, &format!("{column} IS NOT NULL"));
    }
    assert!(found > 30 * ROWS, "conditions that hold of many rows are among them: {found}");
}

#[test]
fn texts_and_arrays() {
    let (mut session, query) = things("filters_hashed");
    let conditions = [
        "text_ = 'text 3'",
        "text_ = ''",
        "text_ = repeat('long', 5000)",
        "text_ = 'none'",
        "text_ IN ('text 3', 'text 29', '', NULL)",
        "text_ IS NULL",
        "text_ IS NOT NULL",
        "varchar_ = 'v7'",
        "varchar_ IN ('v1', 'v11')",
        "varchar_ = ANY ('{v0,v2}'::varchar[])",
        "char_ = 'c7'",
        "char_ = 'c7  '::char(5)",
        "char_ IN ('c1', 'c2')",
        "char_ IS NULL",
        "ints_ && '{3}'",
        "ints_ && '{16,15,NULL}'",
        "ints_ && '{}'",
        "ints_ && '{NULL}'",
        "ints_ @> '{3}'",
        "ints_ @> '{3,1}'",
        "ints_ @> '{}'",
        "ints_ @> '{NULL}'",
        "ints_ @> '{99}'",
        "ints_ @> '{{3,1},{0,0}}'",
        "ints_ IS NULL",
        "ints_ IS NOT NULL",
        "bigints_ && '{3,9999999999}'",
        "bigints_ @> '{4,2}'",
        "texts_ && '{tag 3,tag 4}'",
        "texts_ @> '{tag 3,tag 6}'",
        "texts_ @> '{tag 13}' AND text_ IS NOT NULL AND int4_ BETWEEN -10 AND 10 AND bool_",
        "bool_",
        "NOT bool_",
        "bool_ IS TRUE",
        "bool_ IS FALSE",
        "bool_ AND int2_ IS NULL",
        "int4_ IS NULL AND int4_ = 3",
        "int4_ > 3 AND int4_ < 3",
        "int4_ = 3 AND int4_ IN (2, 3) AND int4_ IS NOT NULL",
        "int4_ = NULL::int",
        "int4_ = ANY (NULL::int[])",
        "int4_ = ANY ('{}'::int[])",
    ];
    for condition in conditions {
        if condition.contains("NULL::int") || condition == "int4_ IS NULL AND int4_ = 3" {
            // The planner may know that there is nothing; what is asked of the index is asked below, as a parameter.
            prefer_index(&mut session);
            assert!(ids(&mut session, &query, condition).is_empty());
            continue;
        }
        check(&mut session, &query, condition);
    }
    assert!(check(&mut session, &query, "texts_ @> '{tag 3,tag 6}'") > 5);
}

#[test]
fn parameters_of_generic_plans() {
    let (mut session, query) = things("filters_parameters");
    run(&mut session, "SET plan_cache_mode = force_generic_plan");
    let sql = "SELECT id, NULL::float8 FROM things WHERE int4_ = $2 AND text_ = ANY ($3) AND bool_ = $4
               AND timestamp_ >= '2024-03-31'::date AND ints_ && $5 ORDER BY embedding <-> $1 LIMIT 30";
    let mut found = 0;
    for number in -20i32..20 {
        let texts: Vec<Option<String>> = (0..30).map(|at| (at % 4 != 0).then(|| format!("text {at}"))).collect();
        let ints: Vec<i32> = vec![number.rem_euclid(17), 2];
        let parameters: [&(dyn postgres::types::ToSql + Sync); 5] =
            [&query, &number, &texts, &(number % 2 == 0), &ints];
        prefer_table(&mut session);
        let expected = rows(&mut session, sql, &parameters);
        prefer_index(&mut session);
        assert_eq!(rows(&mut session, sql, &parameters), expected, "{number}");
        found += expected.len();
    }
    assert!(found > 5, "{found}");
    run(
        &mut session,
        "PREPARE wanted(int, int[], text) AS SELECT id FROM things WHERE int4_ = $1 AND int8_ = ANY ($2) AND text_ = $3
             ORDER BY embedding <-> '[1,1,1,1,1,1,1,1,1,1,1,1]' LIMIT 30",
    );
    let plan = explain(&mut session, "COSTS off", "EXECUTE wanted(1, '{2}', 'x')");
    assert!(plan.contains("(int4_ = $1)") && plan.contains("(int8_ = ANY ($2))") && !plan.contains("Filter"), "{plan}");
    for nothing in
        ["NULL, '{1}', 'text 3'", "3, NULL, 'text 3'", "3, '{}', 'text 3'", "3, '{NULL}', 'text 3'", "3, '{3}', NULL"]
    {
        let found = session.query(&format!("EXECUTE wanted({nothing})"), &[]).expect("an answer");
        assert!(found.is_empty(), "{nothing}");
    }
}

#[test]
fn for_each_row_of_another_table_and_under_a_policy() {
    let (mut session, _) = things("filters_lateral");
    let sql = "SELECT q.id * 10000 + n.id, n.d FROM (SELECT * FROM things WHERE id % 50 = 3) q,
               LATERAL (SELECT id, embedding <-> q.embedding AS d FROM things t WHERE t.int8_ = q.int8_ AND t.id <> q.id
                        AND t.text_ = ANY (ARRAY[q.text_, 'text 9'])
                        ORDER BY t.embedding <-> q.embedding LIMIT 5) n ORDER BY q.id, n.d";
    prefer_index(&mut session);
    let plan = explain(&mut session, "COSTS off", sql);
    assert!(plan.contains("using filtered") && plan.contains("int8_ = things.int8_"), "{plan}");
    let found = rows(&mut session, sql, &[]);
    prefer_table(&mut session);
    assert_eq!(found, rows(&mut session, sql, &[]));
    assert!(found.len() > 20, "{}", found.len());

    run(
        &mut session,
        "CREATE ROLE filters_tenant; GRANT SELECT ON things TO filters_tenant;
         ALTER TABLE things ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON things USING (int8_ = current_setting('tenant.number')::int);
         SET ROLE filters_tenant; SET tenant.number = 7",
    );
    prefer_index(&mut session);
    let sql = "SELECT id, NULL::float8 FROM things ORDER BY embedding <-> '[1,1,1,1,1,1,1,1,1,1,1,1]' LIMIT 1000";
    let plan = explain(&mut session, "COSTS off", sql);
    assert!(plan.contains("Index Cond: (int8_ = ") && !plan.contains("Filter"), "{plan}");
    let found = rows(&mut session, sql, &[]);
    prefer_table(&mut session);
    let expected = rows(&mut session, sql, &[]);
    assert_eq!(found, expected);
    assert!(expected.len() > 10 && expected.len() < ROWS / 10, "{}", expected.len());
    run(&mut session, "RESET ROLE; DROP POLICY own ON things; DROP OWNED BY filters_tenant; DROP ROLE filters_tenant");
}

#[test]
fn equal_vectors_with_different_keys_and_rows_that_come_and_go() {
    let mut session = Database::shared("filters_rows").connect();
    let mut generator = Generator::new(19, DIMS);
    let items = generator.vectors(300);
    vectors::table(&mut session, "items", &items);
    // Each vector five times, with three keys.
    run(
        &mut session,
        "CREATE TABLE things (id int, embedding image_embedding, kind int, tags text[]);
         INSERT INTO things SELECT g * 1000 + id, embedding, g % 3, array['t' || g] FROM items, generate_series(0, 4) g;
         CREATE INDEX filtered ON things USING vs_hnsw (embedding, kind, tags); ANALYZE things",
    );
    let nodes: i64 = vectors::stat(&mut session, "filtered", "nodes");
    assert_eq!(nodes, 1500, "tags differ for each");
    run(&mut session, "DROP INDEX filtered; CREATE INDEX filtered ON things USING vs_hnsw (embedding, kind)");
    assert_eq!(vectors::stat(&mut session, "filtered", "nodes"), 900);
    run(&mut session, "INSERT INTO things SELECT id + 9000, embedding, 1 FROM items WHERE id < 100");
    assert_eq!(vectors::stat(&mut session, "filtered", "nodes"), 900, "rows join the nodes with their keys");
    run(&mut session, "INSERT INTO things SELECT id + 10000, embedding, NULL FROM items WHERE id < 100");
    assert_eq!(vectors::stat(&mut session, "filtered", "nodes"), 1000);
    let query = generator.vector();
    let kinds = ["kind = 0", "kind = 1", "kind = 2", "kind IS NULL", "kind IS NOT NULL", "kind > 0", "kind = 7"];
    let check_all = |session: &mut Client| {
        assert_sound(session, "filtered");
        for kind in kinds {
            check(session, &query, kind);
        }
    };
    check_all(&mut session);
    run(
        &mut session,
        "UPDATE things SET kind = 7 WHERE id % 10 = 0; DELETE FROM things WHERE kind = 2;
         INSERT INTO things SELECT id + 20000, embedding, id % 4 FROM items",
    );
    check_all(&mut session);
    vectors::vacuum(&mut session, "things", "filtered");
    check_all(&mut session);
    run(
        &mut session,
        "INSERT INTO things SELECT id + 30000, embedding, 2 FROM items; REINDEX INDEX CONCURRENTLY filtered",
    );
    check_all(&mut session);
    run(&mut session, "VACUUM FULL things");
    check_all(&mut session);
    run(&mut session, "TRUNCATE things; INSERT INTO things SELECT id, embedding, id % 3 FROM items");
    check_all(&mut session);
}

#[test]
fn a_build_that_outgrows_its_memory() {
    let mut session = Database::shared("filters_spill").connect();
    let mut generator = Generator::new(23, 64);
    vectors::table(&mut session, "items", &generator.vectors(5000));
    run(
        &mut session,
        "CREATE TABLE things AS SELECT id, embedding, id % 7 AS kind, id / 10 AS price FROM items;
         SET client_min_messages = warning; SET maintenance_work_mem = '1MB';
         CREATE INDEX filtered ON things USING vs_hnsw (embedding, kind, price); ANALYZE things",
    );
    assert_sound(&mut session, "filtered");
    let query = generator.vector();
    for condition in ["kind = 3", "price BETWEEN 100 AND 120", "price >= 490 AND kind IN (0, 6)", "price IS NULL"] {
        check(&mut session, &query, condition);
    }
}

#[test]
fn partitions_expressions_and_a_copy() {
    let (mut session, query) = things("filters_partitions");
    run(
        &mut session,
        "CREATE TABLE parts (LIKE things) PARTITION BY RANGE (id);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (300);
         CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (300) TO (9000);
         CREATE INDEX parts_filtered ON parts USING vs_hnsw (embedding, lower(text_), int4_);
         INSERT INTO parts SELECT * FROM things; ANALYZE parts;
         CREATE TABLE copy (LIKE parts_1 INCLUDING INDEXES)",
    );
    let sql = "SELECT id, NULL::float8 FROM parts WHERE lower(text_) = 'text 3' AND int4_ <> 3 AND int4_ < 10
               ORDER BY embedding <-> $1";
    prefer_index(&mut session);
    let plan = explain(&mut session, "COSTS off", &sql.replace("$1", &format!("'{}'", query.to_text())));
    assert!(
        plan.contains("Merge Append") && plan.matches("Index Cond: ((lower(text_) = 'text 3'").count() == 2,
        "{plan}"
    );
    let found = rows(&mut session, sql, &[&query]);
    prefer_table(&mut session);
    let expected = rows(&mut session, sql, &[&query]);
    assert!(expected.len() > 4);
    assert_eq!(found, expected);
}

#[test]
fn collations_that_call_different_texts_equal() {
    let mut session = Database::shared("filters_collation").connect();
    let mut generator = Generator::new(29, DIMS);
    vectors::table(&mut session, "items", &generator.vectors(200));
    run(
        &mut session,
        "CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE things AS SELECT id, embedding, (array['One', 'ONE', 'two', 'Two'])[1 + id % 4] COLLATE any_case AS text_,
             array[(array['One', 'ONE', 'two', 'Two'])[1 + id % 4]] COLLATE any_case AS texts_ FROM items;
         CREATE INDEX filtered ON things USING vs_hnsw (embedding, text_, texts_)",
    );
    let query = generator.vector();
    for condition in ["text_ = 'one'", "text_ IN ('TWO', 'three')", "texts_ @> '{tWO}'", "texts_ && '{one}'"] {
        assert_eq!(check(&mut session, &query, condition), 100, "{condition}");
    }
    // By another collation the index cannot decide, and does not.
    prefer_index(&mut session);
    assert_eq!(ids(&mut session, &query, "text_ = 'One' COLLATE \"C\"").len(), 50);
}

#[test]
fn what_cannot_be_a_key_is_refused() {
    let mut session = Database::shared("filters_refused").connect();
    run(
        &mut session,
        "CREATE TABLE things (id int, embedding image_embedding(3), other image_embedding(3), place point, places point[])",
    );
    for (columns, message) in [
        ("(id)", "first column of vs_hnsw index \"refused\" is not an embedding"),
        ("(id, embedding)", "first column of vs_hnsw index \"refused\" is not an embedding"),
        ("(embedding, other)", "column 2 of vs_hnsw index \"refused\" cannot be used to filter"),
        ("(embedding, place)", "data type point has no default operator class for access method \"vs_hnsw\""),
        ("(embedding, places)", "could not identify an extended hash function for type point"),
        ("(embedding) INCLUDE (id)", "access method \"vs_hnsw\" does not support included columns"),
    ] {
        let error = error_of(&mut session, &format!("CREATE INDEX refused ON things USING vs_hnsw {columns}"));
        assert_eq!(error.message(), message, "{columns}");
    }
    // The longest vectors that fit, with the bytes of keys and signatures.
    run(&mut session, "CREATE TABLE wide (embedding image_embedding(7909), a int, b int)");
    let error = error_of(&mut session, "CREATE INDEX ON wide USING vs_hnsw (embedding, a, b)");
    assert_eq!(
        error.message(),
        "column cannot have more than 7908 dimensions for vs_hnsw index with m = 16 and 3 columns",
    );
}

#[test]
fn rows_without_a_vector_are_not_lost_by_conditions_on_it() {
    let mut session = Database::shared("filters_null").connect();
    let mut generator = Generator::new(31, DIMS);
    vectors::table(&mut session, "items", &generator.vectors(300));
    run(
        &mut session,
        "CREATE TABLE things AS SELECT id, CASE WHEN id % 3 > 0 THEN embedding END AS embedding, id % 5 AS kind FROM items;
         CREATE INDEX filtered ON things USING vs_hnsw (embedding, kind)",
    );
    let query = generator.vector();
    prefer_index(&mut session);
    assert_eq!(ids(&mut session, &query, "embedding IS NULL AND kind = 1").len(), 20);
    check(&mut session, &query, "embedding IS NOT NULL AND kind = 1");
    assert_eq!(check(&mut session, &query, "kind = 1"), 60, "they come last");
}
