//! Rows come and go, and the index stays as good and as small as a fresh one.

use pg_test::{
    Database, Embedding, explain,
    vectors::{self, Generator, Metric, Search, prefer_index, rows, run, stat, vacuum},
    wait_until,
};
use postgres::Client;

/// A table `items` that no autovacuum touches, with an index `by_likeness`.
fn indexed(name: &str, generator: &mut Generator, count: usize) -> (Client, Vec<Embedding>) {
    let mut session = Database::shared(name).connect();
    let items = generator.vectors(count);
    vectors::table(&mut session, "items", &items);
    run(
        &mut session,
        "ALTER TABLE items SET (autovacuum_enabled = off); CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)",
    );
    (session, items)
}

#[test]
fn three_quarters_go_and_as_many_come() {
    let mut generator = Generator::new(1, 32);
    let (mut session, _) = indexed("vacuum_quarters", &mut generator, 8000);
    let _watch = pg_test::shared_cluster().watch();
    // Not at random: most of the clusters lose all they have, as when a catalogue's season ends.
    run(&mut session, "DELETE FROM items WHERE id % 4 <> 0");
    vacuum(&mut session, "items", "by_likeness");
    vectors::assert_sound(&mut session, "by_likeness");
    let counts = |session: &mut Client| {
        ["nodes", "rows", "dead_nodes", "unreachable_nodes"].map(|what| stat(session, "by_likeness", what))
    };
    assert_eq!(counts(&mut session), [2000, 2000, 0, 0]);
    vectors::append(&mut session, "items", 10_000, &generator.vectors(6000));
    vectors::assert_sound(&mut session, "by_likeness");
    assert_eq!(counts(&mut session)[..3], [8000, 8000, 0]);

    let queries = generator.vectors(60);
    let search = Search::nearest("items", Metric::L2, 10);
    let (recall, pages) =
        (search.recall(&mut session, "by_likeness", &queries), stat(&mut session, "by_likeness", "pages"));
    run(&mut session, "DROP INDEX by_likeness; CREATE INDEX fresh ON items USING vs_hnsw (embedding)");
    let (fresh_recall, fresh_pages) =
        (search.recall(&mut session, "fresh", &queries), stat(&mut session, "fresh", "pages"));
    assert!(recall >= 0.97 * fresh_recall, "recall {recall}, of a fresh index {fresh_recall}");
    assert!(pages as f64 <= 1.05 * fresh_pages as f64, "{pages} pages, a fresh index has {fresh_pages}");
}

#[test]
fn regions_that_go_entirely() {
    let mut generator = Generator::new(2, 16);
    let (mut session, items) = indexed("vacuum_regions", &mut generator, 4000);
    // Everything near the first row goes, then everything far from it but ten, in between everything comes back.
    for condition in ["embedding <-> $1 < 1.2", "embedding <-> $1 >= 1.2 AND id % 100 <> 0"] {
        let deleted = session.execute(&format!("DELETE FROM items WHERE {condition}"), &[&items[0]]).unwrap();
        assert!(deleted > 100, "{condition}: {deleted} rows");
        vacuum(&mut session, "items", "by_likeness");
        vectors::assert_sound(&mut session, "by_likeness");
        assert_eq!(stat(&mut session, "by_likeness", "unreachable_nodes"), 0, "{condition}");
        let recall = Search::nearest("items", Metric::L2, 10).recall(&mut session, "by_likeness", &items[..40]);
        assert!(recall > 0.98, "{condition}: recall {recall}");
        run(&mut session, "DELETE FROM items");
        vectors::append(&mut session, "items", 0, &items);
        vacuum(&mut session, "items", "by_likeness");
        assert_eq!(stat(&mut session, "by_likeness", "rows"), 4000);
        let recall = Search::nearest("items", Metric::L2, 10).recall(&mut session, "by_likeness", &items[..40]);
        assert!(recall > 0.98, "{condition}, filled again: recall {recall}");
    }
}

/// Ten thousand rows, a tenth of them the same vector.
fn with_duplicates(name: &str, metric: Metric) -> (Client, Embedding) {
    let mut session = Database::shared(name).connect();
    let mut generator = Generator::new(3, 16);
    vectors::table(&mut session, "items", &generator.vectors(9000));
    let same = generator.vector();
    vectors::append(&mut session, "items", 10_000, &vec![same.clone(); 500]);
    run(
        &mut session,
        &format!(
            "ALTER TABLE items SET (autovacuum_enabled = off); CREATE INDEX by_likeness ON items USING vs_hnsw (embedding {})",
            metric.opclass()
        ),
    );
    vectors::append(&mut session, "items", 20_000, &vec![same.clone(); 500]);
    (session, same)
}

#[test]
fn a_thousand_identical_vectors_are_all_found() {
    for metric in [Metric::L2, Metric::Cosine] {
        let (mut session, same) = with_duplicates(&format!("vacuum_same_{}", metric.name()), metric);
        let nodes = stat(&mut session, "by_likeness", "nodes");
        assert!((9001..=9003).contains(&nodes), "{nodes} nodes: a vector has one, however many rows have it");
        let search = Search::nearest("items", metric, 1000);
        let found = search.by_index(&mut session, "by_likeness", &same);
        assert_eq!(found.iter().filter(|row| row.0 >= 10_000).count(), 1000, "{metric:?}");
        // Some go, others come, and all are found still.
        run(&mut session, "DELETE FROM items WHERE id >= 10000 AND id % 3 <> 0");
        vacuum(&mut session, "items", "by_likeness");
        vectors::assert_sound(&mut session, "by_likeness");
        let left = search.by_index(&mut session, "by_likeness", &same).iter().filter(|row| row.0 >= 10_000).count();
        assert_eq!(left, 333, "{metric:?}, after most were deleted");
        let pages = stat(&mut session, "by_likeness", "pages");
        for round in 0..3 {
            vectors::append(&mut session, "items", 30_000, &vec![same.clone(); 667]);
            let found = search.by_index(&mut session, "by_likeness", &same);
            assert_eq!(found.iter().filter(|row| row.0 >= 10_000).count(), 1000, "{metric:?}, round {round}");
            run(&mut session, "DELETE FROM items WHERE id >= 30000");
            vacuum(&mut session, "items", "by_likeness");
        }
        vectors::assert_sound(&mut session, "by_likeness");
        assert!(stat(&mut session, "by_likeness", "pages") <= pages + 2, "room is used again");
        run(&mut session, "DELETE FROM items WHERE id >= 10000");
        vacuum(&mut session, "items", "by_likeness");
        vectors::assert_sound(&mut session, "by_likeness");
        assert_eq!(stat(&mut session, "by_likeness", "rows"), 9000);
        assert_eq!(stat(&mut session, "by_likeness", "nodes"), 9000);
    }
}

#[test]
fn identical_vectors_under_the_inner_product() {
    let (mut session, same) = with_duplicates("vacuum_same_ip", Metric::InnerProduct);
    let nodes = stat(&mut session, "by_likeness", "nodes");
    assert!((9001..=9003).contains(&nodes), "{nodes} nodes: a vector has one, however many rows have it");
    let search = Search::of("items", Metric::InnerProduct, 1000, "id >= 10000");
    run(&mut session, "SET vs_hnsw.iterative_scan = relaxed_order; SET vs_hnsw.ef_search = 1000");
    prefer_index(&mut session);
    let found = rows(&mut session, &search.sql, &[&same]);
    assert_eq!(found.len(), 1000);
    vectors::assert_sound(&mut session, "by_likeness");
}

#[test]
fn a_table_of_one_vector_only() {
    let mut session = Database::shared("vacuum_only_one").connect();
    let same = Embedding::of([0.5, -0.25, 3.0]);
    vectors::table(&mut session, "items", &vec![same.clone(); 3000]);
    run(
        &mut session,
        "ALTER TABLE items SET (autovacuum_enabled = off); CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)",
    );
    let search = Search::nearest("items", Metric::L2, 5000);
    assert_eq!(search.by_index(&mut session, "by_likeness", &same).len(), 3000);
    run(&mut session, "DELETE FROM items WHERE id < 2990");
    vacuum(&mut session, "items", "by_likeness");
    assert_eq!(search.by_index(&mut session, "by_likeness", &same).len(), 10);
    vectors::assert_sound(&mut session, "by_likeness");
    run(&mut session, "DELETE FROM items");
    vacuum(&mut session, "items", "by_likeness");
    assert_eq!(stat(&mut session, "by_likeness", "nodes"), 0);
    vectors::append(&mut session, "items", 0, &vec![same.clone(); 10]);
    assert_eq!(search.by_index(&mut session, "by_likeness", &same).len(), 10);
    vectors::assert_sound(&mut session, "by_likeness");
}

#[test]
fn updates_in_place_and_elsewhere() {
    let mut generator = Generator::new(4, 16);
    let (mut session, items) = indexed("vacuum_updates", &mut generator, 3000);
    run(&mut session, "ALTER TABLE items ADD note text, SET (fillfactor = 60); VACUUM FULL items");
    let search = Search::nearest("items", Metric::L2, 10);
    // A new version on the same page has the index entry of the old one.
    run(&mut session, "UPDATE items SET note = 'seen' WHERE id % 3 = 0");
    assert_eq!(stat(&mut session, "by_likeness", "rows"), 3000, "no entry was added");
    assert_eq!(search.recall(&mut session, "by_likeness", &items[..30]), 1.0);
    let sql = format!("SELECT note FROM items ORDER BY embedding <-> '{}' LIMIT 1", items[3].to_text());
    assert_eq!(session.query_one(&sql, &[]).unwrap().get::<_, Option<&str>>(0), Some("seen"));
    // One with another vector has an entry of its own, and the old one is found no more.
    let update = session.prepare("UPDATE items SET embedding = $2 WHERE id = $1").unwrap();
    for (id, vector) in (0..300).zip(generator.vectors(300)) {
        session.execute(&update, &[&id, &vector]).unwrap();
    }
    for round in 0..2 {
        let recall = search.recall(&mut session, "by_likeness", &items[..30]);
        assert!(recall > 0.98, "round {round}: recall {recall}");
        let found = search.by_index(&mut session, "by_likeness", &items[7]);
        assert!(found.iter().all(|row| row.1 > Some(0.0)), "the old vector of row 7 is not there: {found:?}");
        vacuum(&mut session, "items", "by_likeness");
        vectors::assert_sound(&mut session, "by_likeness");
    }
    assert_eq!(stat(&mut session, "by_likeness", "rows"), 3000);
    // The same vector in a version that has no room on its page: two entries for one node.
    run(&mut session, "UPDATE items SET note = repeat('x', 1500)");
    assert_eq!(stat(&mut session, "by_likeness", "nodes"), 3000);
    assert!(search.recall(&mut session, "by_likeness", &items[300..330]) > 0.98);
    vacuum(&mut session, "items", "by_likeness");
    vectors::assert_sound(&mut session, "by_likeness");
    assert_eq!(stat(&mut session, "by_likeness", "rows"), 3000);
}

/// Rows of the table that a query looked at, from what EXPLAIN counts.
fn buffers(session: &mut Client, sql: &str) -> i64 {
    let plan = explain(session, "ANALYZE, BUFFERS, TIMING off, SUMMARY off, COSTS off", sql);
    assert!(plan.contains("using by_likeness"), "{plan}");
    let counts = plan.lines().find_map(|line| line.trim().strip_prefix("Buffers: shared ")).expect("pages were read");
    counts.split([' ', '=']).filter_map(|word| word.parse::<i64>().ok()).sum()
}

#[test]
fn rows_found_dead_are_not_fetched_again() {
    let mut generator = Generator::new(5, 16);
    let (mut session, items) = indexed("vacuum_killed", &mut generator, 3000);
    // Each row on a page of its own, so that fetching one is a page more.
    run(
        &mut session,
        "ALTER TABLE items ADD filler text DEFAULT repeat('x', 5000); ALTER TABLE items ALTER filler SET STORAGE PLAIN;
                       UPDATE items SET filler = repeat('y', 5000); VACUUM FULL items",
    );
    prefer_index(&mut session);
    let sql = format!("SELECT id FROM items ORDER BY embedding <-> '{}' LIMIT 30", items[0].to_text());
    let dead = "DELETE FROM items WHERE id IN (SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 30)";
    session.execute(dead, &[&items[0]]).unwrap();
    let first = buffers(&mut session, &sql);
    // Sessions of other tests may for a while be able to see the rows.
    wait_until("the rows to be dead to everybody", || {
        rows_of(&mut session, &sql);
        // Old versions of rows may be among them, which VACUUM FULL kept for such a session.
        (stat(&mut session, "by_likeness", "killed_rows") >= 30).then_some(())
    });
    let second = buffers(&mut session, &sql);
    assert!(second <= first - 30, "{first} pages at first, {second} when 30 rows are known to be dead");
    vectors::assert_sound(&mut session, "by_likeness");
    vacuum(&mut session, "items", "by_likeness");
    assert_eq!(["killed_rows", "rows"].map(|what| stat(&mut session, "by_likeness", what)), [0, 2970]);
}

#[test]
fn a_new_row_in_the_place_of_a_dead_one_is_not_taken_for_dead() {
    // A cursor comes across dead rows; before it is closed and marks them, a vacuum removes them and new rows get
    // their addresses in the table, and their slots in the index.
    for victims in [1, 5, 40, 200] {
        let name = format!("vacuum_mistaken_{victims}");
        let mut generator = Generator::new(6, 16);
        let (mut session, items) = indexed(&name, &mut generator, 500);
        let mut other = pg_test::shared_cluster().connect(&name);
        let nearest = format!("SELECT id FROM items ORDER BY embedding <-> '{}' LIMIT", items[0].to_text());
        run(
            &mut other,
            &format!(
                "CREATE TEMP TABLE victims AS {nearest} {victims}; DELETE FROM items WHERE id IN (SELECT id FROM victims)"
            ),
        );
        prefer_index(&mut session);
        run(&mut session, &format!("BEGIN; DECLARE dead CURSOR FOR {nearest} 300"));
        rows_of(&mut session, "FETCH 100 FROM dead");
        // Not until all is removed: the cursor pins the page of the table that it is on.
        run(&mut other, "VACUUM (INDEX_CLEANUP ON) items");
        // In the order of the rows that were there, as near as the old ones were.
        let back: Vec<i32> = rows_of(&mut other, "SELECT id FROM victims ORDER BY id");
        for id in back {
            let mut vector = items[id as usize].clone();
            vector.elements[0] = half::f16::from_f32(vector.elements[0].to_f32() + 0.01);
            vectors::append(&mut other, "items", 1000 + id, &[vector]);
        }
        run(&mut session, "CLOSE dead; COMMIT");
        run(&mut session, "SET vs_hnsw.ef_search = 1000");
        let found = Search::nearest("items", Metric::L2, 1000).by_index(&mut session, "by_likeness", &items[0]);
        assert_eq!(found.len(), 500, "{victims} rows were replaced");
    }
}

fn rows_of(session: &mut Client, sql: &str) -> Vec<i32> {
    session
        .query(sql, &[])
        .unwrap_or_else(|e| panic!("{sql}: {}", pg_test::describe(&e)))
        .iter()
        .map(|row| row.get(0))
        .collect()
}

#[test]
fn a_table_that_starts_again() {
    // One session inserts all the time; what it remembers of the index must not outlive the index's file.
    let mut generator = Generator::new(7, 16);
    let (mut session, items) = indexed("vacuum_again", &mut generator, 2000);
    let mut other = pg_test::shared_cluster().connect("vacuum_again");
    let search = Search::nearest("items", Metric::L2, 10);
    let anew: [(&str, i64); 6] = [
        ("TRUNCATE items", 0),
        ("DELETE FROM items; VACUUM FULL items", 0),
        ("REINDEX INDEX by_likeness", 300),
        ("ALTER TABLE items SET UNLOGGED", 300),
        ("ALTER TABLE items SET LOGGED", 300),
        ("BEGIN; TRUNCATE items; ROLLBACK", 300),
    ];
    for in_other in [false, true] {
        for (statement, left) in anew {
            vectors::append(&mut session, "items", 0, &items[..200]);
            run(&mut session, "DELETE FROM items WHERE id >= 300");
            vectors::append(&mut session, "items", 200, &items[200..300]);
            run(&mut session, "VACUUM items");
            let before: i64 = session.query_one("SELECT count(*) FROM items", &[]).unwrap().get(0);
            let there = if in_other { &mut other } else { &mut session };
            statement.split("; ").for_each(|part| run(there, part));
            vectors::append(&mut session, "items", 10_000, &items[..500]);
            vectors::assert_sound(&mut session, "by_likeness");
            let expected = 500 + if left == 0 { 0 } else { before };
            // More where sessions of other tests may still be able to see deleted rows.
            assert!(stat(&mut session, "by_likeness", "rows") >= expected, "{statement}");
            let recall = search.recall(&mut session, "by_likeness", &items[..20]);
            assert!(recall > 0.98, "{statement}: recall {recall}");
            run(&mut session, "TRUNCATE items");
        }
    }
    // Within one transaction, the file is cut instead of replaced.
    run(
        &mut session,
        "BEGIN; CREATE TABLE made (LIKE items); CREATE INDEX made_index ON made USING vs_hnsw (embedding)",
    );
    for _ in 0..3 {
        vectors::append(&mut session, "made", 0, &items[..500]);
        run(&mut session, "TRUNCATE made");
    }
    vectors::append(&mut session, "made", 0, &items[..100]);
    run(&mut session, "COMMIT");
    assert_eq!(stat(&mut session, "made_index", "rows"), 100);
}

#[test]
fn an_untyped_column_may_be_emptied() {
    let mut generator = Generator::new(8, 16);
    let mut session = Database::shared("vacuum_untyped").connect();
    let items = generator.vectors(300);
    run(&mut session, "CREATE TABLE items (id int, embedding image_embedding)");
    vectors::append(&mut session, "items", 0, &items);
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)");
    for statement in ["TRUNCATE items", "DELETE FROM items; VACUUM items", "DELETE FROM items; VACUUM FULL items"] {
        statement.split("; ").for_each(|part| run(&mut session, part));
        vectors::append(&mut session, "items", 0, &items);
        let found = Search::nearest("items", Metric::L2, 1000).by_index(&mut session, "by_likeness", &items[0]);
        assert_eq!(found.len(), 300, "{statement}");
    }
    // Emptied twice in one transaction, the second time in place; and at every commit.
    run(&mut session, "BEGIN; TRUNCATE items; TRUNCATE items; COMMIT");
    vectors::append(&mut session, "items", 0, &items);
    let found = Search::nearest("items", Metric::L2, 1000).by_index(&mut session, "by_likeness", &items[0]);
    assert_eq!(found.len(), 300, "after two TRUNCATEs in a transaction");
    run(
        &mut session,
        "BEGIN; CREATE TEMP TABLE passing (id int, embedding image_embedding) ON COMMIT DELETE ROWS; INSERT INTO passing SELECT * FROM items; CREATE INDEX passing_index ON passing USING vs_hnsw (embedding); COMMIT",
    );
    run(&mut session, "BEGIN; INSERT INTO passing SELECT * FROM items");
    let found = Search::nearest("passing", Metric::L2, 1000).by_index(&mut session, "passing_index", &items[0]);
    assert_eq!(found.len(), 300, "in a table that is emptied at commit");
    run(&mut session, "COMMIT");
}

#[test]
fn rows_of_one_vector_are_all_found_while_a_vacuum_takes_others_out() {
    // The vacuum rests after each of ten thousand entries. A search takes longer to read them all than it rests, so it never
    // sees the node twice alike.
    let database = Database::shared("vacuum_contended");
    let mut session = database.connect();
    let same = Embedding::of([0.5, -0.25, 3.0]);
    vectors::table(&mut session, "items", &vec![same.clone(); 100_000]);
    run(&mut session, "ALTER TABLE items SET (autovacuum_enabled = off)");
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)");
    run(&mut session, "DELETE FROM items WHERE id % 10 <> 0");
    let search = Search::nearest("items", Metric::L2, 1_000_000);
    let finished = std::sync::atomic::AtomicBool::new(false);
    let done = || finished.load(std::sync::atomic::Ordering::Relaxed);
    let searches = std::thread::scope(|scope| {
        let vacuum = scope.spawn(|| {
            let mut session = database.connect();
            run(&mut session, "SET vacuum_cost_delay = '0.1ms'; SET vacuum_cost_limit = 1");
            run(&mut session, "VACUUM (INDEX_CLEANUP ON, TRUNCATE off) items");
            finished.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let writes = scope.spawn(|| {
            let mut session = database.connect();
            for id in (100_001..).take_while(|_| !done()) {
                vectors::append(&mut session, "items", id, std::slice::from_ref(&same));
            }
        });
        let mut searches = 0;
        while !done() {
            let found = search.by_index(&mut session, "by_likeness", &same);
            let stayed = found.iter().filter(|row| row.0 < 100_000).count();
            assert_eq!(stayed, 10_000, "in search {searches}");
            searches += 1;
        }
        vacuum.join().unwrap();
        writes.join().unwrap();
        searches
    });
    assert!(searches > 10, "{searches} searches while a vacuum was under way");
    vectors::assert_sound(&mut session, "by_likeness");
    vacuum(&mut session, "items", "by_likeness");
    vectors::assert_sound(&mut session, "by_likeness");
}

#[test]
fn a_vacuum_without_dead_rows_counts_the_rows_of_a_partial_index() {
    let mut generator = Generator::new(9, 16);
    let mut session = Database::shared("vacuum_partial").connect();
    vectors::table(&mut session, "items", &generator.vectors(2000));
    run(&mut session, "ALTER TABLE items SET (autovacuum_enabled = off)");
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding) WHERE id < 100");
    vectors::append(&mut session, "items", 50, &generator.vectors(10));
    for statement in ["VACUUM items", "INSERT INTO items (id) VALUES (7000); VACUUM items"] {
        run(&mut session, statement);
        let rows: f32 =
            session.query_one("SELECT reltuples FROM pg_class WHERE relname = 'by_likeness'", &[]).unwrap().get(0);
        assert_eq!(rows, 110.0, "{statement}");
    }
}

/// Pages of the index `by_likeness` that have been looked up by sessions that have ended.
fn pages_looked_up(database: &Database<'_>) -> i64 {
    database
        .query_one("SELECT idx_blks_hit + idx_blks_read FROM pg_statio_user_indexes WHERE indexrelname = 'by_likeness'")
}

#[test]
fn a_vacuum_with_nothing_to_do_reads_the_pages_and_no_more() {
    let database = Database::shared("vacuum_idle");
    let mut session = database.connect();
    vectors::table(&mut session, "items", &Generator::new(10, 16).vectors(5000));
    run(&mut session, "ALTER TABLE items SET (autovacuum_enabled = off)");
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding); VACUUM items");
    vectors::append(&mut session, "items", 5000, &Generator::new(11, 16).vectors(50));
    let pages = stat(&mut session, "by_likeness", "pages");
    assert!(pages < 500);
    drop(session);
    // What the session that ended looked up is counted soon after its end.
    let mut before = -1;
    wait_until("the counters to come to rest", || {
        let now = pages_looked_up(&database);
        std::thread::sleep(std::time::Duration::from_millis(300));
        (std::mem::replace(&mut before, now) == now && pages_looked_up(&database) == now).then_some(())
    });
    database.run("VACUUM items");
    let looked_up = wait_until("the vacuum to be counted", || {
        let more = pages_looked_up(&database) - before;
        (more >= pages).then_some(more)
    });
    assert!(looked_up < 4 * pages, "{looked_up} for {pages} pages: a walk would come to each of 5,050 nodes");
}

#[test]
fn vacuums_rest_as_they_are_told_to() {
    let mut generator = Generator::new(12, 16);
    let (mut session, _) = indexed("vacuum_paced", &mut generator, 3000);
    run(&mut session, "DELETE FROM items WHERE id = 7");
    // With a dead node the graph is walked through, node by node. A page looked up costs 1, and it rests after 100.
    run(&mut session, "SET vacuum_cost_delay = '5ms'; SET vacuum_cost_limit = 100");
    let start = std::time::Instant::now();
    run(&mut session, "VACUUM (INDEX_CLEANUP ON) items");
    let elapsed = start.elapsed();
    assert!(elapsed > std::time::Duration::from_millis(3000 / 100 * 5), "{elapsed:?} for 3,000 nodes");
}
