//! `vs_hnsw_recall`: how many of the nearest rows scans of an index find.
//!
//! Both answers come from the planner and the executor: settings of this function's own, undone at its end, let the one use
//! no index and the other this one. Nothing is written, so that it works on a standby and in a transaction that only reads.

use super::held::Held;
use super::rights::{AsOwner, Settings};
use crate::error::{OrRaise, SqlError, SqlResult};
use crate::index::pages::Opened;
use crate::index::search::last_scanned;
use pgrx::prelude::*;
use pgrx::spi::SpiClient;
use pgrx::{PgSqlErrorCode, Spi, spi};
use vs_quantize::Metric;

#[pg_extern(sql = false)]
fn vs_hnsw_recall(index: pg_sys::Oid, queries: i32, k: i32) -> Option<f64> {
    recall(index, queries, k).or_raise()
}

/// What has been found out.
enum Measured {
    /// There is no row to search for.
    NoRows,
    /// The planner would not have this index used.
    OtherPlan,
    /// The share of the nearest rows that scans find.
    Share(f64),
}

/// The share of the k nearest rows that scans of the index find, for a sample of the table's own rows as queries.
fn recall(oid: pg_sys::Oid, queries: i32, k: i32) -> SqlResult<Option<f64>> {
    if queries < 1 || k < 1 {
        return Err(SqlError::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, "queries and k must be at least 1"));
    }
    let held = Held::open(oid, false)?;
    let metric = Opened::open(held.index())?.meta.metric;
    let _settings = Settings::begin();
    Settings::set(c"search_path", c"pg_catalog, pg_temp");
    let _owner = AsOwner::begin(&held);
    let measured = Spi::connect(|client| Question::about(client, oid, metric, k)?.measure(client, oid, queries));
    match measured {
        Ok(Measured::Share(share)) => Ok(Some(share)),
        Ok(Measured::NoRows) => Ok(None),
        Ok(Measured::OtherPlan) => Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("the planner does not use index \"{}\"", held.index().name()),
        )
        .detail("Another index on the same column may be in its place.")),
        Err(error) => Err(SqlError::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, error.to_string())),
    }
}

/// What is asked, in SQL.
struct Question {
    /// The table, the index's expression, and which rows are in it.
    rows: String,
    value: String,
    /// The nearest rows to `$1`.
    nearest: String,
}

impl Question {
    /// What an index answers, put together from the catalogs.
    fn about(client: &SpiClient<'_>, oid: pg_sys::Oid, metric: Metric, k: i32) -> spi::Result<Self> {
        let parts = client
            .select(
                "SELECT i.indrelid::regclass::text, pg_get_indexdef(i.indexrelid, 1, false), \
                 coalesce(pg_get_expr(i.indpred, i.indrelid), 'true'), quote_ident(n.nspname) \
                 FROM pg_index i, pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace \
                 WHERE i.indexrelid = $1 AND e.extname = 'visual_search'",
                Some(1),
                &[oid.into()],
            )?
            .first();
        let text = |column| parts.get::<String>(column).map(Option::unwrap_or_default);
        let (table, value, predicate, schema) = (text(1)?, text(2)?, text(3)?, text(4)?);
        let operator = match metric {
            Metric::L2 => "<->",
            Metric::Cosine => "<=>",
            Metric::InnerProduct => "<#>",
        };
        let distance = format!("{value} OPERATOR({schema}.{operator}) $1::{schema}.image_embedding");
        let rows = format!("FROM ONLY {table} WHERE ({predicate})");
        let nearest = format!(
            "SELECT array_agg(d) FROM (SELECT {distance} AS d {rows} ORDER BY {distance} LIMIT {k}) s WHERE d <> 'NaN'"
        );
        Ok(Self { rows, value, nearest })
    }

    /// Asks it for at most `queries` of the table's rows.
    fn measure(&self, client: &SpiClient<'_>, oid: pg_sys::Oid, queries: i32) -> spi::Result<Measured> {
        let sample = self.sample(client, queries)?;
        Settings::set(c"enable_indexscan", c"off");
        let exact = sample.iter().map(|query| self.distances(client, query)).collect::<Result<Vec<_>, _>>()?;
        Settings::set(c"enable_indexscan", c"on");
        Settings::set(c"enable_seqscan", c"off");
        Settings::set(c"enable_sort", c"off");
        let (mut hits, mut wanted) = (0, 0);
        for (query, exact) in sample.iter().zip(&exact) {
            pgrx::check_for_interrupts!();
            last_scanned::forget();
            let found = self.distances(client, query)?;
            if last_scanned::get() != Some(oid) {
                return Ok(Measured::OtherPlan);
            }
            // Whatever is as near as the farthest of the exact answer is as right.
            let Some(farthest) = exact.iter().copied().reduce(f64::max) else { continue };
            hits += found.iter().filter(|&&distance| distance <= farthest).count().min(exact.len());
            wanted += exact.len();
        }
        Ok(if wanted > 0 { Measured::Share(hits as f64 / wanted as f64) } else { Measured::NoRows })
    }

    /// Vectors of the table, chosen at random.
    fn sample(&self, client: &SpiClient<'_>, queries: i32) -> spi::Result<Vec<String>> {
        let Self { rows, value, .. } = self;
        let sql = format!(
            "SELECT array_agg(e::text) FROM (SELECT {value} AS e {rows} AND {value} IS NOT NULL \
             ORDER BY random() LIMIT $1) s"
        );
        let sample: Option<Vec<String>> = client.select(&sql, Some(1), &[queries.into()])?.first().get(1)?;
        Ok(sample.unwrap_or_default())
    }

    /// The distances of the nearest rows, those that are numbers.
    fn distances(&self, client: &SpiClient<'_>, query: &str) -> spi::Result<Vec<f64>> {
        let found: Option<Vec<f64>> = client.select(&self.nearest, Some(1), &[query.into()])?.first().get(1)?;
        Ok(found.unwrap_or_default())
    }
}
