//! An index held open while a function looks at it.

use crate::error::{SqlError, SqlResult};
use crate::storage::Index;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;
use std::ffi::CStr;

/// An index opened for a function, closed (and unlocked) when dropped.
pub struct Held {
    relation: pg_sys::Relation,
    pub(super) table: pg_sys::Relation,
    lock: i32,
}

impl Held {
    /// Opens the vs_hnsw index `oid` and its table, after checking that the user may look at it. `exclude_writers` holds
    /// them off until the end of the transaction; not on a standby, where there are none but the replay.
    pub fn open(oid: pg_sys::Oid, exclude_writers: bool) -> SqlResult<Self> {
        // SAFETY: looks relations up and locks them, the table first, as PostgreSQL does; raises if there is no such
        // index. A relation opened here is closed by `Drop`, or at the end of the failed transaction.
        unsafe {
            let lock = match exclude_writers && !pg_sys::RecoveryInProgress() {
                true => pg_sys::ShareLock,
                false => pg_sys::AccessShareLock,
            } as i32;
            if pg_sys::get_rel_relkind(oid) as u8 == pg_sys::RELKIND_PARTITIONED_INDEX {
                return Err(partitioned(oid));
            }
            let table_oid = pg_sys::IndexGetRelation(oid, true);
            if table_oid == pg_sys::InvalidOid || !may_look_at(oid) {
                return Err(refused(oid, table_oid == pg_sys::InvalidOid));
            }
            let table = pg_sys::table_open(table_oid, lock);
            let relation = pg_sys::index_open(oid, lock);
            let held = Self { relation, table, lock };
            let ours = pg_sys::get_index_am_oid(c"vs_hnsw".as_ptr(), true);
            if (*(*relation).rd_rel).relam != ours || (*(*relation).rd_rel).relkind as u8 != pg_sys::RELKIND_INDEX {
                return Err(not_ours(&held.index().name()));
            }
            if (*(*relation).rd_rel).relpersistence as u8 == pg_sys::RELPERSISTENCE_UNLOGGED
                && pg_sys::RecoveryInProgress()
            {
                return Err(unlogged(&held.index().name()));
            }
            Ok(held)
        }
    }

    /// The index.
    pub fn index(&self) -> Index {
        // SAFETY: open and locked until `self` is dropped.
        unsafe { Index::new(self.relation) }
    }

    /// The number of pages of the table.
    pub fn table_blocks(&self) -> u32 {
        // SAFETY: open and locked until `self` is dropped.
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.table, pg_sys::ForkNumber::MAIN_FORKNUM) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: opened by us. Locks that keep writers out stay until the transaction ends.
        unsafe {
            let unlock = if self.lock == pg_sys::AccessShareLock as i32 { self.lock } else { pg_sys::NoLock as i32 };
            pg_sys::index_close(self.relation, unlock);
            pg_sys::table_close(self.table, unlock);
        }
    }
}

/// Whether the user owns the relation; superusers own everything.
fn may_look_at(oid: pg_sys::Oid) -> bool {
    // SAFETY: looks the owner up.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        let owns = pg_sys::pg_class_ownercheck(oid, pg_sys::GetUserId());
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let owns = pg_sys::object_ownercheck(pg_sys::RelationRelationId, oid, pg_sys::GetUserId());
        owns
    }
}

fn relation_name(oid: pg_sys::Oid) -> String {
    // SAFETY: null, or a palloc'd zero-terminated string.
    unsafe {
        let name = pg_sys::get_rel_name(oid);
        if name.is_null() { oid.to_string() } else { CStr::from_ptr(name).to_string_lossy().into_owned() }
    }
}

fn not_ours(name: &str) -> SqlError {
    SqlError::new(PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE, format!("\"{name}\" is not a vs_hnsw index"))
}

fn partitioned(oid: pg_sys::Oid) -> SqlError {
    let name = relation_name(oid);
    SqlError::new(PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE, format!("\"{name}\" is a partitioned index"))
        .detail("The rows are in the indexes of the partitions.")
        .hint("Call the function for these: SELECT relid FROM pg_partition_tree(the partitioned index) WHERE isleaf.")
}

fn unlogged(name: &str) -> SqlError {
    SqlError::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot access unlogged index \"{name}\" during recovery"),
    )
    .detail("What is unlogged does not reach a standby.")
}

fn refused(oid: pg_sys::Oid, no_index: bool) -> SqlError {
    let name = relation_name(oid);
    if no_index {
        return not_ours(&name);
    }
    SqlError::new(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, format!("must be owner of index {name}"))
}
