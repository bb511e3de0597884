//! `ORDER BY embedding <-> $1, id LIMIT 20`: the index for the first key, PostgreSQL's incremental sort for the others.
//!
//! Before PostgreSQL 17 an access method that orders by operators is used for all keys of an ORDER BY or for none. The
//! hook lets PostgreSQL make its paths once more while the query's order is cut off after its first key; whatever comes
//! later then finds paths that are sorted in part, also across partitions, and puts an incremental sort on top where that
//! is the cheapest way. From 17 on PostgreSQL does it by itself.

use pgrx::prelude::*;

/// Adds paths in the order of the first key, if there are more.
///
/// # Safety
/// `root` and `rel` must be the planner's, with at least one index of vs_hnsw.
#[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
pub unsafe fn offer(root: *mut pg_sys::PlannerInfo, rel: *mut pg_sys::RelOptInfo) {
    use super::hooks;
    use super::list::members;

    /// Puts the lists back, also when making the paths fails.
    struct Restore {
        root: *mut pg_sys::PlannerInfo,
        rel: *mut pg_sys::RelOptInfo,
        pathkeys: *mut pg_sys::List,
        indexes: *mut pg_sys::List,
    }

    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: both outlive the call of the hook; these are the lists that were there.
            unsafe {
                (*self.root).query_pathkeys = self.pathkeys;
                (*self.rel).indexlist = self.indexes;
            }
        }
    }

    // SAFETY: the planner's nodes are valid. Lists are made anew and not changed; of the paths that are made, those that
    // are already there are dropped by add_path.
    unsafe {
        let pathkeys = (*root).query_pathkeys;
        if !pg_sys::enable_incremental_sort || pathkeys.is_null() || (*pathkeys).length < 2 {
            return;
        }
        let first = (*(*pathkeys).elements).ptr_value;
        let mut ours = std::ptr::null_mut();
        for index in members::<pg_sys::IndexOptInfo>((*rel).indexlist) {
            if hooks::is_ours(index) {
                ours = pg_sys::lappend(ours, index.cast());
            }
        }
        let restore = Restore { root, rel, pathkeys, indexes: (*rel).indexlist };
        (*root).query_pathkeys = pg_sys::lappend(std::ptr::null_mut(), first);
        (*rel).indexlist = ours;
        pg_sys::create_index_paths(root, rel);
        drop(restore);
    }
}

/// PostgreSQL has made such paths already.
///
/// # Safety
/// None is needed.
#[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16")))]
pub unsafe fn offer(_root: *mut pg_sys::PlannerInfo, _rel: *mut pg_sys::RelOptInfo) {}
