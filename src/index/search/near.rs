//! The near stage of a scan: what a search of the graph finds, in the order of lower bounds.
//!
//! A beam of `ef_search` candidates is searched for, and widened as long as more rows are wanted. Candidates wait here
//! until their turn comes: a candidate found later has a larger *key* than all found before, but not necessarily a larger
//! *bound*, so in strict order nothing above the bound of the farthest candidate (the [horizon](Near::rank)) is handed out
//! until the beam has been widened.

use super::matching::Way;
use crate::error::{SqlResult, out_of_memory};
use crate::index::pages::Nodes;
use vs_graph::{Beam, Candidate, FilteredBeam, NodeId};
use vs_quantize::{Query, Score};

/// A search visits nodes all over the index, a pass reads them one after the other, some times as fast. When a search has
/// computed a distance to one in so many nodes, the rest comes cheaper by a pass.
pub const PASS_PAYS: usize = 4;

/// By how many candidates a beam is widened at least.
const LEAST: usize = 8;

/// Bytes for each node seen: in the set of those seen, at most half full, and in the frontier or put aside.
const REMEMBERED: usize = 48;

/// A search under way; reusable memory.
#[derive(Default)]
pub struct Near {
    beam: Beam,
    /// The search in the place of `beam`, if the index filters.
    filtered: FilteredBeam,
    way: Option<Way>,
    found: Vec<Candidate>,
    /// Found and sorted by bound; those before `next` have been handed out or left out.
    bounds: Vec<(f64, Candidate)>,
    next: usize,
    /// Nothing that is still to be found is likely to have a bound below this.
    horizon: f64,
    /// The largest bound handed out.
    last: f64,
    /// What has been left out because its turn had passed.
    late: Vec<(f64, Candidate)>,
    /// Whether that has been brought back.
    brought_back: bool,
    /// The nodes handed out, for whoever goes on from here.
    handed_out: Vec<NodeId>,
}

/// What comes next.
pub enum Step {
    /// A node, and the lower bound of its rows' distance.
    Node(f64, Candidate),
    /// None that comes before the bound that was asked for.
    Later,
    /// The beam must be widened first.
    Wanting,
}

impl Near {
    /// Searches for `query` with `ef` candidates, among what passes the filter if there is a `way` to do so.
    pub fn start(&mut self, nodes: &mut Nodes, query: &Query, ef: usize, way: Option<Way>) -> SqlResult<()> {
        self.bounds.clear();
        self.handed_out.clear();
        self.late.clear();
        self.brought_back = false;
        self.next = 0;
        self.last = f64::NEG_INFINITY;
        match &way {
            Some(way) => {
                let ef = ef.saturating_mul(way.wider);
                self.filtered.search(nodes, query, ef, &way.sample, way.thorough, way.limit)?;
            }
            None => self.beam.search(nodes, query, ef)?,
        }
        self.way = way;
        self.rank(nodes, query)
    }

    /// Searches for more, the more at a time the more have been found, so that it does not come to this often.
    pub fn widen(&mut self, nodes: &mut Nodes, query: &Query, ef: usize) -> SqlResult<()> {
        let found = self.handed_out.len() + self.held_back();
        let more = (ef.max(found) / 2).max(LEAST);
        match &self.way {
            Some(way) => self.filtered.widen(nodes, query, more, way.limit)?,
            None => self.beam.widen(nodes, query, more)?,
        }
        self.rank(nodes, query)
    }

    /// The next node with a bound below `before`. In strict order one whose turn has passed is left out, and what lies beyond the horizon waits
    /// unless `final_round` says that nothing more will be searched for.
    pub fn step(&mut self, strict: bool, final_round: bool, before: f64) -> SqlResult<Step> {
        let horizon = if strict && !final_round { self.horizon } else { f64::INFINITY };
        while let Some(&(bound, candidate)) = self.bounds.get(self.next) {
            if bound.min(horizon) >= before {
                self.last = self.last.max(before);
                return Ok(Step::Later);
            }
            if bound > horizon {
                break;
            }
            self.next += 1;
            if strict && bound < self.last && !self.brought_back {
                if self.late.try_reserve(1).is_err() {
                    return Err(no_memory());
                }
                self.late.push((bound, candidate));
                continue;
            }
            if self.handed_out.try_reserve(1).is_err() {
                return Err(no_memory());
            }
            self.handed_out.push(candidate.id);
            self.last = self.last.max(bound);
            return Ok(Step::Node(bound, candidate));
        }
        if before <= horizon && before < f64::INFINITY {
            self.last = self.last.max(before);
            return Ok(Step::Later);
        }
        Ok(Step::Wanting)
    }

    /// Whether the next node that waits has a bound of at most `cutoff`.
    pub fn waits_within(&self, cutoff: f64) -> bool {
        self.bounds.get(self.next).is_some_and(|&(bound, _)| bound <= cutoff)
    }

    /// Whether it is the turn of rows at the distance `at`, where no candidate waits that comes before them. In strict order
    /// what is found later may.
    pub fn is_turn_of(&mut self, at: f64, strict: bool) -> bool {
        let it_is = !strict || at <= self.horizon;
        if it_is {
            self.last = self.last.max(at);
        }
        it_is
    }

    /// Whether nothing that is still to be found is likely to have a bound of at most `cutoff`. The search is to have seen as
    /// many candidates beyond it as within it: the last ones of a beam are the least certain.
    pub fn is_past(&self, cutoff: f64) -> bool {
        self.horizon > cutoff && self.held_back() >= self.handed_out.len().max(1)
    }

    /// Makes what has been left out come next, and says whether there is any: for a scan that ends here, without a pass
    /// that would find it.
    pub fn bring_back(&mut self) -> SqlResult<bool> {
        if self.late.is_empty() {
            return Ok(false);
        }
        self.bounds.drain(..self.next.min(self.bounds.len()));
        self.next = 0;
        self.bounds.try_reserve(self.late.len()).map_err(|_| no_memory())?;
        self.late.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        self.bounds.splice(0..0, self.late.drain(..));
        self.brought_back = true;
        Ok(true)
    }

    /// The largest bound handed out.
    pub fn last(&self) -> f64 {
        self.last
    }

    /// The nodes handed out so far, in no order of use.
    pub fn handed_out(&self) -> &[NodeId] {
        &self.handed_out
    }

    /// Bytes that the search remembers, about.
    pub fn memory(&self) -> usize {
        let seen = if self.way.is_some() { self.filtered.seen() } else { self.beam.distances() };
        seen * REMEMBERED
    }

    /// Whether the search is not worth going on with: it has seen all that it can reach, or looked at so many nodes that
    /// a pass over `all` would be the quicker way from here.
    pub fn is_done(&self, all: usize) -> bool {
        match &self.way {
            Some(way) => self.filtered.is_exhausted() || self.filtered.visits() >= way.limit,
            None => self.beam.is_exhausted() || self.beam.distances() >= all / PASS_PAYS,
        }
    }

    /// Candidates that have been found and not handed out.
    fn held_back(&self) -> usize {
        self.bounds.len() - self.next.min(self.bounds.len())
    }

    /// Puts what the beam has found, with what was found before and still waits, into the order of its bounds.
    ///
    /// From the farthest candidate follows the horizon. Of two hundred rows that differ by less than the codes can tell,
    /// all are found before the first is handed out.
    fn rank(&mut self, nodes: &Nodes, query: &Query) -> SqlResult<()> {
        let starved = if self.way.is_some() {
            self.filtered.take(&mut self.found);
            self.filtered.is_starved()
        } else {
            self.beam.take(&mut self.found);
            self.beam.is_starved()
        };
        let space = nodes.opened.space();
        self.bounds.drain(..self.next.min(self.bounds.len()));
        self.next = 0;
        if starved || self.bounds.try_reserve(self.found.len()).is_err() {
            return Err(no_memory());
        }
        self.bounds.extend(self.found.iter().map(|c| (space.lower_bound(query, c.score()), *c)));
        self.bounds.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let slack = self.found.iter().fold(0.0f32, |most, candidate| most.max(candidate.slack));
        self.horizon = match self.found.last() {
            Some(farthest) => space.lower_bound(query, Score { key: farthest.key, slack }),
            None => f64::INFINITY,
        };
        if self.way.is_some() && self.filtered.is_cut_short() {
            // Anything may be still to be found: the pass that follows begins at once.
            self.horizon = f64::NEG_INFINITY;
        }
        Ok(())
    }
}

fn no_memory() -> crate::error::SqlError {
    out_of_memory("searching a vs_hnsw index").hint("Lower vs_hnsw.max_scan_tuples.")
}
