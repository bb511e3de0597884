//! The access method's functions for scans: between PostgreSQL's descriptor and a [`Scan`].

use super::alike::Table;
use super::filter::conditions;
use super::last_scanned;
use super::scan::{Cutoff, Scan};
use crate::embedding::Embedding;
use crate::error::{OrRaise, SqlError};
use crate::index::plan::cutoff::{OR_NAN_STRATEGY, STRATEGY};
use crate::storage::{Index, TableLength};
use pgrx::prelude::*;
use pgrx::{PgMemoryContexts, PgSqlErrorCode};

/// How much farther than its cutoff a scan goes, relative to it and to 1: far more than rounding, far less than what codes
/// tell apart.
const SLACK: f64 = 1e-12;

/// The scan behind PostgreSQL's descriptor.
///
/// # Safety
/// `scan` must come from [`ambeginscan`], and only one reference may be in use.
unsafe fn state<'a>(scan: pg_sys::IndexScanDesc) -> &'a mut Scan {
    // SAFETY: `ambeginscan` put it there; it lives until the memory context of the descriptor goes.
    unsafe { &mut *(*scan).opaque.cast::<Scan>() }
}

/// `ambeginscan`
#[pg_guard]
pub unsafe extern "C-unwind" fn ambeginscan(
    index: pg_sys::Relation,
    keys: std::ffi::c_int,
    order_bys: std::ffi::c_int,
) -> pg_sys::IndexScanDesc {
    // SAFETY: the descriptor and its arrays are palloc'd in the current context, where a callback drops the state, also
    // if the scan ends by an error.
    unsafe {
        let scan = pg_sys::RelationGetIndexScan(index, keys, order_bys);
        if order_bys > 0 {
            (*scan).xs_orderbyvals = pg_sys::palloc0(order_bys as usize * size_of::<pg_sys::Datum>()).cast();
            (*scan).xs_orderbynulls = pg_sys::palloc0(order_bys as usize * size_of::<bool>()).cast();
        }
        (*scan).opaque = PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(Scan::new()).cast();
        scan
    }
}

/// `amrescan`
#[pg_guard]
pub unsafe extern "C-unwind" fn amrescan(
    scan: pg_sys::IndexScanDesc,
    keys: pg_sys::ScanKey,
    nkeys: std::ffi::c_int,
    order_bys: pg_sys::ScanKey,
    norder_bys: std::ffi::c_int,
) {
    // SAFETY: PostgreSQL passes as many keys as the scan was begun with.
    unsafe {
        let state = state(scan);
        let given = if keys.is_null() { &[] } else { std::slice::from_raw_parts(keys, nkeys.max(0) as usize) };
        state.restart(cutoff(given)).or_raise();
        if nkeys > 0 && !keys.is_null() {
            std::ptr::copy(keys, (*scan).keyData, nkeys as usize);
        }
        if norder_bys > 0 && !order_bys.is_null() {
            std::ptr::copy(order_bys, (*scan).orderByData, norder_bys as usize);
        }
    }
}

/// The cutoff that keys of a scan set: the least, and a little more, since a bound that the planner has derived is rounded
/// otherwise than the condition that it comes from.
///
/// # Safety
/// The argument of a key for a cutoff must be a `double precision` unless it is null.
unsafe fn cutoff(keys: &[pg_sys::ScanKeyData]) -> Option<Cutoff> {
    let of = |key: &pg_sys::ScanKeyData| {
        let or_nan = match i16::try_from(key.sk_strategy) {
            Ok(STRATEGY) => false,
            Ok(OR_NAN_STRATEGY) => true,
            _ => return None,
        };
        if key.sk_attno != 1 || key.sk_flags & pg_sys::SK_SEARCHNULL as i32 != 0 {
            return None;
        }
        if key.sk_flags & pg_sys::SK_ISNULL as i32 != 0 {
            return Some(Cutoff { distance: f64::NEG_INFINITY, or_nan: false });
        }
        // SAFETY: as above.
        let distance = unsafe { f64::from_datum(key.sk_argument, false) }.unwrap_or(f64::INFINITY);
        // NaN is greater than every number.
        let distance = if distance.is_nan() { f64::INFINITY } else { distance + SLACK * distance.abs().max(1.0) };
        Some(Cutoff { distance, or_nan })
    };
    let least = |a: Cutoff, b: Cutoff| Cutoff { distance: a.distance.min(b.distance), or_nan: a.or_nan && b.or_nan };
    keys.iter().filter_map(of).reduce(least)
}

/// `amgettuple`
#[pg_guard]
pub unsafe extern "C-unwind" fn amgettuple(
    scan: pg_sys::IndexScanDesc,
    _direction: pg_sys::ScanDirection::Type,
) -> bool {
    // SAFETY: the descriptor is ours; its order-by keys were copied by `amrescan` and its arrays made by `ambeginscan`.
    unsafe {
        let state = state(scan);
        if state.is_fresh() {
            start(scan, state);
        } else if (*scan).kill_prior_tuple && !(*scan).xactStartedInRecovery {
            state.kill_current();
        }
        let table = Table::of(scan);
        let Some(row) = state.advance((*scan).ignore_killed_tuples, &table).or_raise() else { return false };
        (*scan).xs_heaptid = row.tid.to_pointer();
        (*scan).xs_recheck = state.rechecks();
        let count = (*scan).numberOfOrderBys as usize;
        if count > 0 {
            let values = std::slice::from_raw_parts_mut((*scan).xs_orderbyvals, count);
            let nulls = std::slice::from_raw_parts_mut((*scan).xs_orderbynulls, count);
            // Of further keys nothing is known but that no value is less than minus infinity.
            values.fill(pg_sys::Datum::from(f64::NEG_INFINITY.to_bits()));
            nulls.fill(row.bound.is_none());
            if let Some(bound) = row.bound {
                values[0] = pg_sys::Datum::from(bound.to_bits());
            }
            (*scan).xs_recheckorderby = !(row.is_exact && count == 1);
        }
        true
    }
}

/// Begins to search for what the scan's first order-by key says.
///
/// # Safety
/// As for [`amgettuple`].
unsafe fn start(scan: pg_sys::IndexScanDesc, state: &mut Scan) {
    // SAFETY: as above; the argument of an order-by key is an image_embedding unless it is null.
    unsafe {
        let snapshot = (*scan).xs_snapshot;
        let mvcc = !snapshot.is_null()
            && matches!(
                (*snapshot).snapshot_type,
                pg_sys::SnapshotType::SNAPSHOT_MVCC | pg_sys::SnapshotType::SNAPSHOT_HISTORIC_MVCC
            );
        if !mvcc {
            SqlError::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "vs_hnsw indexes can be scanned with MVCC snapshots only",
            )
            .raise();
        }
        if (*scan).numberOfOrderBys == 0 || (*scan).orderByData.is_null() {
            SqlError::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, "cannot scan a vs_hnsw index without order")
                .raise();
        }
        count_scan(scan);
        let conditions = conditions(scan).or_raise();
        let key = &*(*scan).orderByData;
        let index = Index::new((*scan).indexRelation);
        let table = TableLength::of((*scan).heapRelation);
        if key.sk_flags & pg_sys::SK_ISNULL as i32 != 0 {
            state.start(index, table, None, conditions).or_raise();
        } else {
            let query = Embedding::read(key.sk_argument).or_raise();
            state.start(index, table, Some(&query), conditions).or_raise();
        }
    }
}

/// Counts a scan for `pg_stat_user_indexes`, as every access method does for itself.
///
/// # Safety
/// As for [`amgettuple`].
unsafe fn count_scan(scan: pg_sys::IndexScanDesc) {
    // SAFETY: the relation is open; where statistics are wanted its counters are made on first use. EXPLAIN ANALYZE gives a
    // scan a place to count its searches in.
    unsafe {
        let index = (*scan).indexRelation;
        last_scanned::set((*index).rd_id);
        #[cfg(feature = "pg18")]
        if let Some(instrument) = (*scan).instrument.as_mut() {
            instrument.nsearches += 1;
        }
        #[cfg(not(feature = "pg14"))]
        if (*index).pgstat_info.is_null() && (*index).pgstat_enabled {
            pg_sys::pgstat_assoc_relation(index);
        }
        if let Some(counters) = (*index).pgstat_info.as_mut() {
            #[cfg(any(feature = "pg14", feature = "pg15"))]
            {
                counters.t_counts.t_numscans += 1;
            }
            #[cfg(not(any(feature = "pg14", feature = "pg15")))]
            {
                counters.counts.numscans += 1;
            }
        }
    }
}

/// `amendscan`
#[pg_guard]
pub unsafe extern "C-unwind" fn amendscan(scan: pg_sys::IndexScanDesc) {
    // SAFETY: the state is dropped with the memory context; here its last notes are written.
    unsafe { state(scan) }.write_kills().or_raise();
}
