//! Plans over a vs_hnsw index that PostgreSQL does not think of by itself: an order by more than the distance, a
//! condition on the distance that ends the scan, functions in place of operators. Each is right: it gives what the plan
//! without the index gives.

use pg_test::{
    Database, Embedding, describe, explain,
    vectors::{self, Generator, Metric, run},
};
use postgres::Client;

const DIMS: usize = 16;

/// A table of vectors, each of them in four rows, with an index and the text of a query; a search sees all that
/// is near.
fn indexed(name: &str, rows: usize, metric: Metric) -> (Client, String) {
    let mut session = Database::shared(name).connect();
    let mut generator = Generator::new(23, DIMS);
    vectors::table(&mut session, "items", &generator.vectors(rows / 4));
    run(
        &mut session,
        &format!(
            "INSERT INTO items SELECT id + c * {0}, embedding FROM items, generate_series(1, 3) c; ALTER TABLE items ADD kind int;
             UPDATE items SET kind = id % 7; CREATE INDEX by_likeness ON items USING vs_hnsw (embedding {1});
             SET vs_hnsw.ef_search = 200; VACUUM (FULL, ANALYZE) items",
            rows / 4,
            metric.opclass()
        ),
    );
    (session, format!("'{}'::image_embedding", generator.vector().to_text()))
}

/// The rows of a query as text, in order.
fn answers(session: &mut Client, sql: &str) -> Vec<String> {
    let rows = session.query(&format!("SELECT a::text FROM ({sql}) a"), &[]);
    rows.unwrap_or_else(|e| panic!("{sql}: {}", describe(&e))).iter().map(|row| row.get(0)).collect()
}

/// The plan of a query that uses an index where there is a way to.
///
/// # Panics
/// If the answer differs from that of a plan without the index.
fn checked(session: &mut Client, sql: &str) -> String {
    run(session, "SET enable_seqscan = off");
    let plan = explain(session, "COSTS off", sql);
    let ours = answers(session, sql);
    run(session, "RESET enable_seqscan; SET enable_indexscan = off");
    let exact = answers(session, sql);
    run(session, "RESET enable_indexscan");
    assert_eq!(ours, exact, "{sql}:\n{plan}");
    plan
}

#[test]
fn further_keys_are_sorted_on_top() {
    let (mut session, query) = indexed("plans_further_keys", 8000, Metric::L2);
    for keys in ["id", "id DESC", "kind, id", "kind DESC NULLS LAST, id DESC", "kind % 2, kind DESC, id", "ctid"] {
        for (condition, limit) in [("true", 1), ("true", 22), ("kind = 3", 10), ("kind IN (1, 2) AND id % 3 < 2", 7)] {
            let sql = format!(
                "SELECT id, embedding <-> {query} AS d FROM items WHERE {condition}
                 ORDER BY embedding <-> {query}, {keys} LIMIT {limit}"
            );
            let plan = checked(&mut session, &sql);
            assert!(plan.contains("Incremental Sort") && plan.contains("using by_likeness"), "{sql}:\n{plan}");
        }
    }
    // It costs little more than without, to the planner too.
    let mut cost = |keys: &str| -> f64 {
        let sql = format!("SELECT id FROM items ORDER BY embedding <-> {query}{keys} LIMIT 20");
        let plan = explain(&mut session, "COSTS on", &sql);
        let total = plan.split("..").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|cost| cost.parse().ok());
        total.unwrap_or_else(|| panic!("{plan}"))
    };
    let (without, with) = (cost(""), cost(", id"));
    assert!(with < 1.2 * without, "{with} and {without}");
    // Whoever forbids it, or wants everything sorted, is given a sort.
    run(&mut session, "SET enable_incremental_sort = off");
    let plan = checked(&mut session, &format!("SELECT id FROM items ORDER BY embedding <-> {query}, id LIMIT 20"));
    assert!(!plan.contains("Incremental"), "{plan}");
}

#[test]
fn further_keys_with_partitions_joins_and_subqueries() {
    let (mut session, query) = indexed("plans_partitions", 8000, Metric::L2);
    run(
        &mut session,
        "CREATE TABLE parts (id int, embedding image_embedding(16), kind int) PARTITION BY LIST (kind);
         CREATE TABLE parts_low PARTITION OF parts FOR VALUES IN (0, 1, 2); CREATE TABLE parts_three PARTITION OF parts FOR VALUES IN (3);
         CREATE TABLE parts_rest PARTITION OF parts DEFAULT; INSERT INTO parts SELECT id, embedding, kind FROM items;
         CREATE INDEX ON parts USING vs_hnsw (embedding); ANALYZE parts;
         CREATE TABLE kinds AS SELECT kind, 'kind ' || kind AS name FROM generate_series(0, 5) kind; CREATE INDEX ON kinds (kind); ANALYZE kinds",
    );
    for sql in [
        format!("SELECT id FROM parts ORDER BY embedding <-> {query}, id DESC LIMIT 18"),
        format!("SELECT id FROM parts WHERE kind > 1 ORDER BY embedding <-> {query}, kind, id LIMIT 18"),
        format!("SELECT id, name FROM items JOIN kinds USING (kind) ORDER BY embedding <-> {query}, id LIMIT 18"),
        format!("SELECT id FROM (SELECT * FROM items ORDER BY embedding <-> {query}, id LIMIT 30) a WHERE kind = 2"),
        "SELECT a.id, b.id AS other FROM (SELECT * FROM items WHERE id < 20) a CROSS JOIN LATERAL
             (SELECT id FROM items WHERE id <> a.id ORDER BY embedding <-> a.embedding, id DESC LIMIT 5) b ORDER BY 1, 2"
            .to_owned(),
        format!("SELECT id, rank() OVER (ORDER BY embedding <-> {query}, id) FROM items ORDER BY 2 LIMIT 9"),
    ] {
        let plan = checked(&mut session, &sql);
        assert!(plan.contains("Incremental Sort") && plan.contains("embedding_idx") | plan.contains("by_likeness"), "{plan}");
    }
    let sql = format!("SELECT id FROM parts ORDER BY embedding <-> {query}, id LIMIT 18");
    let plan = checked(&mut session, &sql);
    assert!(plan.contains("Merge Append") && plan.matches("embedding_idx on").count() == 3, "{plan}");
}

#[test]
fn a_condition_on_the_distance_ends_the_scan() {
    for metric in Metric::ALL {
        let (mut session, query) = indexed(&format!("plans_cutoff_{}", metric.name()), 8000, metric);
        let (operator, function) = match metric {
            Metric::L2 => ("<->", "l2_distance"),
            Metric::Cosine => ("<=>", "cosine_distance"),
            Metric::InnerProduct => ("<#>", "negative_inner_product"),
        };
        let d = format!("(embedding {operator} {query})");
        // As far as 30 rows are.
        let sql = format!("SELECT {d} FROM items ORDER BY 1 OFFSET 29 LIMIT 1");
        let r: f64 = session.query_one(&sql, &[]).unwrap().get(0);
        for (condition, count) in [
            (format!("{d} < {r}"), 28),
            (format!("{d} <= {r}"), 32),
            (format!("{r} > {d}"), 28),
            (format!("{r} >= ({query} {operator} embedding)"), 32),
            (format!("{function}(embedding, {query}) <= {r}"), 32),
            (format!("{d} <= (SELECT {r}::float8)"), 32),
            (format!("{d} <= {r}::real + 0.001::real"), 32),
            (format!("{d} BETWEEN -1000 AND {r}"), 32),
            (format!("1 - {d} >= 1 - ({r})::float8"), 32),
            (format!("1 - {d} > 1 - ({r})::float8 AND id < 4000"), 14),
            (format!("-{d} >= -({r})"), 32),
            (format!("{d} * -1 >= -({r})"), 32),
            (format!("{d} <= {r} AND kind = 5 AND {d} < 1000"), 5),
            (format!("{d} < -1000000"), 0),
            (format!("{d} < (SELECT NULL::float8)"), 0),
        ] {
            let sql = format!("SELECT id, {d} AS d FROM items WHERE {condition} ORDER BY {d}, id LIMIT 100");
            let plan = checked(&mut session, &sql);
            assert!(plan.contains("(embedding ~<="), "{sql}:\n{plan}");
            let found = answers(&mut session, &sql).len();
            // Rows that are as far by a rounding error may be on either side where the condition is rounded otherwise.
            let rounded = condition.contains("1 - ");
            assert!(found == count || rounded && found.abs_diff(count) <= 4 || count == 5, "{found} rows: {condition}");
        }
        // NaN is above every number.
        let plan = checked(
            &mut session,
            &format!("SELECT id FROM items WHERE {d} < (SELECT 'NaN'::float8) ORDER BY {d}, id LIMIT 99"),
        );
        assert!(plan.contains("~<="), "{plan}");
    }
}

/// NaN, the distance of a zero vector, is greater than every number, so that it is not within a cutoff, but `1 - NaN` is above
/// every threshold.
#[test]
fn distances_that_are_no_numbers_and_null_vectors() {
    let (mut session, query) = indexed("plans_nan", 8000, Metric::Cosine);
    let zero = format!("'{}'::image_embedding", Embedding::of([0.0; DIMS]).to_text());
    run(&mut session, &format!("INSERT INTO items SELECT 10000 + g, {zero}, g FROM generate_series(1, 9) g"));
    run(&mut session, "INSERT INTO items SELECT 20000 + g, NULL, g FROM generate_series(1, 9) g");
    for (of, condition, numbers, others) in [
        (&query, "1 - d > 0.9", true, 9),
        (&query, "-d >= -0.1", true, 9),
        (&query, "1 - d > 0.9 AND d < 5", true, 0),
        (&query, "1 - d > 0.9 AND 1 - d > 0.8 AND kind < 5", true, 4),
        (&query, "d < 0.1", true, 0),
        (&query, "1 - d > 100", false, 9),
        (&query, "d < -100", false, 0),
        (&zero, "d < 0.1", false, 0),
        (&zero, "d < 'NaN'::float8", false, 0),
    ] {
        let d = format!("(embedding <=> {of})");
        let condition = condition.replace('d', "#").replace("kin#", "kind").replace("AN#", "AND").replace('#', &d);
        let sql = format!("SELECT id FROM items WHERE {condition} ORDER BY {d}, id LIMIT 3000");
        let plan = checked(&mut session, &sql);
        assert!(plan.contains("(embedding ~<="), "{sql}:\n{plan}");
        let found = answers(&mut session, &sql);
        assert_eq!(found.iter().filter(|row| row.len() > 6).count(), others, "{condition}: {found:?}");
        assert_eq!(found.len() > others, numbers, "{condition}: {found:?}");
    }
    // For each outer row.
    let sql = "SELECT a.id, count(b.id) FROM (SELECT * FROM items WHERE id % 500 = 1 OR id > 9990) a LEFT JOIN LATERAL
                   (SELECT b.id FROM items b WHERE 1 - (b.embedding <=> a.embedding) > 0.999
                    ORDER BY b.embedding <=> a.embedding, id LIMIT 50) b ON true GROUP BY 1 ORDER BY 1";
    let plan = checked(&mut session, sql);
    assert!(plan.contains("(embedding ~<=? "), "{plan}");
}

#[test]
fn a_cutoff_goes_with_conditions_on_further_columns() {
    let (mut session, query) = indexed("plans_cutoff_and_keys", 8000, Metric::L2);
    run(&mut session, "DROP INDEX by_likeness; CREATE INDEX by_likeness ON items USING vs_hnsw (embedding, kind)");
    for condition in ["kind = 3", "kind IN (2, 5)", "kind > 4 AND id % 2 = 0"] {
        for r in [0.5, 1.0, 1.4] {
            let sql = format!(
                "SELECT id FROM items WHERE {condition} AND embedding <-> {query} < {r} ORDER BY embedding <-> {query}, id LIMIT 60"
            );
            let plan = checked(&mut session, &sql);
            assert!(
                plan.contains("(embedding ~<= ") && plan.contains("Index Cond: (") && plan.contains("(kind "),
                "{plan}"
            );
        }
    }
}

#[test]
fn what_bounds_something_else_does_not_end_the_scan() {
    let (mut session, query) = indexed("plans_no_cutoff", 8000, Metric::L2);
    let other = format!("'{}'::image_embedding", Embedding::of([0.1; DIMS]).to_text());
    let d = format!("(embedding <-> {query})");
    for condition in [
        format!("{d} > 0.5"),
        format!("0.5 <= {d}"),
        format!("embedding <-> {other} < 1.5"),
        format!("embedding <=> {query} < 1"),
        format!("{d} < 1.5 OR kind = 3"),
        format!("{d} < 1.5 + kind"),
        format!("{d} < 1.5 + random()"),
        format!("2 - {d} > 0.5"),
        format!("-{d} < 0"),
        format!("NOT {d} > 1.5 OR id < 0"),
        format!("{d} = 0.5"),
    ] {
        let sql = format!("SELECT id FROM items WHERE {condition} ORDER BY {d}, id LIMIT 20");
        let plan = explain(&mut session, "COSTS off", &sql);
        assert!(!plan.contains("~<="), "{sql}:\n{plan}");
        if !condition.contains("random") {
            checked(&mut session, &sql);
        }
    }
    // All rows within a distance, and what is counted before LIMIT, are not for a search that finds nearly all.
    for sql in [
        format!("SELECT id FROM items WHERE {d} < 1 ORDER BY {d}, id"),
        format!("SELECT id, count(*) OVER () FROM items WHERE {d} < 1 ORDER BY {d}, id LIMIT 3"),
        format!("SELECT count(*) FROM items WHERE {d} < 1 LIMIT 3"),
        format!("SELECT DISTINCT {d} FROM items WHERE {d} < 1 ORDER BY {d} LIMIT 3"),
        format!("SELECT id FROM items WHERE {d} < 1 ORDER BY {d}, id LIMIT NULL"),
        format!("SELECT {d} AS d, count(*) FROM items WHERE {d} < 1 GROUP BY {d} ORDER BY 1 LIMIT 3"),
    ] {
        let plan = checked(&mut session, &sql);
        assert!(!plan.contains("~<="), "{sql}:\n{plan}");
    }
    // The operator is nobody else's.
    for sql in [
        format!("SELECT id FROM items WHERE embedding ~<= 0.4 ORDER BY {d} LIMIT 3"),
        "SELECT embedding ~<= 0.4 FROM items".to_owned(),
    ] {
        let error = pg_test::error_of(&mut session, &sql);
        assert_eq!(error.code().code(), "0A000", "{}", error.message());
    }
}

/// Rows that a scan has fetched in vain.
fn removed(session: &mut Client, sql: &str) -> i64 {
    run(session, "SET enable_seqscan = off");
    let plan = explain(session, "ANALYZE, COSTS off, TIMING off", sql);
    run(session, "RESET enable_seqscan");
    assert!(plan.contains("using by_likeness"), "{plan}");
    let of =
        |line: &str| line.trim().strip_prefix("Rows Removed by Filter: ").and_then(|count| count.parse::<i64>().ok());
    plan.lines().filter_map(of).sum()
}

#[test]
fn a_scan_ends_near_its_cutoff() {
    let (mut session, query) = indexed("plans_cutoff_work", 20_000, Metric::L2);
    run(&mut session, "RESET vs_hnsw.ef_search");
    let few = format!("SELECT embedding <-> {query} FROM items ORDER BY 1 OFFSET 200 LIMIT 1");
    let few: f64 = session.query_one(&few, &[]).unwrap().get(0);
    for setting in ["strict_order", "relaxed_order", "off"] {
        run(&mut session, &format!("SET vs_hnsw.iterative_scan = {setting}"));
        let sql = |r: f64| {
            format!("SELECT id FROM items WHERE embedding <-> {query} < {r} ORDER BY embedding <-> {query} LIMIT 5000")
        };
        assert!(removed(&mut session, &sql(0.0)) < 10, "{setting}: nothing is that near");
        let vain = removed(&mut session, &sql(few));
        assert!(vain < 60, "{setting}: {vain} rows, more than lie within the error of the codes");
    }
    run(&mut session, "RESET vs_hnsw.iterative_scan; SET vs_hnsw.exact = on");
    let sql =
        format!("SELECT id FROM items WHERE embedding <-> {query} < 0.9 ORDER BY embedding <-> {query}, id LIMIT 5000");
    checked(&mut session, &sql);
    assert!(removed(&mut session, &sql) < 60);
    run(&mut session, "RESET vs_hnsw.exact");
    // For each outer row, whose vector may be NULL.
    run(&mut session, "INSERT INTO items VALUES (-1, NULL, 0)");
    let sql = "SELECT a.id, b.id AS near FROM (SELECT * FROM items WHERE id % 199 = 0 OR id < 0) a CROSS JOIN LATERAL
                   (SELECT b.id FROM items b WHERE b.id <> a.id AND b.embedding <-> a.embedding < 0.01
                    ORDER BY b.embedding <-> a.embedding LIMIT 9) b ORDER BY 1, 2";
    let plan = checked(&mut session, sql);
    assert!(plan.contains("Index Cond: (embedding ~<= '0.01'"), "{plan}");
    assert_eq!(answers(&mut session, sql).len(), 101 * 3, "each vector is in four rows");
}

#[test]
fn a_row_that_changes_meanwhile_is_checked_again() {
    let (mut session, query) = indexed("plans_changed_row", 4000, Metric::L2);
    let nearest =
        format!("SELECT id FROM items WHERE embedding <-> {query} < 2 ORDER BY embedding <-> {query}, id LIMIT 1");
    let id: i32 = session.query_one(&nearest, &[]).unwrap().get(0);
    run(&mut session, "BEGIN");
    run(&mut session, &format!("UPDATE items SET kind = 100 WHERE id = {id}"));
    let sql = format!(
        "SELECT id, kind FROM (SELECT * FROM items WHERE embedding <-> {query} < 2 ORDER BY embedding <-> {query} LIMIT 4 FOR UPDATE) a"
    );
    let found = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut other = pg_test::shared_cluster().connect("plans_changed_row");
            run(&mut other, "SET enable_seqscan = off");
            let plan = explain(&mut other, "COSTS off", &sql);
            assert!(plan.contains("~<="), "{plan}");
            answers(&mut other, &sql)
        });
        let mut observer = pg_test::shared_cluster().connect("plans_changed_row");
        pg_test::wait_until("the other session to wait for the row", || {
            let waits =
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
            (observer.query_one(waits, &[]).unwrap().get::<_, i64>(0) > 0).then_some(())
        });
        run(&mut session, "COMMIT");
        waiting.join().expect("no error")
    });
    assert!(found.contains(&format!("({id},100)")), "{found:?}");
    assert_eq!(found.len(), 4);
}

#[test]
fn functions_stand_for_their_operators() {
    for (metric, function) in [
        (Metric::L2, "l2_distance"),
        (Metric::Cosine, "cosine_distance"),
        (Metric::InnerProduct, "negative_inner_product"),
    ] {
        let (mut session, query) = indexed(&format!("plans_function_{}", metric.name()), 8000, metric);
        for sql in [
            format!("SELECT id, {function}(embedding, {query}) AS d FROM items ORDER BY d, id LIMIT 10"),
            format!("SELECT id FROM items ORDER BY {function}({query}, embedding), id LIMIT 10"),
            format!("SELECT id FROM items ORDER BY {function}(embedding, (SELECT {query})), id LIMIT 10"),
        ] {
            let plan = checked(&mut session, &sql);
            assert!(plan.contains("using by_likeness"), "{sql}:\n{plan}");
        }
        // An index on the expression knows it by either name.
        run(
            &mut session,
            &format!("CREATE INDEX by_distance ON items ({function}(embedding, {query})); ANALYZE items"),
        );
        let operator = metric.operator();
        let sql = format!("SELECT id FROM items WHERE embedding {operator} {query} < -1000000 AND id > 0");
        let plan = checked(&mut session, &sql);
        assert!(plan.contains("by_distance"), "{plan}");
    }
}

#[test]
fn a_minimum_is_exact() {
    let (mut session, query) = indexed("plans_minimum", 8000, Metric::L2);
    run(&mut session, "SET vs_hnsw.ef_search = 1; CREATE INDEX by_id ON items (id)");
    for (sql, by_id) in [
        (format!("SELECT min(embedding <-> {query}) FROM items"), false),
        (format!("SELECT min(l2_distance(embedding, {query})), max(id) FROM items"), false),
        (format!("SELECT min(embedding <-> {query}) FROM items WHERE kind = 3"), false),
        ("SELECT min(id) FROM items".to_owned(), true),
    ] {
        for plan in [explain(&mut session, "COSTS off", &sql), checked(&mut session, &sql)] {
            assert!(!plan.contains("by_likeness") && (plan.contains("by_id") || !by_id), "{plan}");
        }
    }
    // What users limit themselves is still by the index, also below an aggregate.
    let sql = format!("SELECT max(id), (SELECT id FROM items ORDER BY embedding <-> {query} LIMIT 1) FROM items");
    let plan = explain(&mut session, "COSTS off", &sql);
    assert!(plan.contains("by_likeness"), "{plan}");
}
