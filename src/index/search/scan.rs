//! An index scan: rows in the order of a lower bound of their distance.
//!
//! The scan searches with `ef_search` candidates and returns their rows in the order of a **lower bound** of the
//! operator's value, with `xs_recheckorderby` set. The executor computes the exact value from the table's row, and holds
//! a row back until the bound of the next says that none can come before it (`IndexNextWithReorder` in PostgreSQL's
//! `nodeIndexscan.c`). So the order is exact, and little more than LIMIT rows are fetched from the table.
//!
//! When the executor wants more, the search goes on where it stopped ([`vs_graph::Beam::widen`]), until
//! `max_scan_tuples`. No page is pinned or locked between calls: a candidate's rows are read when its turn comes, and
//! only if the node's generation still is the one that was scored. A slot that was freed and used again meanwhile holds
//! a row too new for this scan's snapshot.

use super::kill::Kills;
use crate::embedding::Embedding;
use crate::error::{OrRaise, SqlError, SqlResult, out_of_memory};
use crate::index::pages::{Nodes, Opened, Tid};
use crate::index::plan::options::{self, IterativeScan};
use crate::storage::Index;
use pgrx::prelude::*;
use pgrx::{PgMemoryContexts, PgSqlErrorCode};
use std::cell::RefCell;
use vs_graph::{Beam, Candidate, NodeId};
use vs_quantize::{Error, Query, Score, Scratch};

/// By how many candidates a beam is widened at least.
const LEAST: usize = 8;

/// Memory that searches reuse.
#[derive(Default)]
struct Workspace {
    beam: Beam,
    query: Query,
    scratch: Scratch,
    found: Vec<Candidate>,
    bounds: Vec<(f64, Candidate)>,
    tids: Vec<Tid>,
}

thread_local! {
    /// Workspaces of scans that have ended.
    static SPARE: RefCell<Vec<Workspace>> = const { RefCell::new(Vec::new()) };
}

/// What a scan is up to.
enum Stage {
    /// Nothing has been asked for yet.
    Start,
    /// In order of distance.
    Nearest,
    /// Everything, because all distances are NULL or NaN: the next node.
    Everything(u32),
    /// There is nothing more.
    End,
}

/// A scan.
pub struct Scan {
    nodes: Option<Nodes>,
    stage: Stage,
    work: Workspace,
    /// The next of `work.bounds`.
    next: usize,
    /// Nothing that is still to be found is likely to have a bound below this.
    horizon: f64,
    /// The next of `work.tids`.
    next_tid: usize,
    /// The bound of the rows in `work.tids`.
    bound: Option<f64>,
    /// The largest bound returned.
    last: f64,
    returned: usize,
    /// The row returned last.
    current: Option<Tid>,
    /// The node of the rows in `work.tids`, its generation, and its count of removals.
    node: (NodeId, u16, u16),
    kills: Kills,
}

impl Drop for Scan {
    fn drop(&mut self) {
        let work = std::mem::take(&mut self.work);
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < 4 {
                spare.push(work);
            }
        });
    }
}

impl Scan {
    fn new() -> Self {
        Self {
            nodes: None,
            stage: Stage::Start,
            work: SPARE.with_borrow_mut(Vec::pop).unwrap_or_default(),
            next: 0,
            horizon: f64::NEG_INFINITY,
            next_tid: 0,
            bound: None,
            last: f64::NEG_INFINITY,
            returned: 0,
            current: None,
            node: (0, 0, 0),
            kills: Kills::default(),
        }
    }

    fn restart(&mut self) {
        self.stage = Stage::Start;
        self.next = 0;
        self.next_tid = 0;
        self.last = f64::NEG_INFINITY;
        self.returned = 0;
        self.current = None;
        self.work.bounds.clear();
        self.work.tids.clear();
    }

    /// Starts the search, for `query` or for everything.
    fn start(&mut self, index: Index, query: Option<&Embedding<'_>>) -> SqlResult<()> {
        let opened = Opened::open(index)?;
        if opened.meta.dims == 0 {
            self.stage = Stage::End;
            return Ok(());
        }
        if let Some(query) = query {
            opened.check(query)?;
        }
        match &mut self.nodes {
            Some(nodes) => nodes.reopen(opened),
            none => *none = Some(Nodes::new(opened)),
        }
        let Some(query) = query else {
            (self.stage, self.bound) = (Stage::Everything(0), None);
            return Ok(());
        };
        self.stage = Stage::Nearest;
        let Some(nodes) = &mut self.nodes else { return Ok(()) };
        let Workspace { beam, query: prepared, scratch, .. } = &mut self.work;
        match nodes.opened.space().prepare(query.elements(), scratch, prepared) {
            Ok(()) => {}
            // The cosine distance to the zero vector is NaN whatever the row, so any order is right.
            Err(Error::Zero) => {
                (self.stage, self.bound) = (Stage::Everything(0), Some(f64::NEG_INFINITY));
                return Ok(());
            }
            Err(error) => return Err(SqlError::new(PgSqlErrorCode::ERRCODE_DATA_EXCEPTION, error.to_string())),
        }
        beam.search(nodes, prepared, options::ef_search())?;
        self.rank()
    }

    /// Puts what the beam has found, with what was found before and is not returned yet, into the order of its bounds.
    ///
    /// A candidate that is found later has a key above all keys found now, or so it is meant to be; from the farthest
    /// follows the horizon. Rows whose bound is beyond it are not returned before the beam has been widened, else they
    /// would keep those found later from being returned in order: of two hundred rows that differ by less than the codes
    /// can tell, all are found before the first is returned.
    fn rank(&mut self) -> SqlResult<()> {
        let Some(nodes) = &self.nodes else { return Ok(()) };
        let Workspace { beam, query, found, bounds, .. } = &mut self.work;
        beam.take(found);
        let space = nodes.opened.space();
        bounds.drain(..self.next.min(bounds.len()));
        if beam.is_starved() || bounds.try_reserve(found.len()).is_err() {
            return Err(out_of_memory("searching a vs_hnsw index").hint("Lower vs_hnsw.max_scan_tuples."));
        }
        bounds.extend(found.iter().map(|candidate| (space.lower_bound(query, candidate.score()), *candidate)));
        bounds.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        self.next = 0;
        let slack = found.iter().fold(0.0f32, |most, candidate| most.max(candidate.slack));
        self.horizon = match found.last() {
            Some(farthest) => space.lower_bound(query, Score { key: farthest.key, slack }),
            None => f64::INFINITY,
        };
        Ok(())
    }

    /// Candidates that have been found and not returned.
    fn held_back(&self) -> usize {
        self.work.bounds.len() - self.next.min(self.work.bounds.len())
    }

    /// Whether the beam may be widened. Rows that are held back count as if they had been returned: a scan of rows that
    /// the codes can hardly tell apart ends there, too.
    fn may_widen(&self) -> bool {
        options::iterative_scan() != IterativeScan::Off
            && self.returned + self.held_back() < options::max_scan_tuples()
            && !self.work.beam.is_exhausted()
    }

    /// The next row and its bound; no bound if distances are NULL.
    fn advance(&mut self, ignore_killed: bool) -> SqlResult<Option<(Tid, Option<f64>)>> {
        loop {
            while let Some(&tid) = self.work.tids.get(self.next_tid) {
                self.next_tid += 1;
                if ignore_killed && tid.is_killed() {
                    continue;
                }
                self.current = Some(tid.plain());
                self.returned += 1;
                return Ok(Some((tid.plain(), self.bound)));
            }
            let more = match self.stage {
                Stage::Nearest => self.next_near()?,
                Stage::Everything(at) => self.next_any(at)?,
                Stage::Start | Stage::End => false,
            };
            if !more {
                self.stage = Stage::End;
                return Ok(None);
            }
        }
    }

    /// Reads the rows of the next candidate.
    fn next_near(&mut self) -> SqlResult<bool> {
        loop {
            let strict = options::iterative_scan() == IterativeScan::StrictOrder;
            let candidate = self.work.bounds.get(self.next).copied();
            if candidate.is_none_or(|(bound, _)| strict && bound > self.horizon) && self.may_widen() {
                // More at a time the more have been found, so that it does not come to this often.
                let found = self.returned + self.held_back();
                let Some(nodes) = &mut self.nodes else { return Ok(false) };
                let Workspace { beam, query, .. } = &mut self.work;
                beam.widen(nodes, query, (options::ef_search().max(found) / 2).max(LEAST))?;
                self.rank()?;
                continue;
            }
            let Some((bound, candidate)) = candidate else { return Ok(false) };
            self.next += 1;
            if strict && bound < self.last {
                continue;
            }
            let Some(nodes) = &self.nodes else { return Ok(false) };
            let Some(removals) = nodes.tids(candidate.id, candidate.stamp, &mut self.work.tids)? else { continue };
            self.next_tid = 0;
            (self.bound, self.node) = (Some(bound), (candidate.id, candidate.stamp, removals));
            self.last = self.last.max(bound);
            return Ok(true);
        }
    }

    /// Reads the rows of the next node of all.
    fn next_any(&mut self, mut at: NodeId) -> SqlResult<bool> {
        let Some(nodes) = &self.nodes else { return Ok(false) };
        let end = nodes.opened.layout.ids(nodes.opened.index.blocks());
        while (at as usize) < end {
            pgrx::check_for_interrupts!();
            let id = at;
            at += 1;
            let Some(generation) = nodes.generation(id) else { continue };
            if let Some(removals) = nodes.tids(id, generation, &mut self.work.tids)? {
                self.next_tid = 0;
                self.node = (id, generation, removals);
                self.stage = Stage::Everything(at);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes that the row returned last is dead to everybody.
    fn kill_current(&mut self) {
        if let Some(tid) = self.current {
            let (node, generation, removals) = self.node;
            self.kills.push((node, generation, removals, tid));
        }
    }

    fn write_kills(&mut self) -> SqlResult<()> {
        match &self.nodes {
            Some(nodes) => self.kills.write(nodes),
            None => Ok(()),
        }
    }
}

/// The scan behind PostgreSQL's descriptor.
///
/// # Safety
/// `scan` must come from [`ambeginscan`], and only one reference may be in use.
unsafe fn state<'a>(scan: pg_sys::IndexScanDesc) -> &'a mut Scan {
    // SAFETY: `ambeginscan` put it there; it lives until the memory context of the descriptor goes.
    unsafe { &mut *(*scan).opaque.cast::<Scan>() }
}

/// `ambeginscan`
#[pg_guard]
pub unsafe extern "C-unwind" fn ambeginscan(
    index: pg_sys::Relation,
    keys: std::ffi::c_int,
    order_bys: std::ffi::c_int,
) -> pg_sys::IndexScanDesc {
    // SAFETY: the descriptor and its arrays are palloc'd in the current context, where a callback drops the state, also
    // if the scan ends by an error.
    unsafe {
        let scan = pg_sys::RelationGetIndexScan(index, keys, order_bys);
        if order_bys > 0 {
            (*scan).xs_orderbyvals = pg_sys::palloc0(order_bys as usize * size_of::<pg_sys::Datum>()).cast();
            (*scan).xs_orderbynulls = pg_sys::palloc0(order_bys as usize * size_of::<bool>()).cast();
        }
        (*scan).opaque = PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(Scan::new()).cast();
        scan
    }
}

/// `amrescan`
#[pg_guard]
pub unsafe extern "C-unwind" fn amrescan(
    scan: pg_sys::IndexScanDesc,
    _keys: pg_sys::ScanKey,
    _nkeys: std::ffi::c_int,
    order_bys: pg_sys::ScanKey,
    norder_bys: std::ffi::c_int,
) {
    // SAFETY: PostgreSQL passes as many keys as the scan was begun with.
    unsafe {
        let state = state(scan);
        state.write_kills().or_raise();
        state.restart();
        if norder_bys > 0 && !order_bys.is_null() {
            std::ptr::copy(order_bys, (*scan).orderByData, norder_bys as usize);
        }
    }
}

/// `amgettuple`
#[pg_guard]
pub unsafe extern "C-unwind" fn amgettuple(
    scan: pg_sys::IndexScanDesc,
    _direction: pg_sys::ScanDirection::Type,
) -> bool {
    // SAFETY: the descriptor is ours; its order-by keys were copied by `amrescan` and its arrays made by `ambeginscan`.
    unsafe {
        let state = state(scan);
        if matches!(state.stage, Stage::Start) {
            start(scan, state);
        } else if (*scan).kill_prior_tuple && !(*scan).xactStartedInRecovery {
            state.kill_current();
        }
        let Some((tid, bound)) = state.advance((*scan).ignore_killed_tuples).or_raise() else { return false };
        (*scan).xs_heaptid = tid.to_pointer();
        (*scan).xs_recheck = false;
        let count = (*scan).numberOfOrderBys as usize;
        if count > 0 {
            let values = std::slice::from_raw_parts_mut((*scan).xs_orderbyvals, count);
            let nulls = std::slice::from_raw_parts_mut((*scan).xs_orderbynulls, count);
            // Of further keys nothing is known but that no value is less than minus infinity.
            values.fill(pg_sys::Datum::from(f64::NEG_INFINITY.to_bits()));
            nulls.fill(bound.is_none());
            if let Some(bound) = bound {
                values[0] = pg_sys::Datum::from(bound.to_bits());
            }
            (*scan).xs_recheckorderby = true;
        }
        true
    }
}

/// Begins to search for what the scan's first order-by key says.
///
/// # Safety
/// As for [`amgettuple`].
unsafe fn start(scan: pg_sys::IndexScanDesc, state: &mut Scan) {
    // SAFETY: as above; the argument of an order-by key is an image_embedding unless it is null.
    unsafe {
        let snapshot = (*scan).xs_snapshot;
        let mvcc = !snapshot.is_null()
            && matches!(
                (*snapshot).snapshot_type,
                pg_sys::SnapshotType::SNAPSHOT_MVCC | pg_sys::SnapshotType::SNAPSHOT_HISTORIC_MVCC
            );
        if !mvcc {
            SqlError::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "vs_hnsw indexes can be scanned with MVCC snapshots only",
            )
            .raise();
        }
        if (*scan).numberOfOrderBys == 0 || (*scan).orderByData.is_null() {
            SqlError::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, "cannot scan a vs_hnsw index without order")
                .raise();
        }
        count_scan((*scan).indexRelation);
        let key = &*(*scan).orderByData;
        let index = Index::new((*scan).indexRelation);
        if key.sk_flags & pg_sys::SK_ISNULL as i32 != 0 {
            state.start(index, None).or_raise();
        } else {
            let query = Embedding::read(key.sk_argument).or_raise();
            state.start(index, Some(&query)).or_raise();
        }
    }
}

/// Counts a scan for `pg_stat_user_indexes`, as every access method does for itself.
///
/// # Safety
/// `index` must be open.
unsafe fn count_scan(index: pg_sys::Relation) {
    // SAFETY: the relation is open; where statistics are wanted its counters are made on first use.
    unsafe {
        #[cfg(not(feature = "pg14"))]
        if (*index).pgstat_info.is_null() && (*index).pgstat_enabled {
            pg_sys::pgstat_assoc_relation(index);
        }
        if let Some(counters) = (*index).pgstat_info.as_mut() {
            #[cfg(any(feature = "pg14", feature = "pg15"))]
            {
                counters.t_counts.t_numscans += 1;
            }
            #[cfg(not(any(feature = "pg14", feature = "pg15")))]
            {
                counters.counts.numscans += 1;
            }
        }
    }
}

/// `amendscan`
#[pg_guard]
pub unsafe extern "C-unwind" fn amendscan(scan: pg_sys::IndexScanDesc) {
    // SAFETY: the state is dropped with the memory context; here its last notes are written.
    unsafe { state(scan) }.write_kills().or_raise();
}
