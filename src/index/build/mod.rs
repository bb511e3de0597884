//! `ambuild`: an index of the rows there are.
//!
//! 1. The leader scans the table, computes codes and publishes them to a graph in memory ([`vs_graph::Arena`]), a block
//!    at a time. Threads put the nodes into the graph, and so does the leader whenever there is enough to do. The threads
//!    know nothing of PostgreSQL, run with all signals blocked, and end with the build, however it ends ([`Crew`]).
//! 2. The graph is completed (what no search reaches is attached), its nodes are put into an order in which neighbours
//!    share pages, and all is [written out](flush).
//! 3. Should the graph outgrow `maintenance_work_mem`, it is written out as it is and the remaining rows are inserted
//!    into the pages, which takes longer.
//! 4. All pages are logged at once. Until then nothing is.

mod crew;
mod flush;
mod sign;

use crate::embedding::Embedding;
use crate::embedding::io::dims_out_of_range;
use crate::error::{OrRaise, SqlError, SqlResult, out_of_memory};
use crate::index::keys::{KeyColumns, Kinds};
use crate::index::maintain::{VectorKind, Workspace, attach, conflict, insert_row};
use crate::index::pages::{Graph, Layout, Meta, Opened, Tid, Why, digest, encode, layout_for, level};
use crate::index::plan::options::Options;
use crate::storage::{Change, Hints, Index, Kind, Logging};
use crew::Crew;
use flush::{Joined, flush};
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;
use std::sync::Arc;
use vs_filter::{Keys, KeysBuf, SIGNED};
use vs_graph::{Arena, BLOCK, BlockBuilder, NONE, Params};
use vs_quantize::{Metric, Scratch, Space};

/// Bytes a node needs besides what the arena counts: the digest of its vector, its order, its new number, and marks while it
/// is written.
const NODE_OVERHEAD: usize = 48;

/// The phases that `pg_stat_progress_create_index` shows; 1 is PostgreSQL's own "initializing".
const PHASE_GRAPH: i64 = 2;
const PHASE_WRITE: i64 = 3;
const PHASE_INSERT: i64 = 4;

/// `ambuildphasename`
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuildphasename(phase: i64) -> *mut std::ffi::c_char {
    let name = match phase {
        1 => c"initializing",
        PHASE_GRAPH => c"building graph in memory",
        PHASE_WRITE => c"writing pages",
        PHASE_INSERT => c"inserting into pages",
        _ => return std::ptr::null_mut(),
    };
    name.as_ptr().cast_mut()
}

fn show(parameter: u32, value: i64) {
    // SAFETY: writes a number into this process's progress entry.
    unsafe { pg_sys::pgstat_progress_update_param(parameter as i32, value) };
}

fn show_phase(phase: i64) {
    show(pg_sys::PROGRESS_CREATEIDX_SUBPHASE, phase);
}

/// The metric of an index: what its operator class's support function 1 says.
fn metric(index: Index) -> SqlResult<Metric> {
    // SAFETY: the index is open and of this access method, whose operator classes have one support function; it takes an
    // argument only because SQL wants an `internal` one in functions that nobody is to call.
    let code = unsafe {
        let procedure = pg_sys::index_getprocinfo(index.relation(), 1, 1);
        pg_sys::FunctionCall1Coll(procedure, pg_sys::InvalidOid, pg_sys::Datum::null()).value() as i32
    };
    match code {
        1 => Ok(Metric::L2),
        2 => Ok(Metric::Cosine),
        3 => Ok(Metric::InnerProduct),
        _ => Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_INVALID_OBJECT_DEFINITION,
            "operator class's support function does not name a distance of vs_hnsw",
        )),
    }
}

/// The length of the vectors that the column's type says, if it says one. A domain says what the type that it is over says.
fn declared_dims(index: Index) -> Option<usize> {
    let (mut type_oid, mut typmod, mut collation) = (pg_sys::InvalidOid, -1, pg_sys::InvalidOid);
    // SAFETY: looks the column and its type up in the catalog and writes to the places given.
    unsafe {
        pg_sys::get_atttypetypmodcoll(index.oid(), 1, &mut type_oid, &mut typmod, &mut collation);
        pg_sys::getBaseTypeAndTypmod(type_oid, &mut typmod);
    }
    usize::try_from(typmod).ok().filter(|&dims| dims > 0)
}

/// Writes the metapage of an empty index as its first page.
fn create(index: Index, metric: Metric, options: &Options, dims: usize, kinds: Kinds) -> SqlResult<Meta> {
    let meta = Meta {
        kinds,
        metric,
        m: options.m(),
        ef_construction: options.ef_construction(),
        dims,
        tag: 0,
        binder: 0,
        other_length: 0,
        entry: None,
        side: NONE,
        unplaced: 0,
        connected: 0,
    };
    // One that is begun anew has its metapage already.
    if index.blocks() > 1 || index.blocks() == 0 && index.extend() != 0 {
        return Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            format!("index \"{}\" already contains data", index.name()),
        ));
    }
    let mut pages = Change::lock(index, &mut Hints::default(), &[0], Logging::Building);
    meta.write(&mut pages.init(0, Kind::Meta, 0));
    pages.commit();
    Ok(meta)
}

/// A build under way.
struct Build {
    index: Index,
    heap: pg_sys::Relation,
    options: Options,
    metric: Metric,
    declared: Option<usize>,
    columns: KeyColumns,
    /// The keys of the row that is taken in.
    keys: KeysBuf,
    /// A row that is there and what others must go with; one that has a tag, once there is one.
    bound: Option<(VectorKind, Tid)>,
    /// The table must be read again from its start, for a graph of vectors of this length.
    again: Option<usize>,
    /// Rows put into the index.
    indexed: u64,
    scratch: Scratch,
    stage: Stage,
    /// The digests of the vectors in memory, in the order in which they were published.
    digests: Vec<u64>,
    /// Rows without a place in the graph, written after it.
    unplaced: Vec<(Tid, Why)>,
}

enum Stage {
    /// No row has come yet.
    Empty,
    /// In memory.
    Memory(Box<Memory>),
    /// On pages.
    Pages(Box<Pages>),
}

struct Memory {
    crew: Crew,
    block: BlockBuilder,
    /// Rows that still fit.
    room: usize,
    layout: Layout,
}

struct Pages {
    graph: Graph,
    workspace: Workspace,
}

impl Build {
    /// Binds the index to the length and model of a row that is there.
    ///
    /// # Errors
    /// If it is bound to others.
    fn bind(&mut self, kind: VectorKind, tid: Tid) -> SqlResult<()> {
        match self.bound {
            Some((bound, row)) if !kind.goes_with(bound) => Err(conflict(self.index, self.heap, kind, bound, row)),
            Some((bound, _)) if bound.tag != 0 || kind.tag == 0 => Ok(()),
            _ => {
                self.bound = Some((kind, tid));
                Ok(())
            }
        }
    }

    /// The tag of the rows that are there.
    fn tag(&self) -> u32 {
        self.bound.map_or(0, |(kind, _)| kind.tag)
    }

    /// Takes in a row. One that is dead, but not to everybody, goes into the index without having a say in what others must
    /// be.
    fn row(&mut self, embedding: &Embedding<'_>, tid: Tid, alive: bool) -> SqlResult<()> {
        if self.again.is_some() {
            return Ok(());
        }
        let kind = VectorKind::of(embedding);
        if alive {
            self.bind(kind, tid)?;
        }
        if let Stage::Empty = self.stage {
            // Of a length that no graph can have it is only as long as it is dead.
            let begins = alive || layout_for(kind.dims, self.options.m(), self.columns.len()).is_ok();
            if !begins {
                return self.set_aside(tid, Why::Length);
            }
            self.begin(kind.dims)?;
        }
        let length = match &self.stage {
            Stage::Memory(memory) => memory.layout.dims(),
            Stage::Pages(pages) => pages.graph.nodes.opened.layout.dims(),
            Stage::Empty => kind.dims,
        };
        if kind.dims != length {
            // The graph is of what is there. If dead rows have begun it, it is begun anew; on pages they have gone too far.
            if alive && matches!(self.stage, Stage::Memory(_)) {
                self.again = Some(kind.dims);
                self.stage = Stage::Empty;
                return Ok(());
            }
            return self.set_aside(tid, Why::Length);
        }
        if let Stage::Memory(memory) = &mut self.stage
            && memory.block.is_full()
        {
            let fresh = memory.crew.arena().builder().map_err(|_| no_memory())?;
            let full = std::mem::replace(&mut memory.block, fresh);
            memory.room = memory.room.saturating_sub(full.len());
            memory.crew.publish(full)?;
            if memory.room < BLOCK {
                self.spill()?;
            }
        }
        match &mut self.stage {
            Stage::Memory(memory) => {
                let arena = Arc::clone(memory.crew.arena());
                let params = *arena.params();
                let mut skipped = false;
                let scratch = &mut self.scratch;
                let keys = self.keys.keys().bytes();
                let pushed = memory.block.push_keyed(level(&params, tid), tid.0, keys, |code| {
                    encode(arena.space(), embedding, scratch, code).and_then(|header| {
                        skipped = header.is_none();
                        header.ok_or_else(|| SqlError::new(PgSqlErrorCode::ERRCODE_DATA_EXCEPTION, "no direction"))
                    })
                });
                match pushed {
                    Err(_) if skipped => return self.set_aside(tid, Why::Zero),
                    pushed => pushed?,
                };
                self.digests.try_reserve(1).map_err(|_| no_memory())?;
                self.digests.push(digest(embedding));
            }
            Stage::Pages(pages) => {
                if !insert_row(&mut pages.graph, &mut pages.workspace, embedding, self.keys.keys(), tid, None)? {
                    return Ok(());
                }
            }
            Stage::Empty => {}
        }
        self.indexed += 1;
        if self.indexed.is_multiple_of(BLOCK as u64) {
            show(pg_sys::PROGRESS_CREATEIDX_TUPLES_DONE, self.indexed as i64);
        }
        Ok(())
    }

    /// Takes in a row without a place in the graph.
    fn set_aside(&mut self, tid: Tid, why: Why) -> SqlResult<()> {
        self.unplaced.try_reserve(1).map_err(|_| no_memory())?;
        self.unplaced.push((tid, why));
        Ok(())
    }

    /// Starts the graph in memory, for vectors of `dims` dimensions.
    fn begin(&mut self, dims: usize) -> SqlResult<()> {
        let dims = self.declared.unwrap_or(dims);
        let layout = layout_for(dims, self.options.m(), self.columns.len())?;
        create(self.index, self.metric, &self.options, dims, self.columns.kinds())?;
        let space = Space::new(dims, self.metric).map_err(|_| dims_out_of_range(dims))?;
        let params = Params { m: self.options.m(), ef_construction: self.options.ef_construction() };
        // SAFETY: reads a setting.
        let budget = unsafe { pg_sys::maintenance_work_mem } as usize * 1024;
        let key = Keys::size(self.columns.len());
        let probe = Arena::with_keys(space.clone(), params, 0, key).map_err(|_| no_memory())?;
        let block = probe.block_bytes() + self.overhead();
        // The last block is being filled while those before are in the graph.
        let blocks = (budget / block).min(NONE as usize / BLOCK);
        if blocks == 0 {
            self.say_what_would_do(block);
            self.stage = Stage::Pages(Box::new(self.pages()?));
            return Ok(());
        }
        let arena = Arc::new(Arena::with_keys(space, params, blocks * BLOCK, key).map_err(|_| no_memory())?);
        let block = arena.builder().map_err(|_| no_memory())?;
        let crew = Crew::start(arena, threads())?;
        self.stage = Stage::Memory(Box::new(Memory { crew, block, room: blocks * BLOCK, layout }));
        show_phase(PHASE_GRAPH);
        Ok(())
    }

    /// Bytes that the nodes of a block need besides what the arena counts.
    fn overhead(&self) -> usize {
        let signature = if self.columns.len() > 0 { SIGNED } else { 0 };
        (NODE_OVERHEAD + signature) * BLOCK
    }

    fn pages(&self) -> SqlResult<Pages> {
        show_phase(PHASE_INSERT);
        let graph = Graph::new(Opened::open(self.index)?, Logging::Building);
        Ok(Pages { graph, workspace: Workspace::default() })
    }

    /// Writes the graph in memory to pages.
    fn write_out(&mut self) -> SqlResult<()> {
        let Stage::Memory(memory) = std::mem::replace(&mut self.stage, Stage::Empty) else {
            return Ok(());
        };
        let Memory { mut crew, block, layout, .. } = *memory;
        if !block.is_empty() {
            crew.publish(block)?;
        }
        let (arena, joined): (_, Vec<Joined>) = crew.finish()?;
        show_phase(PHASE_WRITE);
        flush(self.index, &layout, self.options.filled(layout.per_page()), &arena, joined, &self.digests, self.tag())
    }

    /// Leaves memory for pages.
    fn spill(&mut self) -> SqlResult<()> {
        if let Stage::Memory(memory) = &self.stage {
            self.say_what_would_do(memory.crew.arena().block_bytes() + self.overhead());
        }
        self.write_out()?;
        self.stage = Stage::Pages(Box::new(self.pages()?));
        Ok(())
    }

    /// Tells how much memory would have held the whole graph, of which a block takes `block` bytes.
    fn say_what_would_do(&self, block: usize) {
        let rows = self.indexed;
        // SAFETY: reads a setting.
        let budget = unsafe { pg_sys::maintenance_work_mem };
        let expected = expected_rows(self.index).max(rows as f64) * 1.1;
        let wanted = ((expected / BLOCK as f64).ceil() * block as f64 / f64::from(1 << 20)).ceil();
        ereport!(
            PgLogLevel::NOTICE,
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!("vs_hnsw graph no longer fits into maintenance_work_mem after {rows} rows"),
            format!(
                "Building takes longer from here on: maintenance_work_mem is {} MB, and about {wanted} MB would have held all.",
                budget / 1024
            )
        );
    }
}

/// Threads that help with a build. A setting that is above what the server lets one command have, or above what the machine
/// can run at once, is no reason to start them.
fn threads() -> usize {
    // SAFETY: reads settings.
    let allowed = unsafe {
        pg_sys::max_parallel_maintenance_workers.min(pg_sys::max_parallel_workers).min(pg_sys::max_worker_processes)
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    usize::try_from(allowed).unwrap_or(0).min(processors)
}

/// What is said when the system has less memory than `maintenance_work_mem` allows.
fn no_memory() -> SqlError {
    out_of_memory("building a vs_hnsw index").hint("Set maintenance_work_mem to what the system can spare.")
}

/// An estimate of the rows of the table that `index` is on.
fn expected_rows(index: Index) -> f64 {
    // SAFETY: the table is locked by the command that builds the index, so that opening it without a lock is safe.
    unsafe {
        let table = pg_sys::IndexGetRelation(index.oid(), true);
        let relation = pg_sys::RelationIdGetRelation(table);
        if relation.is_null() {
            return 0.0;
        }
        let (mut pages, mut tuples, mut visible) = (0, 0.0, 0.0);
        if (*(*relation).rd_rel).relkind as u8 != pg_sys::RELKIND_PARTITIONED_TABLE {
            pg_sys::estimate_rel_size(relation, std::ptr::null_mut(), &mut pages, &mut tuples, &mut visible);
        }
        pg_sys::RelationClose(relation);
        tuples
    }
}

/// Called for each row of the table.
///
/// # Safety
/// By PostgreSQL's table scan, with the [`Build`] as its state.
#[pg_guard]
unsafe extern "C-unwind" fn row(
    _index: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    alive: bool,
    state: *mut std::ffi::c_void,
) {
    // SAFETY: as above; there are as many values as the index has columns.
    unsafe {
        let build = &mut *state.cast::<Build>();
        if *isnull {
            build.set_aside(Tid::from_pointer(*tid), Why::Null).or_raise();
            return;
        }
        let embedding = Embedding::read(*values).or_raise();
        if build.columns.len() > 0 {
            build.columns.read(values, isnull, &mut build.keys);
        }
        build.row(&embedding, Tid::from_pointer(*tid), alive).or_raise();
    }
}

/// PostgreSQL's `InvalidSubTransactionId`.
const NO_SUBTRANSACTION: pg_sys::SubTransactionId = 0;

/// Whether changes of the relation must be logged: PostgreSQL's macro `RelationNeedsWAL`.
fn needs_wal(index: Index) -> bool {
    let relation = index.relation();
    // SAFETY: the relation is open; the rest reads settings.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        let rewritten = (*relation).rd_firstRelfilenodeSubid;
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let rewritten = (*relation).rd_firstRelfilelocatorSubid;
        let permanent = (*(*relation).rd_rel).relpersistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT;
        permanent
            && (pg_sys::wal_level >= pg_sys::WalLevel::WAL_LEVEL_REPLICA as i32
                || ((*relation).rd_createSubid == NO_SUBTRANSACTION && rewritten == NO_SUBTRANSACTION))
    }
}

/// Takes in the rows of the table; returns how many there are.
fn scan_table(state: &mut Build, info: *mut pg_sys::IndexInfo) -> SqlResult<f64> {
    let (heap, relation) = (state.heap, state.index.relation());
    // SAFETY: the relations are open, and the callback matches the state. The function is called through PostgreSQL's table
    // of functions, so with a guard of our own; the frame owns nothing.
    unsafe {
        let Some(scan) = (*(*heap).rd_tableam).index_build_range_scan else {
            return Err(SqlError::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, "table cannot be scanned"));
        };
        let state: *mut Build = state;
        Ok(pg_guard_ffi_boundary(|| {
            scan(
                heap,
                relation,
                info,
                true,
                false,
                true,
                0,
                pg_sys::InvalidBlockNumber,
                Some(row),
                state.cast(),
                std::ptr::null_mut(),
            )
        }))
    }
}

fn build(heap: pg_sys::Relation, relation: pg_sys::Relation, info: *mut pg_sys::IndexInfo) -> SqlResult<(f64, u64)> {
    // SAFETY: PostgreSQL passes open relations that stay open and locked for the whole call.
    let (index, options) = unsafe { (Index::new(relation), Options::of(relation)) };
    let columns = KeyColumns::of(index)?;
    let metric = metric(index)?;
    let mut state = Build {
        index,
        heap,
        options,
        metric,
        declared: declared_dims(index),
        columns,
        keys: KeysBuf::default(),
        bound: None,
        again: None,
        indexed: 0,
        scratch: Scratch::default(),
        stage: Stage::Empty,
        digests: Vec::new(),
        unplaced: Vec::new(),
    };
    if let Some(dims) = state.declared {
        layout_for(dims, options.m(), state.columns.len())?;
    }
    let mut rows = scan_table(&mut state, info)?;
    if let Some(dims) = state.again.take() {
        state.declared = Some(dims);
        (state.indexed, state.bound) = (0, None);
        state.unplaced.clear();
        state.digests.clear();
        rows = scan_table(&mut state, info)?;
    }
    let bound = state.bound.map_or(VectorKind { dims: 0, tag: 0 }, |(kind, _)| kind);
    match state.stage {
        // Without declared dimensions those of the first row to come.
        Stage::Empty => {
            create(index, metric, &options, state.declared.unwrap_or(0), state.columns.kinds())?;
        }
        Stage::Memory(_) => state.write_out()?,
        Stage::Pages(pages) => {
            pages.graph.change_meta(|meta| {
                let before = *meta;
                meta.tag = bound.tag;
                if bound.dims != 0 && bound.dims != meta.dims {
                    meta.other_length = bound.dims;
                }
                *meta != before
            })?;
            attach(&pages.graph.nodes.opened, Logging::Building)?;
        }
    }
    let without = std::mem::take(&mut state.unplaced);
    state.indexed += without.len() as u64;
    Graph::new(Opened::open(index)?, Logging::Building).add_unplaced(&without)?;
    if needs_wal(index) {
        // SAFETY: the relation is open, and nobody else sees it yet.
        unsafe { pg_sys::log_newpage_range(relation, pg_sys::ForkNumber::MAIN_FORKNUM, 0, index.blocks(), true) };
    }
    Ok((rows, state.indexed))
}

/// `ambuild`
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuild(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
) -> *mut pg_sys::IndexBuildResult {
    let (rows, indexed) = build(heap, index, info).or_raise();
    // SAFETY: a palloc'd struct of two numbers.
    unsafe {
        let result: *mut pg_sys::IndexBuildResult = pg_sys::palloc0(size_of::<pg_sys::IndexBuildResult>()).cast();
        (*result).heap_tuples = rows;
        (*result).index_tuples = indexed as f64;
        result
    }
}

/// `ambuildempty`: the init fork of an unlogged index, from which a crash makes an empty one.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuildempty(relation: pg_sys::Relation) {
    // SAFETY: PostgreSQL passes an open relation.
    let (index, options) = unsafe { (Index::new(relation), Options::of(relation)) };
    build_empty(index, &options).or_raise();
}

fn build_empty(index: Index, options: &Options) -> SqlResult<()> {
    // Without declared dimensions those of the rows, which the main fork knows.
    let dims = match declared_dims(index) {
        Some(dims) => dims,
        None => Opened::open(index)?.meta.dims,
    };
    let meta = Meta {
        kinds: KeyColumns::of(index)?.kinds(),
        metric: metric(index)?,
        m: options.m(),
        ef_construction: options.ef_construction(),
        dims,
        tag: 0,
        binder: 0,
        other_length: 0,
        entry: None,
        side: NONE,
        unplaced: 0,
        connected: 0,
    };
    crate::storage::write_init_fork(index, |page| meta.write(page));
    Ok(())
}
