//! Every way an index comes into being gives the same: all rows, in a graph that finds them.

use std::{
    sync::atomic::{AtomicI32, Ordering},
    thread,
};

use pg_test::{
    Cluster, Database, Embedding, Shutdown, describe,
    vectors::{self, Generator, Metric, Search, run, stat, vacuum},
};
use postgres::{Client, NoTls};

const DIMS: usize = 32;

fn table(session: &mut Client, count: usize) -> (Vec<Embedding>, Vec<Embedding>) {
    let mut generator = Generator::new(11, DIMS);
    let items = generator.vectors(count);
    vectors::table(session, "items", &items);
    (items, generator.vectors(60))
}

/// Checks that the index is sound, has all the rows and finds them.
fn check(session: &mut Client, index: &str, rows: usize, queries: &[Embedding], least: f64) {
    vectors::assert_sound(session, index);
    assert_eq!(stat(session, index, "rows"), rows as i64, "{index}");
    assert_eq!(stat(session, index, "unreachable_nodes"), 0, "{index}");
    let recall = Search::nearest("items", Metric::L2, 10).recall(session, index, queries);
    assert!(recall >= least, "{index}: recall {recall}");
}

/// A session that keeps the server's notices.
fn listening(database: &Database<'_>) -> (Client, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let notices = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = std::sync::Arc::clone(&notices);
    let mut config = database.cluster().config(database.name());
    config.notice_callback(move |notice| {
        heard.lock().expect("nobody panics with it").push(format!(
            "{}: {} {}",
            notice.severity(),
            notice.message(),
            notice.detail().unwrap_or("")
        ));
    });
    (config.connect(NoTls).expect("a session"), notices)
}

#[test]
fn serially_in_parallel_and_with_little_memory() {
    let database = Database::shared("build_ways");
    let _watch = database.watch();
    let (mut session, notices) = listening(&database);
    let (_, queries) = table(&mut session, 10_000);
    for (workers, memory) in [(0, "64MB"), (1, "64MB"), (4, "64MB"), (0, "1MB"), (2, "2MB")] {
        run(
            &mut session,
            &format!(
                "SET max_parallel_maintenance_workers = {workers}; SET maintenance_work_mem = '{memory}';
             CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)"
            ),
        );
        check(&mut session, "by_likeness", 10_000, &queries, 0.99);
        let said = std::mem::take(&mut *notices.lock().unwrap());
        if memory == "64MB" {
            assert!(said.is_empty(), "{said:?}");
        } else {
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(
                said[0].starts_with("NOTICE: vs_hnsw graph no longer fits into maintenance_work_mem after "),
                "{said:?}"
            );
            let wanted = said[0].split("about ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<i32>().ok());
            // What it asks for is enough, and not far from what is.
            let wanted = wanted.unwrap_or_else(|| panic!("{said:?}"));
            assert!((2..=16).contains(&wanted), "{said:?}");
            run(&mut session, &format!("SET maintenance_work_mem = '{wanted}MB'; REINDEX INDEX by_likeness"));
            let said = std::mem::take(&mut *notices.lock().unwrap());
            assert!(said.is_empty(), "{wanted} MB were to be enough: {said:?}");
        }
        run(&mut session, "DROP INDEX by_likeness");
    }
}

#[test]
fn vectors_too_large_for_the_memory_there_is() {
    let database = Database::shared("build_large_vectors");
    let (mut session, notices) = listening(&database);
    let items = Generator::new(12, 2000).vectors(300);
    vectors::table(&mut session, "items", &items);
    run(&mut session, "SET maintenance_work_mem = '1MB'; CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)");
    check(&mut session, "by_likeness", 300, &items[..20], 0.99);
    let said = notices.lock().unwrap();
    assert!(said.iter().any(|line| line.contains("maintenance_work_mem")), "a build on pages says so: {said:?}");
}

#[test]
fn grown_by_ten_clients_at_once() {
    let database = Database::shared("build_grown");
    let _watch = database.watch();
    let mut session = database.connect();
    let mut generator = Generator::new(11, DIMS);
    let (items, queries) = (generator.vectors(5000), generator.vectors(60));
    run(
        &mut session,
        &format!(
            "CREATE TABLE items (id int, embedding image_embedding({DIMS})); CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)"
        ),
    );
    let next = AtomicI32::new(0);
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let mut session = database.connect();
                let insert = session.prepare("INSERT INTO items VALUES ($1, $2)").unwrap();
                loop {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(id as usize) else { break };
                    session.execute(&insert, &[&id, item]).unwrap_or_else(|e| panic!("{}", describe(&e)));
                }
            });
        }
    });
    run(&mut session, "ANALYZE items");
    check_grown(&mut session, 5000, &queries);
}

/// As [`check`], for an index that no vacuum has completed yet: nodes that no search reaches are few.
fn check_grown(session: &mut Client, rows: usize, queries: &[Embedding]) {
    vectors::assert_sound(session, "by_likeness");
    assert_eq!(stat(session, "by_likeness", "rows"), rows as i64);
    let unreachable = stat(session, "by_likeness", "unreachable_nodes");
    assert!(unreachable <= rows as i64 / 100, "{unreachable} of {rows} nodes cannot be reached");
    let recall = Search::nearest("items", Metric::L2, 10).recall(session, "by_likeness", queries);
    assert!(recall >= 0.99, "recall {recall}");
    vacuum(session, "items", "by_likeness");
    check(session, "by_likeness", rows, queries, 0.99);
}

#[test]
fn ten_clients_insert_the_same_few_vectors() {
    let database = Database::shared("build_same");
    let _watch = database.watch();
    let mut session = database.connect();
    let items = Generator::new(13, 8).vectors(5);
    run(
        &mut session,
        "CREATE TABLE items (id int, embedding image_embedding(8)); CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)",
    );
    thread::scope(|scope| {
        for client in 0..10 {
            let (database, items) = (&database, &items);
            scope.spawn(move || {
                let mut session = database.connect();
                for number in 0..100 {
                    let id = client * 100 + number;
                    session.execute("INSERT INTO items VALUES ($1, $2)", &[&id, &items[number as usize % 5]]).unwrap();
                    if number % 10 == 9 {
                        session.execute("DELETE FROM items WHERE id = $1", &[&id]).unwrap();
                    }
                }
            });
        }
        scope.spawn(|| {
            let mut session = database.connect();
            (0..20).for_each(|_| run(&mut session, "VACUUM (INDEX_CLEANUP ON) items"));
        });
    });
    vacuum(&mut session, "items", "by_likeness");
    vectors::assert_sound(&mut session, "by_likeness");
    assert_eq!(stat(&mut session, "by_likeness", "rows"), 900);
    for item in &items {
        let found = Search::nearest("items", Metric::L2, 1000).by_index(&mut session, "by_likeness", item);
        assert_eq!(found.len(), 900);
    }
}

#[test]
fn an_unlogged_table_is_empty_after_a_crash() {
    let cluster = Cluster::new();
    let database = cluster.database("shop");
    let mut session = database.connect();
    let mut generator = Generator::new(14, DIMS);
    let items = generator.vectors(1000);
    for (column, table) in [(format!("image_embedding({DIMS})"), "typed"), ("image_embedding".to_owned(), "untyped")] {
        run(&mut session, &format!("CREATE UNLOGGED TABLE {table} (id int, embedding {column})"));
        vectors::append(&mut session, table, 0, &items);
        run(&mut session, &format!("CREATE INDEX {table}_index ON {table} USING vs_hnsw (embedding)"));
        vectors::append(&mut session, table, 1000, &items[..100]);
        assert_eq!(stat(&mut session, &format!("{table}_index"), "rows"), 1100);
    }
    cluster.restart(Shutdown::Fast);
    let mut session = database.connect();
    assert_eq!(stat(&mut session, "typed_index", "rows"), 1100, "an orderly stop keeps it");
    drop(session);
    cluster.restart(Shutdown::Immediate);
    let mut session = database.connect();
    for table in ["typed", "untyped"] {
        let index = format!("{table}_index");
        vectors::assert_sound(&mut session, &index);
        assert_eq!(stat(&mut session, &index, "rows"), 0, "{table}");
        let search = Search::nearest(table, Metric::L2, 10);
        assert!(search.by_index(&mut session, &index, &items[0]).is_empty());
        vectors::append(&mut session, table, 0, &items);
        assert!(search.recall(&mut session, &index, &items[..20]) > 0.98);
        // From now on it is to last.
        run(&mut session, &format!("ALTER TABLE {table} SET LOGGED"));
    }
    drop(session);
    cluster.restart(Shutdown::Immediate);
    let mut session = database.connect();
    for table in ["typed", "untyped"] {
        let index = format!("{table}_index");
        vectors::assert_sound(&mut session, &index);
        assert!(Search::nearest(table, Metric::L2, 10).recall(&mut session, &index, &items[..20]) > 0.98);
    }
}

#[test]
fn a_new_index_survives_a_crash_at_any_wal_level() {
    for level in ["minimal", "replica"] {
        let cluster = Cluster::builder().set("wal_level", level).set("max_wal_senders", "0").start();
        let database = cluster.database("shop");
        let mut session = database.connect();
        let (items, queries) = table(&mut session, 1500);
        run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)");
        // Table, index and rows of one transaction.
        run(
            &mut session,
            &format!(
                "BEGIN; CREATE TABLE made (id int, embedding image_embedding({DIMS})); CREATE INDEX made_index ON made USING vs_hnsw (embedding)"
            ),
        );
        vectors::append(&mut session, "made", 0, &items[..500]);
        run(&mut session, "TRUNCATE made");
        vectors::append(&mut session, "made", 0, &items[..700]);
        run(&mut session, "COMMIT");
        drop(session);
        cluster.kill_postmaster();
        cluster.start();
        let mut session = database.connect();
        check(&mut session, "by_likeness", 1500, &queries, 0.98);
        vectors::assert_sound(&mut session, "made_index");
        assert_eq!(stat(&mut session, "made_index", "rows"), 700);
    }
}

#[test]
fn temporary_tables() {
    let mut session = Database::shared("build_temporary").connect();
    let mut generator = Generator::new(15, DIMS);
    let items = generator.vectors(1500);
    run(
        &mut session,
        &format!("SET temp_buffers = '800kB'; CREATE TEMP TABLE items (id int, embedding image_embedding({DIMS}))"),
    );
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)");
    vectors::append(&mut session, "items", 0, &items);
    check_grown(&mut session, 1500, &items[..30]);
    run(&mut session, "DELETE FROM items WHERE id % 2 = 0");
    vacuum(&mut session, "items", "by_likeness");
    check(&mut session, "by_likeness", 750, &items[..30], 0.98);
    run(&mut session, "REINDEX INDEX by_likeness");
    check(&mut session, "by_likeness", 750, &items[..30], 0.98);
    run(
        &mut session,
        &format!(
            "CREATE TEMP TABLE brief (id int, embedding image_embedding({DIMS})) ON COMMIT DELETE ROWS; CREATE INDEX brief_index ON brief USING vs_hnsw (embedding)"
        ),
    );
    for round in 1..4 {
        run(&mut session, "BEGIN");
        vectors::append(&mut session, "brief", 0, &items[..100 * round]);
        assert_eq!(stat(&mut session, "brief_index", "rows"), 100 * round as i64);
        run(&mut session, "COMMIT");
        assert_eq!(stat(&mut session, "brief_index", "rows"), 0);
    }
}

#[test]
fn built_anew_in_every_way() {
    let database = Database::shared("build_anew");
    let _watch = database.watch();
    let mut session = database.connect();
    let (_, queries) = table(&mut session, 3000);
    run(
        &mut session,
        "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding) WITH (fillfactor = 80); CREATE INDEX by_id ON items (id)",
    );
    run(&mut session, "DELETE FROM items WHERE id % 3 = 0");
    vacuum(&mut session, "items", "by_likeness");
    for statement in [
        "REINDEX INDEX by_likeness",
        "REINDEX INDEX CONCURRENTLY by_likeness",
        "REINDEX TABLE items",
        "VACUUM FULL items",
        "CLUSTER items USING by_id",
        "ALTER TABLE items SET UNLOGGED",
        "ALTER TABLE items SET LOGGED",
        "ALTER TABLE items ADD added int DEFAULT random()",
        "ALTER TABLE items ALTER id TYPE bigint; ALTER TABLE items ALTER id TYPE int",
        "DROP INDEX by_likeness; CREATE INDEX CONCURRENTLY by_likeness ON items USING vs_hnsw (embedding)",
    ] {
        statement.split("; ").for_each(|part| run(&mut session, part));
        check(&mut session, "by_likeness", 2000, &queries, 0.98);
    }
    let error = pg_test::error_of(&mut session, "CLUSTER items USING by_likeness");
    assert_eq!(
        error.message(),
        "cannot cluster on index \"by_likeness\" because access method does not support clustering"
    );
    // A transaction that is rolled back leaves the old one.
    run(&mut session, "BEGIN; REINDEX INDEX by_likeness; DELETE FROM items WHERE id < 500; ROLLBACK");
    check(&mut session, "by_likeness", 2000, &queries, 0.98);
}

#[test]
fn concurrently_under_writes() {
    let database = Database::shared("build_concurrently");
    let _watch = database.watch();
    let mut session = database.connect();
    let (_, queries) = table(&mut session, 3000);
    run(
        &mut session,
        "ALTER TABLE items ADD PRIMARY KEY (id); CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)",
    );
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        for client in 0..3u64 {
            let (database, done) = (&database, &done);
            scope.spawn(move || {
                let mut session = database.connect();
                let mut generator = Generator::new(20 + client, DIMS);
                let mut id = 10_000 * (client as i32 + 1);
                while !done.load(Ordering::Relaxed) {
                    id += 1;
                    session.execute("INSERT INTO items VALUES ($1, $2)", &[&id, &generator.vector()]).unwrap();
                    session
                        .execute("UPDATE items SET embedding = $2 WHERE id = $1", &[&(id % 1000), &generator.vector()])
                        .unwrap();
                    session.execute("DELETE FROM items WHERE id = $1", &[&(id - 3)]).unwrap();
                }
            });
        }
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..3 {
                run(&mut session, "REINDEX INDEX CONCURRENTLY by_likeness");
                run(&mut session, "CREATE INDEX CONCURRENTLY second ON items USING vs_hnsw (embedding)");
                run(&mut session, "DROP INDEX CONCURRENTLY second");
            }
            run(&mut session, "CREATE INDEX CONCURRENTLY second ON items USING vs_hnsw (embedding)");
        }));
        done.store(true, Ordering::Relaxed);
        outcome.expect("the indexes are built");
    });
    vacuum(&mut session, "items", "by_likeness");
    let rows: i64 = session.query_one("SELECT count(*) FROM items", &[]).unwrap().get(0);
    for (index, other) in [("by_likeness", "second"), ("second", "by_likeness")] {
        run(&mut session, &format!("BEGIN; DROP INDEX {other}"));
        check(&mut session, index, rows as usize, &queries, 0.98);
        run(&mut session, "ROLLBACK");
    }
}

#[test]
fn nothing_else_of_a_row_matters() {
    let mut session = Database::shared("build_partial").connect();
    let (_, queries) = table(&mut session, 2000);
    run(&mut session, "CREATE TABLE source AS SELECT id, CASE WHEN id % 10 <> 0 THEN embedding END AS embedding FROM items;
                       TRUNCATE items; INSERT INTO items SELECT * FROM source; INSERT INTO items SELECT * FROM source WHERE id < 100;
                       CREATE INDEX part ON items USING vs_hnsw (embedding) WHERE id >= 1000;
                       CREATE INDEX whole ON items USING vs_hnsw (embedding)");
    assert_eq!((stat(&mut session, "part", "rows"), stat(&mut session, "whole", "rows")), (900, 1890));
    assert_eq!(stat(&mut session, "whole", "nodes"), 1800);
    let search = Search::of("items", Metric::L2, 10, "id >= 1000");
    run(&mut session, "DROP INDEX whole");
    assert!(search.recall(&mut session, "part", &queries) > 0.98);
    // Those below 100 are there twice.
    run(&mut session, "UPDATE items SET id = id + 10000 WHERE id BETWEEN 100 AND 999");
    vectors::assert_sound(&mut session, "part");
    assert!(search.recall(&mut session, "part", &queries) > 0.98);
}
