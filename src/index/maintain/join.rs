//! One more row with a vector that has a node already.
//!
//! A node keeps two rows in its slot and more in side entries, of which only the first may have room: whatever their
//! number, adding one changes the node's page and at most one other.

use crate::error::SqlResult;
use crate::index::pages::{Graph, INLINE_TIDS, NodeRef, Place, SideRef, TIDS, Tid, too_large};
use vs_graph::{NONE, NodeId};

impl Graph {
    /// Adds the row that is being inserted to the node `id`, which stands for the same vector; false if it does not any
    /// more.
    pub fn join(&self, id: NodeId) -> SqlResult<bool> {
        let opened = self.opened();
        let layout = opened.layout;
        let Some(tid) = self.row.tid else { return Ok(false) };
        let place = layout.place(id);
        // Again and again if need be: each time another row has come or gone.
        loop {
            pgrx::check_for_interrupts!();
            let same = |node: NodeRef<'_>| {
                node.live() && node.code().same_point(&self.row.code()) && node.keys() == self.row.keys.keys()
            };
            let found = self.nodes.with_node(id, |_, node| {
                same(node).then(|| (node.generation(), node.tids().count(), node.overflow()))
            })?;
            let Some((generation, inline, overflow)) = found.flatten() else { return Ok(false) };
            let room_inline = inline < INLINE_TIDS;
            let room_aside = !room_inline
                && self.nodes.with_side(overflow, id, generation, TIDS, |entry| self.fits(&entry))? == Some(true);
            // A chain of rows that are alike stays one until another comes.
            let alike = overflow == NONE
                || self.nodes.with_side(overflow, id, generation, TIDS, |entry| entry.digest())?.flatten()
                    == Some(self.row.digest);
            // Which pages: the node's own, and unless there is room in it the one with its first entry or a new one.
            let side = if room_inline {
                None
            } else if room_aside {
                Some(layout.side_place(overflow))
            } else {
                Some(Place { block: self.side_page(1)?, at: usize::MAX })
            };
            let mut blocks = vec![place.block];
            blocks.extend(side.map(|side| side.block));
            blocks.sort_unstable();
            let mut pages = opened.change(&blocks, self.logging)?;
            let unchanged = layout.node(pages.page(place.block), place.at).is_some_and(|node| {
                same(node)
                    && node.generation() == generation
                    && node.tids().count() == inline
                    && node.overflow() == overflow
            });
            if !unchanged {
                continue;
            }
            let mut tids: Vec<Tid> = Vec::new();
            let mut head = None;
            match side {
                None => {
                    let node = layout.node(pages.page(place.block), place.at);
                    tids.extend(node.into_iter().flat_map(|node| node.tids()));
                    tids.push(tid);
                }
                Some(side) if room_aside => {
                    let entry = layout.side(pages.page(side.block), side.at);
                    let Some(entry) = entry.filter(|e| e.is(id, generation, TIDS) && self.fits(e)) else { continue };
                    tids.extend(entry.tids());
                    tids.push(tid);
                    layout.side_mut(&mut pages.page_mut(side.block), side.at).set_tids(tids.drain(..));
                }
                Some(side) => {
                    let Some(at) = layout.free_sides(pages.page(side.block)).next() else { continue };
                    let number = layout.side_id(Place { block: side.block, at }).ok_or_else(too_large)?;
                    let mut page = pages.page_mut(side.block);
                    let mut entry = layout.side_mut(&mut page, at);
                    entry.init_rows(id, generation, alike.then_some(self.row.digest), overflow);
                    entry.set_tids(std::iter::once(tid));
                    head = Some(number);
                }
            }
            let error = layout.node(pages.page(place.block), place.at).map_or(0.0, |node| node.code().header.error);
            let higher = self.row.header.error > error;
            if !tids.is_empty() || head.is_some() || higher {
                let mut page = pages.page_mut(place.block);
                let mut node = layout.node_mut(&mut page, place.at);
                if !tids.is_empty() {
                    node.set_tids(tids.into_iter());
                }
                if let Some(head) = head {
                    node.set_overflow(head);
                }
                if higher {
                    node.set_error(self.row.header.error);
                }
            }
            pages.commit();
            return Ok(true);
        }
    }

    /// Whether the row that is being inserted can go into that entry of its node.
    fn fits(&self, entry: &SideRef<'_>) -> bool {
        entry.count() < entry.capacity() && entry.digest().is_none_or(|digest| digest == self.row.digest)
    }
}
