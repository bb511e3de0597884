//! The planner hook: paths over an index that PostgreSQL does not think of by itself.
//!
//! PostgreSQL asks the hook for each table of a query, after it has made its own paths. Here stands what both kinds of
//! further paths share: which indexes and paths are ours, and what LIMIT says about them.
//!
//! The planner's first look at an index calls its handler, which loads this library. That happens before the hook is
//! asked about the table, so the first query of a session has it too, and nothing has to be preloaded.

use super::list::members;
use super::{amcostestimate, cutoff, nodes, tiebreak};
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;
use std::cell::Cell;

thread_local! {
    /// Whose hook was there before.
    static PREVIOUS: Cell<pg_sys::set_rel_pathlist_hook_type> = const { Cell::new(None) };
}

/// Registers the hook.
pub fn register() {
    // SAFETY: called once per process, while the library is loading; nothing else runs meanwhile.
    unsafe {
        PREVIOUS.set(pg_sys::set_rel_pathlist_hook);
        pg_sys::set_rel_pathlist_hook = Some(set_rel_pathlist);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn set_rel_pathlist(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    index: pg_sys::Index,
    entry: *mut pg_sys::RangeTblEntry,
) {
    // SAFETY: the planner passes valid nodes, here and to the hook before ours, which may raise.
    unsafe {
        if let Some(previous) = PREVIOUS.get() {
            pg_guard_ffi_boundary(|| previous(root, rel, index, entry));
        }
        if (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION && members((*rel).indexlist).any(|i| is_ours(i)) {
            tiebreak::offer(root, rel);
            cutoff::offer(root, rel);
        }
    }
}

/// Whether an index is one of vs_hnsw's.
///
/// # Safety
/// `index` must be valid.
pub unsafe fn is_ours(index: *mut pg_sys::IndexOptInfo) -> bool {
    // SAFETY: as for this function. The function pointer is told by its address; PostgreSQL before 16 declares it without
    // arguments.
    unsafe { (*index).amcostestimate }.is_some_and(|estimate| estimate as usize == amcostestimate as *const () as usize)
}

/// Whether only the first rows are asked of the tables of a query, by a LIMIT that nothing stands between: no aggregate,
/// window or DISTINCT, which look at every row before the first is returned.
///
/// # Safety
/// `root` must be the planner's.
pub unsafe fn limit_applies(root: *mut pg_sys::PlannerInfo) -> bool {
    // SAFETY: as for this function.
    unsafe {
        let query = &*(*root).parse;
        let unlimited = query.limitCount.is_null()
            || nodes::of_type::<pg_sys::Const>(query.limitCount, pg_sys::NodeTag::T_Const)
                .is_some_and(|c| c.constisnull);
        !unlimited
            && !query.hasAggs
            && !query.hasWindowFuncs
            && query.groupClause.is_null()
            && query.groupingSets.is_null()
            && query.distinctClause.is_null()
            && query.setOperations.is_null()
    }
}
