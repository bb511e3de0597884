//! What lies where on the pages: slots of nodes, side entries, the metapage.
//!
//! Pages of nodes hold slots of one size, so a node's number says where it is: `(block − 1) · slots per page + slot`.
//! A slot is
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 1 | highest layer |
//! | 1 | 1 | 0xA7 if it is in use |
//! | 2 | 2 | generation: goes up when the slot is freed |
//! | 4 | 1 | length of the list of layer 0 |
//! | 5 | 1 | heap TIDs in the slot |
//! | 6 | 2 | removals: goes up when a TID is taken out |
//! | 8 | 12 | scale, ‖c‖² and error of the code ([`vs_quantize::Header`]) |
//! | 20 | 4 | side entry with the list of layer 1, or none |
//! | 24 | 4 | side entry with more TIDs, or none |
//! | 28 | 12 | two TIDs of 6 bytes: block, offset |
//! | 40 | 8 m | the list of layer 0: node numbers |
//! | 40 + 8 m | dims | the code |
//!
//! In an index with c key columns the list is followed by 2 m · min(c, 4) bytes, the signatures of its members, and
//! 4 + 8 c bytes, the node's own keys ([`vs_filter::Keys`]); then comes the code.
//!
//! What few nodes have lies in **side entries** on pages of their own, also of one size and numbered alike: the lists of
//! the layers above 0, one entry each, and TIDs of further rows with the same vector.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 4 | the node it belongs to |
//! | 4 | 2 | that node's generation |
//! | 6 | 1 | layer of the list; 255 for TIDs, 254 for TIDs of rows with the very same vector; 0 if free |
//! | 7 | 1 | number of nodes or TIDs in it |
//! | 8 | 4 | the next entry: of the layer above, or with more TIDs |
//! | 12 | 4 m, at least 60 | node numbers or TIDs (254: after 8 bytes of the vector's digest) |
//!
//! Bit 15 of a TID's offset marks a row that a scan has found dead to everybody.

use super::slots::{ALIKE, LIST, NodeMut, NodeRef, SIDE_DATA, Shape, SideMut, SideRef, TIDS, rows_at};
use super::tid::TID;
use crate::storage::{Block, CAPACITY, Kind, Page, PageMut};
use vs_graph::{NONE, NodeId};

/// The sizes that follow from the vectors' length, m, and the number of key columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    shape: Shape,
    slot: usize,
    per_page: usize,
    side: usize,
    sides_per_page: usize,
    /// Pages that a map page is for; 0 if there are none.
    group: u32,
}

/// A place on a page: block, and position there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The page.
    pub block: Block,
    /// The slot or entry on it.
    pub at: usize,
}

impl Layout {
    /// The layout for vectors of `dims` dimensions and so many key columns; `None` if a node does not fit on a page.
    pub fn new(dims: usize, m: usize, columns: usize) -> Option<Self> {
        let shape = Shape::new(dims, m, columns);
        let slot = (shape.code_at + dims).next_multiple_of(4);
        let side = SIDE_DATA + (4 * m).max(60).next_multiple_of(4);
        (slot <= CAPACITY).then(|| Self {
            shape,
            slot,
            per_page: CAPACITY / slot,
            side,
            sides_per_page: CAPACITY / side,
            group: CAPACITY.checked_div(shape.signed * (CAPACITY / slot)).unwrap_or(0) as u32,
        })
    }

    /// The longest vectors that fit with lists of `m` and so many key columns.
    pub fn max_dims(m: usize, columns: usize) -> usize {
        CAPACITY.saturating_sub(Shape::new(0, m, columns).code_at)
    }

    /// The length of the vectors.
    pub fn dims(&self) -> usize {
        self.shape.dims
    }

    /// Neighbours chosen for a new node.
    pub fn m(&self) -> usize {
        self.shape.m
    }

    /// Signatures of each node.
    pub fn signed(&self) -> usize {
        self.shape.signed
    }

    /// Key columns.
    pub fn columns(&self) -> usize {
        self.shape.columns
    }

    /// Slots on a page.
    pub fn per_page(&self) -> usize {
        self.per_page
    }

    /// Side entries on a page.
    pub fn sides_per_page(&self) -> usize {
        self.sides_per_page
    }

    /// TIDs in a side entry, of rows that are alike or not.
    pub fn side_tids(&self, alike: bool) -> usize {
        (self.side - rows_at(if alike { ALIKE } else { TIDS })) / TID
    }

    /// One more than the highest node number in a file of `blocks` pages.
    pub fn ids(&self, blocks: Block) -> usize {
        blocks.saturating_sub(1) as usize * self.per_page
    }

    /// Where node `id` is.
    #[inline]
    pub fn place(&self, id: NodeId) -> Place {
        let per_page = self.per_page as u32;
        Place { block: id / per_page + 1, at: (id % per_page) as usize }
    }

    /// The number of the node at `place`, `None` where numbers end.
    pub fn id(&self, place: Place) -> Option<NodeId> {
        let id = u64::from(place.block - 1) * self.per_page as u64 + place.at as u64;
        (id < u64::from(NONE)).then_some(id as NodeId)
    }

    /// Where side entry `id` is.
    pub fn side_place(&self, id: u32) -> Place {
        let per_page = self.sides_per_page as u32;
        Place { block: id / per_page + 1, at: (id % per_page) as usize }
    }

    /// The number of the side entry at `place`, `None` where numbers end.
    pub fn side_id(&self, place: Place) -> Option<u32> {
        let id = u64::from(place.block - 1) * self.sides_per_page as u64 + place.at as u64;
        (id < u64::from(NONE)).then_some(id as u32)
    }

    /// Pages after a map page whose nodes' signatures are on it; 0 if there are no key columns and no map pages.
    pub fn group(&self) -> Block {
        self.group
    }

    /// The map page of a block, if it can have one.
    pub fn map_of(&self, block: Block) -> Option<Block> {
        let before = block.checked_sub(1)?.checked_rem(self.group + 1).filter(|_| self.group > 0)?;
        Some(block - before)
    }

    /// Whether a block is kept for a map page.
    pub fn is_map(&self, block: Block) -> bool {
        self.map_of(block) == Some(block)
    }

    /// The block after the metapage and `before` others that are not kept for map pages.
    pub fn block(&self, before: Block) -> Block {
        before + 1 + before.checked_div(self.group).map_or(0, |maps| maps + 1)
    }

    /// How far into the page's bytes slot `at` begins.
    #[inline]
    pub fn slot_offset(&self, at: usize) -> usize {
        at * self.slot
    }

    /// How far into a slot its keys begin, which its code follows.
    #[inline]
    pub fn keys_offset(&self) -> usize {
        self.shape.keys_at
    }

    /// Where in a slot the list of layer 0 and its signatures begin, and how many bytes they take.
    pub fn lists(&self) -> (usize, usize) {
        (LIST, self.shape.keys_at - LIST)
    }

    /// The bytes of a slot's keys and code.
    #[inline]
    pub fn body_size(&self) -> usize {
        self.shape.code_at - self.shape.keys_at + self.shape.dims
    }

    /// The slot `at` of a page, in use or not, if it has been written to.
    #[inline]
    pub fn slot<'a>(&self, page: Page<'a>, at: usize) -> Option<NodeRef<'a>> {
        if page.kind() != Some(Kind::Nodes) {
            return None;
        }
        let start = at * self.slot;
        let bytes = page.bytes().get(start..start + self.slot)?;
        Some(NodeRef::new(bytes, self.shape))
    }

    /// The node in slot `at` of a page, if there is one.
    #[inline]
    pub fn node<'a>(&self, page: Page<'a>, at: usize) -> Option<NodeRef<'a>> {
        self.slot(page, at).filter(NodeRef::in_use)
    }

    /// As [`node`](Self::node) of a page that is one of nodes, or should be: reads the slot alone. That saves two lines of
    /// memory a visit, in the page's header and in its special area, and they are as far away as the slot itself. A block
    /// number that comes from a node's number stays one of nodes for ever, and a slot never written to is zero.
    #[inline]
    pub fn node_of<'a>(&self, page: Page<'a>, at: usize) -> Option<NodeRef<'a>> {
        let start = at * self.slot;
        let bytes = page.body().get(start..start + self.slot)?;
        Some(NodeRef::new(bytes, self.shape)).filter(NodeRef::in_use)
    }

    /// Whether slot `at` of a page had a node once, and has none now: the only way for a node that something names not to be
    /// there. A page that is no page of nodes, a slot never written to, or one that is neither in use nor as
    /// [`NodeMut::free`] leaves it, never had one.
    pub fn is_vacant(&self, page: Page<'_>, at: usize) -> bool {
        self.slot(page, at).is_some_and(|slot| !slot.in_use() && slot.is_clear())
    }

    /// Whether page `block` can be what it says: a new one, or one whose header and special area are ours and that ends
    /// with a slot or an entry, with nothing behind it. Writing to any other could write anywhere.
    pub fn is_sound(&self, block: Block, page: Page<'_>) -> bool {
        if page.is_new() {
            return block > 0;
        }
        let whole = |size: usize, most: usize| {
            let len = page.bytes().len();
            len.is_multiple_of(size) && len <= size * most
        };
        page.is_sound()
            && page.body()[page.bytes().len()..].iter().all(|&byte| byte == 0)
            && match page.kind() {
                Some(Kind::Meta) => block == 0,
                Some(Kind::Nodes) => block > 0 && whole(self.slot, self.per_page),
                Some(Kind::Unplaced) => block > 0 && super::unplaced::is_whole(page),
                Some(Kind::Map) => self.is_map(block) && page.bytes().len() == self.map_size(),
                Some(Kind::Side) => block > 0 && whole(self.side, self.sides_per_page),
                None => false,
            }
    }

    /// Whether everything on page `block` can be: it is [sound](Self::is_sound), and so is each slot, entry and row's address
    /// in itself, as far as a look at lengths and marks tells.
    pub fn is_sensible(&self, block: Block, page: Page<'_>) -> bool {
        let slot = |at| match self.node(page, at) {
            Some(node) => node.has_sound_lengths(),
            None => self.is_vacant(page, at),
        };
        let side = |at| self.side(page, at).is_none_or(|entry| entry.is_sound(self.m()));
        self.is_sound(block, page)
            && (0..self.slots(page)).all(slot)
            && (0..self.sides(page)).all(side)
            && super::unplaced::unplaced(page).all(|(tid, _)| tid.is_possible())
    }

    /// Slots written to, in use or not.
    pub fn slots(&self, page: Page<'_>) -> usize {
        if page.kind() == Some(Kind::Nodes) { page.bytes().len() / self.slot } else { 0 }
    }

    /// A slot that is free, on a page of nodes or a new one.
    pub fn free_slot(&self, page: Page<'_>) -> Option<usize> {
        if page.is_new() {
            return Some(0);
        }
        if page.kind() != Some(Kind::Nodes) {
            return None;
        }
        let written = self.slots(page);
        let freed = (0..written).find(|&at| self.is_vacant(page, at));
        freed.or((written < self.per_page).then_some(written))
    }

    /// Slot `at` for writing.
    pub fn node_mut<'a>(&self, page: &'a mut PageMut<'_>, at: usize) -> NodeMut<'a> {
        let start = at * self.slot;
        let bytes = &mut page.bytes_mut(start + self.slot)[start..];
        NodeMut::new(&mut bytes[..self.slot], self.shape)
    }

    /// The side entry `at` of a page, if it has been written to.
    pub fn side<'a>(&self, page: Page<'a>, at: usize) -> Option<SideRef<'a>> {
        if page.kind() != Some(Kind::Side) {
            return None;
        }
        let start = at * self.side;
        Some(SideRef::new(page.bytes().get(start..start + self.side)?))
    }

    /// Side entries written to.
    pub fn sides(&self, page: Page<'_>) -> usize {
        if page.kind() == Some(Kind::Side) { page.bytes().len() / self.side } else { 0 }
    }

    /// Free side entries of a page, those never written to last.
    pub fn free_sides(&self, page: Page<'_>) -> impl Iterator<Item = usize> {
        let layout = *self;
        let all = if page.kind() == Some(Kind::Side) { self.sides_per_page } else { 0 };
        (0..all).filter(move |&at| layout.side(page, at).is_none_or(|side| side.kind() == 0))
    }

    /// Side entry `at` for writing.
    pub fn side_mut<'a>(&self, page: &'a mut PageMut<'_>, at: usize) -> SideMut<'a> {
        let start = at * self.side;
        let bytes = &mut page.bytes_mut(start + self.side)[start..];
        SideMut::new(&mut bytes[..self.side])
    }
}
