//! Ordering, equality and hashing: one total order, in sorts, indexes, joins and statistics, whatever a column mixes.

use std::cmp::Ordering;

use fastrand::Rng;
use half::f16;
use pg_test::{Database, Embedding, describe, explain};
use postgres::Client;

/// The order as documented: dimensions, then elements (−0 equals 0), then tag.
fn documented_order(a: &Embedding, b: &Embedding) -> Ordering {
    let elements = || {
        let pairs = a.elements.iter().zip(&b.elements);
        pairs.map(|(a, b)| a.to_f64().partial_cmp(&b.to_f64()).expect("finite")).find(|order| order.is_ne())
    };
    a.elements.len().cmp(&b.elements.len()).then_with(|| elements().unwrap_or(Ordering::Equal)).then(a.tag.cmp(&b.tag))
}

/// Values that differ in every way values can, some of them equal, some equal but for the sign of a zero.
fn mixture(count: usize) -> Vec<Embedding> {
    let mut random = Rng::with_seed(11);
    let numbers = [f16::NEG_ZERO, f16::ZERO, f16::ONE, f16::NEG_ONE, f16::MAX, f16::MIN, f16::MIN_POSITIVE_SUBNORMAL];
    (0..count)
        .map(|_| {
            let dims = random.usize(1..=3);
            let elements = (0..dims).map(|_| numbers[random.usize(..numbers.len())]).collect();
            Embedding { elements, tag: [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff][random.usize(..5)] }
        })
        .collect()
}

fn filled(name: &str, values: &[Embedding]) -> Client {
    let mut session = Database::shared(name).connect();
    session.batch_execute("CREATE TABLE mixed (id int PRIMARY KEY, value image_embedding)").unwrap();
    for (id, value) in values.iter().enumerate() {
        session.execute("INSERT INTO mixed VALUES ($1, $2)", &[&(id as i32), value]).unwrap();
    }
    session.batch_execute("INSERT INTO mixed VALUES (-1, NULL), (-2, NULL); ANALYZE mixed").unwrap();
    session
}

fn number(session: &mut Client, sql: &str) -> i64 {
    session.query_one(sql, &[]).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e))).get(0)
}

/// How many classes of equal values there are.
fn classes(values: &[Embedding]) -> i64 {
    let mut sorted: Vec<&Embedding> = values.iter().collect();
    sorted.sort_by(|a, b| documented_order(a, b));
    sorted.dedup_by(|a, b| documented_order(a, b).is_eq());
    sorted.len() as i64
}

#[test]
fn every_operator_follows_the_documented_order() {
    let values = mixture(60);
    let mut session = filled("order_operators", &values);
    let sql = "SELECT a.id, b.id, a.value < b.value, a.value <= b.value, a.value = b.value, a.value <> b.value,
                      a.value >= b.value, a.value > b.value, image_embedding_cmp(a.value, b.value),
                      image_embedding_hash(a.value) = image_embedding_hash(b.value),
                      image_embedding_hash_extended(a.value, 0) = image_embedding_hash_extended(b.value, 0)
               FROM mixed a, mixed b WHERE a.id >= 0 AND b.id >= 0";
    let rows = session.query(sql, &[]).unwrap();
    assert_eq!(rows.len(), 3600);
    let mut hashes_that_differ = 0;
    for row in rows {
        let (a, b) = (&values[row.get::<_, i32>(0) as usize], &values[row.get::<_, i32>(1) as usize]);
        let order = documented_order(a, b);
        let expected = [order.is_lt(), order.is_le(), order.is_eq(), order.is_ne(), order.is_ge(), order.is_gt()];
        let found: Vec<bool> = (2..8).map(|column| row.get(column)).collect();
        assert_eq!(found, expected, "{a:?} and {b:?}");
        assert_eq!(row.get::<_, i32>(8).signum(), order as i32, "{a:?} and {b:?}");
        let same_hash: bool = row.get(9);
        assert!(same_hash || order.is_ne(), "equal values have equal hashes: {a:?} and {b:?}");
        assert!(row.get::<_, bool>(10) || order.is_ne(), "in the seeded hash too: {a:?} and {b:?}");
        hashes_that_differ += u32::from(order.is_ne() && !same_hash);
    }
    assert!(hashes_that_differ > 3000, "a hash tells most different values apart");
}

#[test]
fn sorts_and_indexes_follow_it_too() {
    let values = mixture(400);
    let mut session = filled("order_sorts", &values);
    let mut expected: Vec<usize> = (0..values.len()).collect();
    expected.sort_by(|&a, &b| documented_order(&values[a], &values[b]).then(a.cmp(&b)));
    let expected: Vec<i32> = expected.into_iter().map(|id| id as i32).collect();

    let sql = "SELECT id FROM mixed WHERE value IS NOT NULL ORDER BY value, id";
    let ids =
        |session: &mut Client| -> Vec<i32> { session.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect() };
    assert_eq!(ids(&mut session), expected, "sorted");
    session
        .batch_execute("CREATE INDEX by_value ON mixed (value, id); SET enable_seqscan = off; SET enable_sort = off")
        .unwrap();
    assert!(explain(&mut session, "COSTS off", sql).contains("by_value"), "the index is used");
    assert_eq!(ids(&mut session), expected, "from a btree index");
    session.batch_execute("SET enable_bitmapscan = off").unwrap();
    let probe = &values[5];
    let equal: Vec<i32> = session
        .query("SELECT id FROM mixed WHERE value = $1 ORDER BY id", &[probe])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let same: Vec<i32> =
        (0..values.len()).filter(|&id| documented_order(&values[id], probe).is_eq()).map(|id| id as i32).collect();
    assert_eq!(equal, same);
    session.batch_execute("DROP INDEX by_value; CREATE INDEX by_hash ON mixed USING hash (value)").unwrap();
    let hashed: Vec<i32> = session
        .query("SELECT id FROM mixed WHERE value = $1 ORDER BY id", &[probe])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(hashed, same, "from a hash index");
}

#[test]
fn distinct_and_group_by_never_raise() {
    let values = mixture(400);
    let expected = classes(&values) + 1;
    let mut session = filled("order_groups", &values);
    for (setting, node) in
        [("SET enable_hashagg = off", "Unique"), ("RESET enable_hashagg; SET enable_sort = off", "HashAggregate")]
    {
        session.batch_execute(setting).unwrap();
        let sql = "SELECT DISTINCT value FROM mixed";
        let plan = explain(&mut session, "COSTS off", sql);
        assert!(plan.contains(node), "{plan}");
        assert_eq!(session.query(sql, &[]).unwrap().len() as i64, expected, "{plan}");
        assert_eq!(number(&mut session, "SELECT count(*) FROM (SELECT value FROM mixed GROUP BY value) g"), expected);
    }
    session.batch_execute("RESET ALL").unwrap();
    assert_eq!(number(&mut session, "SELECT count(DISTINCT value) FROM mixed"), expected - 1);
    assert_eq!(
        number(&mut session, "SELECT count(*) FROM (SELECT value FROM mixed INTERSECT SELECT value FROM mixed) i"),
        expected
    );
    let mut ranks = "SELECT max(r) FROM (SELECT dense_rank() OVER (ORDER BY value) AS r FROM mixed) w".to_owned();
    assert_eq!(number(&mut session, &ranks), expected);
    ranks.clear();
}

#[test]
fn joins_of_every_kind_agree() {
    let values = mixture(200);
    let mut session = filled("order_joins", &values);
    let pairs =
        values.iter().map(|a| values.iter().filter(|b| documented_order(a, b).is_eq()).count() as i64).sum::<i64>();
    let sql = "SELECT count(*) FROM mixed a JOIN mixed b ON a.value = b.value";
    for (kind, off) in [
        ("Hash Join", "SET enable_mergejoin = off; SET enable_nestloop = off"),
        ("Merge Join", "RESET ALL; SET enable_hashjoin = off; SET enable_nestloop = off"),
        ("Nested Loop", "RESET ALL; SET enable_hashjoin = off; SET enable_mergejoin = off"),
    ] {
        session.batch_execute(off).unwrap();
        let plan = explain(&mut session, "COSTS off", sql);
        assert!(plan.contains(kind), "{plan}");
        assert_eq!(number(&mut session, sql), pairs, "{kind}");
    }
}

#[test]
fn hash_partitions_and_unique_constraints() {
    let values = mixture(300);
    let mut session = filled("order_partitions", &values);
    session
        .batch_execute(
            "CREATE TABLE parts (value image_embedding) PARTITION BY HASH (value);
             CREATE TABLE part0 PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER 0);
             CREATE TABLE part1 PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER 1);
             CREATE TABLE part2 PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER 2);
             INSERT INTO parts SELECT value FROM mixed;
             CREATE TABLE single (value image_embedding UNIQUE);
             INSERT INTO single SELECT value FROM mixed WHERE value IS NOT NULL ON CONFLICT DO NOTHING",
        )
        .unwrap();
    assert_eq!(number(&mut session, "SELECT count(*) FROM single"), classes(&values));
    assert_eq!(number(&mut session, "SELECT count(*) FROM parts"), 302);
    // Equal values lie in one partition, so the number of classes is that of all partitions together.
    let sql = "SELECT count(*) FROM (SELECT DISTINCT tableoid, value FROM parts WHERE value IS NOT NULL) d";
    assert_eq!(number(&mut session, sql), classes(&values));
    for part in 0..3 {
        assert!(number(&mut session, &format!("SELECT count(*) FROM part{part}")) > 0, "partition {part} is empty");
    }
}

#[test]
fn analyze_makes_statistics_of_a_mixture() {
    let values = mixture(500);
    let mut session = filled("order_analyze", &values);
    let row = session
        .query_one("SELECT null_frac, n_distinct, most_common_vals::text FROM pg_stats WHERE tablename = 'mixed' AND attname = 'value'", &[])
        .unwrap();
    let null_fraction: f32 = row.get(0);
    assert!((null_fraction - 2.0 / 502.0).abs() < 1e-6);
    let distinct: f32 = row.get(1);
    let distinct = if distinct < 0.0 { -distinct * 502.0 } else { distinct };
    assert!((distinct - classes(&values) as f32).abs() <= 1.0, "{distinct}, not {}", classes(&values));
    assert!(row.get::<_, Option<String>>(2).is_some(), "repeated values are common values");
    // Selectivity from them, with a constant of other dimensions and another tag.
    explain(&mut session, "COSTS on", "SELECT * FROM mixed WHERE value < '[1,2,3,4]@12345678'");
}
