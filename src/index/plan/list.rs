//! The planner's lists.

use pgrx::pg_sys;

/// The members of a list of pointers; none if the list is null, which is how PostgreSQL writes an empty one.
///
/// # Safety
/// `list` must be null or a valid list of pointers to `T` that does not change while the iterator is in use.
pub unsafe fn members<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: as above; cells 0 to length − 1 exist.
    let count = unsafe { list.as_ref() }.map_or(0, |list| list.length.max(0) as usize);
    // SAFETY: as above.
    (0..count).map(move |at| unsafe { (*(*list).elements.add(at)).ptr_value.cast() })
}
