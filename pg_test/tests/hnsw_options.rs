//! Parameters and settings of vs_hnsw, and what it refuses: each with an error that says what to do.

use pg_test::{
    Database, Embedding, error_of,
    vectors::{self, Generator, Metric, Search, prefer_index, run},
    wait_until,
};
use postgres::Client;

fn filled(name: &str) -> (Client, Vec<Embedding>) {
    let mut session = Database::shared(name).connect();
    let items = Generator::new(9, 8).vectors(1000);
    vectors::table(&mut session, "items", &items);
    (session, items)
}

/// Runs a statement that must fail and gives the code, the message, and detail and hint.
fn refused(session: &mut Client, sql: &str) -> (String, String, String) {
    let error = error_of(session, sql);
    let more = [error.detail(), error.hint()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    (error.code().code().to_owned(), error.message().to_owned(), more)
}

/// Creates an index that rows just deleted do not go into. Sessions of other tests may be able to see them for a while,
/// and then they do.
fn create_once_dead_rows_are_forgotten(session: &mut Client, sql: &str) {
    wait_until("deleted rows to be dead to everybody", || session.batch_execute(sql).ok());
}

#[test]
fn storage_parameters_have_ranges() {
    let (mut session, _) = filled("options_ranges");
    for (parameter, least, most) in [("m", 2, 100), ("ef_construction", 4, 1000), ("fillfactor", 10, 100)] {
        for value in [least - 1, most + 1] {
            let sql = format!("CREATE INDEX ON items USING vs_hnsw (embedding) WITH ({parameter} = {value})");
            let (code, message, detail) = refused(&mut session, &sql);
            assert_eq!(code, "22023");
            assert_eq!(message, format!("value {value} out of bounds for option \"{parameter}\""));
            assert_eq!(detail, format!("Valid values are between \"{least}\" and \"{most}\"."));
        }
    }
    let (_, message, _) = refused(&mut session, "CREATE INDEX ON items USING vs_hnsw (embedding) WITH (lists = 3)");
    assert_eq!(message, "unrecognized parameter \"lists\"");
    let (_, message, _) = refused(&mut session, "CREATE INDEX ON items USING vs_hnsw (embedding) WITH (m = many)");
    assert_eq!(message, "invalid value for integer option \"m\": many");
}

#[test]
fn candidates_must_suffice_for_a_list() {
    let (mut session, _) = filled("options_candidates");
    for (m, ef) in [(33, 64), (16, 31), (100, 199)] {
        let sql = format!("CREATE INDEX ON items USING vs_hnsw (embedding) WITH (m = {m}, ef_construction = {ef})");
        let (code, message, detail) = refused(&mut session, &sql);
        assert_eq!(code, "22023");
        assert_eq!(message, "ef_construction must be greater than or equal to 2 * m");
        assert_eq!(detail, format!("ef_construction is {ef} and m is {m}."));
    }
}

#[test]
fn parameters_that_are_changed_are_checked_too() {
    let (mut session, _) = filled("options_altered");
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding) WITH (ef_construction = 40)");
    for (sql, ef, m) in [
        ("ALTER INDEX by_likeness SET (ef_construction = 31)", 31, 16),
        ("ALTER INDEX by_likeness SET (m = 21)", 40, 21),
        ("ALTER INDEX by_likeness SET (m = 100, ef_construction = 199)", 199, 100),
    ] {
        let (code, message, detail) = refused(&mut session, sql);
        assert_eq!(code, "22023", "{sql}");
        assert_eq!(message, "ef_construction must be greater than or equal to 2 * m");
        assert_eq!(detail, format!("ef_construction is {ef} and m is {m}."));
    }
    run(&mut session, "ALTER INDEX by_likeness SET (m = 20); TRUNCATE items; VACUUM FULL items");
    assert_eq!(vectors::stat(&mut session, "by_likeness", "m"), 20);
    run(&mut session, "ALTER INDEX by_likeness SET (m = 50, ef_construction = 100)");
    let message = refused(&mut session, "ALTER INDEX by_likeness RESET (ef_construction)").1;
    assert_eq!(message, "ef_construction must be greater than or equal to 2 * m", "the default would be too few");
    // An index that got such parameters while nobody checked can be truncated and rewritten.
    run(
        &mut session,
        "UPDATE pg_class SET reloptions = '{m=16,ef_construction=10}' WHERE relname = 'by_likeness';
         TRUNCATE items; VACUUM FULL items; REINDEX TABLE items",
    );
    assert_eq!(vectors::stat(&mut session, "by_likeness", "ef_construction"), 32);
}

#[test]
fn plans_tell_the_settings_they_were_made_with() {
    let mut session = Database::shared("options_explained").connect();
    run(&mut session, "LOAD 'visual_search'");
    for (setting, value) in [
        ("vs_hnsw.ef_search", "77"),
        ("vs_hnsw.iterative_scan", "relaxed_order"),
        ("vs_hnsw.max_scan_tuples", "123"),
        ("visual_search.default_model", "another"),
        ("visual_search.execution_provider", "cuda"),
        ("visual_search.model_dir", "/nowhere"),
    ] {
        run(&mut session, &format!("SET {setting} = '{value}'"));
        let plan = pg_test::explain(&mut session, "SETTINGS", "SELECT 1");
        assert!(plan.contains(&format!("{setting} = '{value}'")), "{plan}");
    }
}

#[test]
fn the_extremes_of_every_parameter_work() {
    let (mut session, items) = filled("options_extremes");
    for with in [
        "m = 2, ef_construction = 4",
        "m = 2, ef_construction = 1000",
        "m = 100, ef_construction = 200",
        "fillfactor = 10",
        "m = 2, ef_construction = 4, fillfactor = 10",
    ] {
        run(&mut session, &format!("CREATE INDEX by_likeness ON items USING vs_hnsw (embedding) WITH ({with})"));
        vectors::append(&mut session, "items", 1000, &items[..300]);
        vectors::assert_sound(&mut session, "by_likeness");
        run(&mut session, "SET vs_hnsw.ef_search = 2000");
        // Lists of two leave some nodes that nothing leads to, until a vacuum attaches them.
        let search = Search::nearest("items", Metric::L2, 10);
        let recall = search.recall(&mut session, "by_likeness", &items[..20]);
        assert!(recall >= 0.9, "{with}: recall {recall} of the exact answer");
        run(&mut session, "VACUUM items");
        let recall = search.recall(&mut session, "by_likeness", &items[..20]);
        assert_eq!(recall, 1.0, "{with}");
        run(&mut session, "DELETE FROM items WHERE id >= 1000; VACUUM items; RESET vs_hnsw.ef_search");
        vectors::assert_sound(&mut session, "by_likeness");
        run(&mut session, "DROP INDEX by_likeness");
    }
}

#[test]
fn fillfactor_leaves_room_beside_neighbours() {
    let (mut session, _) = filled("options_fillfactor");
    run(
        &mut session,
        "CREATE INDEX full_pages ON items USING vs_hnsw (embedding);
                       CREATE INDEX half ON items USING vs_hnsw (embedding) WITH (fillfactor = 50)",
    );
    let pages = |session: &mut Client, index| vectors::stat(session, index, "node_pages");
    let (full, half) = (pages(&mut session, "full_pages"), pages(&mut session, "half"));
    assert!((2 * full - 2..=2 * full + 2).contains(&half), "{full} pages filled, {half} at 50 %");
    vectors::append(&mut session, "items", 1000, &Generator::new(10, 8).vectors(300));
    assert!(pages(&mut session, "half") <= half + 2, "300 rows find room among 1,000 on half-filled pages");
    assert!(pages(&mut session, "full_pages") > full, "full pages have none");
}

#[test]
fn settings_have_ranges() {
    let (mut session, items) = filled("options_settings");
    run(&mut session, "SET vs_hnsw.ef_search = 1; SET vs_hnsw.ef_search = 10000; SET vs_hnsw.max_scan_tuples = 1");
    for value in [0, 10_001] {
        let (code, message, _) = refused(&mut session, &format!("SET vs_hnsw.ef_search = {value}"));
        assert_eq!(code, "22023");
        assert_eq!(
            message,
            format!("{value} is outside the valid range for parameter \"vs_hnsw.ef_search\" (1 .. 10000)")
        );
    }
    let (_, message, _) = refused(&mut session, "SET vs_hnsw.max_scan_tuples = 0");
    assert_eq!(message, "0 is outside the valid range for parameter \"vs_hnsw.max_scan_tuples\" (1 .. 2147483647)");
    let (_, message, hint) = refused(&mut session, "SET vs_hnsw.iterative_scan = on");
    assert_eq!(message, "invalid value for parameter \"vs_hnsw.iterative_scan\": \"on\"");
    assert_eq!(hint, "Available values: off, relaxed_order, strict_order.");
    let (code, message, _) = refused(&mut session, "SET vs_hnsw.probes = 3");
    assert_eq!((code.as_str(), message.as_str()), ("42602", "invalid configuration parameter name \"vs_hnsw.probes\""));
    // A session that has not used the library knows them as soon as it has.
    let mut fresh = pg_test::shared_cluster().connect("options_settings");
    run(&mut fresh, "SET vs_hnsw.ef_search = 100000; CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)");
    prefer_index(&mut fresh);
    Search::nearest("items", Metric::L2, 10).by_index(&mut fresh, "by_likeness", &items[0]);
    let ef: String = fresh.query_one("SHOW vs_hnsw.ef_search", &[]).unwrap().get(0);
    assert_eq!(ef, "40", "the value that is out of range was dropped");
}

#[test]
fn the_longest_vectors_that_fit_on_a_page() {
    let mut session = Database::shared("options_dims").connect();
    for (m, most) in [(2, 7992 + 112), (16, 7992), (100, 7992 - 672)] {
        let ef = (2 * m).max(64);
        for dims in [most, most + 1] {
            let sql = format!(
                "DROP TABLE IF EXISTS long; CREATE TABLE long (embedding image_embedding({dims}));
                 CREATE INDEX by_likeness ON long USING vs_hnsw (embedding) WITH (m = {m}, ef_construction = {ef})"
            );
            if dims == most && dims <= 8000 {
                run(&mut session, &sql);
                let vectors = format!(
                    "INSERT INTO long SELECT array_fill(g::float8, ARRAY[{dims}])::image_embedding FROM generate_series(1, 40) g"
                );
                run(&mut session, &vectors);
                run(&mut session, "REINDEX INDEX by_likeness");
                run(&mut session, &vectors);
                vectors::assert_sound(&mut session, "by_likeness");
                prefer_index(&mut session);
                let nearest = format!(
                    "SELECT embedding::real[] FROM long ORDER BY embedding <-> array_fill(17.1, ARRAY[{dims}])::image_embedding LIMIT 1"
                );
                let found: Vec<f32> = session.query_one(&nearest, &[]).unwrap().get(0);
                assert_eq!((found.len(), found[0]), (dims as usize, 17.0));
            } else if dims > most {
                let (code, message, detail) = refused(&mut session, &sql);
                if dims <= 8000 {
                    assert_eq!(code, "54000");
                    assert_eq!(
                        message,
                        format!("column cannot have more than {most} dimensions for vs_hnsw index with m = {m}")
                    );
                    assert_eq!(detail, format!("A node of {dims} dimensions does not fit on a page."));
                }
            }
        }
    }
}

#[test]
fn a_column_without_dimensions() {
    let mut session = Database::shared("options_untyped").connect();
    run(&mut session, "CREATE TABLE items (id int, embedding image_embedding)");
    let create = "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)";
    run(&mut session, create);
    assert_eq!(vectors::stat(&mut session, "by_likeness", "dims"), 0, "nobody has said it yet");
    run(&mut session, "INSERT INTO items VALUES (1, NULL)");
    assert_eq!(vectors::stat(&mut session, "by_likeness", "dims"), 0, "NULL has no dimensions");
    run(&mut session, &format!("DROP INDEX by_likeness; {create}; INSERT INTO items VALUES (2, '[1,2,3]')"));
    assert_eq!(vectors::stat(&mut session, "by_likeness", "dims"), 3);
    // The rows have said it.
    let (code, message, _) = refused(&mut session, "INSERT INTO items VALUES (3, '[1,2]')");
    assert_eq!((code.as_str(), message.as_str()), ("22000", "different image_embedding dimensions 2 and 3"));
    run(
        &mut session,
        "INSERT INTO items VALUES (4, '[1,2,4]'); DROP INDEX by_likeness; INSERT INTO items VALUES (5, '[9,9]')",
    );
    let (code, message, _) = refused(&mut session, create);
    assert_eq!((code.as_str(), message.as_str()), ("22000", "different image_embedding dimensions 2 and 3"));
    // Nothing is left of what failed, and the session goes on.
    run(&mut session, "DELETE FROM items WHERE id = 5");
    create_once_dead_rows_are_forgotten(&mut session, create);
    vectors::assert_sound(&mut session, "by_likeness");
}

#[test]
fn rows_of_another_model() {
    let (mut session, items) = filled("options_models");
    let tagged: Vec<Embedding> = items[..50].iter().map(|item| item.clone().tagged(0xa)).collect();
    vectors::append(&mut session, "items", 2000, &tagged);
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)");
    let other = items[0].clone().tagged(0xb).to_text();
    let (code, message, more) = refused(&mut session, &format!("INSERT INTO items VALUES (1, '{other}')"));
    assert_eq!((code.as_str(), message.as_str()), ("22000", "embeddings from different models: 0000000b and 0000000a"));
    let (row, rest) = more.split_once(" of table ").expect("a row");
    let tagged_row = format!("SELECT id >= 2000 FROM items WHERE format('Row %s', ctid) = '{row}'");
    assert!(session.query_one(&tagged_row, &[]).unwrap().get::<_, bool>(0), "{more}");
    assert_eq!(
        rest,
        "\"items\" is of model 0000000a, and index \"by_likeness\" holds embeddings of one model. Embed all rows with one \
         model. To change the model, set the column to NULL before it is filled again, or fill and index a second column \
         and drop this one."
    );
    run(&mut session, &format!("DROP INDEX by_likeness; INSERT INTO items VALUES (1, '{other}')"));
    let (code, message, _) = refused(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)");
    assert_eq!((code.as_str(), message.as_str()), ("22000", "embeddings from different models: 0000000b and 0000000a"));
    // What the hint says.
    run(&mut session, "DELETE FROM items WHERE id = 1");
    create_once_dead_rows_are_forgotten(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)");
    run(&mut session, "UPDATE items SET embedding = NULL");
    vectors::append(&mut session, "items", 5000, &[items[0].clone().tagged(0xb)]);
    let (_, message, _) = refused(&mut session, &format!("INSERT INTO items VALUES (1, '{}')", tagged[0].to_text()));
    assert_eq!(message, "embeddings from different models: 0000000a and 0000000b");
    let model: String = session.query_one("SELECT model FROM vs_hnsw_stats('by_likeness')", &[]).unwrap().get(0);
    assert_eq!(model, "0000000b");
}

#[test]
fn what_the_access_method_cannot_do() {
    let (mut session, _) = filled("options_cannot");
    for (sql, message) in [
        (
            "CREATE UNIQUE INDEX ON items USING vs_hnsw (embedding)",
            "access method \"vs_hnsw\" does not support unique indexes",
        ),
        (
            "CREATE INDEX ON items USING vs_hnsw (embedding, embedding)",
            "column 2 of vs_hnsw index \"items_embedding_embedding1_idx\" cannot be used to filter",
        ),
        (
            "CREATE INDEX ON items USING vs_hnsw (embedding) INCLUDE (id)",
            "access method \"vs_hnsw\" does not support included columns",
        ),
        (
            "CREATE INDEX ON items USING vs_hnsw (embedding DESC)",
            "access method \"vs_hnsw\" does not support ASC/DESC options",
        ),
        (
            "CREATE INDEX ON items USING vs_hnsw (id)",
            "first column of vs_hnsw index \"items_id_idx\" is not an embedding",
        ),
    ] {
        assert_eq!(refused(&mut session, sql).1, message, "{sql}");
    }
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)");
    run(&mut session, "CREATE ROLE options_stranger");
    for function in ["vs_hnsw_check", "vs_hnsw_stats"] {
        let (code, message, _) = refused(&mut session, &format!("SELECT {function}('items')"));
        assert_eq!((code.as_str(), message.as_str()), ("42809", "\"items\" is not a vs_hnsw index"));
        run(&mut session, "SET ROLE options_stranger");
        let (code, message, _) = refused(&mut session, &format!("SELECT {function}('by_likeness')"));
        assert_eq!((code.as_str(), message.as_str()), ("42501", "must be owner of index by_likeness"));
        run(&mut session, "RESET ROLE");
    }
    // Without the order that the index is for, plans do without it, whatever is forbidden.
    prefer_index(&mut session);
    let plan = pg_test::explain(&mut session, "COSTS off", "SELECT count(*) FROM items WHERE embedding IS NOT NULL");
    assert!(!plan.contains("by_likeness"), "{plan}");
}

#[test]
fn catalogs_and_dumps_show_the_parameters() {
    let database = Database::shared("options_dump");
    let mut session = database.connect();
    let items = Generator::new(9, 8).vectors(200);
    vectors::table(&mut session, "items", &items);
    run(
        &mut session,
        "CREATE INDEX a ON items USING vs_hnsw (embedding) WITH (m = 8, ef_construction = 40);
         CREATE INDEX b ON items USING vs_hnsw (embedding image_embedding_cosine_ops) WHERE id > 5;
         CREATE INDEX c ON items USING vs_hnsw (embedding image_embedding_ip_ops) WITH (fillfactor = 80)",
    );
    let definitions = |session: &mut Client| -> Vec<String> {
        let rows = session.query("SELECT indexdef FROM pg_indexes WHERE tablename = 'items' ORDER BY indexname", &[]);
        rows.unwrap().iter().map(|row| row.get(0)).collect()
    };
    let expected = [
        "CREATE INDEX a ON public.items USING vs_hnsw (embedding) WITH (m='8', ef_construction='40')",
        "CREATE INDEX b ON public.items USING vs_hnsw (embedding image_embedding_cosine_ops) WHERE (id > 5)",
        "CREATE INDEX c ON public.items USING vs_hnsw (embedding image_embedding_ip_ops) WITH (fillfactor='80')",
    ];
    assert_eq!(definitions(&mut session), expected);
    let described = database.psql("\\d+ items").expect_success();
    for definition in expected {
        let shown = definition.split_once(" USING ").expect("a definition").1.split(" WITH").next().expect("a part");
        let shown = shown.split(" WHERE").next().expect("a part");
        assert!(described.contains(shown), "{shown} is not in\n{described}");
    }

    let dump = database.program("pg_dump").run().expect_success();
    let restored = pg_test::shared_cluster().empty_database("options_restored");
    restored.psql(dump).expect_success();
    let mut session = restored.connect();
    assert_eq!(definitions(&mut session), expected);
    assert_eq!(vectors::stat(&mut session, "a", "m"), 8);
    assert_eq!(vectors::stat(&mut session, "a", "rows"), 200);
    // New parameters hold from the next REINDEX on.
    run(&mut session, "ALTER INDEX a SET (m = 12)");
    vectors::append(&mut session, "items", 200, &items);
    assert_eq!(vectors::stat(&mut session, "a", "m"), 8);
    run(&mut session, "REINDEX INDEX a");
    assert_eq!((vectors::stat(&mut session, "a", "m"), vectors::stat(&mut session, "a", "rows")), (12, 400));
}
