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
use crate::blend::{Blend, outshone};
use crate::link::Linker;
use crate::search::Beam;
use crate::select::select;
use crate::storage::{Candidate, Entry, MAX_LEVEL, NodeId, StorageMut};
use vs_quantize::{Measure, Query};

/// How often a node that found no neighbours looks again before it is left for [`Reach`](crate::Reach) to attach. It finds
/// none where all that it came to is dead, and looks again where another node has become the entry point since: that one is
/// alive, and found, unless it has died within this one search as well. Sixteen in a row are not to be expected.
const ATTEMPTS: usize = 16;

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
    spare: Vec<NodeId>,
    linker: Linker,
    product: Product,
}

/// What a search by product finds for the node, where searches are by product.
#[derive(Debug, Default)]
struct Product {
    query: Query,
    starts: Vec<Candidate>,
    found: Vec<Candidate>,
    /// Numbers and scored candidates, for their distances.
    ids: Vec<NodeId>,
    scored: Vec<Candidate>,
    blend: Blend,
    outshone: bool,
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
        let mut entry = entry;
        for _ in 0..ATTEMPTS {
            self.link_back(storage, params, id)?;
            let linked = self.lists.first().is_some_and(|list| !list.is_empty());
            if linked && entry.is_some_and(|entry| entry.level >= level) {
                break;
            }
            // The first node, one above all others, or one that found nothing alive. A node that is linked can be found
            // from wherever searches start. One that is not may only take the place of the entry point that led it nowhere:
            // if another has become that meanwhile, taking its place would cut off all that is linked to it.
            let instead_of = (!linked).then_some(entry);
            if storage.raise_entry(Entry { id, level }, instead_of)? || linked {
                break;
            }
            entry = storage.entry()?;
            self.plan(storage, params, query, level, entry, Some(id))?;
            for (layer, list) in self.lists.iter().enumerate() {
                storage.replace(id, layer as u8, &[], list)?;
            }
        }
        Ok(Inserted::New(id))
    }

    /// A live node that stands for the point of `query` (made by [`Space::probe`](vs_quantize::Space::probe)), if a search
    /// comes upon one: it ends there.
    pub fn find<S: StorageMut>(
        &mut self,
        storage: &mut S,
        params: &Params,
        query: &Query,
    ) -> Result<Option<NodeId>, S::Error> {
        self.beam.search_until(storage, query, params.ef_construction, query.own_key())?;
        self.beam.take(&mut self.candidates);
        for candidate in self.candidates.iter().take_while(|c| c.key <= query.own_key()) {
            if storage.is_same(query, candidate.id)? {
                return Ok(Some(candidate.id));
            }
        }
        Ok(None)
    }

    /// Chooses the lists of a node; or returns the live node that is the same point. `own` is the node itself if it is
    /// in the graph already.
    fn plan<S: StorageMut>(
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
        let by_product = storage.measure() == Measure::Product;
        if by_product {
            query.measured_by(Measure::Product, &mut self.product.query);
            self.beam.descend(storage, &self.product.query, entry, top, &mut self.product.starts)?;
        }
        for layer in (0..=top).rev() {
            self.beam.search_layer(storage, query, layer, &self.starts, params.ef_construction)?;
            self.beam.take(&mut self.candidates);
            // Where all are dead the walk goes on from where it came from.
            if !self.candidates.is_empty() {
                self.starts.clone_from(&self.candidates);
            }
            if own.is_none() {
                for candidate in self.candidates.iter().filter(|c| c.key == query.own_key()) {
                    if storage.is_same(query, candidate.id)? {
                        return Ok(Some(candidate.id));
                    }
                }
            }
            self.candidates.retain(|c| Some(c.id) != own);
            let list = &mut self.lists[usize::from(layer)];
            if by_product {
                self.product.search(storage, &mut self.beam, params, query, layer, &self.candidates)?;
                self.product.found.retain(|c| Some(c.id) != own);
                self.linker.gather(storage, self.candidates.iter().chain(&self.product.found), layer)?;
                self.product.blend.choose(
                    storage,
                    &self.candidates,
                    &self.product.found,
                    params.m,
                    self.product.outshone,
                    list,
                )?;
            } else {
                self.linker.gather(storage, &self.candidates, layer)?;
                select(storage, &self.candidates, params.m, list, &mut self.spare)?;
            }
        }
        Ok(None)
    }

    /// Adds `id` to the lists of the neighbours chosen for it, the highest layer first.
    fn link_back<S: StorageMut>(&mut self, storage: &mut S, params: &Params, id: NodeId) -> Result<(), S::Error> {
        for (layer, list) in self.lists.iter().enumerate().rev() {
            self.linker.link(storage, params, list, layer as u8, id)?;
        }
        Ok(())
    }
}

impl Product {
    /// Finds the largest products on `layer`, and puts distances for keys: those of `near`, or computed from `query`.
    fn search<S: StorageMut>(
        &mut self,
        storage: &mut S,
        beam: &mut Beam,
        params: &Params,
        query: &Query,
        layer: u8,
        near: &[Candidate],
    ) -> Result<(), S::Error> {
        beam.search_layer(storage, &self.query, layer, &self.starts, params.ef_construction)?;
        beam.take(&mut self.found);
        self.outshone = outshone(self.query.own_key(), self.found.iter().map(|c| c.key), params.m);
        if !self.found.is_empty() {
            self.starts.clone_from(&self.found);
        }
        self.ids.clear();
        self.ids.extend(self.found.iter().map(|c| c.id).filter(|&id| near.iter().all(|c| c.id != id)));
        self.scored.clear();
        storage.score(query, &self.ids, &mut self.scored)?;
        self.scored.extend(near);
        self.scored.sort_unstable_by_key(|c| c.id);
        for candidate in &mut self.found {
            let at = self.scored.binary_search_by_key(&candidate.id, |c| c.id);
            candidate.key = at.map_or(f32::INFINITY, |at| self.scored[at].key);
        }
        // Without those that are gone by now.
        self.found.retain(|candidate| candidate.key < f32::INFINITY);
        Ok(())
    }
}
