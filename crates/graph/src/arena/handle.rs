//! The arena as a storage: one handle for each thread.

use super::Arena;
use crate::insert::{Inserted, Inserter};
use crate::storage::{Candidate, Entry, NodeId, Storage, StorageMut};
use std::convert::Infallible;
use vs_quantize::{Measure, Query};

/// How many codes ahead of the one being scored are asked for from memory.
const AHEAD: usize = 3;

/// One thread's access to an [`Arena`].
#[derive(Debug)]
pub struct ArenaHandle<'a> {
    arena: &'a Arena,
    /// The node that [`StorageMut::add`] puts into the graph.
    inserting: NodeId,
    query: Query,
}

impl<'a> ArenaHandle<'a> {
    pub(super) fn new(arena: &'a Arena) -> Self {
        Self { arena, inserting: crate::NONE, query: Query::default() }
    }

    /// Puts the published node `id` into the graph, unless it is the same point as one already there.
    pub fn insert(&mut self, inserter: &mut Inserter, id: NodeId) -> Inserted {
        let Some(code) = self.arena.code(id) else { return Inserted::New(id) };
        let mut query = std::mem::take(&mut self.query);
        self.arena.space.probe(code, &mut query);
        self.set_inserting(id);
        let level = self.arena.level(id);
        let params = *self.arena.params();
        let Ok(inserted) = inserter.insert(self, &params, &query, level);
        self.query = query;
        inserted
    }

    /// Says which published node [`StorageMut::add`] is to put into the graph; for callers that run an [`Inserter`]
    /// over a storage of their own around this one.
    pub fn set_inserting(&mut self, id: NodeId) {
        self.inserting = id;
    }
}

impl Storage for ArenaHandle<'_> {
    type Error = Infallible;

    fn entry(&mut self) -> Result<Option<Entry>, Infallible> {
        Ok(self.arena.entry())
    }

    #[inline]
    fn score(&mut self, query: &Query, ids: &[NodeId], out: &mut Vec<Candidate>) -> Result<(), Infallible> {
        let arena = self.arena;
        for &id in ids.iter().take(AHEAD) {
            arena.prefetch(id);
        }
        for (at, &id) in ids.iter().enumerate() {
            if let Some(&later) = ids.get(at + AHEAD) {
                arena.prefetch(later);
            }
            if let Some(code) = arena.code(id) {
                out.push(Candidate::new(id, arena.space.score(query, code)));
            }
        }
        Ok(())
    }

    #[inline]
    fn expect(&mut self, id: NodeId, level: u8) {
        self.arena.expect(id, level);
    }

    #[inline]
    fn neighbours(&mut self, id: NodeId, level: u8, out: &mut Vec<NodeId>) -> Result<bool, Infallible> {
        self.arena.neighbours(id, level, out);
        // Nothing is ever freed here.
        Ok(true)
    }
}

impl StorageMut for ArenaHandle<'_> {
    fn gather(&mut self, _: &[NodeId], _: u8) -> Result<(), Infallible> {
        Ok(())
    }

    fn measure(&self) -> Measure {
        self.arena.space.metric().measure()
    }

    fn keys(&mut self, measure: Measure, from: NodeId, to: &[NodeId], out: &mut Vec<f32>) -> Result<(), Infallible> {
        let arena = self.arena;
        let from = arena.code(from);
        for &id in to.iter().take(AHEAD) {
            arena.prefetch(id);
        }
        for (at, &id) in to.iter().enumerate() {
            if let Some(&later) = to.get(at + AHEAD) {
                arena.prefetch(later);
            }
            let key = from.zip(arena.code(id)).map(|(a, b)| arena.space.between(measure, a, b));
            out.push(key.unwrap_or(f32::INFINITY));
        }
        Ok(())
    }

    fn any_nearer(&mut self, node: NodeId, others: &[NodeId], key: f32) -> Result<Option<bool>, Infallible> {
        let arena = self.arena;
        let Some(node) = arena.code(node) else { return Ok(None) };
        let nearer = |&id: &NodeId| {
            arena.code(id).is_some_and(|other| arena.space.between(Measure::Distance, node, other) < key)
        };
        Ok(Some(others.iter().any(nearer)))
    }

    fn is_same(&mut self, query: &Query, id: NodeId) -> Result<bool, Infallible> {
        let same_keys = || self.arena.keys(id) == self.arena.keys(self.inserting);
        Ok(self.arena.code(id).is_some_and(|code| query.stands_for(&code) && same_keys()))
    }

    fn add(&mut self, _: u8, lists: &[Vec<NodeId>]) -> Result<NodeId, Infallible> {
        for (layer, list) in lists.iter().enumerate() {
            self.arena.replace(self.inserting, layer as u8, &[], list);
        }
        Ok(self.inserting)
    }

    fn replace(&mut self, id: NodeId, level: u8, old: &[NodeId], new: &[NodeId]) -> Result<bool, Infallible> {
        Ok(self.arena.replace(id, level, old, new))
    }

    fn probe(&mut self, id: NodeId, query: &mut Query) -> Result<bool, Infallible> {
        let code = self.arena.code(id);
        if let Some(code) = code {
            self.arena.space.probe(code, query);
        }
        Ok(code.is_some())
    }

    fn raise_entry(&mut self, entry: Entry, instead_of: Option<Option<Entry>>) -> Result<bool, Infallible> {
        Ok(self.arena.raise_entry(entry, instead_of))
    }
}
