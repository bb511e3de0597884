//! `SELECT min(embedding <-> $1)`: not by an index that may miss the nearest row.
//!
//! PostgreSQL rewrites `min(x)` as `SELECT x … WHERE x IS NOT NULL ORDER BY x LIMIT 1` where an index has that order. What
//! users order and limit themselves they know to be approximate; a minimum is a number that is right or wrong.

use super::list::members;
use pgrx::prelude::*;

/// What PostgreSQL names the only column of the query that it makes.
const COLUMN: &std::ffi::CStr = c"agg_target";

/// Whether `root` plans a query that PostgreSQL has made from a `min` or `max`: a copy of the query above it, with the
/// aggregate's argument as its only column.
///
/// # Safety
/// `root` must be the planner's.
pub unsafe fn is_rewritten(root: *mut pg_sys::PlannerInfo) -> bool {
    // SAFETY: as for this function; column names are null or C strings.
    unsafe {
        let Some(above) = (*root).parent_root.as_ref() else { return false };
        let (ours, theirs) = (&*(*root).parse, &*above.parse);
        let mut columns = members::<pg_sys::TargetEntry>(ours.targetList);
        let (Some(column), None) = (columns.next(), columns.next()) else { return false };
        let named = !(*column).resname.is_null() && std::ffi::CStr::from_ptr((*column).resname) == COLUMN;
        let mut tables = members::<pg_sys::RangeTblEntry>(ours.rtable);
        named
            && theirs.hasAggs
            && !ours.hasAggs
            && !ours.limitCount.is_null()
            && members::<pg_sys::RangeTblEntry>(theirs.rtable).all(|theirs| {
                tables
                    .next()
                    .is_some_and(|ours| (*ours).rtekind == (*theirs).rtekind && (*ours).relid == (*theirs).relid)
            })
    }
}
