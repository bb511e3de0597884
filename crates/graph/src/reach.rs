//! Finding the nodes that no search can reach, and attaching them again.
//!
//! Links back may be dropped when lists are thinned, so a node can end up in no list at all. One traversal of layer 0
//! from the entry point marks what is reachable and remembers for each node the one it was reached from: a spanning
//! tree. A node that was not reached is put into the list of a near one that was. If that list is full, a member goes
//! whose edge is *not* in the tree; so attaching one node never cuts off another.

use crate::Params;
use crate::search::Beam;
use crate::storage::{Candidate, Entry, NONE, NodeId, Storage, StorageMut};
use vs_quantize::Query;

/// A spanning tree of what can be reached on layer 0: 4 bytes for each possible node number.
#[derive(Debug)]
pub struct Reach {
    /// The node each node was reached from; itself for the root, [`NONE`] if it was not reached.
    parents: Vec<NodeId>,
    beam: Beam,
    query: Query,
    starts: Vec<Candidate>,
    found: Vec<Candidate>,
    list: Vec<NodeId>,
    queue: Vec<NodeId>,
}

impl Reach {
    /// Traverses layer 0 from the entry point. `ids` is one more than the highest node number.
    ///
    /// # Errors
    /// The storage's, or that there is no memory for `ids` numbers.
    pub fn traverse<S: Storage>(storage: &mut S, ids: usize) -> Result<Self, ReachError<S::Error>> {
        let mut parents = Vec::new();
        parents.try_reserve_exact(ids).map_err(|_| ReachError::Memory(ids))?;
        parents.resize(ids, NONE);
        let mut reach = Self {
            parents,
            beam: Beam::default(),
            query: Query::default(),
            starts: Vec::new(),
            found: Vec::new(),
            list: Vec::new(),
            queue: Vec::new(),
        };
        if let Some(Entry { id, .. }) = storage.entry().map_err(ReachError::Storage)? {
            reach.visit(storage, id, id).map_err(ReachError::Storage)?;
        }
        Ok(reach)
    }

    /// Whether `id` can be reached.
    #[must_use]
    pub fn reached(&self, id: NodeId) -> bool {
        self.parents.get(id as usize).is_some_and(|&parent| parent != NONE)
    }

    /// Makes `id`, a live node, reachable unless it is, and with it all that can be reached from it. Says whether it is
    /// reachable now: it is not if `id` is gone, if there is no other live node, or if others change lists all the time.
    pub fn attach<S: StorageMut>(&mut self, storage: &mut S, params: &Params, id: NodeId) -> Result<bool, S::Error> {
        if self.reached(id) {
            return Ok(true);
        }
        let Some(entry) = storage.entry()? else { return Ok(false) };
        if !storage.probe(id, &mut self.query)? {
            return Ok(false);
        }
        // Usually the very nearest can take it. Should none of the near ones do, the search goes on, from the entry
        // point on layer 0 so that it comes to all nodes of the tree, and of these every leaf has an edge to spare.
        self.beam.descend(storage, &self.query, entry, 0, &mut self.starts)?;
        self.beam.search_layer(storage, &self.query, 0, &self.starts, params.ef_construction)?;
        if self.offer(storage, params, id)? {
            return Ok(true);
        }
        self.starts.clear();
        storage.score(&self.query, &[entry.id], &mut self.starts)?;
        self.beam.search_layer(storage, &self.query, 0, &self.starts, params.ef_construction)?;
        loop {
            if self.offer(storage, params, id)? {
                return Ok(true);
            }
            if self.beam.is_exhausted() {
                return Ok(false);
            }
            self.beam.widen(storage, &self.query, params.ef_construction)?;
        }
    }

    /// Offers `id` to the nodes the beam has found, nearest first.
    fn offer<S: StorageMut>(&mut self, storage: &mut S, params: &Params, id: NodeId) -> Result<bool, S::Error> {
        self.beam.take(&mut self.found);
        for at in 0..self.found.len() {
            let base = self.found[at].id;
            if base != id && self.reached(base) && self.adopt(storage, params, base, id)? {
                self.visit(storage, base, id)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts `id` into the list of `base`.
    fn adopt<S: StorageMut>(
        &mut self,
        storage: &mut S,
        params: &Params,
        base: NodeId,
        id: NodeId,
    ) -> Result<bool, S::Error> {
        self.list.clear();
        storage.neighbours(base, 0, &mut self.list)?;
        if self.list.contains(&id) {
            // Its insertion has put it there since the traversal.
            return Ok(true);
        }
        let mut new = self.list.clone();
        if new.len() < params.limit(0) {
            new.push(id);
        } else {
            // The last member without a tree edge: lists are appended to, and thinned in order of distance.
            let in_tree = |member: NodeId| self.parents.get(member as usize).is_none_or(|&parent| parent == base);
            let Some(spare) = new.iter().rposition(|&member| !in_tree(member)) else { return Ok(false) };
            new[spare] = id;
        }
        storage.replace(base, 0, &self.list, &new)
    }

    /// Marks all that can be reached from `id`, which was reached from `parent`.
    fn visit<S: Storage>(&mut self, storage: &mut S, parent: NodeId, id: NodeId) -> Result<(), S::Error> {
        self.mark(parent, id);
        while let Some(next) = self.queue.pop() {
            self.list.clear();
            storage.neighbours(next, 0, &mut self.list)?;
            for at in 0..self.list.len() {
                self.mark(next, self.list[at]);
            }
        }
        Ok(())
    }

    fn mark(&mut self, parent: NodeId, id: NodeId) {
        if let Some(slot) = self.parents.get_mut(id as usize)
            && *slot == NONE
        {
            *slot = parent;
            self.queue.push(id);
        }
    }
}

/// Why looking at the whole graph failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReachError<E> {
    /// There is no memory for this many node numbers.
    Memory(usize),
    /// The storage failed.
    Storage(E),
}
