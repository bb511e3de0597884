//! HNSW: a navigable graph of vectors, over any storage.

#![forbid(unsafe_code)]

mod arena;
mod insert;
mod link;
mod order;
mod reach;
mod repair;
mod search;
mod select;
mod storage;
mod visited;

pub use arena::{Arena, ArenaHandle, BLOCK, BlockBuilder, Full};
pub use insert::{Inserted, Inserter};
pub use order::page_order;
pub use reach::{Reach, ReachError};
pub use repair::Repairer;
pub use search::Beam;
pub use storage::{Candidate, Entry, MAX_LEVEL, NONE, NodeId, Storage, StorageMut, Update, Updates};

/// The parameters of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Neighbours chosen for a new node on each layer. Lists grow to twice that on layer 0 and to that above.
    pub m: usize,
    /// Candidates that the neighbours are chosen from.
    pub ef_construction: usize,
}

impl Params {
    /// The longest list on layer `level`.
    #[inline]
    #[must_use]
    pub fn limit(&self, level: u8) -> usize {
        if level == 0 { 2 * self.m } else { self.m }
    }

    /// The highest layer of a node, from a random number: layer l or above with probability m^−l.
    #[must_use]
    pub fn level(&self, random: u64) -> u8 {
        let uniform = ((random >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (-uniform.ln() / (self.m.max(2) as f64).ln()).min(f64::from(MAX_LEVEL)) as u8
    }
}
