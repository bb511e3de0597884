//! `avg` and `sum`: right, the same in parallel, and over windows, groups and nothing.

use fastrand::Rng;
use half::f16;
use pg_test::{Database, Embedding, describe, explain};
use postgres::Client;

const DIMS: usize = 48;
const ROWS: usize = 5_000;

/// A table of random embeddings in ten groups, with a NULL here and there, and its values by group.
fn filled(name: &str) -> (Client, Vec<Vec<Embedding>>) {
    let mut session = Database::shared(name).connect();
    session.batch_execute("CREATE TABLE items (kind int, value image_embedding)").unwrap();
    let mut random = Rng::with_seed(5);
    let mut groups = vec![Vec::new(); 10];
    let insert = session.prepare("INSERT INTO items VALUES ($1, $2)").unwrap();
    let mut transaction = session.transaction().unwrap();
    for row in 0..ROWS {
        let kind = random.usize(..10);
        let value =
            (row % 50 != 0).then(|| Embedding::of((0..DIMS).map(|_| random.f64() * 400.0 - 200.0)).tagged(0xabcd));
        transaction.execute(&insert, &[&(kind as i32), &value]).unwrap();
        groups[kind].extend(value);
    }
    transaction.commit().unwrap();
    session.batch_execute("ANALYZE items").unwrap();
    (session, groups)
}

fn sums(values: &[Embedding]) -> Vec<f64> {
    let mut sums = vec![0.0; DIMS];
    for value in values {
        sums.iter_mut().zip(value.to_f64()).for_each(|(sum, element)| *sum += element);
    }
    sums
}

/// Holds `avg` and `sum` of a group against sums made here, which are exact: half-precision numbers of this size add up
/// in double precision without rounding.
fn check(values: &[Embedding], avg: &Embedding, sum: &[f64]) {
    let exact = sums(values);
    assert_eq!(sum, exact);
    assert_eq!(avg.tag, 0xabcd);
    let mean: Vec<f16> = exact.iter().map(|sum| f16::from_f64(sum / values.len() as f64)).collect();
    assert_eq!(avg.elements, mean);
}

const GROUPED: &str = "SELECT kind, avg(value), sum(value), count(value) FROM items GROUP BY kind ORDER BY kind";

fn check_groups(session: &mut Client, groups: &[Vec<Embedding>]) {
    let rows = session.query(GROUPED, &[]).unwrap_or_else(|e| panic!("{}", describe(&e)));
    assert_eq!(rows.len(), groups.len());
    for (row, group) in rows.iter().zip(groups) {
        assert_eq!(row.get::<_, i64>(3), group.len() as i64);
        check(group, &row.get(1), &row.get::<_, Vec<f64>>(2));
    }
    let all: Vec<Embedding> = groups.concat();
    let row = session.query_one("SELECT avg(value), sum(value) FROM items", &[]).unwrap();
    check(&all, &row.get(0), &row.get::<_, Vec<f64>>(1));
}

#[test]
fn serial_and_parallel_plans_give_the_same() {
    let (mut session, groups) = filled("aggregate_plans");
    session.batch_execute("SET max_parallel_workers_per_gather = 0").unwrap();
    check_groups(&mut session, &groups);
    session
        .batch_execute(
            "SET max_parallel_workers_per_gather = 2; SET min_parallel_table_scan_size = 0;
             SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET parallel_leader_participation = off",
        )
        .unwrap();
    for (settings, node) in [
        ("SET enable_hashagg = off", "Partial GroupAggregate"),
        ("RESET enable_hashagg; SET enable_sort = off", "Partial HashAggregate"),
    ] {
        session.batch_execute(settings).unwrap();
        let plan = explain(&mut session, "COSTS off", GROUPED);
        assert!(plan.contains(node) && plan.contains("Finalize"), "{plan}");
        let ran = explain(&mut session, "ANALYZE, COSTS off, TIMING off", GROUPED);
        assert!(ran.contains("Workers Launched: 2"), "{ran}");
        check_groups(&mut session, &groups);
    }
}

#[test]
fn partitions_are_aggregated_one_by_one() {
    let (mut session, groups) = filled("aggregate_partitions");
    session
        .batch_execute(
            "ALTER TABLE items RENAME TO source;
             CREATE TABLE items (kind int, value image_embedding) PARTITION BY LIST (kind);
             CREATE TABLE items_low PARTITION OF items FOR VALUES IN (0, 1, 2, 3, 4);
             CREATE TABLE items_high PARTITION OF items DEFAULT;
             INSERT INTO items SELECT * FROM source; ANALYZE items;
             SET enable_partitionwise_aggregate = on",
        )
        .unwrap();
    check_groups(&mut session, &groups);
}

#[test]
fn nothing_null_and_moving_windows() {
    let mut session = Database::shared("aggregate_edges").connect();
    let row = session
        .query_one(
            "SELECT avg(v), sum(v), avg(v) FILTER (WHERE false), sum(v) FILTER (WHERE false)
             FROM (VALUES (NULL::image_embedding), (NULL)) t (v)",
            &[],
        )
        .unwrap();
    assert!(row.get::<_, Option<Embedding>>(0).is_none() && row.get::<_, Option<Vec<f64>>>(1).is_none());
    assert!(row.get::<_, Option<Embedding>>(2).is_none() && row.get::<_, Option<Vec<f64>>>(3).is_none());
    // A window asks for the result again and again while it goes on adding, and starts anew when its frame moves.
    let rows = session
        .query(
            "SELECT sum(v) OVER (ORDER BY i), sum(v) OVER (ORDER BY i ROWS 1 PRECEDING), (avg(v) OVER (ORDER BY i))::real[]
             FROM (VALUES (1, '[1,10]'::image_embedding), (2, '[2,20]'), (3, NULL), (4, '[6,60]')) t (i, v)",
            &[],
        )
        .unwrap();
    let running: Vec<Vec<f64>> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(running, [[1.0, 10.0], [3.0, 30.0], [3.0, 30.0], [9.0, 90.0]]);
    let moving: Vec<Vec<f64>> = rows.iter().map(|row| row.get(1)).collect();
    assert_eq!(moving, [[1.0, 10.0], [3.0, 30.0], [2.0, 20.0], [6.0, 60.0]]);
    let means: Vec<Vec<f32>> = rows.iter().map(|row| row.get(2)).collect();
    assert_eq!(means, [[1.0, 10.0], [1.5, 15.0], [1.5, 15.0], [3.0, 30.0]]);
    // Beyond half precision a sum goes on, and a mean comes back.
    let row = session
        .query_one(
            "SELECT sum(v), avg(v)::real[] FROM (SELECT '[65504,-65504]'::image_embedding AS v FROM generate_series(1, 1000)) t",
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, Vec<f64>>(0), [65_504_000.0, -65_504_000.0]);
    assert_eq!(row.get::<_, Vec<f32>>(1), [65_504.0, -65_504.0]);
}

#[test]
fn aggregation_that_spills_to_disk() {
    let mut session = Database::shared("aggregate_spill").connect();
    session
        .batch_execute(
            "CREATE TABLE items AS SELECT i % 3000 AS kind, array_fill((i % 7)::real, ARRAY[100])::image_embedding AS value
             FROM generate_series(0, 8999) i;
             ANALYZE items; SET work_mem = '64kB'; SET hash_mem_multiplier = 1; SET enable_sort = off",
        )
        .unwrap();
    let sql = "SELECT count(*), count(*) FILTER (WHERE (s)[1] = e AND (s)[100] = e) FROM
                   (SELECT kind, sum(value) AS s, sum((value::real[])[1])::float8 AS e FROM items GROUP BY kind) g";
    let ran = explain(&mut session, "ANALYZE, COSTS off, TIMING off, SUMMARY off", sql);
    assert!(ran.contains("Batches") || ran.contains("Disk Usage"), "{ran}");
    let row = session.query_one(sql, &[]).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (3000, 3000));
}
