//! Looking at an index from SQL: `vs_hnsw_stats`, `vs_hnsw_check`, `vs_hnsw_recall`.
//!
//! All three are for the owner of the index and for superusers: they read all of it, and the check keeps writers out.

use super::check::{Problem, check};
use super::graph::Graph;
use super::layout::Place;
use super::open::Opened;
use super::slots::TIDS;
use crate::embedding::literal::tag_text;
use crate::error::{OrRaise, SqlError, SqlResult};
use crate::returned::{Returned, column, record};
use crate::storage::{Index, Kind, Logging};
use pgrx::prelude::*;
use pgrx::{PgSqlErrorCode, Spi, name, spi};
use std::ffi::CStr;
use vs_quantize::Metric;

/// An index opened for a function, closed (and unlocked) when dropped.
pub struct Held {
    relation: pg_sys::Relation,
    table: pg_sys::Relation,
    lock: i32,
}

impl Held {
    /// Opens the vs_hnsw index `oid` and its table, after checking that the user may look at it. `exclude_writers` holds
    /// them off until the end of the transaction; not on a standby, where there are none but the replay.
    pub fn open(oid: pg_sys::Oid, exclude_writers: bool) -> SqlResult<Self> {
        // SAFETY: looks relations up and locks them, the table first, as PostgreSQL does; raises if there is no such
        // index. A relation opened here is closed by `Drop`, or at the end of the failed transaction.
        unsafe {
            let lock = match exclude_writers && !pg_sys::RecoveryInProgress() {
                true => pg_sys::ShareLock,
                false => pg_sys::AccessShareLock,
            } as i32;
            let table_oid = pg_sys::IndexGetRelation(oid, true);
            if table_oid == pg_sys::InvalidOid || !may_look_at(oid) {
                return Err(refused(oid, table_oid == pg_sys::InvalidOid));
            }
            let table = pg_sys::table_open(table_oid, lock);
            let relation = pg_sys::index_open(oid, lock);
            let held = Self { relation, table, lock };
            let ours = pg_sys::get_index_am_oid(c"vs_hnsw".as_ptr(), true);
            if (*(*relation).rd_rel).relam != ours || (*(*relation).rd_rel).relkind as u8 != pg_sys::RELKIND_INDEX {
                return Err(not_ours(&held.index().name()));
            }
            Ok(held)
        }
    }

    /// The index.
    pub fn index(&self) -> Index {
        // SAFETY: open and locked until `self` is dropped.
        unsafe { Index::new(self.relation) }
    }

    /// The number of pages of the table.
    pub fn table_blocks(&self) -> u32 {
        // SAFETY: open and locked until `self` is dropped.
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.table, pg_sys::ForkNumber::MAIN_FORKNUM) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: opened by us. Locks that keep writers out stay until the transaction ends.
        unsafe {
            let unlock = if self.lock == pg_sys::AccessShareLock as i32 { self.lock } else { pg_sys::NoLock as i32 };
            pg_sys::index_close(self.relation, unlock);
            pg_sys::table_close(self.table, unlock);
        }
    }
}

/// Whether the user owns the relation; superusers own everything.
fn may_look_at(oid: pg_sys::Oid) -> bool {
    // SAFETY: looks the owner up.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        let owns = pg_sys::pg_class_ownercheck(oid, pg_sys::GetUserId());
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let owns = pg_sys::object_ownercheck(pg_sys::RelationRelationId, oid, pg_sys::GetUserId());
        owns
    }
}

fn relation_name(oid: pg_sys::Oid) -> String {
    // SAFETY: null, or a palloc'd zero-terminated string.
    unsafe {
        let name = pg_sys::get_rel_name(oid);
        if name.is_null() { oid.to_string() } else { CStr::from_ptr(name).to_string_lossy().into_owned() }
    }
}

fn not_ours(name: &str) -> SqlError {
    SqlError::new(PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE, format!("\"{name}\" is not a vs_hnsw index"))
}

fn refused(oid: pg_sys::Oid, no_index: bool) -> SqlError {
    let name = relation_name(oid);
    if no_index {
        return not_ours(&name);
    }
    SqlError::new(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, format!("must be owner of index {name}"))
}

#[pg_extern(sql = false)]
fn vs_hnsw_check(index: pg_sys::Oid) -> TableIterator<'static, (name!(block, i64), name!(problem, String))> {
    let problems: Vec<Problem> = Held::open(index, true).and_then(|held| check(&held)).or_raise();
    TableIterator::new(problems.into_iter().map(|problem| (i64::from(problem.block), problem.text)))
}

/// What `vs_hnsw_stats` counts.
#[derive(Default)]
struct Counts {
    node_pages: i64,
    side_pages: i64,
    other_pages: i64,
    nodes: i64,
    dead_nodes: i64,
    free_slots: i64,
    rows: i64,
    killed_rows: i64,
    edges: i64,
    levels: Vec<i64>,
}

impl Counts {
    fn of(opened: &Opened) -> Self {
        let layout = opened.layout;
        let mut counts = Self::default();
        for block in 1..opened.index.blocks() {
            pgrx::check_for_interrupts!();
            let mut hints = opened.remembered.hints.borrow_mut();
            let lock = opened.index.read(&mut hints, block);
            let page = lock.page();
            match page.kind() {
                Some(Kind::Nodes) => counts.node_pages += 1,
                Some(Kind::Side) => counts.side_pages += 1,
                _ => counts.other_pages += 1,
            }
            for at in 0..layout.slots(page) {
                let Some(node) = layout.node(page, at) else { continue };
                counts.nodes += 1;
                counts.dead_nodes += i64::from(!node.live());
                counts.edges += node.list().len() as i64;
                counts.count_rows(node.tids());
                let level = usize::from(node.level());
                if counts.levels.len() <= level {
                    counts.levels.resize(level + 1, 0);
                }
                counts.levels[level] += 1;
            }
            for at in 0..layout.sides(page) {
                if let Some(entry) = layout.side(page, at).filter(|entry| entry.kind() == TIDS) {
                    counts.count_rows(entry.tids());
                }
            }
        }
        counts.free_slots = counts.node_pages * layout.per_page() as i64 - counts.nodes;
        counts
    }

    fn count_rows(&mut self, tids: impl Iterator<Item = super::tid::Tid>) {
        for tid in tids {
            self.rows += 1;
            self.killed_rows += i64::from(tid.is_killed());
        }
    }
}

#[pg_extern(sql = false)]
fn vs_hnsw_stats(index: pg_sys::Oid, fcinfo: pg_sys::FunctionCallInfo) -> Returned {
    stats(index, fcinfo).or_raise()
}

fn stats(index: pg_sys::Oid, fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<Returned> {
    let held = Held::open(index, false)?;
    let opened = Opened::open(held.index())?;
    let counts = Counts::of(&opened);
    let blocks = held.index().blocks();
    let reach = super::attach::traverse(&mut Graph::new(opened.clone(), Logging::Generic), blocks)?;
    let mut unreachable = 0i64;
    for block in 1..blocks {
        pgrx::check_for_interrupts!();
        unreachable += super::attach::live(&opened, block).iter().filter(|&&id| !reach.reached(id)).count() as i64;
    }
    let meta = opened.meta;
    let entry = meta.entry.map(|entry| {
        let Place { block, at } = opened.layout.place(entry.id);
        format!("({block},{at})")
    });
    let metric = match meta.metric {
        Metric::L2 => "l2",
        Metric::Cosine => "cosine",
        Metric::InnerProduct => "ip",
    };
    let degree = if counts.nodes > 0 { Some(counts.edges as f64 / counts.nodes as f64) } else { None };
    // SAFETY: the columns are those that sql/index.sql declares.
    unsafe {
        record(
            fcinfo,
            &[
                column(metric),
                column(meta.dims as i32),
                column(meta.m as i32),
                column(meta.ef_construction as i32),
                (meta.tag != 0).then(|| tag_text(meta.tag)).and_then(column),
                entry.and_then(column),
                column(i64::from(blocks)),
                column(counts.node_pages),
                column(counts.side_pages),
                column(opened.layout.per_page() as i32),
                column(counts.nodes),
                column(counts.dead_nodes),
                column(counts.free_slots),
                column(counts.rows),
                column(counts.killed_rows),
                column(unreachable),
                degree.and_then(column),
                column(counts.levels),
            ],
        )
    }
}

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

/// The table's owner in the caller's place, with no more rights than that: an index may have expressions and a predicate, which
/// are the owner's code and not to be run with the rights of a superuser who looks at the index. As in `REINDEX`.
struct AsOwner {
    user: pg_sys::Oid,
    context: i32,
}

impl AsOwner {
    fn begin(held: &Held) -> Self {
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: the table is open. The abort of a transaction puts the user back by itself.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
            let owner = (*(*held.table).rd_rel).relowner;
            pg_sys::SetUserIdAndSecContext(owner, context | pg_sys::SECURITY_RESTRICTED_OPERATION as i32);
        }
        Self { user, context }
    }
}

impl Drop for AsOwner {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: puts back what `begin` found.
            unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) };
        }
    }
}

/// Settings changed for the duration of a function.
struct Settings(i32);

impl Settings {
    fn begin() -> Self {
        // SAFETY: opens a level of settings, closed by `Drop`, or by the abort of the transaction.
        Self(unsafe { pg_sys::NewGUCNestLevel() })
    }

    /// Sets one at the present level.
    fn set(name: &CStr, value: &CStr) {
        // SAFETY: both are zero-terminated; the settings are the planner's, which everybody may change.
        unsafe {
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: closes the level that `begin` opened; what was set in it is undone.
            unsafe { pg_sys::AtEOXact_GUC(false, self.0) };
        }
    }
}
