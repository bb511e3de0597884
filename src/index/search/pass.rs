//! A pass over all codes of an index: every node that has not been handed out, nearest first.
//!
//! A search of the graph is the fast way to the first rows, not to the last. Reading the codes in the order of the file
//! costs a small and fixed sum (a million of 512 dimensions are 0.1 s), so a scan that is asked for more than the graph is
//! worth goes over to this, and thereby never ends before every row has been handed out, whatever the planner expected.
//!
//! Memory is bounded. One bit for each possible node says what has been handed out; a heap keeps the nearest of the rest,
//! at first as many as a LIMIT is likely to ask for, then twice as many with each pass, at most what `work_mem` holds. When
//! they have been handed out, the next pass finds those behind them.
//!
//! Nodes may come and go between two passes, as between any two steps of a search: whatever is put into a node or a slot
//! after the scan's snapshot was taken is invisible to it. A node's bound may become *smaller* when a row joins it whose
//! code is less exact. It is what has been handed out that is remembered, not up to which bound, so that no node is lost
//! by that.

use crate::error::{SqlResult, out_of_memory};
use crate::index::pages::{Maps, Nodes, Place};
use crate::index::plan::options;
use crate::storage::{Block, Kind, Sweep};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use vs_graph::{NodeId, Storage};
use vs_quantize::Query;

/// Nodes that are looked at together: enough to ask for ahead of time, few enough to be there still when it comes to them.
const AT_ONCE: usize = 64;

/// Nodes that the first pass keeps at least.
const FIRST: usize = 1024;

/// A node, the lower bound of its rows' distance, and its generation.
#[derive(Debug, Clone, Copy)]
pub struct Bounded {
    /// The lower bound, never NaN.
    pub bound: f64,
    /// The node.
    pub id: NodeId,
    /// Its generation when it was looked at.
    pub generation: u16,
}

impl Ord for Bounded {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bound.total_cmp(&other.bound).then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Bounded {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Bounded {}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

/// Which nodes have been handed out, a bit each.
#[derive(Default)]
struct Marks {
    words: Vec<u64>,
}

impl Marks {
    fn contains(&self, id: NodeId) -> bool {
        self.words.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 != 0)
    }

    fn insert(&mut self, id: NodeId) -> SqlResult<()> {
        let at = id as usize / 64;
        if at >= self.words.len() {
            self.words.try_reserve(at + 1 - self.words.len()).map_err(|_| no_memory())?;
            self.words.resize(at + 1, 0);
        }
        self.words[at] |= 1 << (id % 64);
        Ok(())
    }
}

/// Passes over the codes; reusable memory.
#[derive(Default)]
pub struct Pass {
    marks: Marks,
    /// The nearest of the present pass, the farthest on top.
    heap: BinaryHeap<Bounded>,
    /// What it left, nearest last.
    nearest: Vec<Bounded>,
    /// How many the next pass keeps.
    keep: usize,
    /// Nodes below this bound wait until there are no others.
    floor: f64,
    /// Nodes above this bound are of no use.
    cutoff: f64,
    /// The last pass kept all that there was.
    complete: bool,
    /// The pages of rows without a place in the graph that the last pass came by.
    unplaced: Vec<Block>,
    /// The last pass looked only at what may pass the filter.
    by_map: bool,
    /// The nodes that may pass the filter, if they have been collected already.
    possible: Option<Vec<NodeId>>,
}

impl Pass {
    /// Prepares for passes that leave out `handed_out`. Nodes with a bound below `floor` come after all others, those
    /// with one above `cutoff` not at all.
    pub fn start(&mut self, handed_out: &[NodeId], floor: f64, cutoff: f64) -> SqlResult<()> {
        self.marks.words.clear();
        self.heap.clear();
        self.nearest.clear();
        self.keep = FIRST.max(2 * handed_out.len());
        self.floor = floor;
        self.cutoff = cutoff;
        self.complete = false;
        self.possible = None;
        for &id in handed_out {
            self.marks.insert(id)?;
        }
        Ok(())
    }

    /// Tells which nodes may pass the filter, if that is known: nodes that come later are invisible to the scan.
    pub fn look_only_at(&mut self, possible: Option<Vec<NodeId>>) {
        self.possible = possible;
    }

    /// The nearest node that has not been handed out, if its bound is below `before`.
    pub fn next(&mut self, nodes: &mut Nodes, query: &Query, before: f64) -> SqlResult<Option<Bounded>> {
        loop {
            if let Some(&found) = self.nearest.last() {
                if found.bound >= before {
                    return Ok(None);
                }
                self.nearest.pop();
                self.marks.insert(found.id)?;
                return Ok(Some(found));
            }
            if self.complete {
                if self.floor == f64::NEG_INFINITY {
                    return Ok(None);
                }
                // What could not be put in order any more.
                self.floor = f64::NEG_INFINITY;
            }
            self.run(nodes, query)?;
        }
    }

    /// The pages of rows without a place in the graph, once there are no more nodes; `None` if passes did not come by.
    pub fn unplaced(&mut self) -> Option<Vec<Block>> {
        (!self.by_map).then(|| std::mem::take(&mut self.unplaced))
    }

    /// One pass: leaves the `keep` nearest of those not handed out in `nearest`.
    fn run(&mut self, nodes: &mut Nodes, query: &Query) -> SqlResult<()> {
        // Once in the heap and once in order.
        let keep = self.keep.min(options::work_mem() / (2 * size_of::<Bounded>())).max(FIRST);
        self.keep = keep.saturating_mul(2);
        self.complete = true;
        self.unplaced.clear();
        let most = nodes.opened.layout.ids(nodes.opened.index.blocks());
        self.heap.try_reserve(keep.min(most)).map_err(|_| no_memory())?;
        self.by_map = !nodes.signed().is_empty();
        if self.by_map {
            self.look_at_possible(nodes, query, keep)?;
        } else {
            self.look_at_all(nodes, query, keep)?;
        }
        self.nearest.try_reserve(self.heap.len()).map_err(|_| no_memory())?;
        self.nearest.extend(self.heap.drain());
        self.nearest.sort_unstable_by(|a, b| b.cmp(a));
        Ok(())
    }

    /// Takes in a node that has not been handed out.
    #[inline]
    fn offer(&mut self, found: Bounded, keep: usize) {
        if found.bound < self.floor || found.bound > self.cutoff {
            return;
        }
        if self.heap.len() < keep {
            self.heap.push(found);
        } else if let Some(mut farthest) = self.heap.peek_mut() {
            self.complete = false;
            if found < *farthest {
                *farthest = found;
            }
        }
    }

    /// Looks at the nodes that may pass the filter as the maps say.
    fn look_at_possible(&mut self, nodes: &mut Nodes, query: &Query, keep: usize) -> SqlResult<()> {
        if let Some(possible) = self.possible.take() {
            self.look_at(nodes, query, keep, &possible)?;
            self.possible = Some(possible);
            return Ok(());
        }
        let (mut maps, mut ids) = (Maps::default(), Vec::new());
        let blocks = nodes.opened.index.blocks();
        for map in (1..blocks).step_by(nodes.opened.layout.group() as usize + 1) {
            ids.clear();
            maps.read(nodes, map, &mut ids)?;
            self.look_at(nodes, query, keep, &ids)?;
        }
        Ok(())
    }

    /// Looks at `ids`, which ascend.
    fn look_at(&mut self, nodes: &mut Nodes, query: &Query, keep: usize, ids: &[NodeId]) -> SqlResult<()> {
        let remembered = std::rc::Rc::clone(&nodes.opened.remembered);
        let (mut fresh, mut scored) = (Vec::with_capacity(AT_ONCE), Vec::with_capacity(AT_ONCE));
        for some in ids.chunks(AT_ONCE) {
            pgrx::check_for_interrupts!();
            fresh.clear();
            fresh.extend(some.iter().copied().filter(|&id| !self.marks.contains(id)));
            scored.clear();
            nodes.score(query, &fresh, &mut scored)?;
            for candidate in scored.iter().filter(|candidate| candidate.live) {
                let bound = remembered.space.lower_bound(query, candidate.score());
                self.offer(Bounded { bound, id: candidate.id, generation: candidate.stamp }, keep);
            }
        }
        Ok(())
    }

    /// Looks at all nodes, in the order of the file.
    fn look_at_all(&mut self, nodes: &Nodes, query: &Query, keep: usize) -> SqlResult<()> {
        let opened = &nodes.opened;
        let (layout, space) = (opened.layout, opened.space());
        let hints = &mut *opened.remembered.hints.borrow_mut();
        let mut sweep = Sweep::new(opened.index, 1);
        loop {
            pgrx::check_for_interrupts!();
            let Some((block, shared)) = sweep.next(hints) else { break };
            let page = shared.page();
            opened.check_page(block, page)?;
            if page.kind() == Some(Kind::Unplaced) {
                self.unplaced.try_reserve(1).map_err(|_| no_memory())?;
                self.unplaced.push(block);
            }
            for at in 0..layout.slots(page) {
                let Some(node) = layout.node(page, at).filter(|node| nodes.is_wanted(node)) else { continue };
                let Some(id) = layout.id(Place { block, at }).filter(|&id| !self.marks.contains(id)) else { continue };
                let bound = space.lower_bound(query, space.score(query, node.code()));
                self.offer(Bounded { bound, id, generation: node.generation() }, keep);
            }
        }
        opened.check_unplaced(&self.unplaced)
    }
}

fn no_memory() -> crate::error::SqlError {
    out_of_memory("reading all codes of a vs_hnsw index").hint("Lower work_mem.")
}
