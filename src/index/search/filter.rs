//! What a scan filters by.

use crate::error::SqlResult;
use crate::index::keys::{Conditions, KeyColumns, compile};
use crate::storage::Index;
use pgrx::{PgMemoryContexts, pg_sys};

/// The conditions of a scan on the columns after the first.
///
/// # Safety
/// `scan` must be a descriptor that PostgreSQL has filled in.
pub unsafe fn conditions(scan: pg_sys::IndexScanDesc) -> SqlResult<Conditions> {
    // SAFETY: the descriptor has as many keys as it says. What compiling allocates goes with a context of its own.
    unsafe {
        let count = (*scan).numberOfKeys.max(0) as usize;
        if count == 0 || (*scan).keyData.is_null() {
            return Ok(Conditions::default());
        }
        let columns = KeyColumns::of(Index::new((*scan).indexRelation))?;
        let keys = std::slice::from_raw_parts((*scan).keyData, count);
        PgMemoryContexts::new("vs_hnsw conditions").switch_to(|_| compile(&columns, keys))
    }
}
