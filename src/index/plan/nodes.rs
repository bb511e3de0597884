//! The planner's expressions.

use super::list::members;
use pgrx::pg_sys;

/// The node as a `T`, if its tag is `tag`.
///
/// # Safety
/// `node` must be null or a valid node, and `tag` the tag of `T`.
pub unsafe fn of_type<'a, T>(node: *mut pg_sys::Node, tag: pg_sys::NodeTag) -> Option<&'a T> {
    // SAFETY: the tag says what the node is.
    unsafe { if node.is_null() || (*node).type_ != tag { None } else { node.cast::<T>().as_ref() } }
}

/// Both operands, if `args` are two.
///
/// # Safety
/// `args` must be null or a valid list of nodes.
pub unsafe fn pair(args: *mut pg_sys::List) -> Option<(*mut pg_sys::Node, *mut pg_sys::Node)> {
    // SAFETY: as for this function.
    let mut each = unsafe { members(args) };
    let both = (each.next()?, each.next()?);
    each.next().is_none().then_some(both)
}
