//! The access method `vs_hnsw`: `CREATE INDEX … USING vs_hnsw (embedding)`.
//!
//! An HNSW graph ([`vs_graph`]) of 8-bit codes ([`vs_quantize`]) on PostgreSQL pages. The algorithms know neither pages
//! nor PostgreSQL; this module gives them a storage and PostgreSQL its callbacks.
//!
//! | room | what it is for |
//! |---|---|
//! | `keys` | further columns, by which rows are filtered |
//! | `pages` | what lies on the pages, and how it is read and changed |
//! | `build` | an index of the rows there are |
//! | `maintain` | rows come and go |
//! | `search` | rows are found |
//! | `plan` | the planner, parameters and settings |
//! | `inspect` | `vs_hnsw_stats`, `vs_hnsw_check`, `vs_hnsw_recall` |
//!
//! Arrows go one way: `build` → `maintain` → `pages` → `keys`, `search` → `pages`, `inspect` → `maintain`,
//! `search`; every room reads settings
//! from `plan::options`, which reads nothing of theirs.

mod build;
mod inspect;
mod keys;
mod maintain;
mod pages;
pub mod plan;
mod search;

use crate::returned::Returned;
use pgrx::prelude::*;

/// The codes by which support function 1 of an operator class names its distance.
#[pg_extern(sql = false)]
fn vs_hnsw_l2_metric(_unused: pgrx::Internal) -> i32 {
    1
}

#[pg_extern(sql = false)]
fn vs_hnsw_cosine_metric(_unused: pgrx::Internal) -> i32 {
    2
}

#[pg_extern(sql = false)]
fn vs_hnsw_ip_metric(_unused: pgrx::Internal) -> i32 {
    3
}

/// The handler: a table of what the access method can do and of its functions.
#[pg_extern(sql = false)]
fn vs_hnsw_handler(_fcinfo: pg_sys::FunctionCallInfo) -> Returned {
    // SAFETY: the node is palloc'd with its size and tag; the struct's other fields are numbers, flags and function
    // pointers, for all of which zero is valid.
    unsafe {
        let routine: *mut pg_sys::IndexAmRoutine = pg_sys::palloc0(size_of::<pg_sys::IndexAmRoutine>()).cast();
        let am = &mut *routine;
        am.type_ = pg_sys::NodeTag::T_IndexAmRoutine;
        am.amstrategies = 0;
        am.amsupport = 1;
        am.amcanorderbyop = true;
        am.amoptionalkey = true;
        am.amcanmulticol = true;
        am.amsearcharray = true;
        am.amsearchnulls = true;
        am.amkeytype = pg_sys::InvalidOid;
        // Cleaning up takes long only where no row was deleted: then it is the first look at the index.
        am.amparallelvacuumoptions =
            (pg_sys::VACUUM_OPTION_PARALLEL_BULKDEL | pg_sys::VACUUM_OPTION_PARALLEL_COND_CLEANUP) as u8;
        am.ambuild = Some(build::ambuild);
        am.ambuildempty = Some(build::ambuildempty);
        am.aminsert = Some(maintain::aminsert);
        am.ambulkdelete = Some(maintain::ambulkdelete);
        am.amvacuumcleanup = Some(maintain::amvacuumcleanup);
        am.amcostestimate = Some(plan::amcostestimate);
        am.amoptions = Some(plan::options::amoptions);
        am.ambuildphasename = Some(build::ambuildphasename);
        am.amvalidate = Some(amvalidate);
        am.ambeginscan = Some(search::ambeginscan);
        am.amrescan = Some(search::amrescan);
        am.amgettuple = Some(search::amgettuple);
        am.amendscan = Some(search::amendscan);
        Returned::new(pg_sys::Datum::from(routine))
    }
}

/// `amvalidate`: the operator classes come with the extension and nobody makes others.
#[pg_guard]
unsafe extern "C-unwind" fn amvalidate(_opclass: pg_sys::Oid) -> bool {
    true
}
