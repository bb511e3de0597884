//! Damaged pages: an index that cannot be what was written says so, or answers as if nothing were wrong; the server stays.
//!
//! Many copies of one index are made, and their files are damaged while the server is down: bytes at random, in a page
//! chosen at random, the metapage among them. Then everything that reads or writes an index is tried on each copy.
//!
//! Not all damage can be seen by a search. Without page checksums nothing tells that a list names other nodes than it did,
//! that a row's address has become that of another row, or that a slot has fewer rows than it had. What is asked for is
//! therefore: never anything but an answer or an error that names the index and says REINDEX (or PostgreSQL's own that the
//! order was wrong, where the bound of a distance was hit); that a wrong answer without an error is rare; and that the check
//! tells of each.

use std::{
    fs::OpenOptions,
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use fastrand::Rng;
use pg_test::{
    Cluster, Shutdown,
    vectors::{self, Generator, run},
};
use postgres::Client;

const PAGE: usize = 8192;

/// How many copies are damaged.
const ROUNDS: usize = 500;

const DIMS: usize = 12;

/// The rows of each table.
const ROWS: usize = 150;

/// Makes the tables `t0`, `t1`, …, each with an index `t0_index`, …, all of them alike: nodes on several layers, a vector
/// that many rows share, and rows without a vector.
fn copies(session: &mut Client) {
    let items = Generator::new(41, DIMS).vectors(ROWS);
    vectors::table(session, "original", &items);
    vectors::append(session, "original", 1000, &vec![items[3].clone(); 40]);
    run(session, "INSERT INTO original (id) SELECT generate_series(2000, 2009)");
    for round in 0..ROUNDS {
        run(
            session,
            &format!(
                "BEGIN; CREATE TABLE t{round} (LIKE original) WITH (autovacuum_enabled = off);
                 INSERT INTO t{round} SELECT * FROM original;
                 CREATE INDEX t{round}_index ON t{round} USING vs_hnsw (embedding) WITH (m = 3, ef_construction = 20);
                 DELETE FROM t{round} WHERE id % 7 = 0; COMMIT"
            ),
        );
    }
}

/// Overwrites a few bytes of a page at random; in the latter half of rounds one number, with one that may be near.
fn damage(file: &Path, random: &mut Rng) -> String {
    let mut file = OpenOptions::new().read(true).write(true).open(file).expect("an index has a file");
    let pages = file.metadata().expect("a file has a length").len() as usize / PAGE;
    let page = if random.u8(..6) == 0 { 0 } else { random.usize(..pages) };
    let mut bytes = vec![0; PAGE];
    file.seek(SeekFrom::Start((page * PAGE) as u64)).unwrap();
    file.read_exact(&mut bytes).unwrap();
    // What PostgreSQL writes into a page's header is its own matter, and checked by it when a page is read.
    let used = usize::from(u16::from_ne_bytes([bytes[12], bytes[13]])).clamp(25, PAGE);
    let at = if random.u8(..20) == 0 { PAGE - 8 + random.usize(..8) } else { random.usize(24..used) };
    let what = match random.u8(..8) {
        0 => {
            let len = random.usize(1..400).min(PAGE - at);
            bytes[at..at + len].fill_with(|| random.u8(..));
            format!("{len} bytes at random")
        }
        1 => {
            let len = random.usize(1..2000).min(PAGE - at);
            bytes[at..at + len].fill(0);
            format!("{len} zeros")
        }
        2 => {
            bytes[at] ^= 1 << random.u8(..8);
            "a bit".to_owned()
        }
        3 => {
            bytes.fill(0);
            "a page of zeros".to_owned()
        }
        _ => {
            bytes[at] = random.u8(..);
            "a byte".to_owned()
        }
    };
    file.seek(SeekFrom::Start((page * PAGE) as u64)).unwrap();
    file.write_all(&bytes).unwrap();
    format!("{what} at {at} of page {page} of {pages}")
}

/// How something ended that was tried on a damaged index.
#[derive(Debug, PartialEq, Eq)]
enum Outcome<T> {
    Answer(T),
    /// The index is said to be damaged.
    Damaged,
    /// The executor found a row before one that had been returned.
    Disorder,
}

fn outcome<T>(result: Result<T, postgres::Error>, what: &str) -> Outcome<T> {
    match result {
        Ok(value) => Outcome::Answer(value),
        Err(error) => {
            let server = pg_test::server_error(error, what);
            let told = server.message().starts_with("index \"") && server.message().ends_with("\" is damaged");
            if told {
                assert_eq!(server.code().code(), "XX002", "{what}: {server:?}");
                assert!(server.hint().is_some_and(|hint| hint.contains("REINDEX")), "{what}: {server:?}");
                return Outcome::Damaged;
            }
            assert_eq!(server.message(), "index returned tuples in wrong order", "{what}: {server:?}");
            Outcome::Disorder
        }
    }
}

fn ids(session: &mut Client, sql: &str, what: &str) -> Outcome<Vec<i32>> {
    let rows = session.query(sql, &[]);
    outcome(rows.map(|rows| rows.iter().map(|row| row.get(0)).collect()), what)
}

/// Whether every row of the table comes, each once.
fn is_whole(found: &[i32], expected: &[i32]) -> bool {
    let mut found = found.to_vec();
    found.sort_unstable();
    found == expected
}

#[test]
fn damaged_copies_say_so_or_answer() {
    let cluster = Cluster::builder()
        .set("autovacuum", "off")
        .set("max_wal_size", "2GB")
        .set("shared_buffers", "256MB")
        .set("statement_timeout", "20s")
        .start();
    let database = cluster.database("shop");
    let mut session = database.connect();
    copies(&mut session);
    let files: Vec<String> = session
        .query(
            "SELECT pg_relation_filepath(format('t%s_index', n)::regclass) FROM generate_series(0, $1) n",
            &[&(ROUNDS as i32 - 1)],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    drop(session);
    cluster.stop(Shutdown::Fast);
    let mut random = Rng::with_seed(42);
    let damages: Vec<String> = files.iter().map(|file| damage(&cluster.data().join(file), &mut random)).collect();
    cluster.start();
    let watch = cluster.watch();

    let mut session = database.connect();
    let mut queries = Generator::new(43, DIMS);
    let (mut told, mut disorder, mut seen, mut unseen) = (0, 0, 0, Vec::new());
    for (round, damage) in damages.iter().enumerate() {
        let query = queries.vector().to_text();
        let mut expected: Vec<i32> = session
            .query(&format!("SELECT id FROM t{round} ORDER BY id"), &[])
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        run(&mut session, "SET enable_seqscan = off; SET enable_sort = off; RESET vs_hnsw.iterative_scan");
        let select = format!("SELECT id FROM t{round} ORDER BY embedding <-> '{query}'");
        let what = |doing: &str| format!("round {round}, {damage}, {doing}");
        let mut was_told = false;
        let mut wrong = Vec::new();
        for step in 0..3 {
            match ids(&mut session, &select, &what("SELECT")) {
                Outcome::Answer(found) if is_whole(&found, &expected) => {}
                Outcome::Answer(found) => {
                    wrong.push(format!("{} of {} rows in step {step}", found.len(), expected.len()))
                }
                Outcome::Damaged => was_told = true,
                Outcome::Disorder => disorder += 1,
            }
            // A search of the graph alone, which may find less.
            run(&mut session, "SET vs_hnsw.iterative_scan = off");
            if let Outcome::Damaged = ids(&mut session, &format!("{select} LIMIT 10"), &what("a search")) {
                was_told = true;
            }
            run(&mut session, "RESET vs_hnsw.iterative_scan");
            let (doing, statement) = match step {
                0 => ("INSERT", format!("INSERT INTO t{round} VALUES (5000, '{query}')")),
                1 => ("VACUUM", format!("VACUUM (INDEX_CLEANUP ON) t{round}")),
                _ => break,
            };
            match outcome(session.batch_execute(&statement), &what(doing)) {
                Outcome::Answer(()) if step == 0 => expected.push(5000),
                Outcome::Answer(()) => {}
                Outcome::Damaged => was_told = true,
                Outcome::Disorder => unreachable!("{doing} has no order"),
            }
        }
        let check = session.query(&format!("SELECT problem FROM vs_hnsw_check('t{round}_index')"), &[]);
        let problems = match outcome(check, &what("vs_hnsw_check")) {
            Outcome::Answer(rows) => rows.len(),
            _ => 1,
        };
        told += usize::from(was_told);
        if !wrong.is_empty() && !was_told {
            match problems {
                0 => unseen.push(format!("{damage}: {}", wrong.join(", "))),
                _ => seen += 1,
            }
        }
        // Whatever it was, REINDEX mends it.
        if was_told && round % 10 == 0 {
            run(&mut session, &format!("REINDEX INDEX t{round}_index"));
            match ids(&mut session, &select, &what("after REINDEX")) {
                Outcome::Answer(found) => assert!(is_whole(&found, &expected), "{}", what("after REINDEX")),
                other => panic!("{}: {other:?}", what("after REINDEX")),
            }
        }
    }
    drop(watch);
    let counts = format!("{told} told, {disorder} in disorder, {seen} seen by the check alone");
    assert!(unseen.is_empty(), "{counts}, and these by nobody:\n{}", unseen.join("\n"));
    // Half of the damage is in lists, which search the better for it or the worse, or in what is not in use.
    assert!(told > ROUNDS / 2 && seen < ROUNDS / 20 && disorder < ROUNDS / 20, "{counts}");
    eprintln!("{counts}");
}
