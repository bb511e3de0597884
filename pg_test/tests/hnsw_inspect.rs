//! Looking at an index: `vs_hnsw_stats`, `vs_hnsw_check`, `vs_hnsw_recall`.

use pg_test::{
    Database, describe, error_of,
    vectors::{self, Generator, run},
};
use postgres::Client;

fn recall(session: &mut Client, index: &str, queries: i32, k: i32) -> Option<f64> {
    let row = session.query_one("SELECT vs_hnsw_recall($1::text::regclass, $2, $3)", &[&index, &queries, &k]);
    row.unwrap_or_else(|e| panic!("vs_hnsw_recall: {}", describe(&e))).get(0)
}

#[test]
fn recall_is_measured_for_every_kind_of_index() {
    let mut session = Database::shared("inspect_recall").connect();
    let items = Generator::new(23, 24).vectors(3000);
    vectors::table(&mut session, "items", &items);
    run(&mut session, "ALTER TABLE items ADD kind int; UPDATE items SET kind = id % 2; VACUUM (FULL, ANALYZE) items");
    for (index, definition) in [
        ("plain", "(embedding)"),
        ("cosine", "(embedding image_embedding_cosine_ops)"),
        ("ip", "(embedding image_embedding_ip_ops)"),
        ("partial", "(embedding) WHERE kind = 1"),
        ("expression", "((embedding * 2) image_embedding_l2_ops)"),
    ] {
        run(&mut session, "DROP INDEX IF EXISTS plain, cosine, ip, partial, expression");
        // An expression does not say its dimensions; the rows do.
        run(&mut session, &format!("CREATE INDEX {index} ON items USING vs_hnsw {definition}"));
        let found = recall(&mut session, index, 30, 10).unwrap();
        assert!((0.95..=1.0).contains(&found), "{index}: {found}");
    }
    // An index of hardly any links finds less, and the function says so.
    run(&mut session, "CREATE INDEX poor ON items USING vs_hnsw (embedding) WITH (m = 2, ef_construction = 4)");
    run(&mut session, "DROP INDEX expression; SET vs_hnsw.ef_search = 2; SET vs_hnsw.iterative_scan = off");
    let found = recall(&mut session, "poor", 30, 10).unwrap();
    assert!(found < 0.5, "{found}: of ten neighbours it looks at two");
    // The settings that it changes for itself are as before.
    for (setting, expected) in [("enable_seqscan", "on"), ("enable_sort", "on"), ("enable_indexscan", "on")] {
        let value: String = session.query_one(&format!("SHOW {setting}"), &[]).unwrap().get(0);
        assert_eq!(value, expected, "{setting}");
    }
    run(&mut session, "TRUNCATE items");
    assert_eq!(recall(&mut session, "poor", 30, 10), None, "of nothing there is no share");
}

#[test]
fn looking_writes_nothing() {
    let primary = pg_test::Cluster::new();
    let mut session = primary.database("looking").connect();
    vectors::table(&mut session, "items", &Generator::new(26, 8).vectors(1500));
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)");
    run(&mut session, "CREATE UNLOGGED TABLE passing (embedding image_embedding(8))");
    run(&mut session, "CREATE INDEX passing_index ON passing USING vs_hnsw (embedding)");
    run(&mut session, "BEGIN READ ONLY");
    assert!(recall(&mut session, "by_likeness", 5, 5).unwrap() > 0.9);
    run(&mut session, "SELECT vs_hnsw_stats('by_likeness')");
    let assigned = session.query_one("SELECT pg_current_xact_id_if_assigned()::text", &[]).unwrap();
    assert_eq!(assigned.get::<_, Option<String>>(0), None, "no transaction id was taken");
    run(&mut session, "COMMIT");
    let standby = primary.standby();
    standby.wait_for_replay(&primary);
    let mut session = standby.connect("looking");
    assert!(recall(&mut session, "by_likeness", 5, 5).unwrap() > 0.9);
    vectors::assert_sound(&mut session, "by_likeness");
    let error = error_of(&mut session, "SELECT * FROM vs_hnsw_check('passing_index')");
    assert_eq!(error.message(), "cannot access unlogged index \"passing_index\" during recovery");
}

#[test]
fn a_partitioned_index_is_called_by_its_name() {
    let mut session = Database::shared("inspect_partitioned").connect();
    run(&mut session, "CREATE TABLE p (id int, embedding image_embedding(8)) PARTITION BY RANGE (id)");
    run(&mut session, "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)");
    run(&mut session, "CREATE INDEX p_index ON p USING vs_hnsw (embedding)");
    let error = error_of(&mut session, "SELECT vs_hnsw_recall('p_index')");
    assert_eq!((error.code().code(), error.message()), ("42809", "\"p_index\" is a partitioned index"));
    assert!(error.hint().is_some());
}

#[test]
fn only_owners_look_at_an_index() {
    let database = Database::shared("inspect_owner");
    let mut session = database.connect();
    vectors::table(&mut session, "items", &Generator::new(24, 8).vectors(50));
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)");
    run(&mut session, "DROP ROLE IF EXISTS inspect_guest; CREATE ROLE inspect_guest LOGIN");
    run(&mut session, "GRANT SELECT ON items TO inspect_guest");
    let mut guest = database.connect_as("inspect_guest");
    for call in ["vs_hnsw_stats('by_likeness')", "vs_hnsw_check('by_likeness')", "vs_hnsw_recall('by_likeness')"] {
        let error = error_of(&mut guest, &format!("SELECT {call}"));
        assert_eq!(error.code().code(), "42501", "{call}: {error}");
    }
    run(&mut session, "ALTER TABLE items OWNER TO inspect_guest");
    for call in ["vs_hnsw_stats('by_likeness')", "vs_hnsw_check('by_likeness')", "vs_hnsw_recall('by_likeness')"] {
        guest.batch_execute(&format!("SELECT {call}")).unwrap_or_else(|e| panic!("{call}: {}", describe(&e)));
    }
    run(&mut session, "DROP TABLE items; DROP ROLE inspect_guest");
}

#[test]
fn an_owners_expression_does_not_run_with_the_callers_rights() {
    let database = Database::shared("inspect_rights");
    let mut session = database.connect();
    run(&mut session, "DROP ROLE IF EXISTS inspect_mallory; CREATE ROLE inspect_mallory LOGIN");
    run(&mut session, "CREATE SCHEMA den AUTHORIZATION inspect_mallory");
    let mut mallory = database.connect_as("inspect_mallory");
    // Called by itself in the statement that looks, wherever the table's owner has put it.
    let function =
        "CREATE FUNCTION den.same(e image_embedding) RETURNS image_embedding LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN
            IF current_user <> 'inspect_mallory' THEN
                RAISE EXCEPTION 'run as %', current_user;
            END IF;
            RETURN e;
        END $$";
    mallory.batch_execute(function).unwrap();
    run(&mut mallory, "CREATE TABLE den.items (id int, embedding image_embedding(8))");
    vectors::append(&mut mallory, "den.items", 0, &Generator::new(25, 8).vectors(200));
    run(&mut mallory, "CREATE INDEX by_same ON den.items USING vs_hnsw (den.same(embedding)); ANALYZE den.items");
    let found = recall(&mut session, "den.by_same", 10, 5).unwrap();
    assert!(found > 0.9, "{found}");
    let user: String = session.query_one("SELECT current_user::text", &[]).unwrap().get(0);
    assert_eq!(user, "postgres", "afterwards the caller is the caller again");
    run(&mut session, "DROP SCHEMA den CASCADE; DROP ROLE inspect_mallory");
}
