//! The access method `vs_hnsw`: `CREATE INDEX … USING vs_hnsw (embedding)`.
//!
//! An HNSW graph ([`vs_graph`]) of 8-bit codes ([`vs_quantize`]) on PostgreSQL pages. The algorithms know neither pages
//! nor PostgreSQL; this module gives them a storage and PostgreSQL its callbacks.
//!
//! | file | what it does |
//! |---|---|
//! | `layout`, `slots`, `tid`, `meta` | what lies where on a page |
//! | `open` | an index and what the session remembers of it |
//! | `nodes`, `graph`, `join` | the graph on pages, for reading and for writing; rows that share a node |
//! | `build`, `crew`, `flush` | building: rows to a graph in memory, the threads, writing it out |
//! | `insert`, `scan`, `kill`, `vacuum`, `attach` | rows come, are found, are found dead, go; nodes nobody reaches |
//! | `cost`, `options` | the planner, parameters and settings |
//! | `inspect`, `check` | `vs_hnsw_stats`, `vs_hnsw_check`, `vs_hnsw_recall` |

mod attach;
mod build;
mod check;
mod cost;
mod crew;
mod flush;
mod graph;
mod insert;
mod inspect;
mod join;
mod kill;
mod layout;
mod meta;
mod nodes;
mod open;
pub mod options;
mod scan;
mod slots;
mod tid;
mod vacuum;

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
        am.amkeytype = pg_sys::InvalidOid;
        am.amparallelvacuumoptions = pg_sys::VACUUM_OPTION_PARALLEL_BULKDEL as u8;
        am.ambuild = Some(build::ambuild);
        am.ambuildempty = Some(build::ambuildempty);
        am.aminsert = Some(insert::aminsert);
        am.ambulkdelete = Some(vacuum::ambulkdelete);
        am.amvacuumcleanup = Some(vacuum::amvacuumcleanup);
        am.amcostestimate = Some(cost::amcostestimate);
        am.amoptions = Some(options::amoptions);
        am.ambuildphasename = Some(build::ambuildphasename);
        am.amvalidate = Some(amvalidate);
        am.ambeginscan = Some(scan::ambeginscan);
        am.amrescan = Some(scan::amrescan);
        am.amgettuple = Some(scan::amgettuple);
        am.amendscan = Some(scan::amendscan);
        Returned::new(pg_sys::Datum::from(routine))
    }
}

/// `amvalidate`: the operator classes come with the extension and nobody makes others.
#[pg_guard]
unsafe extern "C-unwind" fn amvalidate(_opclass: pg_sys::Oid) -> bool {
    true
}
