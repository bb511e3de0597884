//! A vs_hnsw index comes through crashes, on standbys too: whatever was committed is found, and nothing is damaged.
//!
//! `wal_consistency_checking` is on throughout: replay then compares every page with what the primary had.

use std::{
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
    thread::{self, sleep},
    time::Duration,
};

use fastrand::Rng;
use pg_test::{
    Cluster, Database, Embedding, describe,
    vectors::{self, Generator, Metric, Search, prefer_index, rows, run, stat, vacuum},
    wait_until,
};
use postgres::{Client, NoTls};

const DIMS: usize = 20;

fn cluster() -> Cluster {
    Cluster::builder()
        .set("wal_consistency_checking", "generic")
        .set("autovacuum_naptime", "1s")
        .set("autovacuum_vacuum_insert_threshold", "500")
        .set("max_wal_size", "256MB")
        .set("checkpoint_timeout", "30s")
        .start()
}

/// A table with an index and a few rows; the last of them often the same vector.
fn shop(cluster: &Cluster) -> Database<'_> {
    let database = cluster.database("shop");
    let mut session = database.connect();
    let items = Generator::new(31, DIMS).vectors(1500);
    vectors::table(&mut session, "items", &items);
    run(
        &mut session,
        "CREATE INDEX items_id ON items (id); CREATE INDEX by_likeness ON items USING vs_hnsw (embedding) WITH (m = 8)",
    );
    vectors::append(&mut session, "items", 1500, &vec![items[0].clone(); 300]);
    database
}

/// Numbers of rows that have not been used yet.
static NEXT: AtomicI32 = AtomicI32::new(100_000);

/// What a client does until it is told to stop or its session ends. Any error but those of a session that ends, or is
/// cancelled, fails the test.
fn work(session: &mut Client, seed: u64, stop: &AtomicBool) -> Result<(), postgres::Error> {
    let mut random = Rng::with_seed(seed);
    let mut generator = Generator::new(31, DIMS);
    let same = generator.vector();
    (0..random.usize(..2000)).for_each(|_| drop(generator.vector()));
    while !stop.load(Ordering::Relaxed) {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        match random.u32(..10) {
            0..5 => {
                let vector = if random.u32(..5) == 0 { same.clone() } else { generator.vector() };
                session.execute("INSERT INTO items VALUES ($1, $2)", &[&id, &vector])?;
            }
            5 => {
                session.execute(
                    "DELETE FROM items WHERE id IN (SELECT id FROM items OFFSET $1 LIMIT 3)",
                    &[&random.i64(0..1500)],
                )?;
            }
            6 => {
                session.execute("UPDATE items SET id = $1 WHERE id = (SELECT max(id) FROM items)", &[&id])?;
            }
            7 => {
                let mut transaction = session.transaction()?;
                transaction.execute("INSERT INTO items VALUES ($1, $2)", &[&id, &generator.vector()])?;
                transaction.rollback()?;
            }
            8 if random.u32(..6) == 0 => {
                session.batch_execute("VACUUM (INDEX_CLEANUP ON) items")?;
            }
            _ => {
                let sql = "SELECT id, embedding <-> $1 FROM items ORDER BY embedding <-> $1 LIMIT 20";
                let found = session.query(sql, &[&generator.vector()])?;
                let found: Vec<_> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
                vectors::assert_in_order(&found, sql);
            }
        }
    }
    Ok(())
}

/// Whether an error is that of a session that ended with its server, was cancelled, or stood in the way of replay.
fn is_expected(error: &postgres::Error) -> bool {
    error.is_closed()
        || error.as_db_error().is_none_or(|error| {
            ["57P01", "57P02", "57P03", "57014", "40001", "40P01", "25006"].contains(&error.code().code())
        })
}

/// Four clients that come back after every crash, while `during` runs.
fn under_load(cluster: &Cluster, during: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4u64)
            .map(|client| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut seed = client;
                    while !stop.load(Ordering::Relaxed) {
                        seed += 10;
                        let Ok(mut session) = cluster.config("shop").connect(NoTls) else {
                            sleep(Duration::from_millis(5));
                            continue;
                        };
                        run_settings(&mut session);
                        if let Err(error) = work(&mut session, seed, stop) {
                            assert!(is_expected(&error), "{}", describe(&error));
                        }
                    }
                })
            })
            .collect();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(during));
        stop.store(true, Ordering::Relaxed);
        let ended = clients.into_iter().map(thread::ScopedJoinHandle::join).collect::<Vec<_>>();
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        ended.into_iter().for_each(|client| client.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    });
}

fn run_settings(session: &mut Client) {
    // A session may end at any time.
    let _ = session.batch_execute("SET enable_seqscan = off; SET enable_sort = off; SET synchronous_commit = off");
}

/// The server's log must not tell of anything but the crashes that the test makes.
fn assert_quiet(cluster: &Cluster) {
    let log = cluster.log();
    let bad =
        ["PANIC", "inconsistent page", "TRAP", "leak", "could not read block", "wrong order", "is damaged", "panicked"];
    if let Some(line) = log.lines().find(|line| bad.iter().any(|part| line.contains(part))) {
        panic!("{line}\n{}", &log[log.len().saturating_sub(5000)..]);
    }
}

/// Checks that the index is sound, that after a vacuum it has the table's rows and no others, and that they are found.
fn check(session: &mut Client) {
    vectors::assert_sound(session, "by_likeness");
    let all = found_by_index(session);
    assert_eq!(all, in_table(session), "rows that a scan to the end comes to");
    vacuum(session, "items", "by_likeness");
    vectors::assert_sound(session, "by_likeness");
    assert_eq!(stat(session, "by_likeness", "unreachable_nodes"), 0);
    let queries = Generator::new(32, DIMS).vectors(20);
    let recall = Search::nearest("items", Metric::L2, 10).recall(session, "by_likeness", &queries);
    assert!(recall > 0.93, "recall {recall}: lists of this index are short");
}

fn in_table(session: &mut Client) -> Vec<i32> {
    let rows = session.query("SELECT id FROM items ORDER BY id", &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn found_by_index(session: &mut Client) -> Vec<i32> {
    run(
        session,
        "SET vs_hnsw.ef_search = 10000; SET vs_hnsw.max_scan_tuples = 1000000; SET vs_hnsw.iterative_scan = relaxed_order",
    );
    // First whatever no search reaches is attached: an insertion that a crash cut short has no row, others may not be
    // linked well.
    run(session, "VACUUM items");
    prefer_index(session);
    let sql =
        "SELECT id, 0::float8 FROM items ORDER BY embedding <-> (SELECT embedding FROM items LIMIT 1) LIMIT 1000000";
    let mut ids: Vec<i32> = rows(session, sql, &[]).iter().map(|row| row.0).collect();
    run(session, "RESET ALL");
    ids.sort_unstable();
    ids
}

#[test]
fn killed_again_and_again() {
    let cluster = cluster();
    let database = shop(&cluster);
    let mut random = Rng::with_seed(1);
    for round in 0..20 {
        under_load(&cluster, || {
            sleep(Duration::from_millis(300 + random.u64(..700)));
            if round % 2 == 0 {
                let victim = "SELECT pid FROM pg_stat_activity WHERE datname = 'shop' AND backend_type = 'client backend' AND state = 'active' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1";
                let log = cluster.log().matches("reinitializing").count();
                let mut observer = database.connect();
                // A session may have ended by an error meanwhile; then its client is back in another.
                let pid: i32 = wait_until("somebody to be at work", || {
                    let pid = observer.query_opt(victim, &[]).unwrap()?.get(0);
                    cluster.processes().contains(&pid).then_some(pid)
                });
                cluster.kill_backend(pid);
                wait_until("the server to recover", || {
                    (cluster.log().matches("reinitializing").count() > log).then_some(())
                });
            } else {
                cluster.kill_postmaster();
                cluster.start();
            }
            wait_until("connections to be taken again", || cluster.config("shop").connect(NoTls).ok());
            sleep(Duration::from_millis(100));
        });
        check(&mut database.connect());
        assert_quiet(&cluster);
    }
}

#[test]
fn killed_in_the_middle_of_vacuums() {
    let cluster = cluster();
    let database = shop(&cluster);
    let mut random = Rng::with_seed(2);
    let mut generator = Generator::new(33, DIMS);
    for _ in 0..10 {
        let mut session = database.connect();
        vectors::append(&mut session, "items", NEXT.fetch_add(3000, Ordering::Relaxed), &generator.vectors(3000));
        run(&mut session, "DELETE FROM items WHERE id IN (SELECT id FROM items OFFSET 1000)");
        let pid: i32 = session.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
        thread::scope(|scope| {
            scope.spawn(|| session.batch_execute("VACUUM (INDEX_CLEANUP ON) items"));
            sleep(Duration::from_millis(random.u64(..400)));
            if cluster.processes().contains(&pid) {
                cluster.kill_backend(pid);
            }
        });
        wait_until("connections to be taken again", || {
            cluster.config("shop").connect(NoTls).ok().filter(|_| {
                // Not those that the crash is about to end.
                !cluster.processes().contains(&pid)
            })
        });
        sleep(Duration::from_millis(200));
        wait_until("connections to be taken again", || cluster.config("shop").connect(NoTls).ok());
        check(&mut database.connect());
        assert_quiet(&cluster);
    }
}

#[test]
fn a_standby_replays_searches_and_takes_over() {
    let primary = cluster();
    shop(&primary);
    primary.connect("shop").batch_execute("ALTER SYSTEM SET max_standby_streaming_delay = '2s'").unwrap();
    let standby = primary.standby();
    let reading = AtomicBool::new(true);
    let mut generator = Generator::new(34, DIMS);
    let queries = generator.vectors(30);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2usize)
            .map(|reader| {
                let (standby, reading, queries) = (&standby, &reading, &queries);
                scope.spawn(move || {
                    let mut answers = 0;
                    while reading.load(Ordering::Relaxed) {
                        let Ok(mut session) = standby.config("shop").connect(NoTls) else { continue };
                        run_settings(&mut session);
                        let sql = "SELECT id, embedding <-> $1 FROM items ORDER BY embedding <-> $1 LIMIT 50";
                        for query in queries.iter().skip(reader) {
                            match session.query(sql, &[query]) {
                                Ok(found) => {
                                    let found: Vec<_> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
                                    vectors::assert_in_order(&found, sql);
                                    assert_eq!(found.len(), 50, "the standby always has more rows than that");
                                    answers += 1;
                                }
                                Err(error) => assert!(is_expected(&error), "{}", describe(&error)),
                            }
                        }
                    }
                    answers
                })
            })
            .collect();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            under_load(&primary, || sleep(Duration::from_secs(8)));
            standby.wait_for_replay(&primary);
        }));
        reading.store(false, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let answers: i32 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(answers > 100, "{answers} answers while replaying");
    });
    // Both give the same answers, found in the same pages.
    let (mut ours, mut theirs) = (primary.connect("shop"), standby.connect("shop"));
    vacuum(&mut ours, "items", "by_likeness");
    standby.wait_for_replay(&primary);
    vectors::assert_sound(&mut theirs, "by_likeness");
    for column in ["rows", "nodes", "dead_nodes", "free_slots", "pages", "unreachable_nodes"] {
        assert_eq!(stat(&mut ours, "by_likeness", column), stat(&mut theirs, "by_likeness", column), "{column}");
    }
    let search = Search::nearest("items", Metric::L2, 10);
    for query in &queries {
        assert_eq!(
            search.by_index(&mut ours, "by_likeness", query),
            search.by_index(&mut theirs, "by_likeness", query)
        );
    }
    // The primary goes while it is busy; the standby takes over with all that had arrived.
    under_load(&primary, || {
        sleep(Duration::from_secs(1));
        standby.query_one::<bool>("SELECT pg_promote()");
    });
    under_load(&standby, || sleep(Duration::from_secs(2)));
    check(&mut standby.connect("shop"));
    for cluster in [&primary, &standby] {
        assert_quiet(cluster);
    }
}

#[test]
fn pages_that_nobody_came_to_fill() {
    // A crash between extending the file and the first record leaves a page of zeros. The next vacuum finds it, and the
    // next insertion uses it.
    let cluster = cluster();
    let database = shop(&cluster);
    let mut session = database.connect();
    run(&mut session, "CHECKPOINT");
    let path: String = session.query_one("SELECT pg_relation_filepath('by_likeness')", &[]).unwrap().get(0);
    let pages = stat(&mut session, "by_likeness", "pages");
    drop(session);
    cluster.stop(pg_test::Shutdown::Fast);
    let file = std::fs::OpenOptions::new().append(true).open(cluster.data().join(path)).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length + 3 * 8192).unwrap();
    cluster.start();
    let mut session = database.connect();
    check(&mut session);
    let items: Vec<Embedding> = Generator::new(35, DIMS).vectors(60);
    run(&mut session, "DELETE FROM items WHERE id < 10; VACUUM (INDEX_CLEANUP ON) items");
    vectors::append(&mut session, "items", 50_000, &items);
    assert_eq!(stat(&mut session, "by_likeness", "pages"), pages + 3, "no further page was needed");
    check(&mut session);
}
