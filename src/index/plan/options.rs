//! Storage parameters of an index (`WITH (m = …)`) and the settings (GUCs) of its scans, all under `vs_hnsw.`.

use crate::error::{OrRaise, SqlError, SqlResult};
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PgSqlErrorCode, PostgresGucEnum};
use std::cell::Cell;

const DEFAULT_M: i32 = 16;
const DEFAULT_EF_CONSTRUCTION: i32 = 64;
const DEFAULT_FILLFACTOR: i32 = 100;

/// The largest `m`; twice that is the longest list, whose length a slot keeps in a byte.
pub const MAX_M: i32 = 100;

/// How a scan goes on when more rows are asked for than it has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum IterativeScan {
    /// It does not: at most `ef_search` rows.
    #[name = c"off"]
    Off,
    /// What turns out to be nearer than a row already returned is returned late.
    #[name = c"relaxed_order"]
    RelaxedOrder,
    /// What turns out to be nearer than a row already returned is returned when there is nothing else.
    #[name = c"strict_order"]
    StrictOrder,
}

static EF_SEARCH: GucSetting<i32> = GucSetting::<i32>::new(40);
static ITERATIVE_SCAN: GucSetting<IterativeScan> = GucSetting::<IterativeScan>::new(IterativeScan::StrictOrder);
static EXACT: GucSetting<bool> = GucSetting::<bool>::new(false);
static MAX_SCAN_TUPLES: GucSetting<i32> = GucSetting::<i32>::new(20_000);

thread_local! {
    static KIND: Cell<pg_sys::relopt_kind::Type> = const { Cell::new(0) };
}

/// Registers storage parameters and settings.
pub fn define() {
    // SAFETY: called once per process, while the library is loading; the strings are constants.
    let kind = unsafe {
        let kind = pg_sys::add_reloption_kind();
        let lock = pg_sys::AccessExclusiveLock as i32;
        let option = |name: &'static std::ffi::CStr, what: &'static std::ffi::CStr, default, least, most| {
            pg_sys::add_int_reloption(kind, name.as_ptr(), what.as_ptr(), default, least, most, lock);
        };
        option(c"m", c"Neighbours chosen for a new node on each layer", DEFAULT_M, 2, MAX_M);
        option(c"ef_construction", c"Candidates that neighbours are chosen from", DEFAULT_EF_CONSTRUCTION, 4, 1000);
        option(c"fillfactor", c"Percentage of the slots of a page that building fills", DEFAULT_FILLFACTOR, 10, 100);
        kind
    };
    KIND.set(kind);
    GucRegistry::define_int_guc(
        c"vs_hnsw.ef_search",
        c"Sets the number of candidates that a vs_hnsw index scan keeps while it searches.",
        c"More candidates find more of the true nearest neighbours and take longer.",
        &EF_SEARCH,
        1,
        10_000,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    GucRegistry::define_enum_guc(
        c"vs_hnsw.iterative_scan",
        c"Sets whether a vs_hnsw index scan goes on when a filter or a large LIMIT needs more rows.",
        c"With strict_order rows come in exact order; with relaxed_order some that are found late come late.",
        &ITERATIVE_SCAN,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    GucRegistry::define_int_guc(
        c"vs_hnsw.max_scan_tuples",
        c"Sets the number of rows after which a vs_hnsw index scan goes over to reading all codes.",
        c"Rows that are dead to everybody do not count. The scan may go over earlier, where that is faster.",
        &MAX_SCAN_TUPLES,
        1,
        i32::MAX,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    GucRegistry::define_bool_guc(
        c"vs_hnsw.exact",
        c"Makes vs_hnsw index scans read all codes of the index, and so return exactly the nearest rows.",
        c"For audits, for measuring recall, and for small tables; several times faster than a sequential scan.",
        &EXACT,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    #[cfg(not(feature = "pg14"))]
    // SAFETY: the prefix is a valid C string; called once per process, while the library is loading.
    unsafe {
        pg_sys::MarkGUCPrefixReserved(c"vs_hnsw".as_ptr());
    }
}

/// `vs_hnsw.ef_search`
pub fn ef_search() -> usize {
    EF_SEARCH.get().max(1) as usize
}

/// `vs_hnsw.iterative_scan`
pub fn iterative_scan() -> IterativeScan {
    ITERATIVE_SCAN.get()
}

/// `vs_hnsw.exact`
pub fn exact() -> bool {
    EXACT.get()
}

/// `work_mem`, in bytes.
pub fn work_mem() -> usize {
    // SAFETY: reads a setting, which is at least 64 kB.
    unsafe { pg_sys::work_mem as usize * 1024 }
}

/// `vs_hnsw.max_scan_tuples`
pub fn max_scan_tuples() -> usize {
    MAX_SCAN_TUPLES.get().max(1) as usize
}

/// The storage parameters of an index, as PostgreSQL keeps them.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Options {
    length_word: i32,
    m: i32,
    ef_construction: i32,
    fillfactor: i32,
}

impl Options {
    /// Those of an open index.
    ///
    /// # Safety
    /// `index` must be an open relation of this access method.
    pub unsafe fn of(index: pg_sys::Relation) -> Self {
        // SAFETY: rd_options is null or what `amoptions` returned.
        unsafe { (*index).rd_options.cast::<Self>().as_ref() }.copied().unwrap_or(Self {
            length_word: 0,
            m: DEFAULT_M,
            ef_construction: DEFAULT_EF_CONSTRUCTION,
            fillfactor: DEFAULT_FILLFACTOR,
        })
    }

    /// Neighbours chosen for a new node.
    pub fn m(&self) -> usize {
        self.m as usize
    }

    /// Candidates that neighbours are chosen from. Fewer than a list may have members are refused when they are set; an
    /// index that has got them all the same is built with enough.
    pub fn ef_construction(&self) -> usize {
        self.ef_construction.max(2 * self.m) as usize
    }

    /// Slots of a page that building fills, of `slots`.
    pub fn filled(&self, slots: usize) -> usize {
        (slots * self.fillfactor as usize / 100).clamp(1, slots.max(1))
    }

    /// # Errors
    /// If there are fewer candidates than a list may have members.
    fn check(&self) -> SqlResult<()> {
        if self.ef_construction >= 2 * self.m {
            return Ok(());
        }
        Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "ef_construction must be greater than or equal to 2 * m",
        )
        .detail(format!("ef_construction is {} and m is {}.", self.ef_construction, self.m)))
    }
}

/// `amoptions`
#[pg_guard]
pub unsafe extern "C-unwind" fn amoptions(options: pg_sys::Datum, validate: bool) -> *mut pg_sys::bytea {
    #[allow(clippy::needless_update, reason = "there is one more field from PostgreSQL 18 on")]
    let element = |name: &'static std::ffi::CStr, offset: usize| pg_sys::relopt_parse_elt {
        optname: name.as_ptr(),
        opttype: pg_sys::relopt_type::RELOPT_TYPE_INT,
        offset: offset as i32,
        ..Default::default()
    };
    let elements = [
        element(c"m", std::mem::offset_of!(Options, m)),
        element(c"ef_construction", std::mem::offset_of!(Options, ef_construction)),
        element(c"fillfactor", std::mem::offset_of!(Options, fillfactor)),
    ];
    // SAFETY: the elements describe the fields of `Options`, whose size is given; the result is null or such a struct.
    unsafe {
        let read: *mut Options = pg_sys::build_reloptions(
            options,
            validate,
            KIND.get(),
            size_of::<Options>(),
            elements.as_ptr(),
            elements.len() as i32,
        )
        .cast();
        // CREATE INDEX and ALTER INDEX want them checked, a command that only reads what the catalog has does not.
        if validate && let Some(read) = read.as_ref() {
            read.check().or_raise();
        }
        read.cast()
    }
}
