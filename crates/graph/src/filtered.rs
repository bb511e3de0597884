//! Searching for the nearest of the nodes that pass a filter.
//!
//! A search that walks through nodes that fail as through any others visits 1/share nodes for each that it finds. Here the
//! storage says of a list's members which may pass **without a visit** ([`Storage::expand`]), and the search goes from one
//! node that may pass to the next:
//!
//! * **Two hops** (Patel et al., *ACORN*, SIGMOD 2024). Where a list names few nodes that may pass, the lists of those that
//!   fail are read, too, until there are enough ([`WANTED`]); only what may pass is scored.
//! * **Starts.** Nodes that pass may all lie elsewhere than the query. So the search starts not only where the descent
//!   ends, but also at the nearest of a sample of them.
//! * **Bridges.** Among few nodes that pass the way may end at those that fail. These wait, each with the key of the node
//!   that led there, and are read when there is nothing else to go on with: until enough has been found, and then for as
//!   long as it helps ([`PATIENCE`]).
//!
//! What a storage says of signatures may be wrong for nodes that fail, never for nodes that pass but in a race.

use crate::storage::{Candidate, Entry, NodeId, Storage};
use crate::visited::Visited;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use vs_quantize::Query;

/// So many nodes that may pass are enough for a step.
const WANTED: usize = 16;

/// Lists read together.
const BATCH: usize = 8;

/// Lists of failing nodes that are read in vain before a search with enough nodes ends.
const PATIENCE: usize = 256;

/// Of a sample of nodes that may pass, so many are where the search starts.
const STARTS: usize = 8;

/// How often a search is tried while nodes vanish on its way.
const ATTEMPTS: usize = 8;

/// A search under way, and the memory it reuses. To be used as a [`Beam`](crate::Beam) is.
#[derive(Debug, Default)]
pub struct FilteredBeam {
    visited: Visited,
    /// Seen and scored, not expanded.
    frontier: BinaryHeap<Reverse<Candidate>>,
    /// The nearest nodes that pass and were not handed out, at most `ef`.
    nearest: BinaryHeap<Candidate>,
    ef: usize,
    /// Scored, too far for the nearest: whether it has been in the frontier.
    aside: BinaryHeap<Reverse<(Candidate, bool)>>,
    /// Nodes that fail, with the keys of those that led there.
    bridges: BinaryHeap<Reverse<Candidate>>,
    /// Whether bridges are read although enough has been found.
    thorough: bool,
    /// Visits after which the search stops.
    limit: usize,
    ids: Vec<NodeId>,
    /// Nodes whose lists are read next.
    lists: Vec<NodeId>,
    may: Vec<NodeId>,
    failing: Vec<NodeId>,
    /// Members of the lists read that fail and were not seen before.
    fails: Vec<NodeId>,
    scored: Vec<Candidate>,
    visits: usize,
    lost: bool,
    starved: bool,
    cut: bool,
}

impl FilteredBeam {
    /// Finds the `ef` nodes nearest to `query` that pass. `sample` are nodes that may pass, from anywhere; `thorough` says
    /// that bridges are worth it, as they are where few pass. After `limit` visits it stops with what it has.
    pub fn search<S: Storage>(
        &mut self,
        storage: &mut S,
        query: &Query,
        ef: usize,
        sample: &[NodeId],
        thorough: bool,
        limit: usize,
    ) -> Result<(), S::Error> {
        self.starved = false;
        for _ in 0..ATTEMPTS {
            self.reset();
            (self.ef, self.thorough, self.limit) = (ef.max(1), thorough, limit);
            let Some(entry) = storage.entry()? else { break };
            self.start(storage, query, entry, sample)?;
            let started = !self.frontier.is_empty();
            self.run(storage, query)?;
            if started && !self.lost {
                break;
            }
        }
        Ok(())
    }

    /// After [`search`](Self::search) and [`take`](Self::take): finds the next `more` nearest, in at most `limit` visits
    /// since the beginning.
    pub fn widen<S: Storage>(
        &mut self,
        storage: &mut S,
        query: &Query,
        more: usize,
        limit: usize,
    ) -> Result<(), S::Error> {
        (self.ef, self.limit) = (more.max(1), limit);
        while self.nearest.len() < self.ef && self.make_room(1) {
            let Some(Reverse((candidate, queued))) = self.aside.pop() else { break };
            if !queued {
                self.frontier.push(Reverse(candidate));
            }
            if candidate.live {
                self.nearest.push(candidate);
            }
        }
        self.run(storage, query)
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

    /// Whether there is nothing left that leads on. There may be nodes that no way of this kind leads to.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.frontier.is_empty() && self.aside.is_empty() && self.bridges.is_empty()
    }

    /// Whether there was no memory to go on since the last [`search`](Self::search).
    #[must_use]
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    /// Whether the last run ended because of its limit.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        self.cut
    }

    /// Nodes that the search remembers.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.visited.len()
    }

    /// Nodes scored and lists read since the search began.
    #[must_use]
    pub fn visits(&self) -> usize {
        self.visits
    }

    fn reset(&mut self) {
        self.visited.clear();
        self.frontier.clear();
        self.nearest.clear();
        self.aside.clear();
        self.bridges.clear();
        self.visits = 0;
        self.lost = false;
        self.cut = false;
    }

    /// Descends to layer 0 regardless of the filter, and begins there and at the nearest of the sample.
    fn start<S: Storage>(
        &mut self,
        storage: &mut S,
        query: &Query,
        entry: Entry,
        sample: &[NodeId],
    ) -> Result<(), S::Error> {
        self.scored.clear();
        storage.score(query, &[entry.id], &mut self.scored)?;
        let Some(mut here) = self.scored.first().copied() else { return Ok(()) };
        for level in (1..=entry.level).rev() {
            loop {
                self.ids.clear();
                self.lost |= !storage.neighbours(here.id, level, &mut self.ids)?;
                self.scored.clear();
                storage.score(query, &self.ids, &mut self.scored)?;
                self.visits += 1 + self.scored.len();
                match self.scored.iter().min() {
                    Some(&nearest) if nearest < here => here = nearest,
                    _ => break,
                }
            }
        }
        self.scored.clear();
        storage.score(query, sample, &mut self.scored)?;
        self.visits += self.scored.len();
        self.scored.sort_unstable();
        if !self.make_room(STARTS + 1) {
            return Ok(());
        }
        self.visited.insert(here.id);
        self.offer(here);
        for at in 0..self.scored.len().min(STARTS) {
            let start = self.scored[at];
            if self.visited.insert(start.id) {
                self.offer(start);
            }
        }
        Ok(())
    }

    fn run<S: Storage>(&mut self, storage: &mut S, query: &Query) -> Result<(), S::Error> {
        let mut patience = if self.thorough { PATIENCE } else { 0 };
        self.cut = false;
        while !self.starved {
            if self.visits >= self.limit {
                self.cut = true;
                break;
            }
            self.ids.clear();
            let full = self.nearest.len() >= self.ef;
            let farthest = self.nearest.peek().copied().filter(|_| full);
            let is_near = |candidate: &Candidate| farthest.is_none_or(|farthest| *candidate <= farthest);
            let by_bridge = !self.frontier.peek().is_some_and(|next| is_near(&next.0));
            if by_bridge {
                if full && patience == 0 {
                    break;
                }
                let Some(&Reverse(Candidate { key, .. })) = self.bridges.peek() else { break };
                self.lists.clear();
                while self.lists.len() < BATCH
                    && let Some(Reverse(next)) = self.bridges.peek()
                    && is_near(next)
                {
                    self.lists.push(next.id);
                    self.bridges.pop();
                }
                if self.lists.is_empty() {
                    break;
                }
                patience = patience.saturating_sub(self.lists.len());
                self.read(storage)?;
                self.bridge_from(key);
            } else if let Some(Reverse(next)) = self.frontier.pop() {
                self.lists.clear();
                self.lists.push(next.id);
                self.lost |= !self.read(storage)?;
                self.second_hop(storage, next.key)?;
            }
            self.scored.clear();
            storage.score(query, &self.ids, &mut self.scored)?;
            self.visits += self.scored.len();
            let mut helped = false;
            for at in 0..self.scored.len() {
                helped |= self.offer(self.scored[at]);
            }
            if by_bridge && helped && self.thorough {
                patience = PATIENCE;
            }
        }
        Ok(())
    }

    /// Reads the lists of the failing nodes in `fails` until there are enough nodes to score; those not read are bridges.
    fn second_hop<S: Storage>(&mut self, storage: &mut S, leader: f32) -> Result<(), S::Error> {
        let mut first = std::mem::take(&mut self.fails);
        for some in first.chunks(BATCH) {
            if self.ids.len() >= WANTED {
                self.fails.extend(some);
                self.bridge_from(leader);
                continue;
            }
            self.lists.clear();
            self.lists.extend(some);
            self.read(storage)?;
            if self.thorough {
                self.bridge_from(leader);
            } else {
                self.fails.clear();
            }
        }
        first.clear();
        self.fails = first;
        Ok(())
    }

    /// Reads `lists`. Members not seen before go to `ids` if they may pass, and else to `fails`. Says whether all lists were
    /// there.
    fn read<S: Storage>(&mut self, storage: &mut S) -> Result<bool, S::Error> {
        self.may.clear();
        self.failing.clear();
        let there = storage.expand(&self.lists, &mut self.may, &mut self.failing)?;
        self.visits += self.lists.len();
        let more = self.may.len() + self.failing.len();
        if !self.make_room(more) {
            return Ok(true);
        }
        for &id in &self.may {
            if self.visited.insert(id) {
                self.ids.push(id);
            }
        }
        for &id in &self.failing {
            if self.visited.insert(id) {
                self.fails.push(id);
            }
        }
        Ok(there)
    }

    /// Keeps `fails` as bridges that a node with the key `leader` led to.
    fn bridge_from(&mut self, leader: f32) {
        let bridge = |&id: &NodeId| Reverse(Candidate { key: leader, slack: 0.0, id, live: false, stamp: 0 });
        self.bridges.extend(self.fails.iter().map(bridge));
        self.fails.clear();
    }

    /// Makes room for `more` nodes that are seen now, and says whether there is memory for them.
    fn make_room(&mut self, more: usize) -> bool {
        let room = self.visited.reserve(more).is_ok()
            && self.ids.try_reserve(more).is_ok()
            && self.fails.try_reserve(more).is_ok()
            && self.bridges.try_reserve(more).is_ok()
            && self.frontier.try_reserve(more).is_ok()
            && self.nearest.try_reserve(more).is_ok()
            && self.aside.try_reserve(more).is_ok();
        self.starved |= !room;
        room
    }

    /// Takes in a node just scored, and says whether it is among the nearest.
    fn offer(&mut self, candidate: Candidate) -> bool {
        if self.nearest.len() < self.ef {
            self.frontier.push(Reverse(candidate));
            if candidate.live {
                self.nearest.push(candidate);
            }
            return candidate.live;
        }
        let Some(mut farthest) = self.nearest.peek_mut() else { return false };
        if candidate > *farthest {
            self.aside.push(Reverse((candidate, false)));
            return false;
        }
        self.frontier.push(Reverse(candidate));
        if candidate.live {
            let evicted = std::mem::replace(&mut *farthest, candidate);
            self.aside.push(Reverse((evicted, true)));
        }
        candidate.live
    }
}
