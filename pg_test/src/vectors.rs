//! Tables of vectors, and what a search of them must answer.
//!
//! What is right is always asked of the server itself: the same query without an index. So answers are compared by the
//! operator's own distances, and rows at equal distances may come in any order.

use fastrand::Rng;
use postgres::{
    Client,
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};

use crate::{Embedding, describe, explain, wait_until};

/// The distances that an index can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Euclidean.
    L2,
    /// 1 − cos.
    Cosine,
    /// The negative inner product.
    InnerProduct,
}

impl Metric {
    /// All of them.
    pub const ALL: [Metric; 3] = [Metric::L2, Metric::Cosine, Metric::InnerProduct];

    /// The SQL operator.
    pub fn operator(self) -> &'static str {
        match self {
            Metric::L2 => "<->",
            Metric::Cosine => "<=>",
            Metric::InnerProduct => "<#>",
        }
    }

    /// A part for names of databases.
    pub fn name(self) -> &'static str {
        match self {
            Metric::L2 => "l2",
            Metric::Cosine => "cosine",
            Metric::InnerProduct => "ip",
        }
    }

    /// The operator class.
    pub fn opclass(self) -> &'static str {
        match self {
            Metric::L2 => "image_embedding_l2_ops",
            Metric::Cosine => "image_embedding_cosine_ops",
            Metric::InnerProduct => "image_embedding_ip_ops",
        }
    }
}

/// A stream of vectors as networks make them: in clusters, with far fewer directions that matter than dimensions, and
/// of somewhat different lengths. The same seed gives the same vectors.
#[derive(Debug)]
pub struct Generator {
    random: Rng,
    dims: usize,
    centres: Vec<Vec<f64>>,
    directions: Vec<Vec<f64>>,
}

/// Directions in which the members of a cluster differ much.
const DIRECTIONS: usize = 8;

impl Generator {
    /// For vectors of `dims` dimensions.
    pub fn new(seed: u64, dims: usize) -> Generator {
        let mut random = Rng::with_seed(seed);
        let mut many = |count: usize| -> Vec<Vec<f64>> {
            (0..count).map(|_| (0..dims).map(|_| random.f64() - 0.5).collect()).collect()
        };
        let (centres, directions) = (many(30), many(DIRECTIONS));
        Generator { random, dims, centres, directions }
    }

    /// The next vector.
    pub fn vector(&mut self) -> Embedding {
        let centre = &self.centres[self.random.usize(..self.centres.len())];
        let weights: Vec<f64> = self.directions.iter().map(|_| self.random.f64() - 0.5).collect();
        let scale = 0.8 + 0.4 * self.random.f64();
        let elements: Vec<f64> = (0..self.dims)
            .map(|at| {
                let along: f64 =
                    self.directions.iter().zip(&weights).map(|(direction, weight)| direction[at] * weight).sum();
                scale * (centre[at] + along + 0.1 * (self.random.f64() - 0.5))
            })
            .collect();
        Embedding::of(elements)
    }

    /// The next `count` vectors.
    pub fn vectors(&mut self, count: usize) -> Vec<Embedding> {
        (0..count).map(|_| self.vector()).collect()
    }
}

/// Makes a table `(id int, embedding image_embedding(dims))`, with ids from 0 on.
pub fn table(session: &mut Client, name: &str, vectors: &[Embedding]) {
    let dims = vectors.first().map_or(1, |vector| vector.elements.len());
    run(session, &format!("CREATE TABLE {name} (id int, embedding image_embedding({dims}))"));
    append(session, name, 0, vectors);
    run(session, &format!("ANALYZE {name}"));
}

/// Copies vectors into a table, numbered from `first` on.
pub fn append(session: &mut Client, name: &str, first: i32, vectors: &[Embedding]) {
    let columns = format!("{name} (id, embedding)");
    let ty = session.prepare(&format!("SELECT embedding FROM {name}")).expect("a table").columns()[0].type_().clone();
    let sink = session.copy_in(&format!("COPY {columns} FROM STDIN (FORMAT binary)")).expect("COPY starts");
    let mut writer = BinaryCopyInWriter::new(sink, &[Type::INT4, ty]);
    for (id, vector) in (first..).zip(vectors) {
        writer.write(&[&id, vector]).unwrap_or_else(|e| panic!("COPY {name}: {}", describe(&e)));
    }
    writer.finish().unwrap_or_else(|e| panic!("COPY {name}: {}", describe(&e)));
}

/// Runs statements one by one, each in a transaction of its own unless one is begun. None may have a semicolon in it.
///
/// # Panics
/// With what the server says, if one fails.
pub fn run(session: &mut Client, sql: &str) {
    for statement in sql.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        session.batch_execute(statement).unwrap_or_else(|e| panic!("{statement}: {}", describe(&e)));
    }
}

/// Makes the session's plans use an index where there is a way to.
pub fn prefer_index(session: &mut Client) {
    run(session, "SET enable_seqscan = off; SET enable_sort = off; SET enable_indexscan = on");
}

/// Makes the session's plans use none.
pub fn prefer_table(session: &mut Client) {
    run(session, "SET enable_seqscan = on; SET enable_sort = on; SET enable_indexscan = off");
}

/// A row that a query found: its id, and its distance unless that is NULL.
pub type Found = (i32, Option<f64>);

/// The rows of a query with an id and a distance in its first two columns.
pub fn rows(session: &mut Client, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Found> {
    let rows = session.query(sql, parameters).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Checks that distances ascend, NULLs last and NaN before them, and that no row is there twice.
pub fn assert_in_order(rows: &[Found], what: &str) {
    let key = |row: &Found| (row.1.is_none(), row.1.is_some_and(f64::is_nan), row.1.filter(|d| !d.is_nan()));
    for (at, pair) in rows.windows(2).enumerate() {
        assert!(key(&pair[0]) <= key(&pair[1]), "{what}: rows {at} and {} are out of order: {:?}", at + 1, pair);
    }
    let mut ids: Vec<i32> = rows.iter().map(|row| row.0).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rows.len(), "{what}: a row was returned twice");
}

/// The nearest rows of a table, one way or the other.
#[derive(Clone, Debug)]
pub struct Search {
    /// The statement, with the query vector as `$1`.
    pub sql: String,
}

impl Search {
    /// The `k` rows of `table` nearest to `$1`.
    pub fn nearest(table: &str, metric: Metric, k: usize) -> Search {
        Search::of(table, metric, k, "true")
    }

    /// The `k` nearest of those rows for which `condition` holds.
    pub fn of(table: &str, metric: Metric, k: usize, condition: &str) -> Search {
        let operator = metric.operator();
        Search {
            sql: format!(
                "SELECT id, embedding {operator} $1 FROM {table} WHERE {condition} ORDER BY embedding {operator} $1 LIMIT {k}"
            ),
        }
    }

    /// What the index `index` finds.
    ///
    /// # Panics
    /// If the plan does not use it, or the order is wrong.
    pub fn by_index(&self, session: &mut Client, index: &str, query: &Embedding) -> Vec<Found> {
        prefer_index(session);
        let literal = format!("'{}'::image_embedding", query.to_text());
        let plan = explain(session, "COSTS off", &self.sql.replace("$1", &literal));
        assert!(plan.contains(&format!("using {index} ")), "{}:\n{plan}", self.sql);
        let found = rows(session, &self.sql, &[query]);
        assert_in_order(&found, &self.sql);
        found
    }

    /// What a look at every row finds.
    pub fn exactly(&self, session: &mut Client, query: &Embedding) -> Vec<Found> {
        prefer_table(session);
        rows(session, &self.sql, &[query])
    }

    /// The share of the nearest rows that the index finds. Whatever is as near as the farthest of the exact answer
    /// counts.
    pub fn recall(&self, session: &mut Client, index: &str, queries: &[Embedding]) -> f64 {
        let (mut found, mut wanted) = (0, 0);
        for query in queries {
            let exact = self.exactly(session, query);
            let farthest = exact.last().and_then(|row| row.1).unwrap_or(f64::NEG_INFINITY);
            let ours = self.by_index(session, index, query);
            found +=
                ours.iter().filter(|row| row.1.is_some_and(|distance| distance <= farthest)).count().min(exact.len());
            wanted += exact.len();
        }
        found as f64 / wanted as f64
    }
}

/// Checks an index by `vs_hnsw_check`.
///
/// # Panics
/// With the problems, if there are any.
pub fn assert_sound(session: &mut Client, index: &str) {
    let sql = format!("SELECT format('block %s: %s', block, problem) FROM vs_hnsw_check('{index}')");
    let rows = session.query(&sql, &[]).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
    let problems: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(
        problems.is_empty(),
        "{} problems of {index}:\n{}",
        problems.len(),
        problems[..problems.len().min(20)].join("\n")
    );
}

/// Vacuums a table until its index has the rows that the table has. What other sessions may still be able to see is not
/// removed, and while a session starts that is a little more than it need be.
pub fn vacuum(session: &mut Client, table: &str, index: &str) {
    wait_until("a vacuum to remove all that is dead", || {
        run(session, &format!("VACUUM (INDEX_CLEANUP ON) {table}"));
        let rows: i64 =
            session.query_one(&format!("SELECT count(embedding) FROM {table}"), &[]).expect("a table").get(0);
        (stat(session, index, "rows") == rows).then_some(())
    });
}

/// One of the numbers that `vs_hnsw_stats` gives.
pub fn stat(session: &mut Client, index: &str, column: &str) -> i64 {
    let sql = format!("SELECT {column}::bigint FROM vs_hnsw_stats('{index}')");
    session.query_one(&sql, &[]).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e))).get(0)
}
