//! What an index is bound to: the length of its vectors and the model that made them, which are those of the rows that
//! are there, and nothing else.

use pg_test::{
    Database, error_of,
    vectors::{self, prefer_index, run},
};
use postgres::Client;

/// The ids that a query by the index gives, in order.
fn nearest(session: &mut Client, table: &str, query: &str) -> Vec<i32> {
    prefer_index(session);
    let sql = format!("SELECT id FROM {table} ORDER BY embedding <-> '{query}' LIMIT 3");
    let plan = pg_test::explain(session, "COSTS off", &sql);
    assert!(plan.contains("Index Scan"), "{plan}");
    let rows = session.query(&sql, &[]).unwrap_or_else(|e| panic!("{sql}: {}", pg_test::describe(&e)));
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn empty_copies_of_what_has_an_index() {
    let mut session = Database::shared("binding_copies").connect();
    run(
        &mut session,
        "CREATE TABLE p (id int, kind int, embedding image_embedding) PARTITION BY LIST (kind);
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
         INSERT INTO p SELECT g, 1, ARRAY[g, 1, 1] FROM generate_series(1, 100) g;
         CREATE INDEX ON p USING vs_hnsw (embedding);
         CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
         CREATE TABLE copy1 (LIKE p1 INCLUDING INDEXES);
         CREATE TABLE n (id int, embedding image_embedding(3));
         INSERT INTO n SELECT g, ARRAY[g, 1, 1] FROM generate_series(1, 100) g;
         CREATE INDEX ON n USING vs_hnsw ((l2_normalize(embedding)));
         CREATE TABLE copy2 (LIKE n INCLUDING ALL);
         CREATE UNLOGGED TABLE u (id int, embedding image_embedding);
         CREATE INDEX ON u USING vs_hnsw (embedding);
         INSERT INTO p SELECT g, 2, ARRAY[g, 1, 1] FROM generate_series(101, 200) g;
         INSERT INTO copy1 SELECT * FROM p1; INSERT INTO copy2 SELECT * FROM n; INSERT INTO u SELECT * FROM n",
    );
    assert_eq!(nearest(&mut session, "p", "[101.6,1,1]"), [102, 101, 103]);
    for table in ["copy1", "u"] {
        assert_eq!(nearest(&mut session, table, "[50.2,1,1]"), [50, 51, 49], "{table}");
    }
    let sql = "SELECT id FROM copy2 ORDER BY l2_normalize(embedding) <-> l2_normalize('[1,1,1]') LIMIT 1";
    assert!(pg_test::explain(&mut session, "COSTS off", sql).contains("Index Scan"));
    assert_eq!(session.query_one(sql, &[]).unwrap().get::<_, i32>(0), 1);
}

#[test]
fn a_domain_declares_what_its_type_declares() {
    let mut session = Database::shared("binding_domains").connect();
    run(
        &mut session,
        "CREATE DOMAIN three AS image_embedding(3); CREATE DOMAIN narrow AS three CHECK (embedding_norm(VALUE) < 100);
         CREATE DOMAIN any_length AS image_embedding;
         CREATE TABLE d (id int, embedding narrow, other any_length);
         CREATE INDEX by_declared ON d USING vs_hnsw (embedding); CREATE INDEX by_other ON d USING vs_hnsw (other)",
    );
    assert_eq!(vectors::stat(&mut session, "by_declared", "dims"), 3);
    assert_eq!(vectors::stat(&mut session, "by_other", "dims"), 0);
    run(
        &mut session,
        "INSERT INTO d SELECT g, ARRAY[g, 1, 1]::image_embedding, ARRAY[g, 2] FROM generate_series(1, 9) g",
    );
    assert_eq!(nearest(&mut session, "d", "[4.2,1,1]"), [4, 5, 3]);
    assert_eq!(vectors::stat(&mut session, "by_other", "dims"), 2);
}

#[test]
fn dumps_of_empty_tables_and_of_materialized_views() {
    let database = Database::shared("binding_dumped");
    let mut session = database.connect();
    run(
        &mut session,
        "CREATE TABLE items (id int, embedding image_embedding(3));
         INSERT INTO items SELECT g, ARRAY[g, 1, 1] FROM generate_series(1, 100) g;
         CREATE MATERIALIZED VIEW centroids AS SELECT id % 5 AS id, avg(embedding) AS embedding FROM items GROUP BY 1;
         CREATE INDEX ON centroids USING vs_hnsw (embedding);
         CREATE TABLE empty (id int, embedding image_embedding); INSERT INTO empty VALUES (1, '[1,2]');
         CREATE INDEX ON empty USING vs_hnsw (embedding); DELETE FROM empty",
    );
    for (option, name) in [("--schema-only", "binding_schema"), ("--no-owner", "binding_restored")] {
        let dump = database.program("pg_dump").args([option]).run().expect_success();
        let restored = pg_test::shared_cluster().empty_database(name);
        restored.psql(dump).expect_success();
        let mut session = restored.connect();
        if option == "--schema-only" {
            run(
                &mut session,
                "INSERT INTO items SELECT g, ARRAY[g, 1, 1] FROM generate_series(1, 100) g;
                 REFRESH MATERIALIZED VIEW centroids",
            );
        }
        // Means are 48, 49, 50, 51 and 52.
        assert_eq!(nearest(&mut session, "centroids", "[48.6,1,1]").len(), 3);
        run(&mut session, "INSERT INTO empty VALUES (2, '[1,2,3,4]')");
        assert_eq!(nearest(&mut session, "empty", "[1,1,1,1]"), [2]);
    }
}

const OTHER_MODEL: &str = "embeddings from different models: bbbb0002 and aaaa0001";

/// A table of `rows` rows of model aaaa0001, with an index.
fn of_one_model(name: &str, rows: usize) -> (Database<'static>, Client) {
    let database = Database::shared(name);
    let mut session = database.connect();
    run(
        &mut session,
        &format!(
            "CREATE TABLE items (id int, embedding image_embedding(3));
             INSERT INTO items SELECT g, ('[' || g || ',2,1]@aaaa0001')::image_embedding FROM generate_series(1, {rows}) g;
             CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)"
        ),
    );
    (database, session)
}

/// Fills the table with rows of a model.
fn fill(model: &str) -> String {
    format!("INSERT INTO items SELECT g, ('[' || g || ',2,1]@{model}')::image_embedding FROM generate_series(1, 20) g")
}

/// The tag that the index is bound to.
fn model(session: &mut Client) -> Option<String> {
    session.query_one("SELECT model FROM vs_hnsw_stats('by_likeness')", &[]).unwrap().get(0)
}

#[test]
fn what_was_rolled_back_binds_nothing() {
    let mut session = Database::shared("binding_rolled_back").connect();
    run(
        &mut session,
        "CREATE TABLE items (id int, embedding image_embedding(3));
         CREATE INDEX by_likeness ON items USING vs_hnsw (embedding);
         INSERT INTO items SELECT g, ARRAY[g % 60, g % 7, 1] FROM generate_series(1, 600) g;
         BEGIN; INSERT INTO items VALUES (0, '[1,1,1]@aaaa0001'); ROLLBACK",
    );
    assert_eq!(nearest(&mut session, "items", "[5,5,1]@bbbb0002").len(), 3);
    run(&mut session, "INSERT INTO items VALUES (0, '[1.5,1,1]@bbbb0002')");
    assert_eq!(model(&mut session).as_deref(), Some("bbbb0002"));
    assert_eq!(nearest(&mut session, "items", "[1.5,1,1]@bbbb0002")[0], 0);
    // The other way round it is a row that is there.
    let error = error_of(&mut session, "INSERT INTO items VALUES (1, '[1,1,1]@aaaa0001')");
    assert_eq!(error.message(), "embeddings from different models: aaaa0001 and bbbb0002");
    run(
        &mut session,
        "BEGIN; SAVEPOINT a; DELETE FROM items WHERE id = 0; INSERT INTO items VALUES (0, '[1,1,1]@aaaa0001');
         ROLLBACK TO a; INSERT INTO items VALUES (-1, '[1,2,1]@bbbb0002'); COMMIT",
    );
    assert_eq!(model(&mut session).as_deref(), Some("bbbb0002"));
    assert_eq!(nearest(&mut session, "items", "[1.5,1,1]@bbbb0002")[0], 0);
    vectors::assert_sound(&mut session, "by_likeness");
}

#[test]
fn a_column_is_emptied_and_filled_by_another_model() {
    let (_, mut session) = of_one_model("binding_refilled", 20);
    for (empty, model) in [
        ("DELETE FROM items", "bbbb0002"),
        ("UPDATE items SET embedding = NULL", "cccc0003"),
        ("DELETE FROM items", "aaaa0001"),
    ] {
        // In two transactions, in one, and in one that is rolled back.
        run(&mut session, &format!("{empty}; {}", fill(model)));
        run(&mut session, &format!("BEGIN; DELETE FROM items; {}; ROLLBACK", fill("dddd0004")));
        run(&mut session, &format!("BEGIN; {empty}; {}; COMMIT", fill(model)));
        let ids = nearest(&mut session, "items", &format!("[4.2,2,1]@{model}"));
        assert_eq!(ids, [4, 5, 3], "{model}");
        assert_eq!(self::model(&mut session).as_deref(), Some(model));
        vectors::assert_sound(&mut session, "by_likeness");
    }
    run(&mut session, "VACUUM items; DELETE FROM items");
    assert_eq!(nearest(&mut session, "items", "[4,2,1]@bbbb0002"), [0i32; 0]);
}

#[test]
fn rows_that_are_there_bind() {
    let (database, mut session) = of_one_model("binding_present", 20);
    // All but one are gone.
    run(&mut session, "DELETE FROM items WHERE id <> 13");
    let insert = "INSERT INTO items VALUES (21, '[1,2,1]@bbbb0002')";
    let error = error_of(&mut session, insert);
    assert_eq!((error.code().code(), error.message()), ("22000", OTHER_MODEL));
    assert!(error.detail().unwrap_or_default().starts_with("Row (0,13) of table \"items\" is of model"), "{error:?}");
    let error = error_of(
        &mut session,
        "UPDATE items SET embedding = '[1,2,1]@bbbb0002'; INSERT INTO items VALUES (1, '[1,2,1]@aaaa0001')",
    );
    assert_eq!(error.message(), "embeddings from different models: aaaa0001 and bbbb0002");
    // Another transaction is about to delete it, or has inserted one and may roll that back.
    let mut other = database.connect();
    run(&mut other, "BEGIN; DELETE FROM items");
    assert_eq!(error_of(&mut session, insert).message(), OTHER_MODEL);
    run(&mut other, "COMMIT; BEGIN; INSERT INTO items VALUES (30, '[1,2,1]@aaaa0001')");
    assert_eq!(error_of(&mut session, insert).message(), OTHER_MODEL);
    run(&mut other, "ROLLBACK");
    run(&mut session, insert);
    assert_eq!(model(&mut session).as_deref(), Some("bbbb0002"));
    // A snapshot from before sees what was there.
    run(&mut other, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(nearest(&mut other, "items", "[1,2,1]@bbbb0002"), [21]);
    run(&mut session, &format!("DELETE FROM items; {}", fill("cccc0003")));
    assert_eq!(nearest(&mut other, "items", "[1,2,1]@bbbb0002"), [21]);
    let error = error_of(&mut other, "SELECT id FROM items ORDER BY embedding <-> '[1,2,1]@cccc0003' LIMIT 3");
    assert_eq!(error.message(), "embeddings from different models: bbbb0002 and cccc0003");
    vectors::assert_sound(&mut session, "by_likeness");
}

#[test]
fn an_index_on_an_expression_is_bound_by_what_that_gives() {
    let mut session = Database::shared("binding_expression").connect();
    run(
        &mut session,
        "CREATE TABLE items (id int, photo text);
         CREATE FUNCTION embed(photo text) RETURNS image_embedding IMMUTABLE STRICT LANGUAGE sql AS
             $$ SELECT ('[1,2,' || length(photo) || ']@' || photo)::image_embedding $$;
         CREATE INDEX by_likeness ON items USING vs_hnsw (embed(photo)) WHERE id > 0;
         INSERT INTO items VALUES (-1, 'cccc0003'), (1, 'aaaa0001'), (2, NULL)",
    );
    assert_eq!(error_of(&mut session, "INSERT INTO items VALUES (3, 'bbbb0002')").message(), OTHER_MODEL);
    run(
        &mut session,
        "DELETE FROM items WHERE id > 0; UPDATE items SET id = -id; INSERT INTO items VALUES (-3, 'dddd0004')",
    );
    assert_eq!(model(&mut session).as_deref(), Some("cccc0003"));
    assert_eq!(
        error_of(&mut session, "INSERT INTO items VALUES (3, 'bbbb0002')").message(),
        "embeddings from different models: bbbb0002 and cccc0003"
    );
    run(&mut session, "DELETE FROM items WHERE id > 0; INSERT INTO items VALUES (3, 'bbbb0002')");
    vectors::assert_sound(&mut session, "by_likeness");
}

#[test]
fn sessions_that_bind_an_index_at_once() {
    let (database, mut session) = of_one_model("binding_race", 300);
    let _watch = database.watch();
    for round in 0..6 {
        run(&mut session, "DELETE FROM items");
        let models = ["aaaa0001", "bbbb0002", "cccc0003", "dddd0004"];
        std::thread::scope(|scope| {
            for model in models {
                let mut session = database.connect();
                scope.spawn(move || {
                    for id in 0..5 {
                        let sql = format!("INSERT INTO items VALUES ({id}, '[{id},2,1]@{model}')");
                        if let Err(error) = session.batch_execute(&sql) {
                            let error = pg_test::server_error(error, &sql);
                            assert!(error.message().starts_with("embeddings from different models"), "{error:?}");
                        }
                    }
                });
            }
        });
        let models = "SELECT count(DISTINCT embedding_model(embedding)), count(*) FROM items";
        let row = session.query_one(models, &[]).unwrap();
        let (models, rows): (i64, i64) = (row.get(0), row.get(1));
        assert!(models == 1 && rows >= 5, "round {round}: {models} models in {rows} rows");
        vectors::assert_sound(&mut session, "by_likeness");
    }
}

#[test]
fn an_index_is_built_of_rows_that_another_model_was_in_before() {
    let (database, mut session) = of_one_model("binding_built", 100);
    let change = "UPDATE items SET embedding = (replace(embedding::text, 'aaaa0001', 'bbbb0002'))::image_embedding";
    let create = "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)";
    run(&mut session, &format!("DROP INDEX by_likeness; BEGIN; {change}; {create}"));
    assert_eq!(model(&mut session).as_deref(), Some("bbbb0002"));
    run(&mut session, "ROLLBACK");
    // The same while another session still sees what was there, and by every way to build.
    let mut other = database.connect();
    run(&mut session, create);
    for (build, old, new) in [
        ("REINDEX INDEX by_likeness", "aaaa0001", "bbbb0002"),
        ("DROP INDEX by_likeness; CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)", "bbbb0002", "cccc0003"),
        ("VACUUM FULL items", "cccc0003", "dddd0004"),
        ("REINDEX INDEX CONCURRENTLY by_likeness", "dddd0004", "bbbb0002"),
    ] {
        // A snapshot without a lock.
        run(&mut other, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
        run(&mut session, &format!("DELETE FROM items; {}", fill(new)));
        if build.contains("CONCURRENTLY") {
            run(&mut other, "COMMIT; BEGIN");
        }
        run(&mut session, build);
        assert_eq!(model(&mut session).as_deref(), Some(new), "{build}");
        assert_eq!(nearest(&mut session, "items", &format!("[4.2,2,1]@{new}")), [4, 5, 3], "{build}");
        vectors::assert_sound(&mut session, "by_likeness");
        if build.starts_with("REINDEX INDEX by") {
            assert_eq!(nearest(&mut other, "items", &format!("[14.2,2,1]@{old}")), [14, 15, 13], "as it was before");
        }
        run(&mut other, "COMMIT");
    }
    // Rows that are there refuse it.
    run(&mut session, "DROP INDEX by_likeness; INSERT INTO items VALUES (0, '[1,2,3]@aaaa0001')");
    let error = error_of(&mut session, create);
    assert_eq!(error.message(), "embeddings from different models: aaaa0001 and bbbb0002");
    assert!(error.detail().unwrap_or_default().contains("of table \"items\" is of model bbbb0002"), "{error:?}");
}

#[test]
fn whoever_may_not_read_a_table_is_told_nothing_of_it() {
    let (database, mut session) = of_one_model("binding_secret", 20);
    run(
        &mut session,
        "CREATE ROLE binding_writer LOGIN; GRANT INSERT ON items TO binding_writer;
         CREATE ROLE binding_tenant LOGIN; GRANT SELECT, INSERT ON items TO binding_tenant;
         ALTER TABLE items ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON items USING (id < 0) WITH CHECK (true); ANALYZE items",
    );
    for role in ["binding_writer", "binding_tenant"] {
        let mut stranger = database.connect_as(role);
        let error = error_of(&mut stranger, "INSERT INTO items VALUES (1, '[1,2,3]@bbbb0002')");
        assert_eq!(error.message(), "embeddings from different models: bbbb0002 is not that of other rows", "{role}");
        let said = format!("{error:?}");
        assert!(!said.contains("aaaa0001") && !said.contains("Row"), "{said}");
    }
}

#[test]
fn what_is_bound_by_deletions_is_bound_when_they_are_committed() {
    let (database, mut session) = of_one_model("binding_deletions", 20);
    let mut other = database.connect();
    let theirs = "INSERT INTO items VALUES (21, '[1,2,1]@bbbb0002')";
    let ours = "INSERT INTO items VALUES (22, '[1,2,1]@aaaa0001')";
    // Rolled back, as a whole or in part: all rows are there again.
    for (begin, end) in [
        ("BEGIN; DELETE FROM items", "ROLLBACK"),
        ("BEGIN; DELETE FROM items WHERE id = 1; SAVEPOINT a; DELETE FROM items", "ROLLBACK TO a; COMMIT"),
        ("BEGIN; SAVEPOINT a; UPDATE items SET embedding = NULL; RELEASE a; SAVEPOINT b", "ROLLBACK"),
        ("BEGIN; SELECT count(*) FROM items; SELECT FROM items FOR UPDATE; DELETE FROM items", "ROLLBACK"),
    ] {
        run(&mut session, &format!("{begin}; {theirs}; {theirs}"));
        // Not yet ours to rely on.
        for _ in 0..2 {
            assert_eq!(error_of(&mut other, theirs).message(), OTHER_MODEL, "{begin}");
            let error = error_of(&mut other, ours);
            assert_eq!(error.message(), "embeddings from different models: aaaa0001 and bbbb0002", "{begin}");
        }
        run(&mut session, end);
        assert_eq!(error_of(&mut session, theirs).message(), OTHER_MODEL, "{begin}, {end}");
        run(&mut session, ours);
        assert_eq!(error_of(&mut other, theirs).message(), OTHER_MODEL, "{begin}, {end}");
        assert_eq!(model(&mut session).as_deref(), Some("aaaa0001"));
    }
    // Committed, a part of it rolled back.
    run(
        &mut session,
        &format!(
            "BEGIN; SAVEPOINT a; DELETE FROM items; RELEASE a; SAVEPOINT b; {theirs}; ROLLBACK TO b; {theirs}; COMMIT"
        ),
    );
    run(&mut other, theirs);
    for session in [&mut session, &mut other] {
        let error = error_of(session, ours);
        assert_eq!(error.message(), "embeddings from different models: aaaa0001 and bbbb0002");
    }
    vectors::assert_sound(&mut session, "by_likeness");
    // What has bound it is forgotten once and for all.
    run(&mut session, "VACUUM FREEZE items; VACUUM FREEZE");
    run(&mut session, theirs);
}

#[test]
fn a_crash_between_binding_and_commit() {
    let cluster = pg_test::Cluster::new();
    let database = cluster.database("binding_crash");
    let mut session = database.connect();
    run(
        &mut session,
        &format!(
            "CREATE TABLE items (id int, embedding image_embedding(3));
             CREATE INDEX by_likeness ON items USING vs_hnsw (embedding); {}",
            fill("aaaa0001")
        ),
    );
    run(&mut session, &format!("BEGIN; DELETE FROM items; {}", fill("bbbb0002")));
    // Everything that has been done is in the log by then.
    database.run("CREATE TABLE other (); CHECKPOINT");
    cluster.stop(pg_test::Shutdown::Immediate);
    cluster.start();
    let mut session = database.connect();
    assert_eq!(error_of(&mut session, "INSERT INTO items VALUES (0, '[1,2,3]@bbbb0002')").message(), OTHER_MODEL);
    run(&mut session, "INSERT INTO items VALUES (0, '[1,2,3]@aaaa0001')");
    assert_eq!(nearest(&mut session, "items", "[1,2,3]@aaaa0001")[0], 0);
    vectors::assert_sound(&mut session, "by_likeness");
}

/// Runs a statement, and gives what the server warns of.
fn warnings(database: &Database<'_>, sql: &str) -> String {
    let outcome = database.psql(sql);
    assert!(outcome.success(), "{sql}: {}", outcome.stderr);
    outcome.stderr
}

/// A column without declared dimensions, filled with 20 vectors of three.
fn of_any_length(name: &str) -> (Database<'static>, Client) {
    let database = Database::shared(name);
    let mut session = database.connect();
    run(
        &mut session,
        "CREATE TABLE items (id int, embedding image_embedding);
         INSERT INTO items SELECT g, ARRAY[g, 2, 1] FROM generate_series(1, 20) g;
         CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)",
    );
    (database, session)
}

const FIVE: &str = "INSERT INTO items SELECT g, ARRAY[g, 2, 1, 0, 1] FROM generate_series(1, 20) g";

/// How many rows a drained scan gives, by the index and by the table.
fn drained(session: &mut Client, query: &str) -> (Vec<i32>, Vec<i32>) {
    let sql = format!("SELECT id FROM items ORDER BY embedding <-> {query}, id");
    let mut ids = |prefer: fn(&mut Client)| -> Vec<i32> {
        prefer(session);
        session
            .query(&sql, &[])
            .unwrap_or_else(|e| panic!("{sql}: {}", pg_test::describe(&e)))
            .iter()
            .map(|row| row.get(0))
            .collect()
    };
    (ids(prefer_index), ids(vectors::prefer_table))
}

#[test]
fn a_column_is_emptied_and_filled_by_vectors_of_another_length() {
    let (database, mut session) = of_any_length("binding_length");
    let error = error_of(&mut session, FIVE);
    assert_eq!((error.code().code(), error.message()), ("22000", "different image_embedding dimensions 5 and 3"));
    assert!(error.detail().unwrap_or_default().contains(" of table \"items\" has 3 dimensions"), "{error:?}");
    // Rolled back, it has no effect.
    run(
        &mut session,
        &format!("BEGIN; DELETE FROM items; {FIVE}; ROLLBACK; INSERT INTO items VALUES (21, '[21,2,1]')"),
    );
    assert_eq!(nearest(&mut session, "items", "[4.2,2,1]"), [4, 5, 3]);
    assert_eq!(error_of(&mut session, FIVE).message(), "different image_embedding dimensions 5 and 3");
    // A snapshot from before keeps what it sees, whichever length it asks for.
    let mut before = database.connect();
    run(&mut before, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    let said = warnings(
        &database,
        &format!("UPDATE items SET embedding = NULL; {FIVE}; INSERT INTO items VALUES (30, '[1,2,3,4,5]')"),
    );
    assert_eq!(said.matches("WARNING").count(), 1, "{said}");
    assert!(said.contains("built for vectors of 3 dimensions") && said.contains("REINDEX INDEX by_likeness"), "{said}");
    assert_eq!(nearest(&mut before, "items", "[4.2,2,1]"), [4, 5, 3]);
    let error = error_of(&mut before, "SELECT id FROM items ORDER BY embedding <-> '[4,2,1,0,1]' LIMIT 1");
    assert_eq!(error.message(), "different image_embedding dimensions 3 and 5");
    run(&mut before, "ROLLBACK");
    // The answers are right, and plans do without it.
    assert_eq!(nearest(&mut session, "items", "[4.2,2,1,0,1]"), [4, 5, 3]);
    let error = error_of(&mut session, "SELECT id FROM items ORDER BY embedding <-> '[4,2,1]' LIMIT 1");
    assert_eq!(error.message(), "different image_embedding dimensions 5 and 3");
    assert_eq!(
        error_of(&mut session, "INSERT INTO items VALUES (0, '[1,2,3]')").message(),
        "different image_embedding dimensions 3 and 5"
    );
    for query in ["'[7.2,2,1,0,1]'", "NULL"] {
        let (by_index, by_table) = drained(&mut session, query);
        assert_eq!(by_index, by_table, "{query}");
        assert_eq!(by_table.len(), 42, "21 of five dimensions and 21 without");
    }
    vectors::assert_sound(&mut session, "by_likeness");
    run(&mut session, "RESET enable_seqscan; RESET enable_sort; ANALYZE items");
    let plan = pg_test::explain(
        &mut session,
        "COSTS off",
        "SELECT id FROM items ORDER BY embedding <-> '[1,2,1,0,1]' LIMIT 1",
    );
    assert!(plan.contains("Seq Scan"), "{plan}");
    // A vacuum forgets neither the length nor the model.
    run(&mut session, "DELETE FROM items WHERE id % 2 = 0 OR embedding IS NULL; VACUUM items");
    assert_eq!(
        error_of(&mut session, "INSERT INTO items VALUES (0, '[1,2,3]')").message(),
        "different image_embedding dimensions 3 and 5"
    );
    assert_eq!(nearest(&mut session, "items", "[4.2,2,1,0,1]"), [5, 3, 7]);
    vectors::assert_sound(&mut session, "by_likeness");
    // Back to the first length, in one transaction, and on to a third.
    run(
        &mut session,
        "BEGIN; DELETE FROM items; INSERT INTO items SELECT g, ARRAY[g, 2, 1] FROM generate_series(1, 9) g; COMMIT",
    );
    assert_eq!(nearest(&mut session, "items", "[4.2,2,1]"), [4, 5, 3]);
    let (by_index, by_table) = drained(&mut session, "'[7.2,2,1]'");
    assert_eq!(by_index, by_table);
    run(
        &mut session,
        "DELETE FROM items; INSERT INTO items SELECT g, ARRAY[g, 2] FROM generate_series(1, 9) g; REINDEX INDEX by_likeness",
    );
    assert_eq!(vectors::stat(&mut session, "by_likeness", "dims"), 2);
    assert_eq!(nearest(&mut session, "items", "[4.2,2]"), [4, 5, 3]);
    vectors::assert_sound(&mut session, "by_likeness");
    let error = error_of(&mut session, "DELETE FROM items; INSERT INTO items VALUES (1, array_fill(1, ARRAY[9000]))");
    assert_eq!(error.code().code(), "54000", "{error:?}");
}

#[test]
fn models_of_vectors_of_another_length() {
    let (_, mut session) = of_any_length("binding_length_models");
    run(&mut session, "DELETE FROM items; INSERT INTO items VALUES (1, '[1,2]@aaaa0001'); VACUUM items");
    let other = "INSERT INTO items VALUES (1, '[2,1]@bbbb0002')";
    assert_eq!(error_of(&mut session, other).message(), OTHER_MODEL);
    run(&mut session, &format!("BEGIN; DELETE FROM items; {other}; ROLLBACK"));
    assert_eq!(error_of(&mut session, other).message(), OTHER_MODEL);
    run(&mut session, &format!("INSERT INTO items VALUES (2, '[1,2]@aaaa0001'); DELETE FROM items; {other}"));
    assert_eq!(nearest(&mut session, "items", "[1,2]@bbbb0002"), [1]);
    assert_eq!(model(&mut session).as_deref(), Some("bbbb0002"));
    vectors::assert_sound(&mut session, "by_likeness");
}

#[test]
fn an_index_is_built_of_rows_that_others_were_longer_than() {
    let (database, mut session) = of_any_length("binding_length_built");
    let create = "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)";
    run(&mut session, &format!("DROP INDEX by_likeness; BEGIN; DELETE FROM items; {FIVE}; {create}"));
    assert_eq!(vectors::stat(&mut session, "by_likeness", "dims"), 5, "the length of what is there");
    run(&mut session, &format!("ROLLBACK; {create}"));
    let mut before = database.connect();
    run(&mut before, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    run(&mut session, &format!("DELETE FROM items; {FIVE}; REINDEX INDEX by_likeness"));
    assert_eq!(vectors::stat(&mut session, "by_likeness", "dims"), 5);
    assert_eq!(nearest(&mut session, "items", "[4.2,2,1,0,1]"), [4, 5, 3]);
    assert_eq!(nearest(&mut before, "items", "[4.2,2,1]"), [4, 5, 3], "as it was before");
    let (by_index, by_table) = drained(&mut before, "'[7.2,2,1]'");
    assert_eq!(by_index, by_table);
    run(&mut before, "COMMIT");
    vectors::assert_sound(&mut session, "by_likeness");
    // Too long for an index, but dead.
    run(&mut before, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    run(
        &mut session,
        &format!(
            "DROP INDEX by_likeness; DELETE FROM items; INSERT INTO items VALUES (1, array_fill(1, ARRAY[9000])); DELETE FROM items; {FIVE}; VACUUM FULL items; {create}"
        ),
    );
    run(&mut before, "COMMIT");
    assert_eq!(nearest(&mut session, "items", "[4.2,2,1,0,1]"), [4, 5, 3]);
    run(&mut session, "INSERT INTO items VALUES (1, NULL); VACUUM items");
    run(&mut session, "INSERT INTO items VALUES (0, '[0,2,1,0,1]')");
    let error = error_of(
        &mut session,
        "DROP INDEX by_likeness; INSERT INTO items VALUES (1, '[1,2]'); CREATE INDEX ON items USING vs_hnsw (embedding)",
    );
    assert_eq!(error.message(), "different image_embedding dimensions 2 and 5");
}
