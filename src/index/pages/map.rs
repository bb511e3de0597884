//! Map pages: the signatures of all nodes in one place.
//!
//! A pass over what meets a filter would have to read every page to find the few nodes that do. So in an index with key
//! columns the signatures of nodes lie together, too: the first of every so many pages is a **map** of the pages after it
//! ([`Layout::map_of`]), with one byte for each of their slots and each of the first key columns, column by column. A
//! million nodes have a megabyte of them, and reading it says which nodes may pass, and how many.
//!
//! A node's bytes are written by the WAL record that writes the node, so that the map says of each live node that passes
//! that it may pass. Of slots not in use it says whatever was there before, of what never was a node that none may pass. Where a page that was to be a map is used for
//! something else (a row without a vector came before the first vector) those pages have no map, and all their nodes may
//! pass.

use super::layout::{Layout, Place};
use super::nodes::Nodes;
use super::open::Opened;
use crate::error::{SqlResult, out_of_memory};
use crate::storage::{Block, Hints, Kind, Page, PageMut};
use vs_filter::Signature;
use vs_graph::NodeId;

impl Layout {
    /// Slots that a map page is for.
    fn mapped(&self) -> usize {
        self.group() as usize * self.per_page()
    }

    /// Bytes of a map page.
    pub fn map_size(&self) -> usize {
        self.signed() * self.mapped()
    }

    /// Writes the signature of the node at `place` to its map page.
    pub fn put_signature(&self, map: &mut PageMut<'_>, place: Place, signature: Signature) {
        let Some(first) = self.map_of(place.block).map(|map| map + 1) else { return };
        let mapped = self.mapped();
        let at = (place.block - first) as usize * self.per_page() + place.at;
        let bytes = map.bytes_mut(self.map_size());
        for (column, &byte) in signature.iter().take(self.signed()).enumerate() {
            bytes[column * mapped + at] = byte;
        }
    }

    /// The signature of the node at `place` as its map page says, if that is one.
    pub fn mapped_signature(&self, map: Page<'_>, place: Place) -> Option<Signature> {
        let first = self.map_of(place.block)? + 1;
        if map.kind() != Some(Kind::Map) {
            return None;
        }
        let at = (place.block - first) as usize * self.per_page() + place.at;
        let mut signature = Signature::default();
        for (column, byte) in signature.iter_mut().take(self.signed()).enumerate() {
            *byte = *map.bytes().get(column * self.mapped() + at)?;
        }
        Some(signature)
    }
}

impl Opened {
    /// A new page at the end of the file that is not kept for a map.
    pub fn extend(&self) -> Block {
        loop {
            let block = self.index.extend();
            if !self.layout.is_map(block) {
                return block;
            }
        }
    }
}

/// Reusable memory of those who read maps.
#[derive(Default)]
pub struct Maps {
    marks: Vec<u8>,
    positions: Vec<u32>,
}

impl Maps {
    /// Reads the map page `map`: the numbers of the nodes on its pages that may pass the
    /// filter go to `out`.
    pub fn read(&mut self, nodes: &Nodes, map: Block, out: &mut Vec<NodeId>) -> SqlResult<()> {
        let opened = &nodes.opened;
        let layout = opened.layout;
        self.positions.clear();
        {
            let hints = &mut *opened.remembered.hints.borrow_mut();
            let lock = opened.index.read(hints, map);
            let page = lock.page();
            if page.is_new() {
                // No node has come to these pages yet.
                return Ok(());
            }
            if page.kind() != Some(Kind::Map) {
                drop(lock);
                return all_of(opened, hints, map, out);
            }
            let mapped = layout.mapped();
            if page.bytes().len() != layout.map_size() {
                return Err(opened.damaged(&format!("page {map} maps fewer nodes than it should")));
            }
            nodes.signed().select(page.bytes(), mapped, &mut self.marks, &mut self.positions);
        }
        out.try_reserve(self.positions.len()).map_err(|_| out_of_memory("reading the map of a vs_hnsw index"))?;
        let end = layout.ids(opened.index.blocks()) as u64;
        let first = u64::from(map) * layout.per_page() as u64;
        let numbers = self.positions.iter().map(|&position| first + u64::from(position));
        out.extend(numbers.take_while(|&number| number < end).map(|number| number as NodeId));
        Ok(())
    }
}

/// The nodes on the pages that `map` should be for.
fn all_of(opened: &Opened, hints: &mut Hints, map: Block, out: &mut Vec<NodeId>) -> SqlResult<()> {
    let layout = opened.layout;
    for block in map + 1..opened.index.blocks().min(map + 1 + layout.group()) {
        pgrx::check_for_interrupts!();
        out.try_reserve(layout.per_page()).map_err(|_| out_of_memory("reading the map of a vs_hnsw index"))?;
        let lock = opened.index.read(hints, block);
        let page = lock.page();
        let there = |at: &usize| layout.node(page, *at).is_some();
        out.extend((0..layout.slots(page)).filter(there).filter_map(|at| layout.id(Place { block, at })));
    }
    Ok(())
}
