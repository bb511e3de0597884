//! Which index this session has scanned last: how `vs_hnsw_recall` knows that it measured what it was asked to.

use pgrx::pg_sys;
use std::cell::Cell;

thread_local! {
    static LAST: Cell<Option<pg_sys::Oid>> = const { Cell::new(None) };
}

/// Notes a scan of the index `oid`.
pub(super) fn set(oid: pg_sys::Oid) {
    LAST.set(Some(oid));
}

/// The index scanned last, if there was a scan since [`forget`].
pub fn get() -> Option<pg_sys::Oid> {
    LAST.get()
}

/// Forgets what was scanned.
pub fn forget() {
    LAST.set(None);
}
