//! Builds, scans, insertions and vacuums of a vs_hnsw index may be cancelled or ended at any moment.

use std::{
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use pg_test::{
    Database, Embedding, error_of, memory_of,
    vectors::{self, Generator, Metric, Search, prefer_index, run, stat, vacuum},
    wait_until,
};
use postgres::Client;

const DIMS: usize = 48;

fn filled(name: &str, count: usize) -> (Database<'static>, Client, Vec<Embedding>) {
    let database = Database::shared(name);
    let mut session = database.connect();
    let items = Generator::new(41, DIMS).vectors(count);
    vectors::table(&mut session, "items", &items);
    (database, session, items)
}

fn pid_of(session: &mut Client) -> i32 {
    session.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0)
}

/// Threads of a process.
fn threads(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Runs a statement that is cancelled after a while. Says whether it was before its end.
fn cancelled(database: &Database<'_>, session: &mut Client, sql: &str, after: Duration) -> bool {
    let pid = pid_of(session);
    let mut other = database.connect();
    thread::scope(|scope| {
        let running = scope.spawn(|| session.batch_execute(sql));
        thread::sleep(after);
        other.query_one("SELECT pg_cancel_backend($1)", &[&pid]).unwrap();
        match running.join().expect("the statement ends") {
            Ok(()) => false,
            Err(error) => {
                let error = pg_test::server_error(error, sql);
                assert_eq!(error.code().code(), "57014", "{}", error.message());
                true
            }
        }
    })
}

/// How long a statement takes when nobody cancels it.
fn duration(session: &mut Client, sql: &str) -> Duration {
    let start = Instant::now();
    run(session, sql);
    start.elapsed()
}

#[test]
fn builds_at_random_moments() {
    let (database, mut session, items) = filled("cancel_builds", 6000);
    let _watch = database.watch();
    let mut random = Rng::with_seed(3);
    let pid = pid_of(&mut session);
    let create = "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)";
    let folder: String =
        session.query_one("SELECT regexp_replace(pg_relation_filepath('items'), '[^/]*$', '')", &[]).unwrap().get(0);
    let size = || -> u64 {
        let files = std::fs::read_dir(database.cluster().data().join(&folder)).unwrap().flatten();
        files.map(|file| file.metadata().map_or(0, |file| file.len())).sum()
    };
    for settings in [
        "SET max_parallel_maintenance_workers = 0; SET maintenance_work_mem = '64MB'",
        "SET max_parallel_maintenance_workers = 3; SET maintenance_work_mem = '64MB'",
        "SET max_parallel_maintenance_workers = 2; SET maintenance_work_mem = '1MB'",
    ] {
        run(&mut session, settings);
        let whole = duration(&mut session, create);
        run(&mut session, "DROP INDEX by_likeness; CHECKPOINT");
        let before = size();
        let mut count = 0;
        for _ in 0..17 {
            if cancelled(&database, &mut session, create, whole.mul_f64(random.f64() * 0.8)) {
                count += 1;
            } else {
                run(&mut session, "DROP INDEX by_likeness");
            }
            assert_eq!(threads(pid), 1, "threads end with the build");
        }
        assert!(count >= 6, "{count} of 17 builds were cancelled");
        run(&mut session, "CHECKPOINT");
        assert!(size() < before + 300_000, "what a cancelled build has written is removed");
    }
    run(&mut session, create);
    vectors::assert_sound(&mut session, "by_likeness");
    assert!(Search::nearest("items", Metric::L2, 10).recall(&mut session, "by_likeness", &items[..30]) > 0.98);
    let memory = memory_of(pid).expect("the backend lives");
    assert!(memory < 300 << 20, "{memory} bytes after 51 builds");
}

#[test]
fn a_build_that_takes_longer_than_statement_timeout() {
    let (database, mut session, _) = filled("cancel_timeouts", 6000);
    let _watch = database.watch();
    let pid = pid_of(&mut session);
    for workers in [0, 2] {
        run(&mut session, &format!("SET max_parallel_maintenance_workers = {workers}; SET statement_timeout = 100"));
        let start = Instant::now();
        let error = error_of(
            &mut session,
            "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding) WITH (m = 50, ef_construction = 1000)",
        );
        assert_eq!(error.code().code(), "57014");
        assert!(start.elapsed() < Duration::from_secs(20), "that build takes minutes");
        assert_eq!(threads(pid), 1);
        run(&mut session, "SET statement_timeout = 0");
    }
}

#[test]
fn sessions_that_are_ended_while_they_build() {
    let (database, mut session, _) = filled("cancel_terminated", 6000);
    let _watch = database.watch();
    // More than the machine can run at once are not started, whatever the setting.
    let processors = thread::available_parallelism().map_or(1, usize::from);
    for workers in [0, 1, 4, 1024] {
        let mut builder = database.connect();
        let pid = pid_of(&mut builder);
        run(&mut builder, &format!("SET max_parallel_maintenance_workers = {workers}"));
        thread::scope(|scope| {
            let building = scope.spawn(move || {
                builder.batch_execute(
                    "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding) WITH (m = 50, ef_construction = 1000)",
                )
            });
            let phase = "SELECT 1 FROM pg_stat_progress_create_index WHERE pid = $1 AND phase = 'building index: building graph in memory'";
            wait_until("the build to show its phase", || session.query_opt(phase, &[&pid]).unwrap());
            let helpers = workers.min(processors).min(8);
            wait_until("threads to be at work", || (threads(pid) == helpers + 1).then_some(()));
            session.query_one("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
            let error = building.join().unwrap().expect_err("the session was ended");
            assert!(error.is_closed() || error.code().is_some_and(|code| code.code() == "57P01"), "{error}");
            wait_until("the process to end", || (threads(pid) == 0).then_some(()));
        });
    }
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)");
    vectors::assert_sound(&mut session, "by_likeness");
}

#[test]
fn scans_at_random_moments() {
    let (database, mut session, items) = filled("cancel_scans", 5000);
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)");
    let _watch = database.watch();
    let mut random = Rng::with_seed(4);
    prefer_index(&mut session);
    run(&mut session, "SET vs_hnsw.ef_search = 500");
    let sql =
        "SELECT count(n.id) FROM items q, LATERAL (SELECT id FROM items ORDER BY embedding <-> q.embedding LIMIT 40) n";
    let mut count = 0;
    for _ in 0..50 {
        count += u32::from(cancelled(&database, &mut session, sql, Duration::from_millis(random.u64(..80))));
    }
    assert!(count > 38, "{count} of 50 were cancelled");
    run(&mut session, "RESET vs_hnsw.ef_search");
    assert!(Search::nearest("items", Metric::L2, 10).recall(&mut session, "by_likeness", &items[..30]) > 0.98);
}

#[test]
fn insertions_and_vacuums_at_random_moments() {
    let (database, mut session, items) = filled("cancel_changes", 1500);
    run(
        &mut session,
        "ALTER TABLE items SET (autovacuum_enabled = off); CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)",
    );
    let _watch = database.watch();
    let mut random = Rng::with_seed(5);
    let copies = "INSERT INTO items SELECT id + 10000, embedding * (1 + id / 50000.0) FROM items WHERE id < 1500";
    let whole = duration(&mut session, copies);
    run(&mut session, "DELETE FROM items WHERE id >= 10000; VACUUM items");
    let mut count = [0, 0];
    // Which moments are hit depends on what else the machine does: on until enough have been.
    for round in 0..60 {
        if round >= 12 && count[0] > 8 && count[1] > 4 {
            break;
        }
        count[0] += u32::from(cancelled(&database, &mut session, copies, whole.mul_f64(random.f64())));
        run(&mut session, "DELETE FROM items WHERE id >= 10000");
        let after = whole.mul_f64(random.f64() / 2.0);
        count[1] += u32::from(cancelled(&database, &mut session, "VACUUM (INDEX_CLEANUP ON) items", after));
        vectors::assert_sound(&mut session, "by_likeness");
        let recall = Search::nearest("items", Metric::L2, 10).recall(&mut session, "by_likeness", &items[..20]);
        assert!(recall > 0.98, "round {round}: recall {recall}");
    }
    assert!(count[0] > 8 && count[1] > 4, "{count:?} insertions and vacuums were cancelled");
    vacuum(&mut session, "items", "by_likeness");
    vectors::assert_sound(&mut session, "by_likeness");
    for (column, expected) in [("rows", 1500), ("nodes", 1500), ("unreachable_nodes", 0)] {
        assert_eq!(stat(&mut session, "by_likeness", column), expected, "{column}");
    }
}
