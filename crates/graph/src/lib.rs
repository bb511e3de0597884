//! HNSW: a navigable graph of vectors, over any storage.
//!
//! Every vector is a node with a short list of near nodes. A search starts at the entry point and keeps walking to
//! whatever is nearer to the query; lists are chosen so that this works from anywhere. Upper layers hold ever fewer
//! nodes, with lists of their own, for the first big steps (Malkov & Yashunin, *Efficient and robust approximate nearest
//! neighbor search using Hierarchical Navigable Small World graphs*, TPAMI 2018).
//!
//! | file | what it does |
//! |---|---|
//! | `storage` | the traits: what the algorithms ask of the place where nodes are kept |
//! | `search` | best-first search of a layer, resumable; the descent through the layers |
//! | `filtered` | search of what passes a filter, from one such node to the next |
//! | `select` | which candidates become neighbours |
//! | `blend` | the same for inner products |
//! | `link` | changing lists by compare-and-replace |
//! | `insert` | a new node: node first, links back after, entry point last |
//! | `repair` | lists without their removed members |
//! | `reach` | what can be reached, and attaching what cannot |
//! | `order` | an order of the nodes for packing pages |
//! | `arena` | the storage in memory that many threads build in |
//!
//! The algorithms see nodes through [`Storage`] and [`StorageMut`] only, so that the same code runs in memory and over
//! pages of a buffer pool. They compare codes, not vectors ([`vs_quantize`]); searches hand out a lower bound of the exact
//! distance with each candidate, from which the caller orders its rows exactly.
//!
//! ```
//! use half::f16;
//! use vs_graph::{Arena, Beam, Inserter, Params};
//! use vs_quantize::{Metric, Query, Scratch, Space};
//!
//! let params = Params { m: 16, ef_construction: 64 };
//! let arena = Arena::new(Space::new(2, Metric::L2)?, params, 1000)?;
//! let (mut scratch, mut block) = (Scratch::default(), arena.builder()?);
//! for row in 0..100u64 {
//!     let vector = [row as f32, 1.0].map(f16::from_f32);
//!     block.push(params.level(row.wrapping_mul(0x9e37_79b9_7f4a_7c15)), row, |code| arena.space().encode(&vector, &mut scratch, code))?;
//! }
//! let (mut handle, mut inserter) = (arena.handle(), Inserter::default());
//! for id in arena.publish(block)? {
//!     handle.insert(&mut inserter, id);
//! }
//!
//! let (mut query, mut beam, mut found) = (Query::default(), Beam::default(), Vec::new());
//! arena.space().prepare(&[41.8, 1.0].map(f16::from_f32), &mut scratch, &mut query)?;
//! beam.search(&mut handle, &query, 10)?;
//! beam.take(&mut found);
//! assert_eq!(arena.payload(found[0].id), 42);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod arena;
mod blend;
mod filtered;
mod insert;
mod link;
mod order;
mod reach;
mod repair;
mod search;
mod select;
mod storage;
mod visited;

pub use arena::{Arena, ArenaHandle, BLOCK, BlockBuilder, PublishError};
pub use filtered::FilteredBeam;
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

    /// The highest layer of a node, from a random number: layer l or above with probability m^−l. Numbers must be
    /// uniform in all of their bits: a counter has to be hashed first.
    #[must_use]
    pub fn level(&self, random: u64) -> u8 {
        let uniform = ((random >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (-uniform.ln() / (self.m.max(2) as f64).ln()).min(f64::from(MAX_LEVEL)) as u8
    }
}
