//! Sets of nodes.

use crate::error::{SqlResult, out_of_memory};
use vs_graph::NodeId;

/// A set of node numbers, one bit each.
pub struct Set {
    words: Vec<u64>,
    len: usize,
}

impl Set {
    /// An empty one for numbers below `ids`. Others are never in it.
    pub fn new(ids: usize) -> SqlResult<Self> {
        let mut words = Vec::new();
        words.try_reserve_exact(ids / 64 + 1).map_err(|_| out_of_memory("vacuuming a vs_hnsw index"))?;
        words.resize(ids / 64 + 1, 0);
        Ok(Self { words, len: 0 })
    }

    /// How many are in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Puts `id` in.
    pub fn insert(&mut self, id: NodeId) {
        if let Some(word) = self.words.get_mut(id as usize / 64) {
            let bit = 1 << (id % 64);
            self.len += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }

    /// Whether `id` is in it.
    pub fn contains(&self, id: NodeId) -> bool {
        self.words.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 != 0)
    }

    /// Those that are in it and not in `other`, ascending.
    pub fn iter_without(&self, other: &Self) -> impl Iterator<Item = NodeId> {
        let words = self.words.iter().zip(&other.words).map(|(ours, theirs)| ours & !theirs);
        words.enumerate().filter(|&(_, word)| word != 0).flat_map(|(at, word)| {
            (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| at as NodeId * 64 + bit)
        })
    }
}
