//! Rows of a table as they are at this moment, and not as a snapshot has them.
//!
//! A row is there if its insertion was not rolled back and its deletion is not committed: what another transaction has
//! inserted and not committed is there, what it has deleted and not committed is there still (PostgreSQL's "dirty"
//! snapshot). What our own transaction has deleted is not there; but it will be again if that is rolled back, so that is
//! told apart.

use super::bind::VectorKind;
use crate::embedding::Embedding;
use crate::error::{SqlError, SqlResult};
use crate::index::pages::Tid;
use crate::storage::Index;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

/// What has become of a row.
pub enum Presence {
    /// It is there, and the index has a vector of it.
    There(VectorKind),
    /// It is gone, or has no vector.
    Gone,
    /// It is gone unless our own transaction is rolled back.
    GoneByUs,
}

/// A table whose rows are looked up as they are now.
pub struct Table {
    heap: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    estate: *mut pg_sys::EState,
    context: *mut pg_sys::ExprContext,
    slot: *mut pg_sys::TupleTableSlot,
    fetch: *mut pg_sys::IndexFetchTableData,
}

impl Table {
    /// The table that `index` is on.
    pub fn open(heap: pg_sys::Relation, index: Index) -> SqlResult<Self> {
        // SAFETY: both relations are open and stay so for the whole insertion. What is made here lives in the current memory
        // context and is given back by `Drop`, or with the context and the transaction's resources after an error.
        unsafe {
            let Some(begin) = (*(*heap).rd_tableam).index_fetch_begin else { return Err(unfit()) };
            let info = pg_sys::BuildIndexInfo(index.relation());
            let estate = pg_sys::CreateExecutorState();
            let context = pg_sys::MakePerTupleExprContext(estate);
            let slot = pg_sys::table_slot_create(heap, std::ptr::null_mut());
            (*context).ecxt_scantuple = slot;
            let fetch = pg_guard_ffi_boundary(|| begin(heap));
            Ok(Self { heap, info, estate, context, slot, fetch })
        }
    }

    /// What has become of the row at `tid`.
    pub fn presence(&mut self, tid: Tid) -> SqlResult<Presence> {
        let (mut pointer, mut again) = (tid.to_pointer(), false);
        let mut dirty =
            pg_sys::SnapshotData { snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY, ..Default::default() };
        if !self.fetch(&mut pointer, &mut dirty, &mut again)? {
            let ours = self.is_deleted_by_us(tid)?;
            return Ok(if ours { Presence::GoneByUs } else { Presence::Gone });
        }
        let (mut values, mut nulls) = ([pg_sys::Datum::null(); MOST_COLUMNS], [true; MOST_COLUMNS]);
        // SAFETY: made by `open`; the slot holds the row. The arrays are as long as an index can have columns.
        unsafe {
            pg_sys::MemoryContextReset((*self.context).ecxt_per_tuple_memory);
            pg_sys::FormIndexDatum(self.info, self.slot, self.estate, values.as_mut_ptr(), nulls.as_mut_ptr());
            if nulls[0] {
                return Ok(Presence::Gone);
            }
            let (dims, tag) = Embedding::length_and_tag(values[0])?;
            Ok(Presence::There(VectorKind { dims, tag }))
        }
    }

    /// Fetches a version of the row at `pointer` into the slot: the first that `snapshot` shows, and with `again` the next
    /// after it.
    fn fetch(
        &mut self,
        pointer: &mut pg_sys::ItemPointerData,
        snapshot: &mut pg_sys::SnapshotData,
        again: &mut bool,
    ) -> SqlResult<bool> {
        let mut all_dead = false;
        // SAFETY: made by `open`. The table's function is called through a table of functions, so with a guard of our own,
        // in a frame that owns nothing.
        unsafe {
            let Some(fetch) = (*(*self.heap).rd_tableam).index_fetch_tuple else { return Err(unfit()) };
            let (scan, slot) = (self.fetch, self.slot);
            Ok(pg_guard_ffi_boundary(|| fetch(scan, pointer, snapshot, slot, again, &mut all_dead)))
        }
    }

    /// Whether a version of the row at `tid` was deleted by our own transaction.
    fn is_deleted_by_us(&mut self, tid: Tid) -> SqlResult<bool> {
        let (mut pointer, mut again) = (tid.to_pointer(), false);
        let mut any = pg_sys::SnapshotData { snapshot_type: pg_sys::SnapshotType::SNAPSHOT_ANY, ..Default::default() };
        while self.fetch(&mut pointer, &mut any, &mut again)? {
            pgrx::check_for_interrupts!();
            // SAFETY: the slot holds a version, whose buffer is pinned for as long as it does.
            let ours = unsafe {
                if !std::ptr::eq((*self.slot).tts_ops, &raw const pg_sys::TTSOpsBufferHeapTuple) {
                    // Another kind of table, which does not say.
                    return Ok(true);
                }
                let mut copied = false;
                let tuple = pg_sys::ExecFetchSlotHeapTuple(self.slot, false, &mut copied);
                was_deleted_by_us((*tuple).t_data)
            };
            if ours {
                return Ok(true);
            }
            if !again {
                break;
            }
        }
        Ok(false)
    }
}

/// Whether the deleter of a version is our transaction or a part of it that was not rolled back, and did not make it.
///
/// # Safety
/// `tuple` must be on a pinned page. Others may set hints in it meanwhile; what our own transaction has written stays.
unsafe fn was_deleted_by_us(tuple: pg_sys::HeapTupleHeader) -> bool {
    // SAFETY: as above.
    unsafe {
        let mask = u32::from((&raw const (*tuple).t_infomask).read_volatile());
        if mask & (pg_sys::HEAP_XMAX_INVALID | pg_sys::HEAP_XMAX_LOCK_ONLY) != 0 {
            return false;
        }
        let xmin = (&raw const (*tuple).t_choice.t_heap.t_xmin).read_volatile();
        let mut xmax = (&raw const (*tuple).t_choice.t_heap.t_xmax).read_volatile();
        if mask & pg_sys::HEAP_XMAX_IS_MULTI != 0 {
            xmax = pg_sys::HeapTupleGetUpdateXid(tuple);
        }
        xmax != xmin && pg_sys::TransactionIdIsCurrentTransactionId(xmax)
    }
}

/// The most columns that an index can have.
const MOST_COLUMNS: usize = pg_sys::INDEX_MAX_KEYS as usize;

fn unfit() -> SqlError {
    SqlError::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, "rows of the table cannot be fetched by an index")
}

impl Drop for Table {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: made by `open` and used by nobody else.
        unsafe {
            let fetch = self.fetch;
            if let Some(end) = (*(*self.heap).rd_tableam).index_fetch_end {
                pg_guard_ffi_boundary(|| end(fetch));
            }
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::FreeExecutorState(self.estate);
        }
    }
}
