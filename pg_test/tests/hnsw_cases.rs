//! Queries of kinds that came back short or wrong, in small: what users write and planners do not foresee.
//!
//! Every answer is held against the one that a plan without the index gives. `max_scan_tuples` is small, so that scans
//! of tables of thousands go where by default those of tens of thousands go; and so is `ef_search`, for an index that is
//! small beside it is read from end to end.

use pg_test::{
    Database, describe, explain,
    vectors::{prefer_index, prefer_table, run},
};
use postgres::Client;

/// Reproducible vectors of eight elements around `c`.
const VECTORS: &str = "CREATE FUNCTION v(g int, c float8 DEFAULT 0) RETURNS image_embedding LANGUAGE sql IMMUTABLE AS
    'SELECT array_agg((c + (hashint4(g * 97 + i) & 65535) / 65536.0 - 0.5)::real)::image_embedding FROM generate_series(1, 8) i'";

const ROWS: i64 = 6000;

/// A table `t` of [`ROWS`] rows with an index.
fn table(name: &str) -> Client {
    let mut session = Database::shared(name).connect();
    run(&mut session, VECTORS);
    run(
        &mut session,
        &format!(
            "CREATE TABLE t (id int PRIMARY KEY, grp int, e image_embedding(8));
             INSERT INTO t SELECT g, g % 20, v(g) FROM generate_series(1, {ROWS}) g;
             CREATE INDEX t_idx ON t USING vs_hnsw (e) WITH (m = 8, ef_construction = 32); VACUUM ANALYZE t;
             SET vs_hnsw.max_scan_tuples = 1000; SET vs_hnsw.ef_search = 10"
        ),
    );
    session
}

/// A shop of shoes, which come first, and some hats, which lie elsewhere.
fn shop(name: &str) -> Client {
    let mut session = Database::shared(name).connect();
    run(&mut session, VECTORS);
    run(
        &mut session,
        &format!(
            "CREATE TABLE shop (id int PRIMARY KEY, category text, e image_embedding(8)) WITH (autovacuum_enabled = off);
             INSERT INTO shop SELECT g, CASE WHEN g <= {shoes} THEN 'shoes' ELSE 'hats' END,
                 v(g, CASE WHEN g <= {shoes} THEN 1 ELSE -1 END) FROM generate_series(1, {ROWS}) g;
             CREATE INDEX shop_idx ON shop USING vs_hnsw (e) WITH (m = 8, ef_construction = 32); VACUUM ANALYZE shop;
             SET vs_hnsw.max_scan_tuples = 1000; SET vs_hnsw.ef_search = 10",
            shoes = ROWS * 5 / 6
        ),
    );
    session
}

/// Everything that a query returns, as text.
fn answer(session: &mut Client, sql: &str) -> Vec<String> {
    let messages = session.simple_query(sql).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
    let row = |message: &postgres::SimpleQueryMessage| match message {
        postgres::SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.get(at).unwrap_or("NULL")).collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

/// Asks by the index `index`, which the plan must use, and without it; both answers must be the same.
fn both_ways(session: &mut Client, sql: &str, index: &str) -> Vec<String> {
    prefer_index(session);
    let plan = explain(session, "COSTS off", sql);
    assert!(plan.contains(&format!("using {index} ")), "{sql}\n{plan}");
    let found = answer(session, sql);
    prefer_table(session);
    let exact = answer(session, sql);
    run(session, "RESET enable_seqscan; RESET enable_sort; RESET enable_indexscan");
    let planned = answer(session, sql);
    assert_eq!((&found, &planned), (&exact, &exact), "{sql}");
    found
}

#[test]
fn a_page_and_the_total_beside_it() {
    let mut session = table("cases_window");
    let near = "ORDER BY e <-> v(0)";
    for iteration in ["strict_order", "relaxed_order"] {
        run(&mut session, &format!("SET vs_hnsw.iterative_scan = {iteration}"));
        for sql in [
            format!("SELECT id, count(*) OVER () AS total, max(e <-> v(0)) OVER () AS farthest FROM t {near} LIMIT 2"),
            format!("SELECT percent_rank() OVER (ORDER BY e <-> v(0)) FROM t {near} LIMIT 1 OFFSET 99"),
            format!("SELECT id, count(*) OVER () AS total FROM (SELECT id FROM t {near}) s LIMIT 1"),
            format!("SELECT ntile(4) OVER ({near}), count(*) OVER () FROM t {near} LIMIT 1 OFFSET 1600"),
        ] {
            both_ways(&mut session, &sql, "t_idx");
        }
    }
}

#[test]
fn what_is_forbidden_to_the_planner_does_not_cost_rows() {
    let mut session = table("cases_forbidden");
    for sql in [
        "SELECT count(*) FROM (SELECT id FROM t ORDER BY e <-> v(0) OFFSET 0) s".to_owned(),
        format!("SELECT count(*) FROM (SELECT id FROM t ORDER BY e <-> v(0) LIMIT {}) s", ROWS * 3 / 4),
        "SELECT cardinality(ARRAY(SELECT id FROM t ORDER BY e <-> v(0)))".to_owned(),
    ] {
        run(&mut session, "SET enable_seqscan = off");
        let plan = explain(&mut session, "COSTS off", &sql);
        assert!(plan.contains("using t_idx "), "{plan}");
        let found = answer(&mut session, &sql);
        run(&mut session, "RESET enable_seqscan");
        let expected = if sql.contains("LIMIT") { ROWS * 3 / 4 } else { ROWS };
        assert_eq!(found, [expected.to_string()], "{sql}");
    }
}

#[test]
fn the_tenth_execution_of_a_prepared_page_is_as_the_first() {
    let mut session = table("cases_generic");
    run(
        &mut session,
        "PREPARE page (int, int) AS SELECT id FROM t ORDER BY e <-> (SELECT e FROM t WHERE id = 42) LIMIT $1 OFFSET $2",
    );
    session
        .batch_execute(
            "CREATE FUNCTION nearest(q image_embedding, k int) RETURNS SETOF int LANGUAGE plpgsql STABLE AS
             $$ BEGIN RETURN QUERY SELECT id FROM t ORDER BY e <-> q LIMIT k; END $$",
        )
        .expect("a function");
    for plan in ["auto", "force_generic_plan"] {
        run(&mut session, &format!("SET plan_cache_mode = {plan}"));
        for time in 1..=10 {
            assert_eq!(answer(&mut session, "EXECUTE page(10, 5000)").len(), 10, "{plan}, time {time}");
            let found = answer(&mut session, "SELECT count(*), count(DISTINCT n) FROM nearest(v(0), 5000) n");
            assert_eq!(found, ["5000|5000"], "{plan}, time {time}");
        }
    }
    let sql = "SELECT count(*) FROM (SELECT id FROM t ORDER BY e <-> v(0) LIMIT (SELECT 5000)) s";
    assert_eq!(answer(&mut session, sql), ["5000"]);
}

#[test]
fn a_filter_that_everything_near_fails() {
    let mut session = shop("cases_anticorrelated");
    let hats = "SELECT id, e <-> v(0, 1) FROM shop WHERE category = 'hats' ORDER BY e <-> v(0, 1) LIMIT 9";
    assert_eq!(both_ways(&mut session, hats, "shop_idx").len(), 9);
    // The near rows that fail are passed by the search; what passes comes from the pass, and comes in order.
    let many = format!("SELECT count(*) FROM ({}) s", hats.replace("LIMIT 9", "LIMIT 900"));
    assert_eq!(both_ways(&mut session, &many, "shop_idx"), ["900"]);
    // An index for the filter is no reason to come back short.
    run(&mut session, "CREATE INDEX ON shop (category); ANALYZE shop");
    assert_eq!(both_ways(&mut session, hats, "shop_idx").len(), 9);
    // A policy is a filter, too.
    run(
        &mut session,
        "CREATE ROLE cases_ann; GRANT SELECT ON shop TO cases_ann; ALTER TABLE shop ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON shop TO cases_ann USING (category = 'hats'); SET ROLE cases_ann",
    );
    let all = "SELECT id, e <-> v(0, 1) FROM shop ORDER BY e <-> v(0, 1) LIMIT 9";
    assert_eq!(both_ways(&mut session, all, "shop_idx").len(), 9);
    run(&mut session, "RESET ROLE; DROP OWNED BY cases_ann; DROP ROLE cases_ann");
}

#[test]
fn after_everything_near_has_been_deleted() {
    let mut session = shop("cases_dead");
    let near = "SELECT id, e <-> v(0, 1) FROM shop ORDER BY e <-> v(0, 1) LIMIT 9";
    let mut other = pg_test::shared_cluster().connect("cases_dead");
    run(&mut session, "BEGIN; DELETE FROM shop WHERE category = 'shoes'");
    assert_eq!(both_ways(&mut session, near, "shop_idx").len(), 9, "deleted by this transaction");
    run(&mut other, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(answer(&mut other, "SELECT count(*) FROM shop"), [ROWS.to_string()]);
    run(&mut session, "COMMIT");
    assert_eq!(both_ways(&mut session, near, "shop_idx").len(), 9, "deleted");
    // To a snapshot from before, nothing has gone, and no vacuum takes it away.
    run(&mut session, "VACUUM shop");
    assert_eq!(both_ways(&mut session, near, "shop_idx").len(), 9, "a snapshot holds the vacuum back");
    let nearest = answer(&mut other, "SELECT id <= 5000 FROM shop ORDER BY e <-> v(0, 1) LIMIT 9");
    assert_eq!(nearest, vec!["t"; 9], "in the old snapshot");
    run(&mut other, "COMMIT");
    run(&mut session, "VACUUM shop");
    assert_eq!(both_ways(&mut session, near, "shop_idx").len(), 9, "vacuumed");
}

#[test]
fn a_picture_that_most_rows_have() {
    let mut session = Database::shared("cases_placeholder").connect();
    run(&mut session, VECTORS);
    run(
        &mut session,
        &format!(
            "CREATE TABLE ph (id int, is_ph bool, e image_embedding(8));
             INSERT INTO ph SELECT g, g <= 4000, CASE WHEN g <= 4000 THEN array_fill(0.1::real, ARRAY[8])::image_embedding ELSE v(g) END
                 FROM generate_series(1, {ROWS}) g;
             CREATE INDEX ph_idx ON ph USING vs_hnsw (e); VACUUM ANALYZE ph; SET vs_hnsw.max_scan_tuples = 1000; SET vs_hnsw.ef_search = 10"
        ),
    );
    let p = "array_fill(0.1::real, ARRAY[8])::image_embedding";
    let real = format!("SELECT count(*) FROM (SELECT id FROM ph WHERE NOT is_ph ORDER BY e <-> {p} LIMIT 100) s");
    assert_eq!(both_ways(&mut session, &real, "ph_idx"), ["100"]);
    let each =
        format!("SELECT count(*) FROM (SELECT DISTINCT ON (e <-> {p}) id FROM ph ORDER BY e <-> {p} LIMIT 100) s");
    // Groups are told apart by the order of all rows, so the index is a last resort there; with exact order it is not.
    assert_eq!(answer(&mut session, &each), ["100"]);
    run(&mut session, "SET vs_hnsw.exact = on");
    assert_eq!(both_ways(&mut session, &each, "ph_idx"), ["100"]);
    run(&mut session, "RESET vs_hnsw.exact");
    let nine = format!("SELECT e <-> {p} FROM ph ORDER BY e <-> {p} LIMIT 9");
    assert_eq!(both_ways(&mut session, &nine, "ph_idx"), vec!["0"; 9]);
}

#[test]
fn a_scan_read_to_its_end_gives_every_row() {
    let mut session = Database::shared("cases_drained").connect();
    // Noise in 64 dimensions and a coarse graph: searches find many rows late.
    run(
        &mut session,
        "CREATE TABLE n (id int, e image_embedding(64));
         INSERT INTO n SELECT g, (SELECT array_agg(((hashint4(g * 97 + i) & 65535) / 65536.0 - 0.5)::real) FROM generate_series(1, 64) i)
             FROM generate_series(1, 2000) g;
         CREATE INDEX n_idx ON n USING vs_hnsw (e image_embedding_cosine_ops) WITH (m = 4, ef_construction = 8); ANALYZE n;
         SET vs_hnsw.ef_search = 5",
    );
    let all = "SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM n ORDER BY e <=> (SELECT e FROM n WHERE id = 1) LIMIT 4000) s";
    for setting in ["strict_order", "relaxed_order"] {
        for most in [1, 100, 20_000] {
            run(&mut session, &format!("SET vs_hnsw.iterative_scan = {setting}; SET vs_hnsw.max_scan_tuples = {most}"));
            assert_eq!(both_ways(&mut session, all, "n_idx"), ["2000|2000"], "{setting}, {most}");
        }
    }
}

#[test]
fn pages_share_no_row() {
    let mut session = table("cases_pages");
    run(&mut session, "CREATE TABLE pages (k int, id int)");
    // Pages of one plan agree, however deep, since a scan that is asked for more goes on as if it had been asked at
    // once. Exact pages agree with those of any plan.
    for (setting, all_by_index) in [("off", true), ("on", false)] {
        run(&mut session, &format!("SET vs_hnsw.exact = {setting}; TRUNCATE pages"));
        for k in 0..60 {
            let page =
                format!("SELECT id FROM t ORDER BY e <-> (SELECT e FROM t WHERE id = 7) LIMIT 100 OFFSET {}", 100 * k);
            let by_index = all_by_index || k % 2 == 0;
            if by_index {
                prefer_index(&mut session)
            } else {
                prefer_table(&mut session)
            }
            let plan = explain(&mut session, "COSTS off", &page);
            assert_eq!(plan.contains("using t_idx "), by_index, "{plan}");
            run(&mut session, &format!("INSERT INTO pages SELECT {k}, id FROM ({page}) s"));
        }
        assert_eq!(answer(&mut session, "SELECT count(*), count(DISTINCT id) FROM pages"), ["6000|6000"], "{setting}");
    }
}

#[test]
fn rows_that_change_while_one_waits_to_lock_them() {
    let mut session = table("cases_locks");
    run(&mut session, "CREATE INDEX t_filtered ON t USING vs_hnsw (e, grp); DROP INDEX t_idx");
    let sql = "SELECT id FROM t WHERE grp = 7 ORDER BY e <-> v(0) LIMIT 5";
    let before = both_ways(&mut session, sql, "t_filtered");
    let mut other = pg_test::shared_cluster().connect("cases_locks");
    // The nearest leaves the group, the second is changed and stays, the third goes.
    run(
        &mut session,
        &format!(
            "BEGIN; UPDATE t SET grp = 8 WHERE id = {}; UPDATE t SET grp = grp WHERE id = {}; DELETE FROM t WHERE id = {}",
            before[0], before[1], before[2]
        ),
    );
    let waiting = std::thread::spawn(move || {
        prefer_index(&mut other);
        answer(&mut other, &format!("{sql} FOR UPDATE"))
    });
    let blocked = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let mut witness = pg_test::shared_cluster().connect("cases_locks");
    pg_test::wait_until("the other session to wait", || (!answer(&mut witness, blocked).is_empty()).then_some(()));
    run(&mut session, "COMMIT");
    let locked = waiting.join().expect("an answer");
    // LIMIT stands above the locks, so that others take the places of those that are gone.
    let after = both_ways(&mut session, sql, "t_filtered");
    assert_eq!(locked, after);
    assert_eq!(locked[0], before[1]);
    assert_eq!(locked.len(), 5);
}
