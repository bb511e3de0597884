//! Closing the gaps that removed nodes leave.
//!
//! A removed node was on the way from its in-neighbours to its own neighbours. So each list that names a removed node
//! is selected anew from its remaining members and the members of the removed nodes' lists; where those are removed as
//! well, from theirs, and so on within a limit. Should that yield too little (a whole region is gone), a search finds
//! what is nearest now. This must happen while the removed nodes can still be read: a vacuum repairs all lists first
//! and frees slots after.

use crate::Params;
use crate::link::Linker;
use crate::search::Beam;
use crate::storage::{Candidate, NodeId, StorageMut};
use crate::visited::Visited;
use vs_quantize::{Measure, Query};

/// Repairs lists; reusable memory.
#[derive(Debug, Default)]
pub struct Repairer {
    linker: Linker,
    beam: Beam,
    query: Query,
    /// The same by product, where searches are by product.
    product: Query,
    seen: Visited,
    old: Vec<NodeId>,
    /// Removed nodes whose lists are still to be read.
    removed: Vec<NodeId>,
    remaining: Vec<NodeId>,
    found: Vec<Candidate>,
}

impl Repairer {
    /// Takes the nodes for which `gone` holds out of the list of `id` on `level` and fills the gap. Says whether the
    /// list was changed.
    ///
    /// `id` is a node that stays. A list that others have changed meanwhile is read again, however often that takes: every
    /// time somebody got on. Afterwards it names no removed node, and as nobody links to those any more, it never will.
    pub fn repair<S: StorageMut>(
        &mut self,
        storage: &mut S,
        params: &Params,
        id: NodeId,
        level: u8,
        gone: &dyn Fn(NodeId) -> bool,
    ) -> Result<bool, S::Error> {
        loop {
            self.old.clear();
            storage.neighbours(id, level, &mut self.old)?;
            if !self.old.iter().any(|&member| gone(member)) {
                return Ok(false);
            }
            self.collect(storage, params, id, level, gone)?;
            if self.remaining.len() < params.m / 2 {
                self.search(storage, params, id, level, gone)?;
            }
            if self.linker.relist(storage, params, id, level, &self.old, &self.remaining)? {
                return Ok(true);
            }
        }
    }

    /// The members of `old` and of the removed nodes' lists that stay, to `remaining`.
    fn collect<S: StorageMut>(
        &mut self,
        storage: &mut S,
        params: &Params,
        id: NodeId,
        level: u8,
        gone: &dyn Fn(NodeId) -> bool,
    ) -> Result<(), S::Error> {
        self.seen.clear();
        self.seen.insert(id);
        self.remaining.clear();
        self.removed.clear();
        self.sort_out(gone);
        let mut members = std::mem::take(&mut self.old);
        let enough = 4 * params.ef_construction;
        let mut read = 0;
        // Breadth first: the lists of direct neighbours before those behind them.
        while read < self.removed.len() && self.remaining.len() < enough && self.seen.len() < 4 * enough {
            let from = self.removed[read];
            read += 1;
            let before = members.len();
            storage.neighbours(from, level, &mut members)?;
            for &member in &members[before..] {
                if self.seen.insert(member) {
                    if gone(member) { self.removed.push(member) } else { self.remaining.push(member) }
                }
            }
            members.truncate(before);
        }
        self.old = members;
        Ok(())
    }

    /// Sorts the members of `old` into those that stay and those removed.
    fn sort_out(&mut self, gone: &dyn Fn(NodeId) -> bool) {
        for &member in &self.old {
            if self.seen.insert(member) {
                if gone(member) { self.removed.push(member) } else { self.remaining.push(member) }
            }
        }
    }

    /// Adds what a search for the node itself finds to `remaining`.
    fn search<S: StorageMut>(
        &mut self,
        storage: &mut S,
        params: &Params,
        id: NodeId,
        level: u8,
        gone: &dyn Fn(NodeId) -> bool,
    ) -> Result<(), S::Error> {
        let Some(entry) = storage.entry()?.filter(|entry| entry.level >= level) else { return Ok(()) };
        if !storage.probe(id, &mut self.query)? {
            return Ok(());
        }
        let by_product = storage.measure() == Measure::Product;
        if by_product {
            self.query.measured_by(Measure::Product, &mut self.product);
        }
        for query in [&self.query, &self.product].into_iter().take(1 + usize::from(by_product)) {
            self.beam.descend(storage, query, entry, level, &mut self.found)?;
            self.beam.search_layer(storage, query, level, &self.found, params.ef_construction)?;
            self.beam.take(&mut self.found);
            for candidate in &self.found {
                if candidate.id != id && !gone(candidate.id) && !self.remaining.contains(&candidate.id) {
                    self.remaining.push(candidate.id);
                }
            }
        }
        Ok(())
    }
}
