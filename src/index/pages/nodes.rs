//! The graph on pages, for reading: [`vs_graph::Storage`] over the buffer pool.
//!
//! A node's neighbours are scored page by page, in the order of their blocks: nodes that are near each other share
//! pages, and one visit serves all of them. Scores are computed where the codes lie, under the page's shared lock.
//!
//! A node may be freed and its slot used again between any two calls. Whoever keeps a node's number keeps its generation
//! too (as [`Candidate::stamp`]) and finds out when it comes back for the TIDs.

use super::layout::Layout;
use super::open::Opened;
use super::slots::{NodeRef, TIDS};
use super::tid::Tid;
use crate::error::{SqlError, SqlResult};
use crate::storage::{Block, Page, Whereabouts};
use vs_graph::{Candidate, Entry, NONE, NodeId, Storage};
use vs_quantize::Query;

/// Bytes of a slot that are asked for before the slot is visited. The processor fetches what follows by itself.
const AHEAD: usize = 128;

/// How often the TIDs of a node are read again because others change them.
const ATTEMPTS: usize = 100;

/// Read access to the graph of an index; reusable memory.
pub struct Nodes {
    /// The index.
    pub opened: Opened,
    order: Vec<NodeId>,
    blocks: Vec<Block>,
    ends: Vec<usize>,
    ahead: Vec<Whereabouts>,
}

impl Nodes {
    /// Access to the graph of `opened`.
    pub fn new(opened: Opened) -> Self {
        Self { opened, order: Vec::new(), blocks: Vec::new(), ends: Vec::new(), ahead: Vec::new() }
    }

    /// The index for another operation.
    pub fn reopen(&mut self, opened: Opened) {
        self.opened = opened;
    }

    /// Calls `look` for each of `ids` that is a node, page by page.
    pub fn visit(&mut self, ids: &[NodeId], mut look: impl FnMut(NodeId, NodeRef<'_>)) {
        let layout = self.opened.layout;
        self.order.clear();
        self.order.extend(ids);
        self.order.sort_unstable();
        self.blocks.clear();
        self.ends.clear();
        for (at, &id) in self.order.iter().enumerate() {
            let block = layout.place(id).block;
            if self.blocks.last() != Some(&block) {
                if at > 0 {
                    self.ends.push(at);
                }
                self.blocks.push(block);
            }
        }
        self.ends.push(self.order.len());
        let hints = &mut *self.opened.remembered.hints.borrow_mut();
        let (order, ends) = (&self.order, &self.ends);
        for &block in &self.blocks {
            hints.prefetch_descriptor(block);
        }
        self.ahead.clear();
        for &id in order {
            let place = layout.place(id);
            let slot = layout.slot_offset(place.at);
            hints.whereabouts(place.block, slot).prefetch(1);
            let code = hints.whereabouts(place.block, slot + layout.code_offset());
            code.prefetch(AHEAD);
            self.ahead.push(code);
        }
        let ahead = &self.ahead;
        let mut first = 0;
        self.opened.index.visit(hints, &self.blocks, |at, page| {
            for (k, &id) in order[first..ends[at]].iter().enumerate() {
                if let Some(next) = ahead.get(first + k + 1) {
                    next.prefetch_from(AHEAD, layout.dims());
                }
                if let Some(node) = layout.node_of(page, layout.place(id).at) {
                    look(id, node);
                }
            }
            first = ends[at];
        });
    }

    /// What `look` makes of the node `id`; `None` if there is no such node.
    pub fn look<T>(&self, id: NodeId, look: impl FnOnce(&Layout, NodeRef<'_>) -> T) -> Option<T> {
        let layout = self.opened.layout;
        let place = layout.place(id);
        let mut hints = self.opened.remembered.hints.borrow_mut();
        let lock = self.opened.index.read(&mut hints, place.block);
        layout.node_of(lock.page(), place.at).map(|node| look(&layout, node))
    }

    /// What `look` makes of the page of side entry `id` and the entry's place on it.
    pub fn look_aside<T>(&self, id: u32, look: impl FnOnce(Page<'_>, usize) -> T) -> T {
        let place = self.opened.layout.side_place(id);
        let mut hints = self.opened.remembered.hints.borrow_mut();
        let lock = self.opened.index.read(&mut hints, place.block);
        look(lock.page(), place.at)
    }

    /// The side entry with the list of node `id` on layer `level`, and the node's generation.
    pub fn upper_entry(&self, id: NodeId, level: u8) -> Option<(u32, u16)> {
        let found = self.look(id, |_, node| (node.level() >= level).then(|| (node.upper(), node.generation())));
        let (mut side, generation) = found.flatten()?;
        for layer in 1..level {
            side = self.look_side(side, id, generation, layer, |entry| entry.next())?;
        }
        (side != NONE).then_some((side, generation))
    }

    /// What `look` makes of side entry `side` if it belongs to that node and is of that kind.
    pub fn look_side<T>(
        &self,
        side: u32,
        owner: NodeId,
        generation: u16,
        kind: u8,
        look: impl FnOnce(super::slots::SideRef<'_>) -> T,
    ) -> Option<T> {
        if side == NONE {
            return None;
        }
        let layout = self.opened.layout;
        self.look_aside(side, |page, at| {
            layout.side(page, at).filter(|entry| entry.is(owner, generation, kind)).map(look)
        })
    }

    /// Collects the TIDs of node `id` into `out` if it still is of `generation`, and returns how often one had been
    /// taken out by then. `None` if the node is gone.
    pub fn tids(&self, id: NodeId, generation: u16, out: &mut Vec<Tid>) -> Option<u16> {
        for _ in 0..ATTEMPTS {
            out.clear();
            let found = self.look(id, |_, node| {
                out.extend(node.tids());
                (node.generation(), node.removals(), node.overflow())
            });
            let (found, removals, mut side) = found?;
            let chained = side != NONE;
            if found != generation {
                return None;
            }
            // Each entry is read under a lock of its own. One that was unlinked meanwhile and used again belongs to
            // another node or says so: then from the start.
            let mut whole = true;
            while side != NONE {
                let next = self.look_side(side, id, generation, TIDS, |entry| {
                    out.extend(entry.tids());
                    entry.next()
                });
                match next {
                    Some(next) => side = next,
                    None => {
                        whole = false;
                        break;
                    }
                }
            }
            // An entry that was unlinked and used again for another row of the same node, before all others, looks like
            // one of the walk; then rows have been taken out meanwhile.
            let again = |_: &Layout, node: NodeRef<'_>| (node.generation(), node.removals());
            if whole && (!chained || self.look(id, again) == Some((generation, removals))) {
                return Some(removals);
            }
        }
        out.clear();
        None
    }
}

impl Storage for Nodes {
    type Error = SqlError;

    fn entry(&mut self) -> SqlResult<Option<Entry>> {
        self.opened.meta = self.opened.read_meta()?;
        Ok(self.opened.meta.entry)
    }

    #[inline]
    fn score(&mut self, query: &Query, ids: &[NodeId], out: &mut Vec<Candidate>) -> SqlResult<()> {
        let remembered = std::rc::Rc::clone(&self.opened.remembered);
        self.visit(ids, |id, node| {
            let score = remembered.space.score(query, node.code());
            out.push(Candidate { live: node.live(), stamp: node.generation(), ..Candidate::new(id, score) });
        });
        Ok(())
    }

    fn neighbours(&mut self, id: NodeId, level: u8, out: &mut Vec<NodeId>) -> SqlResult<bool> {
        pgrx::check_for_interrupts!();
        if level == 0 {
            return Ok(self.look(id, |_, node| out.extend(node.list())).is_some());
        }
        let Some((side, generation)) = self.upper_entry(id, level) else { return Ok(false) };
        Ok(self.look_side(side, id, generation, level, |entry| out.extend(entry.list())).is_some())
    }
}
