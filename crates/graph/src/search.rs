//! Best-first search of one layer, and the descent through all of them.
//!
//! A [`Beam`] keeps the `ef` nearest nodes seen so far and a frontier of nodes seen but not yet expanded. It expands
//! the nearest frontier node (scores all of its neighbours not seen before) until that node is farther than the
//! farthest of the `ef` nearest (Malkov & Yashunin 2018, algorithm 2).
//!
//! **Resuming.** Nothing that was scored is thrown away: what does not make it into the `ef` nearest is put aside.
//! [`Beam::take`] hands the nearest out and [`Beam::widen`] goes on for the next ones, from the nodes put aside and the
//! frontier as it stands: the same walk as a search with the larger `ef` from the start, with no distance computed
//! twice. When nothing is left every node reachable has been handed out once.
//!
//! **Inner products** obey no triangle inequality: what has a larger product with the query than all that was found may
//! hang on a node that has a smaller one. A search by product goes on from the best of what it has seen until a number of
//! hops in a row have brought nothing: [half as many again as `ef`](MAX_PATIENCE). Where that is needed it finds what is
//! missing (20,000 × 64, lengths spread over e³, `ef` 40: recall@10 .996 for .886, and 2,675 distances for 952), and where
//! it is not it costs up to twice the distances (10,000 × 3: 423 for 264; word vectors: 933 for 504).
//!
//! **Nodes that vanish.** Others may free a node between its being scored and its neighbours being asked for; of the node
//! where a search starts that would be all that there is to go on with. The lists that led there have been repaired by
//! then and searches start elsewhere, so the search begins again.
//!
//! **Memory.** What a search remembers grows with the nodes that it sees, so room is made before each step, and a search
//! for which there is no memory ends where it is and [says so](Beam::is_starved).

use crate::storage::{Candidate, Entry, NodeId, Storage};
use crate::visited::Visited;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use vs_quantize::{Measure, Query};

/// A search under way, and the memory it reuses: no allocation once its buffers have grown to the size of the searches.
#[derive(Debug, Default)]
pub struct Beam {
    visited: Visited,
    /// Seen, not expanded.
    frontier: BinaryHeap<Reverse<Candidate>>,
    /// The nearest live nodes not yet handed out, at most `ef`.
    nearest: BinaryHeap<Candidate>,
    ef: usize,
    /// Put aside during the present run.
    rejected: Vec<Aside>,
    /// Put aside in earlier runs.
    aside: BinaryHeap<Reverse<Aside>>,
    ids: Vec<NodeId>,
    neighbours: Vec<NodeId>,
    scored: Vec<Candidate>,
    starts: Vec<Candidate>,
    hops: usize,
    distances: usize,
    /// How many hops in a row must bring nothing into the `ef` nearest before a run ends; 0 where keys are distances.
    patience: usize,
    /// The hop that brought something last.
    improved: usize,
    /// The key that a run ends at.
    until: Option<f32>,
    /// Whether a node on the way has vanished since the layer was entered.
    lost: bool,
    starved: bool,
}

/// The most hops without a find that a search by product waits for, however large its `ef`.
const MAX_PATIENCE: usize = 96;

/// How often a search is tried while nodes vanish on its way. A node vanishes only after every list that named it has been
/// repaired, so a search begun again meets none of those that made it begin again: each further turn needs another round
/// of removals, a vacuum of the whole index, within the milliseconds of one search. The limit is for storages that break that
/// promise, which would keep a search busy for ever.
const ATTEMPTS: usize = 8;

/// A candidate that was too far for the `ef` nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Aside {
    candidate: Candidate,
    /// Whether it has been in the frontier already.
    queued: bool,
}

impl Beam {
    /// Finds the `ef` nodes nearest to `query` on layer 0: descends from the storage's entry point, then searches.
    pub fn search<S: Storage>(&mut self, storage: &mut S, query: &Query, ef: usize) -> Result<(), S::Error> {
        self.starved = false;
        let mut starts = std::mem::take(&mut self.starts);
        let mut searched = Ok(());
        for _ in 0..ATTEMPTS {
            self.reset();
            let entry = match storage.entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(error) => {
                    searched = Err(error);
                    break;
                }
            };
            let descended = self.descend(storage, query, entry, 0, &mut starts);
            let patience = if query.measure() == Measure::Product { (ef + ef / 2).min(MAX_PATIENCE) } else { 0 };
            searched = descended.and_then(|()| self.run_layer(storage, query, 0, &starts, ef, patience));
            // The entry point may have been freed between its being read and scored, any node after it was scored.
            if searched.is_err() || !(starts.is_empty() || self.lost) {
                break;
            }
        }
        self.starts = starts;
        searched
    }

    /// As [`search`](Self::search), but ends where it comes upon a live node with a key of at most `key`.
    pub(crate) fn search_until<S: Storage>(
        &mut self,
        storage: &mut S,
        query: &Query,
        ef: usize,
        key: f32,
    ) -> Result<(), S::Error> {
        self.until = Some(key);
        let searched = self.search(storage, query, ef);
        self.until = None;
        searched
    }

    /// Goes from `entry` down to the layer above `level`, always to the nearest node, and leaves where to start on
    /// `level` in `starts`: there, and at the entry point.
    pub(crate) fn descend<S: Storage>(
        &mut self,
        storage: &mut S,
        query: &Query,
        entry: Entry,
        level: u8,
        starts: &mut Vec<Candidate>,
    ) -> Result<(), S::Error> {
        starts.clear();
        storage.score(query, &[entry.id], starts)?;
        let first = starts.first().copied();
        for above in (level.saturating_add(1)..=entry.level).rev() {
            self.search_layer(storage, query, above, starts, 1)?;
            if let Some(&nearest) = self.nearest.peek() {
                starts.clear();
                starts.push(nearest);
            }
        }
        // What can be reached on layer 0 is said of the entry point (`Reach`), so a search that goes on and on must come
        // to it, too.
        starts.extend(first.filter(|first| starts.iter().all(|start| start.id != first.id)));
        Ok(())
    }

    /// Finds the `ef` nodes nearest to `query` on layer `level`, starting from nodes already scored.
    pub(crate) fn search_layer<S: Storage>(
        &mut self,
        storage: &mut S,
        query: &Query,
        level: u8,
        starts: &[Candidate],
        ef: usize,
    ) -> Result<(), S::Error> {
        self.run_layer(storage, query, level, starts, ef, 0)
    }

    fn run_layer<S: Storage>(
        &mut self,
        storage: &mut S,
        query: &Query,
        level: u8,
        starts: &[Candidate],
        ef: usize,
        patience: usize,
    ) -> Result<(), S::Error> {
        self.reset();
        self.ef = ef.max(1);
        self.patience = patience;
        for &start in starts {
            if self.visited.insert(start.id) {
                self.offer(start);
            }
        }
        if self.ends_with(starts) {
            return Ok(());
        }
        self.run(storage, query, level)
    }

    /// After [`search`](Self::search) and [`take`](Self::take): finds the next `more` nearest on layer 0.
    pub fn widen<S: Storage>(&mut self, storage: &mut S, query: &Query, more: usize) -> Result<(), S::Error> {
        self.ef = more.max(1);
        if self.aside.try_reserve(self.rejected.len()).is_err() {
            self.starved = true;
            return Ok(());
        }
        self.aside.extend(self.rejected.drain(..).map(Reverse));
        while self.nearest.len() < self.ef && self.make_room(1) {
            let Some(Reverse(next)) = self.aside.pop() else { break };
            if !next.queued {
                self.frontier.push(Reverse(next.candidate));
            }
            if next.candidate.live {
                self.nearest.push(next.candidate);
            }
        }
        self.run(storage, query, 0)
    }

    /// Moves the nodes found and not yet handed out to `out`, nearest first.
    pub fn take(&mut self, out: &mut Vec<Candidate>) {
        out.clear();
        if out.try_reserve(self.nearest.len()).is_err() {
            self.starved = true;
            return;
        }
        out.extend(self.nearest.drain());
        out.sort_unstable();
    }

    /// Whether there is nothing left to find: no node was seen that is not either handed out or waiting in
    /// [`take`](Self::take).
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.frontier.is_empty() && self.rejected.is_empty() && self.aside.is_empty()
    }

    /// Whether there was no memory to go on since the last [`search`](Self::search): nodes that should have been found may
    /// be missing.
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    /// Nodes expanded since the layer was entered.
    #[must_use]
    pub fn hops(&self) -> usize {
        self.hops
    }

    /// Distances computed since the layer was entered.
    #[must_use]
    pub fn distances(&self) -> usize {
        self.distances
    }

    fn reset(&mut self) {
        self.visited.clear();
        self.frontier.clear();
        self.nearest.clear();
        self.rejected.clear();
        self.aside.clear();
        self.hops = 0;
        self.distances = 0;
        self.improved = 0;
        self.lost = false;
    }

    fn run<S: Storage>(&mut self, storage: &mut S, query: &Query, level: u8) -> Result<(), S::Error> {
        while let Some(&Reverse(next)) = self.frontier.peek() {
            let passed = self.nearest.len() >= self.ef && self.nearest.peek().is_some_and(|farthest| next > *farthest);
            if passed && self.hops >= self.improved + self.patience {
                break;
            }
            self.frontier.pop();
            self.hops += 1;
            if let Some(Reverse(second)) = self.frontier.peek() {
                storage.expect(second.id, level);
            }
            self.neighbours.clear();
            self.lost |= !storage.neighbours(next.id, level, &mut self.neighbours)?;
            if !self.make_room(self.neighbours.len()) {
                break;
            }
            self.ids.clear();
            for &id in &self.neighbours {
                if self.visited.insert(id) {
                    self.ids.push(id);
                }
            }
            self.scored.clear();
            storage.score(query, &self.ids, &mut self.scored)?;
            self.distances += self.scored.len();
            for at in 0..self.scored.len() {
                self.offer(self.scored[at]);
            }
            if self.ends_with(&self.scored) {
                break;
            }
        }
        Ok(())
    }

    /// Whether the key that the search is to end at is among those of `scored`.
    #[inline]
    fn ends_with(&self, scored: &[Candidate]) -> bool {
        self.until.is_some_and(|key| scored.iter().any(|candidate| candidate.live && candidate.key <= key))
    }

    /// Makes room for `more` nodes that are seen now, and says whether there is memory for them.
    #[inline]
    fn make_room(&mut self, more: usize) -> bool {
        let room = self.visited.reserve(more).is_ok()
            && self.frontier.try_reserve(more).is_ok()
            && self.nearest.try_reserve(more).is_ok()
            && self.rejected.try_reserve(more).is_ok();
        self.starved |= !room;
        room
    }

    /// Takes in a node just scored.
    #[inline]
    fn offer(&mut self, candidate: Candidate) {
        if self.nearest.len() < self.ef {
            self.frontier.push(Reverse(candidate));
            if candidate.live {
                self.nearest.push(candidate);
                self.improved = self.hops;
            }
            return;
        }
        let Some(mut farthest) = self.nearest.peek_mut() else { return };
        if candidate > *farthest {
            let queued = self.patience > 0;
            self.rejected.push(Aside { candidate, queued });
            if queued {
                self.frontier.push(Reverse(candidate));
            }
            return;
        }
        self.frontier.push(Reverse(candidate));
        if candidate.live {
            let evicted = std::mem::replace(&mut *farthest, candidate);
            self.rejected.push(Aside { candidate: evicted, queued: true });
            self.improved = self.hops;
        }
    }
}
