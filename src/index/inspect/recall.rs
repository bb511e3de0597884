//! `vs_hnsw_recall`: how many of the nearest rows scans of an index find.

use super::held::Held;
use super::rights::{AsOwner, Settings};
use crate::error::{OrRaise, SqlError, SqlResult};
use crate::index::pages::Opened;
use pgrx::prelude::*;
use pgrx::{PgSqlErrorCode, Spi, spi};
use vs_quantize::Metric;

#[pg_extern(sql = false)]
fn vs_hnsw_recall(index: pg_sys::Oid, queries: i32, k: i32) -> Option<f64> {
    recall(index, queries, k).or_raise()
}

/// The share of the k nearest rows that scans of the index find, for a sample of the table's own rows as queries.
///
/// Both answers come from the planner and the executor; settings of this function's own, undone at its end, let the one
/// use no index and the other this one.
fn recall(oid: pg_sys::Oid, queries: i32, k: i32) -> SqlResult<Option<f64>> {
    if queries < 1 || k < 1 {
        return Err(SqlError::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, "queries and k must be at least 1"));
    }
    let held = Held::open(oid, false)?;
    let (name, metric) = (held.index().name(), Opened::open(held.index())?.meta.metric);
    let operator = match metric {
        Metric::L2 => "<->",
        Metric::Cosine => "<=>",
        Metric::InnerProduct => "<#>",
    };
    let _settings = Settings::begin();
    Settings::set(c"search_path", c"pg_catalog, pg_temp");
    let _owner = AsOwner::begin(&held);
    let failed = |error: spi::SpiError| SqlError::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, error.to_string());
    Spi::connect_mut(|client| {
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
        let sample: Vec<Option<String>> = client
            .select(
                &format!(
                    "SELECT array_agg(e::text) FROM (SELECT {value} AS e FROM ONLY {table} \
                     WHERE {value} IS NOT NULL AND ({predicate}) ORDER BY random() LIMIT $1) s"
                ),
                Some(1),
                &[queries.into()],
            )?
            .first()
            .get(1)?
            .unwrap_or_default();
        if sample.is_empty() {
            return Ok(None);
        }
        let nearest = format!(
            "SELECT {value} OPERATOR({schema}.{operator}) q.e AS d FROM ONLY {table} WHERE ({predicate}) \
             ORDER BY {value} OPERATOR({schema}.{operator}) q.e LIMIT {k}"
        );
        let all = format!(
            "SELECT array_agg(d ORDER BY i, d) FROM unnest($1::{schema}.image_embedding[]) WITH ORDINALITY AS q(e, i), \
             LATERAL (SELECT CASE WHEN d = 'NaN' THEN NULL ELSE d END FROM ({nearest}) n) r(d)"
        );
        let counted = format!(
            "SELECT array_agg(n ORDER BY i) FROM (SELECT i, (SELECT count(*) FROM ({nearest}) r) AS n \
             FROM unnest($1::{schema}.image_embedding[]) WITH ORDINALITY AS q(e, i)) s"
        );
        Settings::set(c"enable_indexscan", c"off");
        let exact: Vec<Option<f64>> =
            client.select(&all, Some(1), &[sample.clone().into()])?.first().get(1)?.unwrap_or_default();
        let per_query: Vec<Option<i64>> =
            client.select(&counted, Some(1), &[sample.clone().into()])?.first().get(1)?.unwrap_or_default();
        Settings::set(c"enable_indexscan", c"on");
        Settings::set(c"enable_seqscan", c"off");
        Settings::set(c"enable_sort", c"off");
        let plan: Vec<String> = client
            .update(&format!("EXPLAIN {all}"), None, &[sample.clone().into()])?
            .map(|row| row.get::<String>(1).map(Option::unwrap_or_default))
            .collect::<Result<_, _>>()?;
        if !plan
            .iter()
            .any(|line| line.contains(&format!("using {name} ")) || line.contains(&format!("using \"{name}\" ")))
        {
            return Ok(Some(f64::NAN));
        }
        let mut found_all = 0usize;
        let mut wanted_all = 0usize;
        let mut rest = &exact[..];
        for (query, count) in sample.iter().zip(&per_query) {
            pgrx::check_for_interrupts!();
            let (of_query, after) = rest.split_at((count.unwrap_or(0) as usize).min(rest.len()));
            rest = after;
            let Some(farthest) = of_query.iter().flatten().copied().reduce(f64::max) else { continue };
            let one = vec![query.clone()];
            let found: Vec<Option<f64>> =
                client.select(&all, Some(1), &[one.into()])?.first().get(1)?.unwrap_or_default();
            let hits = found.iter().flatten().filter(|&&distance| distance <= farthest).count();
            wanted_all += of_query.len();
            found_all += hits.min(of_query.len());
        }
        Ok((wanted_all > 0).then(|| found_all as f64 / wanted_all as f64))
    })
    .map_err(failed)
    .and_then(|recall| match recall {
        Some(recall) if recall.is_nan() => Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("the planner does not use index \"{name}\""),
        )
        .detail("Another index on the same column may be in its place.")),
        recall => Ok(recall),
    })
}
