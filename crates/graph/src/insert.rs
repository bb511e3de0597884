//! Inserting a node: the node first, links back to it after, the entry point last.
//!
//! 1. Search from the entry point down (Malkov & Yashunin 2018, algorithm 1): greedily above the node's level, with
//!    `ef_construction` from there on, and [`select`] neighbours on each layer. Nothing is written yet; should a live
//!    node turn out to be the very same point, the row joins it and that is all.
//! 2. Store the node with its lists. It can be left now but not found.
//! 3. Add it to the lists of its neighbours. A list with room is appended to; a full one is selected anew from its
//!    members and the new node. Every list is replaced only if it still is what was read, else read again.
//! 4. If the node is on a higher layer than the entry point, searches start from it.
//!
//! An insertion may stop anywhere (an error, a crash): what is written is a valid graph, at worst with a node that is
//! not found.

use crate::Params;
use crate::search::Beam;
use crate::select::select;
use crate::storage::{Candidate, Entry, MAX_LEVEL, NodeId, StorageMut};
use vs_quantize::Query;

/// How often a list that others keep changing is read again before the link back is given up. The node stays reachable
/// through its other neighbours.
const ATTEMPTS: usize = 8;

/// What became of an insertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// The point has its own node now.
    New(NodeId),
    /// A live node stands for the same point: the row belongs to it. The storage has changed nothing yet.
    Same(NodeId),
}

/// Inserts nodes; reusable memory, one for each thread.
#[derive(Debug, Default)]
pub struct Inserter {
    beam: Beam,
    candidates: Vec<Candidate>,
    starts: Vec<Candidate>,
    /// The lists chosen for the node, one for each layer.
    lists: Vec<Vec<NodeId>>,
    pub(crate) linker: Linker,
}

impl Inserter {
    /// Inserts the point of `query` (made by [`Space::probe`](vs_quantize::Space::probe)) on layers 0 ..= `level`.
    pub fn insert<S: StorageMut>(
        &mut self,
        storage: &mut S,
        params: &Params,
        query: &Query,
        level: u8,
    ) -> Result<Inserted, S::Error> {
        let level = level.min(MAX_LEVEL);
        let entry = storage.entry()?;
        if let Some(same) = self.plan(storage, params, query, level, entry, None)? {
            return Ok(Inserted::Same(same));
        }
        let id = storage.add(level, &self.lists)?;
        let mut linked = entry;
        loop {
            self.link_back(storage, params, query, id)?;
            if linked.is_some_and(|entry| entry.level >= level) || storage.raise_entry(Entry { id, level })? {
                return Ok(Inserted::New(id));
            }
            // Another node has become the entry meanwhile. Only if there was none at all must this one be linked again:
            // otherwise it is linked to the graph that the other one is linked to as well.
            if linked.is_some() {
                return Ok(Inserted::New(id));
            }
            linked = storage.entry()?;
            self.plan(storage, params, query, level, linked, Some(id))?;
            for (layer, list) in self.lists.iter().enumerate() {
                storage.replace(id, layer as u8, &[], list)?;
            }
        }
    }

    /// Chooses the lists of a node; or returns the live node that is the same point. `own` is the node itself if it is
    /// in the graph already.
    pub(crate) fn plan<S: StorageMut>(
        &mut self,
        storage: &mut S,
        params: &Params,
        query: &Query,
        level: u8,
        entry: Option<Entry>,
        own: Option<NodeId>,
    ) -> Result<Option<NodeId>, S::Error> {
        self.lists.clear();
        let Some(entry) = entry else { return Ok(None) };
        let top = level.min(entry.level);
        self.lists.resize_with(usize::from(top) + 1, Vec::new);
        self.beam.descend(storage, query, entry, top, &mut self.starts)?;
        for layer in (0..=top).rev() {
            self.beam.search_layer(storage, query, layer, &self.starts, params.ef_construction)?;
            self.beam.take(&mut self.candidates);
            self.starts.clone_from(&self.candidates);
            if own.is_none() {
                for candidate in self.candidates.iter().filter(|c| c.key == query.own_key()) {
                    if storage.is_same(query, candidate.id)? {
                        return Ok(Some(candidate.id));
                    }
                }
            }
            self.candidates.retain(|c| Some(c.id) != own);
            self.linker.gather(storage, &self.candidates)?;
            select(storage, &self.candidates, params.m, &mut self.lists[usize::from(layer)])?;
        }
        Ok(None)
    }

    /// Adds `id` to the lists of the neighbours chosen for it.
    pub(crate) fn link_back<S: StorageMut>(
        &mut self,
        storage: &mut S,
        params: &Params,
        query: &Query,
        id: NodeId,
    ) -> Result<(), S::Error> {
        for layer in (0..self.lists.len()).rev() {
            let list = std::mem::take(&mut self.lists[layer]);
            for &neighbour in &list {
                self.linker.link(storage, params, neighbour, layer as u8, id)?;
            }
            self.lists[layer] = list;
        }
        let _ = query;
        Ok(())
    }
}

/// Changes single lists; reusable memory.
#[derive(Debug, Default)]
pub(crate) struct Linker {
    old: Vec<NodeId>,
    ids: Vec<NodeId>,
    keys: Vec<f32>,
    candidates: Vec<Candidate>,
    kept: Vec<NodeId>,
}

impl Linker {
    /// Announces `candidates` to the storage.
    pub(crate) fn gather<S: StorageMut>(&mut self, storage: &mut S, candidates: &[Candidate]) -> Result<(), S::Error> {
        self.ids.clear();
        self.ids.extend(candidates.iter().map(|c| c.id));
        storage.gather(&self.ids)
    }

    /// Adds `new` to the list of `base` on `level`, selecting anew if the list is full.
    pub(crate) fn link<S: StorageMut>(
        &mut self,
        storage: &mut S,
        params: &Params,
        base: NodeId,
        level: u8,
        new: NodeId,
    ) -> Result<(), S::Error> {
        for _ in 0..ATTEMPTS {
            self.old.clear();
            storage.neighbours(base, level, &mut self.old)?;
            if base == new || self.old.contains(&new) {
                return Ok(());
            }
            self.ids.clone_from(&self.old);
            self.ids.push(new);
            let limit = params.limit(level);
            if self.ids.len() <= limit {
                self.kept.clone_from(&self.ids);
            } else {
                self.choose(storage, base, limit)?;
            }
            if storage.replace(base, level, &self.old, &self.kept)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Selects from `ids` for `base` into `kept`.
    fn choose<S: StorageMut>(&mut self, storage: &mut S, base: NodeId, limit: usize) -> Result<(), S::Error> {
        self.ids.push(base);
        storage.gather(&self.ids)?;
        self.ids.pop();
        self.keys.clear();
        storage.keys(base, &self.ids, &mut self.keys)?;
        self.candidates.clear();
        let scored = self.ids.iter().zip(&self.keys).filter(|(_, key)| **key < f32::INFINITY);
        self.candidates.extend(scored.map(|(&id, &key)| Candidate { key, slack: 0.0, id, live: true }));
        self.candidates.sort_unstable();
        select(storage, &self.candidates, limit, &mut self.kept)
    }
}
