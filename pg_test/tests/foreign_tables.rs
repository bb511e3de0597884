//! Embeddings in tables of another server, through postgres_fdw: order and LIMIT are sent there, where the index is.

use pg_test::{
    Database, explain, shared_cluster,
    vectors::{self, Generator, run},
};

#[test]
fn order_and_limit_are_sent_to_the_other_server() {
    let mut session = Database::shared("foreign_tables").connect();
    let mut generator = Generator::new(9, 8);
    vectors::table(&mut session, "items", &generator.vectors(3000));
    let port: String = session.query_one("SHOW port", &[]).unwrap().get(0);
    run(
        &mut session,
        &format!(
            "ALTER TABLE items ADD kind int; UPDATE items SET kind = id % 3; CREATE INDEX ON items USING vs_hnsw (embedding);
             VACUUM (FULL, ANALYZE) items; CREATE EXTENSION postgres_fdw;
             CREATE SERVER there FOREIGN DATA WRAPPER postgres_fdw
                 OPTIONS (dbname 'foreign_tables', host '{}', port '{port}', extensions 'visual_search');
             CREATE USER MAPPING FOR CURRENT_USER SERVER there; CREATE SCHEMA there;
             IMPORT FOREIGN SCHEMA public LIMIT TO (items) FROM SERVER there INTO there;
             CREATE FOREIGN TABLE there.open (id int, kind int, embedding image_embedding) SERVER there OPTIONS (schema_name 'public', table_name 'items')",
            shared_cluster().config("foreign_tables").get_hosts().iter().find_map(|host| match host {
                postgres::config::Host::Unix(path) => path.to_str(),
                postgres::config::Host::Tcp(_) => None,
            }).expect("a socket")
        ),
    );
    let query = generator.vector().to_text();
    let array = query.replace('[', "{").replace(']', "}");
    for analyzed in [false, true] {
        if analyzed {
            run(&mut session, "ANALYZE there.items; ANALYZE there.open");
        }
        for table in ["items", "open"] {
            for (condition, distance) in [
                ("true", format!("embedding <-> '{query}'")),
                ("kind = 1", format!("embedding <-> '{query}'")),
                ("true", format!("l2_distance(embedding, '{query}')")),
                ("true", format!("embedding <-> '{array}'::float8[]")),
                ("true", format!("embedding <=> '{query}'")),
                ("true", format!("embedding <-> '{query}', id")),
            ] {
                let sql = format!("SELECT id FROM there.{table} WHERE {condition} ORDER BY {distance} LIMIT 5");
                let plan = explain(&mut session, "VERBOSE, COSTS off", &sql);
                let remote = plan.lines().find(|line| line.contains("Remote SQL")).expect("a foreign scan");
                assert!(remote.contains(" ORDER BY ") && remote.contains(" LIMIT 5"), "{sql}:\n{plan}");
                let ids = |session: &mut postgres::Client, sql: &str| -> Vec<i32> {
                    session.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
                };
                let here = ids(&mut session, &sql.replace(&format!("there.{table}"), "items"));
                assert_eq!(ids(&mut session, &sql), here, "{sql}");
            }
        }
    }
    // What this server cannot know to mean the same there is not sent; a subquery's value is.
    run(&mut session, "SET visual_search.default_model = 'vs-mini-1'");
    let sql = "SELECT id FROM there.open ORDER BY embedding <-> (SELECT embed_text('a shoe')) LIMIT 5";
    let plan = explain(&mut session, "VERBOSE, COSTS off", sql);
    assert!(plan.contains("$1::") && plan.contains(" LIMIT 5"), "{plan}");
}
