//! Whether the rows of a table are in its index, for `vs_hnsw_check`.
//!
//! The table is read as a build reads it, with the index's expressions and predicate, so that every row comes with the
//! address that the index must have. That a row is there under the wrong vector is not noticed by this.

use super::held::Held;
use super::rights::AsOwner;
use crate::embedding::Embedding;
use crate::error::SqlResult;
use crate::index::pages::Tid;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

/// What the table's rows are compared with.
struct Compared<'a> {
    /// The rows in the index, ascending.
    tids: &'a [Tid],
    /// Whether rows without a vector are to be in it.
    all: bool,
    missing: Vec<Tid>,
    most: usize,
}

/// At most `most` rows that the table has and `tids`, the ascending addresses in the index, do not; those without a vector
/// count if `all` are to be there.
///
/// Nothing is compared where others may write meanwhile (on a standby), nor with a snapshot that may be older than the index.
pub fn missing_rows(held: &Held, tids: &[Tid], all: bool, most: usize) -> SqlResult<Vec<Tid>> {
    let mut compared = Compared { tids, all, missing: Vec::new(), most };
    // SAFETY: reads flags.
    let comparable =
        unsafe { !pg_sys::RecoveryInProgress() && pg_sys::XactIsoLevel < pg_sys::XACT_REPEATABLE_READ as i32 };
    if !comparable {
        return Ok(compared.missing);
    }
    let _owner = AsOwner::begin(held);
    // SAFETY: table and index are open, and writers are locked out. With `ii_Concurrent` and no scan given, the table's
    // access method takes a snapshot and gives the rows that it sees. The function is called through PostgreSQL's table of
    // functions, so with a guard of our own; the frame owns nothing.
    unsafe {
        let Some(scan) = (*(*held.table).rd_tableam).index_build_range_scan else { return Ok(compared.missing) };
        let index = held.index().relation();
        let info = pg_sys::BuildIndexInfo(index);
        (*info).ii_Concurrent = true;
        let state: *mut Compared<'_> = &mut compared;
        pg_guard_ffi_boundary(|| {
            scan(
                held.table,
                index,
                info,
                true,
                false,
                false,
                0,
                pg_sys::InvalidBlockNumber,
                Some(row),
                state.cast(),
                std::ptr::null_mut(),
            )
        });
        pg_sys::pfree(info.cast());
    }
    Ok(compared.missing)
}

/// Called for each row of the table.
///
/// # Safety
/// By PostgreSQL's table scan, with [`Compared`] as its state.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn row(
    _index: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    _alive: bool,
    state: *mut std::ffi::c_void,
) {
    // SAFETY: as above; the index has at least one column.
    unsafe {
        let compared = &mut *state.cast::<Compared<'_>>();
        let tid = Tid::from_pointer(*tid);
        if compared.missing.len() >= compared.most || compared.tids.binary_search(&tid).is_ok() {
            return;
        }
        let has_direction =
            |embedding: Embedding<'_>| embedding.elements().iter().any(|element| element.to_f32() != 0.0);
        if compared.all || !*isnull && Embedding::read(*values).is_ok_and(has_direction) {
            compared.missing.push(tid);
        }
    }
}
