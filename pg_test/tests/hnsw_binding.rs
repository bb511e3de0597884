//! What an index is bound to: the length of its vectors and the model that made them, which are those of the rows that
//! are there, and nothing else.

use pg_test::{
    Database,
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
