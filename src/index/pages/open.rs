//! An index opened for one operation, and what a session remembers of it from one operation to the next.

use super::layout::Layout;
use super::meta::Meta;
use crate::error::{SqlError, SqlResult};
use crate::index::keys;
use crate::storage::{Block, Change, Hints, Index, Logging, Page};
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use vs_filter::Coarse;
use vs_graph::Params;
use vs_quantize::{Metric, Space};

/// Indexes that a session remembers; when there are more it starts afresh.
const REMEMBERED: usize = 64;

thread_local! {
    static OPENED: RefCell<HashMap<pg_sys::Oid, Rc<Remembered>>> = RefCell::new(HashMap::new());
}

/// What is worth keeping between operations. All of it may be out of date without harm.
pub struct Remembered {
    /// The space of the vectors: its random rotation takes a while to make.
    pub space: Space,
    /// Where pages were last seen.
    pub hints: RefCell<Hints>,
    /// The page that the session's last insertion went to.
    pub target: Cell<Option<Block>>,
}

/// An index whose metapage has been read.
#[derive(Clone)]
pub struct Opened {
    /// The relation.
    pub index: Index,
    /// The metapage as it was then. Only the entry point, the tag and the side page change.
    pub meta: Meta,
    /// The sizes.
    pub layout: Layout,
    /// How the signatures of the first key columns are made.
    pub coarse: Rc<[Coarse]>,
    /// What the session remembers.
    pub remembered: Rc<Remembered>,
    /// The number of pages when it was last asked for; it does not go down while the index is open.
    blocks: Cell<Block>,
}

impl Opened {
    /// Opens `index`.
    ///
    /// # Errors
    /// `index_corrupted` if its metapage makes no sense.
    pub fn open(index: Index) -> SqlResult<Self> {
        let known = OPENED.with_borrow(|opened| opened.get(&index.oid()).cloned());
        let read = |page: Page<'_>| Meta::read(page).and_then(|meta| Some((meta, meta.read_coarse(page)?)));
        let meta = match &known {
            Some(known) => read(index.read(&mut known.hints.borrow_mut(), 0).page()),
            None => read(index.read(&mut Hints::default(), 0).page()),
        };
        let (meta, coarse) = meta.ok_or_else(|| damaged(index, "its first page is not a vs_hnsw metapage"))?;
        if meta.kinds.len() != keys::count(index) {
            return Err(damaged(index, "it has another number of columns"));
        }
        let layout = Layout::new(meta.dims, meta.m, meta.kinds.len())
            .ok_or_else(|| damaged(index, "a node would not fit on a page"))?;
        let fits =
            |known: &Rc<Remembered>| known.space.dims() == meta.dims.max(1) && known.space.metric() == meta.metric;
        let remembered = match known.filter(fits) {
            Some(known) => known,
            // Where the length of the vectors is not known yet there are none, and any space will do.
            None => remember(index, meta.dims.max(1), meta.metric)?,
        };
        Ok(Self { index, meta, layout, coarse: coarse.into(), remembered, blocks: Cell::new(0) })
    }

    /// Reads the metapage again.
    pub fn read_meta(&self) -> SqlResult<Meta> {
        let page = self.index.read(&mut self.remembered.hints.borrow_mut(), 0);
        self.meta_of(page.page())
    }

    /// Reads the metapage that is held.
    pub fn meta_of(&self, page: Page<'_>) -> SqlResult<Meta> {
        Meta::read(page).ok_or_else(|| self.damaged("its first page is not a vs_hnsw metapage"))
    }

    /// The space of the vectors.
    pub fn space(&self) -> &Space {
        &self.remembered.space
    }

    /// The parameters of the graph.
    pub fn params(&self) -> Params {
        Params { m: self.meta.m, ef_construction: self.meta.ef_construction }
    }

    /// The same for walks through the graph, which a vacuum's ring of buffers would slow down.
    pub fn for_walks(&self) -> Self {
        Self { index: self.index.without_ring(), ..self.clone() }
    }

    /// Whether the index has page `block`: asked of whatever is read from a page before it is used as a block's number.
    #[inline]
    pub fn has(&self, block: Block) -> bool {
        block < self.blocks.get() || self.has_grown_to(block)
    }

    #[cold]
    fn has_grown_to(&self, block: Block) -> bool {
        self.blocks.set(self.index.blocks());
        block < self.blocks.get()
    }

    /// Locks pages to change them.
    ///
    /// # Errors
    /// If one of them is not there, or is neither one of ours nor new: nothing is written to what makes no sense.
    pub fn change(&self, blocks: &[Block], logging: Logging) -> SqlResult<Change> {
        if let Some(block) = blocks.iter().find(|&&block| !self.has(block)) {
            return Err(self.damaged(&format!("page {block} is past the end")));
        }
        let change = Change::lock(self.index, &mut self.remembered.hints.borrow_mut(), blocks, logging);
        let unsound = blocks.iter().copied().find(|&block| !self.layout.is_sound(block, change.page(block)));
        match unsound {
            None => Ok(change),
            Some(block) => {
                drop(change);
                Err(self.damaged(&format!("page {block} makes no sense")))
            }
        }
    }

    /// The first page of the list of side pages with room.
    pub fn side(&self) -> SqlResult<Block> {
        Ok(self.read_meta()?.side)
    }

    /// Checks a page that is about to be read from end to end: what is left out because it makes no sense would not be missed.
    pub fn check_page(&self, block: Block, page: Page<'_>) -> SqlResult<()> {
        match self.layout.is_sensible(block, page) {
            true => Ok(()),
            false => Err(self.damaged(&format!("page {block} makes no sense"))),
        }
    }

    /// The error for an index that cannot be what we wrote.
    #[cold]
    pub fn damaged(&self, why: &str) -> SqlError {
        damaged(self.index, why)
    }
}

/// The error for an index that cannot be what we wrote.
pub fn damaged(index: Index, why: &str) -> SqlError {
    SqlError::new(PgSqlErrorCode::ERRCODE_INDEX_CORRUPTED, format!("index \"{}\" is damaged", index.name()))
        .detail(format!("Found that {why}."))
        .hint("Please REINDEX it.")
}

/// The error for an index whose numbers end: of nodes, or of the side entries of a file as long.
pub fn too_large() -> SqlError {
    SqlError::new(PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED, "too many rows for a vs_hnsw index")
}

/// Forgets an index that has been changed or dropped; PostgreSQL tells every session that has asked to be told. No OID asks
/// to forget all.
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn forget(_argument: pg_sys::Datum, oid: pg_sys::Oid) {
    OPENED.with_borrow_mut(|opened| match oid {
        pg_sys::InvalidOid => opened.clear(),
        oid => drop(opened.remove(&oid)),
    });
}

/// Asks to be told of changed relations, once in a session.
fn ask_to_be_told() {
    thread_local! {
        static ASKED: Cell<bool> = const { Cell::new(false) };
    }
    if !ASKED.replace(true) {
        // SAFETY: the function stays where it is, as libraries are not unloaded. It calls nothing of PostgreSQL's, and nobody
        // calls PostgreSQL while the map is borrowed.
        unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(forget), pg_sys::Datum::null()) };
    }
}

/// The space for an index, remembered from now on.
pub fn remember(index: Index, dims: usize, metric: Metric) -> SqlResult<Rc<Remembered>> {
    let space = Space::new(dims, metric).map_err(|error| damaged(index, &error.to_string()))?;
    let remembered = Rc::new(Remembered { space, hints: RefCell::new(Hints::default()), target: Cell::new(None) });
    ask_to_be_told();
    OPENED.with_borrow_mut(|opened| {
        if opened.len() >= REMEMBERED {
            opened.clear();
        }
        opened.insert(index.oid(), Rc::clone(&remembered));
    });
    Ok(remembered)
}
