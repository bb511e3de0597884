//! Nodes in memory: the storage an index is built in.
//!
//! Nodes come in **blocks** of [`BLOCK`]. A block is filled by one thread with codes (the costly part, rotating and
//! rounding, needs no coordination), then published at once and immutable from then on, except for its neighbour lists.
//! These are arrays of atomic words: readers copy them without a lock and may see a list half changed, which costs a
//! search a neighbour at worst; writers of a list hold the lock of its node's stripe. So any number of threads insert
//! and search at the same time, and nothing in here is `unsafe`.
//!
//! Nodes may have **keys**, bytes that mean nothing here, but that equal points with different keys are different nodes.
//!
//! A node of `d` dimensions takes its code padded to cache lines, 8m + 8 bytes on layer 0, and 4m on each layer above.

mod block;
mod handle;

pub use block::{BLOCK, BlockBuilder};
pub use handle::ArenaHandle;

use crate::Params;
use crate::storage::{Entry, NodeId};
use block::Block;
use std::collections::TryReserveError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use vs_quantize::{CodeRef, Space};

/// Locks for writers of lists; a node's is its number modulo this.
const STRIPES: usize = 1 << 12;

/// A graph in memory.
#[derive(Debug)]
pub struct Arena {
    space: Space,
    params: Params,
    blocks: Box<[OnceLock<Block>]>,
    /// Blocks handed out so far; may run past the end when the arena is full.
    taken: AtomicUsize,
    /// The entry point, 0 if there is none: level + 1 in the high half, number in the low.
    entry: AtomicU64,
    stripes: Box<[Mutex<()>]>,
    /// The bytes of a node's keys.
    key: usize,
}

/// Why a block is not taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishError {
    /// The arena has no room for another block.
    Full,
    /// There is no memory for its lists.
    Memory(TryReserveError),
}

impl std::fmt::Display for PublishError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full => f.write_str("the graph in memory has reached its size limit"),
            Self::Memory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PublishError {}

impl Arena {
    /// An empty graph of at most `nodes` nodes, rounded up to whole blocks. Memory is taken block by block.
    ///
    /// # Errors
    /// If there is no memory for the table of blocks.
    pub fn new(space: Space, params: Params, nodes: usize) -> Result<Self, TryReserveError> {
        Self::with_keys(space, params, nodes, 0)
    }

    /// As [`new`](Self::new), for nodes that have keys of `key` bytes each.
    ///
    /// # Errors
    /// If there is no memory for the table of blocks.
    pub fn with_keys(space: Space, params: Params, nodes: usize, key: usize) -> Result<Self, TryReserveError> {
        let count = nodes.min(crate::NONE as usize).div_ceil(BLOCK);
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(count)?;
        blocks.resize_with(count, OnceLock::new);
        Ok(Self {
            space,
            params,
            blocks: blocks.into_boxed_slice(),
            taken: AtomicUsize::new(0),
            entry: AtomicU64::new(0),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            key,
        })
    }

    /// The space of the vectors.
    #[must_use]
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The parameters of the graph.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Bytes a block takes at most, upper layers included, for accounting against a memory budget.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        block::bytes(self.space.dims(), &self.params, self.key)
    }

    /// An empty block to fill with codes.
    ///
    /// # Errors
    /// If there is no memory for them.
    pub fn builder(&self) -> Result<BlockBuilder, TryReserveError> {
        BlockBuilder::new(self.space.dims(), self.params, self.key)
    }

    /// Publishes a block; its nodes have the numbers returned, in the order they were pushed. They are not in the graph
    /// before they are [inserted](ArenaHandle::insert).
    ///
    /// # Errors
    /// If there is no room, or no memory, for it.
    pub fn publish(&self, builder: BlockBuilder) -> Result<std::ops::Range<NodeId>, PublishError> {
        let nodes = builder.len();
        let block = builder.finish().map_err(PublishError::Memory)?;
        let at = self.taken.fetch_add(1, Ordering::Relaxed);
        let slot = self.blocks.get(at).ok_or(PublishError::Full)?;
        slot.set(block).map_err(|_| PublishError::Full)?;
        let first = (at * BLOCK) as NodeId;
        Ok(first..first + nodes as NodeId)
    }

    /// The numbers of all nodes published, in order.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        let blocks = self.blocks.iter().enumerate().filter_map(|(at, block)| Some((at * BLOCK, block.get()?)));
        blocks.flat_map(|(first, block)| (first..first + block.len()).map(|id| id as NodeId))
    }

    /// The code of `id`; `None` if there is no such node.
    #[inline]
    #[must_use]
    pub fn code(&self, id: NodeId) -> Option<CodeRef<'_>> {
        let (block, at) = self.locate(id)?;
        Some(block.code(at))
    }

    /// The highest layer `id` is on; 0 if there is no such node.
    #[must_use]
    pub fn level(&self, id: NodeId) -> u8 {
        self.locate(id).map_or(0, |(block, at)| block.level(at))
    }

    /// The number given to [`BlockBuilder::push`], e.g. a row's address; 0 if there is no such node.
    #[must_use]
    pub fn payload(&self, id: NodeId) -> u64 {
        self.locate(id).map_or(0, |(block, at)| block.payload(at))
    }

    /// The bytes of the keys of `id`; none if there is no such node.
    #[inline]
    #[must_use]
    pub fn keys(&self, id: NodeId) -> &[u8] {
        self.locate(id).map_or(&[], |(block, at)| block.keys(at))
    }

    /// Appends the neighbours of `id` on layer `level` to `out`.
    #[inline]
    pub fn neighbours(&self, id: NodeId, level: u8, out: &mut Vec<NodeId>) {
        if let Some((block, at)) = self.locate(id) {
            block.read(at, level, out);
        }
    }

    /// The entry point.
    #[must_use]
    pub fn entry(&self) -> Option<Entry> {
        let packed = self.entry.load(Ordering::Acquire);
        let level = (packed >> 32).checked_sub(1)?;
        Some(Entry { id: packed as NodeId, level: level as u8 })
    }

    /// Access for one thread.
    #[must_use]
    pub fn handle(&self) -> ArenaHandle<'_> {
        ArenaHandle::new(self)
    }

    fn raise_entry(&self, entry: Entry, instead_of: Option<Option<Entry>>) -> bool {
        let pack = |entry: Entry| (u64::from(entry.level) + 1) << 32 | u64::from(entry.id);
        let (packed, expected) = (pack(entry), instead_of.map(|expected| expected.map_or(0, pack)));
        let raise = |present: u64| {
            let raises = present >> 32 < packed >> 32 && expected.is_none_or(|expected| expected == present);
            raises.then_some(packed)
        };
        self.entry.fetch_update(Ordering::AcqRel, Ordering::Acquire, raise).is_ok()
    }

    #[inline]
    fn locate(&self, id: NodeId) -> Option<(&Block, usize)> {
        let block = self.blocks.get(id as usize / BLOCK)?.get()?;
        Some((block, id as usize % BLOCK)).filter(|(block, at)| *at < block.len())
    }

    #[inline]
    fn prefetch(&self, id: NodeId) {
        if let Some((block, at)) = self.locate(id) {
            vs_distance::code::prefetch(block.row(at));
        }
    }

    #[inline]
    fn expect(&self, id: NodeId, level: u8) {
        if let Some((block, at)) = self.locate(id) {
            block.prefetch_list(at, level);
        }
    }

    fn replace(&self, id: NodeId, level: u8, old: &[NodeId], new: &[NodeId]) -> bool {
        let _lock = self.lock(id);
        self.locate(id).is_some_and(|(block, at)| block.replace(at, level, old, new))
    }

    fn lock(&self, id: NodeId) -> MutexGuard<'_, ()> {
        self.stripes[id as usize % STRIPES].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
