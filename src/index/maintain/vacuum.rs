//! `ambulkdelete` and `amvacuumcleanup`: taking rows out of the graph.
//!
//! 1. **Strip.** Every row is reported to the vacuum's callback; dead ones are taken out of their nodes. A node without
//!    rows is *dead*: searches walk through it, and neither return it nor link to it. Dead nodes that an earlier,
//!    cancelled vacuum left are found here as well.
//! 2. **Wait** for the insertions that may have seen a node alive that is dead now (the insertion lock, exclusively).
//!    From here on nobody links to a dead node.
//! 3. **Repair.** Every list that names a dead node is selected anew ([`vs_graph::Repairer`]). If searches start at a
//!    dead node, they start at the highest live one from now on.
//! 4. **Free** the slots of the dead nodes, after checking each under its page's lock. The slot's generation goes up, so
//!    that a scan that still knows the number finds out; no scan has to be waited for.
//! 5. **Attach** what no search reaches.
//!
//! The vacuum may stop anywhere. What it has done stays valid, and the next one goes on. One that finds no dead node ends
//! after the first step, unless that has shown that insertions left something unreachable ([`super::attach`]).
//!
//! Everything is paced by `vacuum_cost_delay`. Pages are read in their order through the vacuum's ring of buffers, but for
//! searches and walks, and what is remembered of nodes is bits: three for each.

use super::attach::{attach, is_named, live};
use super::set::Set;
use crate::error::{OrRaise, SqlResult};
use crate::index::pages::{Graph, Lap, Meta, Opened, Place, SideRef, TIDS, Tid, UNLISTED, Why, unplaced};
use crate::storage::{Barrier, Block, Index, Kind, Logging, Mode};
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;
use std::collections::BTreeSet;
use vs_graph::{Entry, NONE, NodeId, Repairer, StorageMut};

/// A vacuum under way.
struct Vacuum<'a> {
    opened: Opened,
    graph: Graph,
    /// Whether a row is dead.
    is_dead: &'a mut dyn FnMut(Tid) -> bool,
    removed: u64,
    remaining: u64,
    dead: Set,
    /// The nodes that have rows.
    live: Set,
    /// The nodes that a live node's list of layer 0 names.
    named: Set,
    /// The highest live node.
    highest: Option<Entry>,
    /// Side pages where entries have been freed.
    side_pages: BTreeSet<Block>,
}

/// A node as a vacuum sees it.
struct Found {
    id: NodeId,
    generation: u16,
    level: u8,
    tids: Vec<Tid>,
    overflow: u32,
}

impl<'a> Vacuum<'a> {
    fn new(index: Index, is_dead: &'a mut dyn FnMut(Tid) -> bool) -> SqlResult<Self> {
        let opened = Opened::open(index)?;
        let set = || Set::new(opened.layout.ids(index.blocks()));
        Ok(Self {
            dead: set()?,
            live: set()?,
            named: set()?,
            graph: Graph::new(opened.for_walks(), Logging::Generic),
            opened,
            is_dead,
            removed: 0,
            remaining: 0,
            highest: None,
            side_pages: BTreeSet::new(),
        })
    }

    fn run(&mut self) -> SqlResult<()> {
        for block in 1..self.opened.index.blocks() {
            self.opened.index.pause();
            self.strip_page(block)?;
            let (removed, remaining) = self.graph.strip_unplaced(block, self.is_dead)?;
            self.removed += removed as u64;
            self.remaining += remaining as u64;
        }
        if self.dead.len() > 0 {
            drop(Barrier::acquire(self.opened.index, Mode::Exclusive));
            self.repair()?;
            self.move_entry()?;
            self.free()?;
        }
        if self.dead.len() > 0 || self.has_grown()? || self.has_orphan()? {
            attach(&self.opened, Logging::Generic)?;
        }
        self.list_side_pages()
    }

    /// Whether there is a tenth more than when all nodes were last made reachable. Nodes that only name each other are not
    /// found by looking for one that nobody names; there are hardly any, so it will do to look for them now and then.
    fn has_grown(&self) -> SqlResult<bool> {
        let connected = self.opened.read_meta()?.connected as usize;
        Ok(self.live.len() > connected + connected / 10)
    }

    /// Whether there is a live node that no other names. Insertions leave one where they thin a full list.
    fn has_orphan(&mut self) -> SqlResult<bool> {
        let entry = self.opened.read_meta()?.entry.map(|entry| entry.id);
        for id in self.live.iter_without(&self.named) {
            self.opened.index.pause();
            // One that was put in meanwhile is named by pages that were read before that.
            if Some(id) != entry && !is_named(&mut self.graph, id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The nodes of a page.
    ///
    /// # Errors
    /// If the page is damaged so that nobody can say which rows are on it. Dead ones would stay, and lead to the rows that
    /// get their addresses next.
    fn nodes(&self, block: Block) -> SqlResult<Vec<Found>> {
        let layout = self.opened.layout;
        let mut hints = self.opened.remembered.hints.borrow_mut();
        let lock = self.opened.index.read(&mut hints, block);
        let page = lock.page();
        self.opened.check_page(block, page)?;
        let found = (0..layout.slots(page)).filter_map(|at| {
            let node = layout.node(page, at)?;
            Some(Found {
                id: layout.id(Place { block, at })?,
                generation: node.generation(),
                level: node.level(),
                tids: node.tids().map(Tid::plain).collect(),
                overflow: node.overflow(),
            })
        });
        Ok(found.collect())
    }

    /// Step 1 for a page.
    fn strip_page(&mut self, block: Block) -> SqlResult<()> {
        let layout = self.opened.layout;
        let nodes = self.nodes(block)?;
        let mut dead: Vec<(NodeId, u16, Tid)> = Vec::new();
        for node in &nodes {
            for &tid in &node.tids {
                if (self.is_dead)(tid) {
                    dead.push((node.id, node.generation, tid));
                } else {
                    self.remaining += 1;
                }
            }
        }
        if !dead.is_empty() {
            let mut pages = self.opened.change(&[block], Logging::Generic)?;
            for of_node in dead.chunk_by(|a, b| a.0 == b.0) {
                let at = layout.place(of_node[0].0).at;
                let node = layout.node(pages.page(block), at).filter(|node| node.generation() == of_node[0].1);
                let Some(node) = node else { continue };
                let old: Vec<Tid> = node.tids().collect();
                let kept = old.iter().copied().filter(|tid| !of_node.iter().any(|dead| dead.2 == tid.plain()));
                let kept: Vec<Tid> = kept.collect();
                self.removed += (old.len() - kept.len()) as u64;
                let mut page = pages.page_mut(block);
                let mut node = layout.node_mut(&mut page, at);
                node.set_tids(kept.into_iter());
                node.note_removal();
            }
            pages.commit();
        }
        for node in &nodes {
            if node.overflow != NONE {
                self.strip_overflow(node)?;
            }
        }
        // As it is now: rows may have been added meanwhile, but a dead node gets none.
        let mut hints = self.opened.remembered.hints.borrow_mut();
        let lock = self.opened.index.read(&mut hints, block);
        for node in &nodes {
            let Some(found) = layout.node(lock.page(), layout.place(node.id).at) else { continue };
            if !found.live() {
                self.dead.insert(node.id);
                continue;
            }
            self.live.insert(node.id);
            found.list().for_each(|member| self.named.insert(member));
            if self.highest.is_none_or(|highest| highest.level < node.level) {
                self.highest = Some(Entry { id: node.id, level: node.level });
            }
        }
        Ok(())
    }

    /// Step 1 for the rows in side entries of a node. Entries that become empty are unlinked.
    fn strip_overflow(&mut self, node: &Found) -> SqlResult<()> {
        let layout = self.opened.layout;
        let place = layout.place(node.id);
        let mut before = None;
        let mut side = node.overflow;
        let mut lap = Lap::new(side);
        // The insertion of a row puts an entry before all others at most: a walk from a head read earlier stays good.
        while side != NONE {
            self.opened.index.pause();
            let read = |entry: SideRef<'_>| (entry.next(), entry.tids().map(Tid::plain).collect::<Vec<_>>());
            let found = self.graph.nodes.with_side(side, node.id, node.generation, TIDS, read)?;
            // Entries are taken out of a chain by vacuums alone, of which there is one at a time.
            let Some((next, tids)) = found.filter(|(next, _)| !lap.comes_back(*next)) else {
                return Err(self.opened.damaged(&format!("the rows of node {} are not where it says", node.id)));
            };
            let kept: Vec<Tid> = tids.iter().copied().filter(|&tid| !(self.is_dead)(tid)).collect();
            self.remaining += kept.len() as u64;
            // An entry that a row was put before while it was emptied is still there, and goes now.
            if kept.len() == tids.len() && !kept.is_empty() {
                before = Some(side);
                side = next;
                continue;
            }
            let entry = layout.side_place(side);
            let previous = before.map(|before| layout.side_place(before));
            let mut blocks = vec![place.block, entry.block];
            blocks.extend(previous.map(|previous| previous.block));
            blocks.sort_unstable();
            blocks.dedup();
            let mut pages = self.opened.change(&blocks, Logging::Generic)?;
            let head = layout.node(pages.page(place.block), place.at).map(|node| node.overflow());
            let Some(head) = head else { break };
            // Rows may have been added to the entry, which then does not become empty.
            let now: Vec<Tid> = match layout.side(pages.page(entry.block), entry.at) {
                Some(entry) if entry.is(node.id, node.generation, TIDS) => entry.tids().collect(),
                _ => break,
            };
            let stays = |tid: &Tid| kept.contains(&tid.plain()) || !tids.contains(&tid.plain());
            let kept: Vec<Tid> = now.iter().copied().filter(stays).collect();
            self.removed += (now.len() - kept.len()) as u64;
            if kept.is_empty() && (previous.is_some() || head == side) {
                layout.side_mut(&mut pages.page_mut(entry.block), entry.at).free();
                match previous {
                    Some(previous) => {
                        layout.side_mut(&mut pages.page_mut(previous.block), previous.at).set_next(next);
                    }
                    None => layout.node_mut(&mut pages.page_mut(place.block), place.at).set_overflow(next),
                }
                self.side_pages.insert(entry.block);
            } else {
                layout.side_mut(&mut pages.page_mut(entry.block), entry.at).set_tids(kept.iter().copied());
                before = Some(side);
            }
            layout.node_mut(&mut pages.page_mut(place.block), place.at).note_removal();
            pages.commit();
            side = next;
        }
        Ok(())
    }

    /// Step 3.
    fn repair(&mut self) -> SqlResult<()> {
        let layout = self.opened.layout;
        let params = self.opened.params();
        let mut repairer = Repairer::default();
        let mut lists: Vec<(NodeId, u8)> = Vec::new();
        for block in 1..self.opened.index.blocks() {
            self.opened.index.pause();
            lists.clear();
            {
                let mut hints = self.opened.remembered.hints.borrow_mut();
                let lock = self.opened.index.read(&mut hints, block);
                let page = lock.page();
                for at in 0..layout.slots(page) {
                    if let (Some(node), Some(id)) = (layout.node(page, at), layout.id(Place { block, at }))
                        && !self.dead.contains(id)
                        && node.list().any(|member| self.dead.contains(member))
                    {
                        lists.push((id, 0));
                    }
                }
                for at in 0..layout.sides(page) {
                    if let Some(entry) = layout.side(page, at)
                        && entry.kind() > 0
                        && !entry.has_rows()
                        && !self.dead.contains(entry.owner())
                        && entry.list().any(|member| self.dead.contains(member))
                    {
                        lists.push((entry.owner(), entry.kind()));
                    }
                }
            }
            for &(id, level) in &lists {
                self.opened.index.pause();
                let dead = &self.dead;
                repairer.repair(&mut self.graph, &params, id, level, &|member| dead.contains(member))?;
            }
        }
        Ok(())
    }

    /// Sees to it that searches start at a live node, or nowhere if there is none.
    fn move_entry(&mut self) -> SqlResult<()> {
        if let Some(highest) = self.highest {
            let dead = &self.dead;
            self.graph.change_meta(|meta| {
                let moves = meta.entry.is_none_or(|entry| dead.contains(entry.id));
                if moves {
                    meta.entry = Some(highest);
                }
                moves
            })?;
            return Ok(());
        }
        // There was no live node. Unless one has come since, forget the model too: the next row may be of any. Not if there
        // are vectors without a node, which may have one.
        let _barrier = Barrier::acquire(self.opened.index, Mode::Exclusive);
        let mut vectors = false;
        for block in 1..self.opened.index.blocks() {
            // No sleep as of `pause`: insertions wait.
            pgrx::check_for_interrupts!();
            if let Some(&id) = live(&self.opened, block).first() {
                let level = self.graph.nodes.with_node(id, |_, node| node.level())?.unwrap_or(0);
                self.graph.raise_entry(Entry { id, level }, None)?;
                return Ok(());
            }
            let mut hints = self.opened.remembered.hints.borrow_mut();
            let lock = self.opened.index.read(&mut hints, block);
            vectors |= unplaced(lock.page()).any(|row| row.1 != Why::Null);
        }
        self.graph.change_meta(|meta| {
            let before = *meta;
            meta.entry = None;
            if !vectors {
                (meta.tag, meta.binder) = (0, 0);
            }
            *meta != before
        })?;
        Ok(())
    }

    /// Step 4.
    fn free(&mut self) -> SqlResult<()> {
        let layout = self.opened.layout;
        let entry = self.opened.read_meta()?.entry.map(|entry| entry.id);
        let end = self.opened.index.blocks();
        for block in 1..end {
            self.opened.index.pause();
            let dead: Vec<Found> = self
                .nodes(block)?
                .into_iter()
                .filter(|node| self.dead.contains(node.id) && Some(node.id) != entry)
                .collect();
            for node in dead.iter().filter(|node| node.level > 0) {
                self.free_upper(node)?;
            }
            if !dead.is_empty() {
                let mut pages = self.opened.change(&[block], Logging::Generic)?;
                for node in &dead {
                    let at = layout.place(node.id).at;
                    let still = layout
                        .node(pages.page(block), at)
                        .is_some_and(|found| !found.live() && found.generation() == node.generation);
                    if still {
                        layout.node_mut(&mut pages.page_mut(block), at).free();
                    }
                }
                pages.commit();
            }
            let room = {
                let mut hints = self.opened.remembered.hints.borrow_mut();
                let lock = self.opened.index.read(&mut hints, block);
                (lock.page().is_new() && !layout.is_map(block)) || !dead.is_empty()
            };
            if room {
                self.opened.index.note_room(block, true);
            }
        }
        self.opened.index.publish_room(0, end);
        Ok(())
    }

    /// Frees the lists above layer 0 of a dead node, the highest first: should this stop half-way, the node still leads to
    /// those that are left, and the next vacuum frees them.
    fn free_upper(&mut self, node: &Found) -> SqlResult<()> {
        let layout = self.opened.layout;
        let Some(mut side) = self.graph.nodes.with_node(node.id, |_, found| found.upper())? else { return Ok(()) };
        let mut lists = Vec::new();
        for layer in 1..=node.level {
            let next = self.graph.nodes.with_side(side, node.id, node.generation, layer, |entry| entry.next())?;
            let Some(next) = next else { break };
            lists.push((layer, layout.side_place(side)));
            side = next;
        }
        for (layer, place) in lists.into_iter().rev() {
            let mut pages = self.opened.change(&[place.block], Logging::Generic)?;
            let ours = layout
                .side(pages.page(place.block), place.at)
                .is_some_and(|entry| entry.is(node.id, node.generation, layer));
            if ours {
                layout.side_mut(&mut pages.page_mut(place.block), place.at).free();
                pages.commit();
                self.side_pages.insert(place.block);
            }
        }
        Ok(())
    }

    /// Puts the side pages where entries were freed on the metapage's list.
    fn list_side_pages(&mut self) -> SqlResult<()> {
        for &block in &self.side_pages {
            let mut pages = self.opened.change(&[0, block], Logging::Generic)?;
            let page = pages.page(block);
            let meta = self.opened.meta_of(pages.page(0))?;
            if page.kind() == Some(Kind::Side) && page.link() == UNLISTED {
                pages.page_mut(block).set_link(meta.side);
                Meta { side: block, ..meta }.write(&mut pages.page_mut(0));
                pages.commit();
            }
        }
        Ok(())
    }
}

/// Statistics for the vacuum, new ones if there are none yet.
///
/// # Safety
/// `stats` must be null or valid.
unsafe fn stats_or_new(stats: *mut pg_sys::IndexBulkDeleteResult) -> *mut pg_sys::IndexBulkDeleteResult {
    if !stats.is_null() {
        return stats;
    }
    // SAFETY: a palloc'd struct of numbers.
    unsafe { pg_sys::palloc0(size_of::<pg_sys::IndexBulkDeleteResult>()).cast() }
}

/// `ambulkdelete`
#[pg_guard]
pub unsafe extern "C-unwind" fn ambulkdelete(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
    callback: pg_sys::IndexBulkDeleteCallback,
    state: *mut std::ffi::c_void,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: PostgreSQL passes an open index and a callback with its state. The callback gets a TID of ours to look at,
    // in a frame that owns nothing.
    unsafe {
        let index = Index::for_vacuum((*info).index, (*info).strategy);
        let mut is_dead = |tid: Tid| {
            let mut pointer = tid.to_pointer();
            callback.is_some_and(|callback| pg_guard_ffi_boundary(|| callback(&mut pointer, state)))
        };
        let mut vacuum = Vacuum::new(index, &mut is_dead).or_raise();
        vacuum.run().or_raise();
        let stats = stats_or_new(stats);
        (*stats).tuples_removed += vacuum.removed as f64;
        (*stats).num_index_tuples = vacuum.remaining as f64;
        (*stats).estimated_count = false;
        stats
    }
}

/// `amvacuumcleanup`
#[pg_guard]
pub unsafe extern "C-unwind" fn amvacuumcleanup(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: as above; without dead rows there are no statistics yet.
    unsafe {
        if (*info).analyze_only {
            return stats;
        }
        let index = Index::for_vacuum((*info).index, (*info).strategy);
        let fresh = stats.is_null();
        let stats = stats_or_new(stats);
        if fresh {
            // No row was dead, so nothing has been looked at yet. The index's rows are counted here: the table's would be too
            // many for a partial index, and with them the planner would think scans of it dear.
            let mut is_dead = |_| false;
            let mut vacuum = Vacuum::new(index, &mut is_dead).or_raise();
            vacuum.run().or_raise();
            (*stats).num_index_tuples = vacuum.remaining as f64;
            (*stats).estimated_count = false;
        }
        (*stats).num_pages = index.blocks();
        stats
    }
}
