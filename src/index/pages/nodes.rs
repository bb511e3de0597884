//! The graph on pages, for reading: [`vs_graph::Storage`] over the buffer pool.
//!
//! A node's neighbours are scored page by page, in the order of their blocks: nodes that are near each other share
//! pages, and one visit serves all of them. Scores are computed where the codes lie, under the page's shared lock.
//!
//! A node may be freed and its slot used again between any two calls. Whoever keeps a node's number keeps its generation
//! too (as [`Candidate::stamp`]) and finds out when it comes back for the TIDs.
//!
//! **What a page says is not believed.** Every number read from a page is compared with what there can be before it is used
//! as the number of a block or as a length, and what cannot be is an error that names the index ([`Opened::damaged`]). This costs
//! the hot path one comparison for each list: the others are made where something was not as expected.

use super::lap::Lap;
use super::layout::Layout;
use super::open::Opened;
use super::slots::{NodeRef, SideRef, TIDS};
use super::tid::Tid;
use crate::error::{SqlError, SqlResult, out_of_memory};
use crate::storage::{Block, TableLength, Whereabouts};
use vs_filter::{Filter, Signed};
use vs_graph::{Candidate, Entry, NONE, NodeId, Storage};
use vs_quantize::Query;

/// Bytes of a slot that are asked for before the slot is visited. The processor fetches what follows by itself.
const AHEAD: usize = 128;

/// Read access to the graph of an index; reusable memory.
pub struct Nodes {
    /// The index.
    pub opened: Opened,
    /// What nodes must meet to be found.
    filter: Filter,
    /// What their signatures are like.
    signed: Signed,
    /// The table, for whoever is going to fetch rows from it.
    pub table: Option<TableLength>,
    order: Vec<NodeId>,
    blocks: Vec<Block>,
    ends: Vec<usize>,
    ahead: Vec<Whereabouts>,
}

impl Nodes {
    /// Access to the graph of `opened`.
    pub fn new(opened: Opened) -> Self {
        Self {
            opened,
            filter: Filter::default(),
            signed: Signed::default(),
            table: None,
            order: Vec::new(),
            blocks: Vec::new(),
            ends: Vec::new(),
            ahead: Vec::new(),
        }
    }

    /// The index for another operation.
    pub fn reopen(&mut self, opened: Opened) {
        self.opened = opened;
        self.table = None;
    }

    /// From now on finds only nodes that pass `filter`.
    pub fn set_filter(&mut self, filter: &Filter) {
        self.signed = Signed::new(filter, &self.opened.coarse);
        self.filter.clone_from(filter);
    }

    /// Whether there is a filter.
    pub fn filters(&self) -> bool {
        !self.filter.is_empty()
    }

    /// What the signatures of nodes that pass are like; nothing is said if signatures cannot tell.
    pub fn signed(&self) -> &Signed {
        &self.signed
    }

    /// Whether a node stands for rows that may be wanted: it has rows, and its keys pass the filter.
    #[inline]
    pub fn is_wanted(&self, node: &NodeRef<'_>) -> bool {
        is_wanted(&self.filter, node)
    }

    /// Calls `look` for each of `ids` that is a node, page by page.
    ///
    /// # Errors
    /// If the index is damaged: one of `ids` is where no node can ever have been.
    pub fn with_nodes(&mut self, ids: &[NodeId], look: impl FnMut(NodeId, NodeRef<'_>)) -> SqlResult<()> {
        let layout = self.opened.layout;
        self.visit(ids, layout.keys_offset(), layout.body_size(), look)
    }

    /// As [`with_nodes`](Self::with_nodes), of whose slots the `len` bytes from `from` on will be looked at most.
    #[inline]
    fn visit(
        &mut self,
        ids: &[NodeId],
        from: usize,
        len: usize,
        mut look: impl FnMut(NodeId, NodeRef<'_>),
    ) -> SqlResult<()> {
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
        // In ascending order, so if the last page exists, all do.
        if let (Some(&last), Some(&id)) = (self.blocks.last(), self.order.last())
            && !self.opened.has(last)
        {
            return Err(self.no_such_node(id));
        }
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
            let code = hints.whereabouts(place.block, slot + from);
            code.prefetch(AHEAD);
            self.ahead.push(code);
        }
        let ahead = &self.ahead;
        let mut first = 0;
        let mut impossible = None;
        self.opened.index.visit(hints, &self.blocks, |at, page| {
            for (k, &id) in order[first..ends[at]].iter().enumerate() {
                if let Some(next) = ahead.get(first + k + 1) {
                    next.prefetch_from(AHEAD, len);
                }
                let slot = layout.place(id).at;
                match layout.node_of(page, slot) {
                    Some(node) => look(id, node),
                    None if layout.is_vacant(page, slot) => {}
                    None => impossible = Some(id),
                }
            }
            first = ends[at];
        });
        impossible.map_or(Ok(()), |id| Err(self.no_such_node(id)))
    }

    /// What `look` makes of the node `id`; `None` if it has been freed.
    ///
    /// # Errors
    /// As for [`with_nodes`](Self::with_nodes).
    pub fn with_node<T>(&self, id: NodeId, look: impl FnOnce(&Layout, NodeRef<'_>) -> T) -> SqlResult<Option<T>> {
        let layout = self.opened.layout;
        let place = layout.place(id);
        if !self.opened.has(place.block) {
            return Err(self.no_such_node(id));
        }
        let vacant = {
            let mut hints = self.opened.remembered.hints.borrow_mut();
            let lock = self.opened.index.read(&mut hints, place.block);
            if let Some(node) = layout.node_of(lock.page(), place.at) {
                return Ok(Some(look(&layout, node)));
            }
            layout.is_vacant(lock.page(), place.at)
        };
        if vacant { Ok(None) } else { Err(self.no_such_node(id)) }
    }

    /// What `look` makes of side entry `side` if it belongs to that node and is of that kind.
    ///
    /// # Errors
    /// If the file ends before the page that it should be on.
    pub fn with_side<T>(
        &self,
        side: u32,
        owner: NodeId,
        generation: u16,
        kind: u8,
        look: impl FnOnce(SideRef<'_>) -> T,
    ) -> SqlResult<Option<T>> {
        if side == NONE {
            return Ok(None);
        }
        let layout = self.opened.layout;
        let place = layout.side_place(side);
        if !self.opened.has(place.block) {
            return Err(self.opened.damaged(&format!("node {owner} names side entry {side}, which is past the end")));
        }
        let mut hints = self.opened.remembered.hints.borrow_mut();
        let lock = self.opened.index.read(&mut hints, place.block);
        let entry = layout.side(lock.page(), place.at);
        Ok(entry.filter(|entry| entry.is(owner, generation, kind)).map(look))
    }

    /// The side entry with the list of node `id` on layer `level`, and the node's generation. `None` if the node is not on
    /// that layer, or not any more.
    pub fn upper_entry(&self, id: NodeId, level: u8) -> SqlResult<Option<(u32, u16)>> {
        let read = |_: &Layout, node: NodeRef<'_>| (node.level() >= level).then(|| (node.upper(), node.generation()));
        let Some((mut side, generation)) = self.with_node(id, read)?.flatten() else { return Ok(None) };
        for layer in 1..level {
            match self.with_side(side, id, generation, layer, |entry| entry.next())? {
                Some(next) => side = next,
                None => return self.upper_is_gone(id, generation, layer),
            }
        }
        if side == NONE {
            return self.upper_is_gone(id, generation, level);
        }
        Ok(Some((side, generation)))
    }

    /// `None` for a list that was not where its node said. It went with the node, or before it if the node is dead; a node
    /// that still is there and alive has lost it.
    fn upper_is_gone<T>(&self, id: NodeId, generation: u16, level: u8) -> SqlResult<Option<T>> {
        let alive = |_: &Layout, node: NodeRef<'_>| node.live() && node.generation() == generation;
        if self.with_node(id, alive)? == Some(true) {
            return Err(self.opened.damaged(&format!("the list of node {id} on layer {level} is not there")));
        }
        Ok(None)
    }

    /// Collects the TIDs of node `id` into `out` if it still is of `generation`, and returns how often one had been
    /// taken out by then. `None` if the node is gone.
    ///
    /// TIDs beyond the first are in a chain of entries, each of which is read under a lock of its own while others change
    /// it. They put entries and TIDs at its beginning and take them out anywhere, but never move one, so a walk to the end
    /// comes to every TID that was there all the time. It may be led astray by an entry that was taken out and used again:
    /// by another node, which the entry says; or by the same, as its first, which leads to all of them once more. An entry
    /// leaves the chain under the lock of its node's page, and the count of removals goes up with it. So a walk that did not
    /// come to the end is repeated if the count has changed, which takes a removal within the moment between two reads; if it
    /// has not, the chain is damaged.
    pub fn tids(&self, id: NodeId, generation: u16, out: &mut Vec<Tid>) -> SqlResult<Option<u16>> {
        loop {
            pgrx::check_for_interrupts!();
            out.clear();
            let found = self.with_node(id, |_, node| {
                out.extend(node.tids());
                (node.generation(), node.removals(), node.overflow(), node.is_sound())
            })?;
            let Some((found, removals, mut side, sound)) = found else { return Ok(None) };
            if found != generation {
                return Ok(None);
            }
            if !sound {
                return Err(self.opened.damaged(&format!("node {id} makes no sense")));
            }
            if side == NONE {
                return self.check_rows(out, &format_args!("node {id}")).map(|()| Some(removals));
            }
            let mut lap = Lap::new(side);
            let mut whole = true;
            while side != NONE {
                pgrx::check_for_interrupts!();
                let mut no_memory = false;
                let next = self.with_side(side, id, generation, TIDS, |entry| {
                    no_memory = out.try_reserve(entry.capacity()).is_err();
                    if !no_memory {
                        out.extend(entry.tids());
                    }
                    (entry.count() <= entry.capacity()).then_some(entry.next())
                })?;
                if no_memory {
                    return Err(out_of_memory("reading the rows of a vector"));
                }
                let Some(next) = next.flatten().filter(|&next| !lap.comes_back(next)) else {
                    whole = false;
                    break;
                };
                side = next;
            }
            let again = self.with_node(id, |_, node| (node.generation(), node.removals()))?;
            let Some((_, removals_now)) = again.filter(|again| again.0 == generation) else { return Ok(None) };
            if whole {
                if removals_now != removals {
                    out.sort_unstable_by_key(|tid| tid.plain());
                    out.dedup_by_key(|tid| tid.plain());
                }
                return self.check_rows(out, &format_args!("node {id}")).map(|()| Some(removals));
            }
            if removals_now == removals {
                return Err(self.opened.damaged(&format!("the rows of node {id} are not where it says")));
            }
        }
    }

    /// As [`tids`](Self::tids), but where a node has many rows and those beyond the first are alike, only the first, and the
    /// entry where the chain of the others begins.
    pub fn tids_or_chain(
        &self,
        id: NodeId,
        generation: u16,
        out: &mut Vec<Tid>,
    ) -> SqlResult<Option<(u16, Option<u32>)>> {
        out.clear();
        let found = self.with_node(id, |_, node| {
            out.extend(node.tids());
            (node.generation(), node.removals(), node.overflow(), node.is_sound())
        })?;
        let Some((_, removals, head, sound)) = found.filter(|found| found.0 == generation) else { return Ok(None) };
        if sound && head == NONE {
            return self.check_rows(out, &format_args!("node {id}")).map(|()| Some((removals, None)));
        }
        if sound
            && self.with_side(head, id, generation, TIDS, |entry| entry.digest().is_some() && entry.next() != NONE)?
                == Some(true)
        {
            return self.check_rows(out, &format_args!("node {id}")).map(|()| Some((removals, Some(head))));
        }
        Ok(self.tids(id, generation, out)?.map(|removals| (removals, None)))
    }

    /// Checks addresses of rows that were read from `place` in the index, which the table must have room for.
    pub fn check_rows(&self, tids: &[Tid], place: &dyn std::fmt::Display) -> SqlResult<()> {
        let is_there = |tid: &Tid| self.table.as_ref().is_none_or(|table| table.has(tid.block()));
        match tids.iter().find(|tid| !tid.is_possible() || !is_there(tid)) {
            None => Ok(()),
            Some(tid) => Err(self.opened.damaged(&format!("{place} leads to row {tid}, which cannot be"))),
        }
    }

    /// The error for a number that no node has, and none ever had.
    #[cold]
    fn no_such_node(&self, id: NodeId) -> SqlError {
        self.opened.damaged(&format!("node {id} is named, but there can be none"))
    }
}

/// [`Nodes::is_wanted`]
#[inline]
fn is_wanted(filter: &Filter, node: &NodeRef<'_>) -> bool {
    node.live() && (filter.is_empty() || filter.passes(node.keys()))
}

impl Storage for Nodes {
    type Error = SqlError;

    /// Reads the metapage, and makes sure that the node it names is there.
    fn entry(&mut self) -> SqlResult<Option<Entry>> {
        let mut before = None;
        loop {
            pgrx::check_for_interrupts!();
            self.opened.meta = self.opened.read_meta()?;
            let Some(entry) = self.opened.meta.entry else { return Ok(None) };
            if self.with_node(entry.id, |_, node| node.level())? == Some(entry.level) {
                return Ok(Some(entry));
            }
            // A vacuum puts another node in the place of the one it is about to free, so if it still is the same, it was not
            // a vacuum.
            if before.replace(entry) == Some(entry) {
                return Err(self.opened.damaged(&format!("searches start at node {}, which is not there", entry.id)));
            }
        }
    }

    #[inline]
    fn score(&mut self, query: &Query, ids: &[NodeId], out: &mut Vec<Candidate>) -> SqlResult<()> {
        let remembered = std::rc::Rc::clone(&self.opened.remembered);
        let filter = std::mem::take(&mut self.filter);
        let scored = self.with_nodes(ids, |id, node| {
            let score = remembered.space.score(query, node.code());
            out.push(Candidate {
                live: is_wanted(&filter, &node),
                stamp: node.generation(),
                ..Candidate::new(id, score)
            });
        });
        self.filter = filter;
        scored
    }

    fn expand(&mut self, ids: &[NodeId], may: &mut Vec<NodeId>, fails: &mut Vec<NodeId>) -> SqlResult<bool> {
        pgrx::check_for_interrupts!();
        let layout = self.opened.layout;
        let (from, len) = layout.lists();
        let signed = std::mem::take(&mut self.signed);
        let (mut there, mut last) = (0, 0);
        let read = self.visit(ids, from, len, |_, node| {
            there += 1;
            if !signed.is_empty() {
                for (member, signature) in node.signed_list() {
                    if signed.may_pass(signature) {
                        may.push(member)
                    } else {
                        fails.push(member)
                    }
                    last = last.max(member);
                }
            } else {
                may.extend(node.list());
                last = may.iter().copied().fold(last, NodeId::max);
            }
        });
        self.signed = signed;
        read?;
        if !self.opened.has(layout.place(last).block) {
            return Err(self.no_such_node(last));
        }
        Ok(there == ids.len())
    }

    fn neighbours(&mut self, id: NodeId, level: u8, out: &mut Vec<NodeId>) -> SqlResult<bool> {
        self.opened.index.pause();
        let limit = self.opened.params().limit(level);
        let long = if level == 0 {
            let read = |_: &Layout, node: NodeRef<'_>| {
                out.extend(node.list());
                node.degree() > limit
            };
            self.with_node(id, read)?
        } else {
            let Some((side, generation)) = self.upper_entry(id, level)? else { return Ok(false) };
            let read = |entry: SideRef<'_>| {
                out.extend(entry.list());
                entry.count() > limit
            };
            match self.with_side(side, id, generation, level, read)? {
                Some(long) => Some(long),
                None => self.upper_is_gone(id, generation, level)?,
            }
        };
        match long {
            Some(true) => Err(self.opened.damaged(&format!("the list of node {id} on layer {level} is too long"))),
            Some(false) => Ok(true),
            None => Ok(false),
        }
    }
}
