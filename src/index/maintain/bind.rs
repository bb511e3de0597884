//! Which length and which model an index is bound to.
//!
//! Vectors of different lengths, or of different models, cannot be compared: with both in it an index would answer with
//! errors. So the metapage says of which length and model the vectors are, and a comparison with it tells an insertion
//! that its row fits.
//!
//! The metapage follows from the rows that have come. What counts is the rows that are *there*: those that it follows from
//! may have been deleted or rolled back since. So a row that does not fit is no error yet. Then every row of the index is
//! looked up in the table [as it is at this moment](super::presence). If none of another length or model is there, the
//! index is bound to what comes; else the error names one.
//!
//! Rows that our own transaction has deleted come back if that is rolled back. An index that was bound because they are
//! gone is bound *by* that transaction ([`crate::index::pages::Meta::binder`]): until it has committed, all others look for themselves, and if
//! it was rolled back, so does everybody.
//!
//! A graph is of vectors of one length for ever. Vectors of another, in a column that was emptied and filled again, are kept
//! aside ([`crate::index::pages::Why::Length`]) until the index is built anew.
//!
//! From the first look to the insertion of the row the barrier is held exclusively: nobody else inserts meanwhile, so that
//! no two sessions bind the index to two models. No page of the index is pinned or locked while rows are fetched and the
//! functions of an index's expression run.

use super::presence::{Presence, Table};
use crate::embedding::{Embedding, literal::tag_text};
use crate::error::{SqlError, SqlResult};
use crate::index::pages::{Graph, Opened, SideRef, Tid, Why, layout_for, unplaced};
use crate::storage::{Block, Index, Logging};
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;
use std::ffi::CStr;

/// What must be the same for all vectors of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorKind {
    /// The length.
    pub dims: usize,
    /// The tag of the model; 0 goes with every other.
    pub tag: u32,
}

impl VectorKind {
    /// That of a vector.
    pub fn of(embedding: &Embedding<'_>) -> Self {
        Self { dims: embedding.dims(), tag: embedding.tag() }
    }

    /// Whether two vectors can be compared.
    pub fn goes_with(self, other: Self) -> bool {
        self.dims == other.dims && (self.tag == other.tag || self.tag == 0 || other.tag == 0)
    }
}

/// Binds an index to `kind` as far as it is not bound yet, and opens it. `None` if it may be bound to something else: then
/// [`rebind`]. The barrier must be held.
pub fn bind(index: Index, kind: VectorKind) -> SqlResult<Option<Graph>> {
    let mut graph = Graph::new(Opened::open(index)?, Logging::Generic);
    match standing(graph.nodes.opened.meta.binder) {
        Standing::Firm => {}
        Standing::Committed => {
            let binder = graph.nodes.opened.meta.binder;
            graph.change_meta(|meta| meta.binder == binder && std::mem::take(&mut meta.binder) != 0)?;
        }
        Standing::Open => return Ok(None),
    }
    let meta = &graph.nodes.opened.meta;
    if meta.dims == 0 || meta.tag == 0 && kind.tag != 0 && meta.length() == kind.dims {
        layout_for(kind.dims, meta.m, graph.nodes.opened.layout.columns())?;
        graph.change_meta(|meta| {
            let before = *meta;
            if meta.dims == 0 {
                meta.dims = kind.dims;
            }
            if meta.tag == 0 && meta.length() == kind.dims {
                meta.tag = kind.tag;
            }
            *meta != before
        })?;
        graph = Graph::new(Opened::open(index)?, Logging::Generic);
    }
    let meta = &graph.nodes.opened.meta;
    let bound = VectorKind { dims: meta.length(), tag: meta.tag };
    Ok(kind.goes_with(bound).then_some(graph))
}

/// Binds an index to `kind` unless rows of another are there. The barrier must be held exclusively.
///
/// # Errors
/// If there are.
pub fn rebind(index: Index, heap: pg_sys::Relation, kind: VectorKind) -> SqlResult<Graph> {
    if let Some(graph) = bind(index, kind)? {
        return Ok(graph);
    }
    let graph = Graph::new(Opened::open(index)?, Logging::Generic);
    let opened = &graph.nodes.opened;
    layout_for(kind.dims, opened.meta.m, opened.layout.columns())?;
    let others = look_for_others(opened, heap, kind)?;
    let dims = opened.meta.dims;
    let other_length = if kind.dims == dims { 0 } else { kind.dims };
    if other_length != 0 && opened.meta.other_length != other_length {
        warn_of_length(index, dims, other_length);
    }
    if opened.meta.other_length != other_length {
        // Plans depend on it.
        // SAFETY: the relation is open, in a transaction.
        unsafe { pg_sys::CacheInvalidateRelcache(heap) };
    }
    let tag = if kind.tag != 0 { kind.tag } else { others.tag };
    let binder = if others.gone_by_us { current_transaction() } else { 0 };
    graph.change_meta(|meta| {
        (meta.tag, meta.binder, meta.other_length) = (tag, binder, other_length);
        true
    })?;
    Ok(Graph::new(Opened::open(index)?, Logging::Generic))
}

/// Tells that the graph is of no use for what comes.
fn warn_of_length(index: Index, dims: usize, length: usize) {
    let name = index.name();
    pgrx::ereport!(
        pgrx::PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_WARNING,
        format!(
            "index \"{name}\" was built for vectors of {dims} dimensions, and searches among those of {length} will not use it"
        ),
        format!("They take as long as without an index until it is built anew: REINDEX INDEX {name}.")
    );
}

/// The transaction, or the part of it, that is running, with the epoch.
fn current_transaction() -> u64 {
    // SAFETY: whoever inserts is in a transaction that may write.
    unsafe { pg_sys::GetCurrentFullTransactionId() }.value
}

/// How far what a transaction has bound can be relied upon.
enum Standing {
    /// For good, or as long as we are in that transaction.
    Firm,
    /// For good from now on.
    Committed,
    /// Not at all: it may be rolled back, or has been.
    Open,
}

fn standing(binder: u64) -> Standing {
    // The low half is the number that rows have.
    let xid = pg_sys::TransactionId::from(binder as u32);
    // SAFETY: looks transactions up. `pg_xact_status` says NULL of those whose fate has been forgotten, and raises an error
    // for those that are still to come, which are not asked for.
    unsafe {
        if binder == 0 || pg_sys::TransactionIdIsCurrentTransactionId(xid) {
            return Standing::Firm;
        }
        if binder >= pg_sys::ReadNextFullTransactionId().value {
            return Standing::Open;
        }
        let status: Option<&str> =
            pgrx::direct_function_call(pg_sys::pg_xact_status, &[Some(pg_sys::Datum::from(binder))]);
        if status == Some("committed") { Standing::Committed } else { Standing::Open }
    }
}

/// What there is besides the row that comes.
struct Others {
    /// The tag of the rows that are there; 0 if they have none.
    tag: u32,
    /// Rows would be there if our own transaction had not deleted them.
    gone_by_us: bool,
}

/// Looks whether a row is there with which `new` cannot be compared. The barrier must be held exclusively.
///
/// # Errors
/// If there is one.
fn look_for_others(opened: &Opened, heap: pg_sys::Relation, new: VectorKind) -> SqlResult<Others> {
    let mut table = Table::open(heap, opened.index)?;
    let mut others = Others { tag: 0, gone_by_us: false };
    let mut tids = Vec::new();
    for block in 1..opened.index.blocks() {
        rows_of(opened, block, &mut tids);
        for &tid in &tids {
            pgrx::check_for_interrupts!();
            match table.presence(tid)? {
                Presence::There(present) if !present.goes_with(new) => {
                    return Err(conflict(opened.index, heap, new, present, tid));
                }
                Presence::There(VectorKind { tag: 0, .. }) | Presence::Gone => {}
                Presence::There(present) => others.tag = present.tag,
                Presence::GoneByUs => others.gone_by_us = true,
            }
        }
    }
    Ok(others)
}

/// The rows of all nodes on a page, or of the side entries on it, or the vectors without a place in the graph; none
/// that a scan has found dead to everybody.
fn rows_of(opened: &Opened, block: Block, tids: &mut Vec<Tid>) {
    tids.clear();
    let layout = opened.layout;
    let mut hints = opened.remembered.hints.borrow_mut();
    let lock = opened.index.read(&mut hints, block);
    let page = lock.page();
    for node in (0..layout.slots(page)).filter_map(|at| layout.node(page, at)) {
        tids.extend(node.tids().filter(|tid| !tid.is_killed()));
    }
    for entry in (0..layout.sides(page)).filter_map(|at| layout.side(page, at)).filter(SideRef::has_rows) {
        tids.extend(entry.tids().filter(|tid| !tid.is_killed()));
    }
    tids.extend(unplaced(page).filter(|row| row.1 != Why::Null).map(|row| row.0));
}

/// The error for a row that cannot be compared with another of its table, which has the address `row`.
///
/// Whoever may not read the table is told of his own row alone.
pub fn conflict(index: Index, heap: pg_sys::Relation, new: VectorKind, present: VectorKind, row: Tid) -> SqlError {
    let index_name = index.name();
    let secret = !may_read(heap);
    // SAFETY: the relation is open, and its name is a zero-terminated string.
    let table = unsafe { CStr::from_ptr((*(*heap).rd_rel).relname.data.as_ptr()) }.to_string_lossy();
    if new.dims != present.dims {
        let message = if secret {
            format!("different image_embedding dimensions: {} is not that of other rows", new.dims)
        } else {
            format!("different image_embedding dimensions {} and {}", new.dims, present.dims)
        };
        let error = SqlError::new(PgSqlErrorCode::ERRCODE_DATA_EXCEPTION, message);
        return match secret {
            true => error.detail(format!("Index \"{index_name}\" holds vectors of one length.")),
            false => error.detail(format!(
                "Row {row} of table \"{table}\" has {} dimensions, and index \"{index_name}\" holds vectors of one length.",
                present.dims
            )),
        };
    }
    let (ours, theirs) = (tag_text(new.tag), tag_text(present.tag));
    let message = if secret {
        format!("embeddings from different models: {ours} is not that of other rows")
    } else {
        format!("embeddings from different models: {ours} and {theirs}")
    };
    let detail = if secret {
        format!("Index \"{index_name}\" holds embeddings of one model.")
    } else {
        format!(
            "Row {row} of table \"{table}\" is of model {theirs}, and index \"{index_name}\" holds embeddings of one model."
        )
    };
    SqlError::new(PgSqlErrorCode::ERRCODE_DATA_EXCEPTION, message).detail(detail).hint(
        "Embed all rows with one model. To change the model, set the column to NULL before it is filled again, or fill and \
         index a second column and drop this one.",
    )
}

/// Whether the current user may read all rows of a table.
fn may_read(table: pg_sys::Relation) -> bool {
    // SAFETY: the relation is open; the rest looks rights up.
    unsafe {
        let oid = (*table).rd_id;
        let select = pg_sys::AclMode::from(pg_sys::ACL_SELECT);
        pg_sys::pg_class_aclcheck(oid, pg_sys::GetUserId(), select) == pg_sys::AclResult::ACLCHECK_OK
            && pg_sys::check_enable_rls(oid, pg_sys::InvalidOid, true)
                != pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
    }
}
