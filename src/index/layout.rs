//! What lies where on the pages: slots of nodes, side entries, the metapage.
//!
//! Pages of nodes hold slots of one size, so a node's number says where it is: `(block − 1) · slots per page + slot`.
//! A slot is
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 1 | highest layer |
//! | 1 | 1 | flags: bit 0, in use |
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
//! What few nodes have lies in **side entries** on pages of their own, also of one size and numbered alike: the lists of
//! the layers above 0, one entry each, and TIDs of further rows with the same vector.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 4 | the node it belongs to |
//! | 4 | 2 | that node's generation |
//! | 6 | 1 | layer of the list; 255 for TIDs; 0 if free |
//! | 7 | 1 | number of nodes or TIDs in it |
//! | 8 | 4 | the next entry: of the layer above, or with more TIDs |
//! | 12 | 4 m, at least 60 | node numbers or TIDs |
//!
//! Bit 15 of a TID's offset marks a row that a scan has found dead to everybody.

use crate::storage::{Block, CAPACITY, Kind, Page, PageMut};
use pgrx::pg_sys;
use vs_graph::{Entry, NONE, NodeId};
use vs_quantize::{CodeRef, Header, Metric};

const CODE_HEADER: usize = 8;
const UPPER: usize = 20;
const OVERFLOW: usize = 24;
const INLINE: usize = 28;
const LIST: usize = 40;

/// TIDs in a slot.
pub const INLINE_TIDS: usize = 2;

/// The size of a TID.
const TID: usize = 6;

const SIDE_DATA: usize = 12;

/// [`SideRef::kind`] of an entry with TIDs.
pub const TIDS: u8 = 255;

/// A heap TID: block number above, offset in the low 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(pub u64);

impl Tid {
    const KILLED: u64 = 0x8000;

    /// From PostgreSQL's form.
    pub fn from_pointer(pointer: pg_sys::ItemPointerData) -> Self {
        let block = u64::from(pointer.ip_blkid.bi_hi) << 16 | u64::from(pointer.ip_blkid.bi_lo);
        Self(block << 16 | u64::from(pointer.ip_posid))
    }

    /// In PostgreSQL's form.
    pub fn to_pointer(self) -> pg_sys::ItemPointerData {
        let block = self.0 >> 16;
        pg_sys::ItemPointerData {
            ip_blkid: pg_sys::BlockIdData { bi_hi: (block >> 16) as u16, bi_lo: block as u16 },
            ip_posid: (self.0 & !Self::KILLED) as u16,
        }
    }

    /// Whether a scan found its row dead to everybody.
    pub fn is_killed(self) -> bool {
        self.0 & Self::KILLED != 0
    }

    /// The TID with that mark.
    pub fn killed(self) -> Self {
        Self(self.0 | Self::KILLED)
    }

    /// The TID without that mark.
    pub fn plain(self) -> Self {
        Self(self.0 & !Self::KILLED)
    }

    /// The page of the table.
    pub fn block(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// The row's number on that page.
    pub fn offset(self) -> u16 {
        self.plain().0 as u16
    }

    fn read(bytes: &[u8]) -> Self {
        let offset = u16::from_le_bytes([bytes[4], bytes[5]]);
        Self(u64::from(u32_at(bytes, 0)) << 16 | u64::from(offset))
    }

    fn write(self, bytes: &mut [u8]) {
        bytes[..4].copy_from_slice(&((self.0 >> 16) as u32).to_le_bytes());
        bytes[4..TID].copy_from_slice(&(self.0 as u16).to_le_bytes());
    }
}

impl std::fmt::Display for Tid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({},{})", self.block(), self.offset())
    }
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(NONE, |&word| u32::from_le_bytes(word))
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// The sizes that follow from the vectors' length and m.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    dims: usize,
    m: usize,
    slot: usize,
    per_page: usize,
    side: usize,
    sides_per_page: usize,
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
    /// The layout for vectors of `dims` dimensions; `None` if a node does not fit on a page.
    pub fn new(dims: usize, m: usize) -> Option<Self> {
        let slot = (LIST + 8 * m + dims).next_multiple_of(4);
        let side = SIDE_DATA + (4 * m).max(60).next_multiple_of(4);
        (slot <= CAPACITY).then(|| Self { dims, m, slot, per_page: CAPACITY / slot, side, sides_per_page: CAPACITY / side })
    }

    /// The longest vectors that fit with lists of `m`.
    pub fn max_dims(m: usize) -> usize {
        CAPACITY - LIST - 8 * m
    }

    /// The length of the vectors.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Neighbours chosen for a new node.
    pub fn m(&self) -> usize {
        self.m
    }

    /// Slots on a page.
    pub fn per_page(&self) -> usize {
        self.per_page
    }

    /// Side entries on a page.
    pub fn sides_per_page(&self) -> usize {
        self.sides_per_page
    }

    /// TIDs in a side entry.
    pub fn side_tids(&self) -> usize {
        (self.side - SIDE_DATA) / TID
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

    /// How far into the page's bytes slot `at` begins.
    #[inline]
    pub fn slot_offset(&self, at: usize) -> usize {
        at * self.slot
    }

    /// The slot `at` of a page, in use or not, if it has been written to.
    #[inline]
    pub fn slot<'a>(&self, page: Page<'a>, at: usize) -> Option<NodeRef<'a>> {
        if page.kind() != Some(Kind::Nodes) {
            return None;
        }
        let start = at * self.slot;
        let bytes = page.bytes().get(start..start + self.slot)?;
        Some(NodeRef { bytes, dims: self.dims, m: self.m })
    }

    /// The node in slot `at` of a page, if there is one.
    #[inline]
    pub fn node<'a>(&self, page: Page<'a>, at: usize) -> Option<NodeRef<'a>> {
        self.slot(page, at).filter(NodeRef::in_use)
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
        let freed = (0..written).find(|&at| self.slot(page, at).is_some_and(|node| !node.in_use()));
        freed.or((written < self.per_page).then_some(written))
    }

    /// Slot `at` for writing.
    pub fn node_mut<'a>(&self, page: &'a mut PageMut<'_>, at: usize) -> NodeMut<'a> {
        let start = at * self.slot;
        let bytes = &mut page.bytes_mut(start + self.slot)[start..];
        NodeMut { bytes: &mut bytes[..self.slot], m: self.m }
    }

    /// The side entry `at` of a page, if it has been written to.
    pub fn side<'a>(&self, page: Page<'a>, at: usize) -> Option<SideRef<'a>> {
        if page.kind() != Some(Kind::Side) {
            return None;
        }
        let start = at * self.side;
        Some(SideRef { bytes: page.bytes().get(start..start + self.side)? })
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
        SideMut { bytes: &mut bytes[..self.side] }
    }
}

/// A slot as it lies on a page.
#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    bytes: &'a [u8],
    dims: usize,
    m: usize,
}

impl<'a> NodeRef<'a> {
    /// Whether there is a node in it.
    #[inline]
    pub fn in_use(&self) -> bool {
        self.bytes[1] & 1 != 0
    }

    /// The highest layer the node is on.
    pub fn level(&self) -> u8 {
        self.bytes[0]
    }

    /// Goes up when the slot is freed.
    #[inline]
    pub fn generation(&self) -> u16 {
        u16_at(self.bytes, 2)
    }

    /// Goes up when a TID is taken out.
    pub fn removals(&self) -> u16 {
        u16_at(self.bytes, 6)
    }

    /// Whether it stands for a row.
    #[inline]
    pub fn live(&self) -> bool {
        self.bytes[5] != 0 || self.overflow() != NONE
    }

    /// The code.
    #[inline]
    pub fn code(&self) -> CodeRef<'a> {
        let header = self.bytes[CODE_HEADER..].first_chunk().map_or_else(Header::default, Header::from_bytes);
        let start = LIST + 8 * self.m;
        header.with(bytemuck_i8(&self.bytes[start..start + self.dims]))
    }

    /// The side entry with the list of layer 1.
    pub fn upper(&self) -> u32 {
        u32_at(self.bytes, UPPER)
    }

    /// The side entry with more TIDs.
    #[inline]
    pub fn overflow(&self) -> u32 {
        u32_at(self.bytes, OVERFLOW)
    }

    /// The number of TIDs in the slot as it is written, which may be wrong on a damaged page.
    pub fn inline_count(&self) -> usize {
        usize::from(self.bytes[5])
    }

    /// The TIDs in the slot.
    pub fn tids(&self) -> impl Iterator<Item = Tid> + use<'a> {
        let count = usize::from(self.bytes[5]).min(INLINE_TIDS);
        self.bytes[INLINE..INLINE + TID * count].chunks_exact(TID).map(Tid::read)
    }

    /// The length of the list of layer 0 as it is written, which may be wrong on a damaged page.
    pub fn degree(&self) -> usize {
        usize::from(self.bytes[4])
    }

    /// The list of layer 0.
    #[inline]
    pub fn list(&self) -> impl ExactSizeIterator<Item = NodeId> + use<'a> {
        let count = self.degree().min(2 * self.m);
        let (words, _) = self.bytes[LIST..LIST + 4 * count].as_chunks::<4>();
        words.iter().map(|&word| u32::from_le_bytes(word))
    }
}

/// Bytes as the signed numbers they are.
#[inline]
fn bytemuck_i8(bytes: &[u8]) -> &[i8] {
    // SAFETY: u8 and i8 have the same size and alignment, and every bit pattern is valid.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

/// A slot being written.
pub struct NodeMut<'a> {
    bytes: &'a mut [u8],
    m: usize,
}

impl NodeMut<'_> {
    /// Puts a node into the slot, without TIDs and neighbours. The generation stays.
    pub fn init(&mut self, level: u8, code: CodeRef<'_>) {
        self.bytes[0] = level;
        self.bytes[1] = 1;
        self.bytes[4..6].fill(0);
        self.bytes[CODE_HEADER..UPPER].copy_from_slice(&code.header.to_bytes());
        put_u32(self.bytes, UPPER, NONE);
        put_u32(self.bytes, OVERFLOW, NONE);
        self.bytes[INLINE..LIST + 8 * self.m].fill(0);
        let start = LIST + 8 * self.m;
        for (byte, &value) in self.bytes[start..].iter_mut().zip(code.values) {
            *byte = value as u8;
        }
    }

    /// Takes the node out of the slot.
    pub fn free(&mut self) {
        let generation = u16_at(self.bytes, 2).wrapping_add(1);
        self.bytes.fill(0);
        put_u16(self.bytes, 2, generation);
        put_u32(self.bytes, UPPER, NONE);
        put_u32(self.bytes, OVERFLOW, NONE);
    }

    /// Sets the error bound.
    pub fn set_error(&mut self, error: f32) {
        self.bytes[CODE_HEADER + 8..CODE_HEADER + 12].copy_from_slice(&error.to_le_bytes());
    }

    /// Sets the side entry with the list of layer 1.
    pub fn set_upper(&mut self, side: u32) {
        put_u32(self.bytes, UPPER, side);
    }

    /// Sets the side entry with more TIDs.
    pub fn set_overflow(&mut self, side: u32) {
        put_u32(self.bytes, OVERFLOW, side);
    }

    /// Replaces the TIDs in the slot.
    pub fn set_tids(&mut self, tids: impl Iterator<Item = Tid>) {
        let mut count = 0;
        for (bytes, tid) in self.bytes[INLINE..LIST].chunks_exact_mut(TID).zip(tids) {
            tid.write(bytes);
            count += 1;
        }
        self.bytes[5] = count;
    }

    /// Notes that a TID was taken out.
    pub fn note_removal(&mut self) {
        let removals = u16_at(self.bytes, 6).wrapping_add(1);
        put_u16(self.bytes, 6, removals);
    }

    /// Replaces the list of layer 0. Members that stay keep their place, so that little is logged.
    pub fn set_list(&mut self, new: &[NodeId]) {
        let count = usize::from(self.bytes[4]).min(2 * self.m);
        put_list(&mut self.bytes[LIST..LIST + 8 * self.m], count, new);
        self.bytes[4] = new.len() as u8;
    }
}

/// Overwrites a list of `count` members by `new`; members that stay keep their place.
fn put_list(bytes: &mut [u8], count: usize, new: &[NodeId]) {
    let (words, _) = bytes.as_chunks_mut::<4>();
    let old = count.min(new.len());
    let mut taken = [0u64; 4];
    // A place keeps its member if that is in the new list and has not kept another place before.
    for (at, word) in words[..old].iter().enumerate() {
        let id = u32::from_le_bytes(*word);
        let earlier = words[..at].iter().any(|other| other == word);
        if !earlier && new.contains(&id) {
            taken[at / 64] |= 1 << (at % 64);
        }
    }
    let kept = |at: usize| taken[at / 64] >> (at % 64) & 1 != 0;
    let stays = |id: NodeId| words[..old].iter().enumerate().any(|(at, word)| kept(at) && u32::from_le_bytes(*word) == id);
    let mut fresh = Vec::with_capacity(new.len());
    fresh.extend(new.iter().copied().filter(|&id| !stays(id)));
    let mut fresh = fresh.into_iter();
    for at in 0..new.len() {
        if (at >= old || !kept(at))
            && let Some(id) = fresh.next()
        {
            words[at] = id.to_le_bytes();
        }
    }
}

/// A side entry as it lies on a page.
#[derive(Clone, Copy)]
pub struct SideRef<'a> {
    bytes: &'a [u8],
}

impl<'a> SideRef<'a> {
    /// The node it belongs to.
    pub fn owner(&self) -> NodeId {
        u32_at(self.bytes, 0)
    }

    /// The generation of that node.
    pub fn generation(&self) -> u16 {
        u16_at(self.bytes, 4)
    }

    /// The layer of the list in it, [`TIDS`], or 0 if it is free.
    pub fn kind(&self) -> u8 {
        self.bytes[6]
    }

    /// Whether it is `kind` and belongs to that node.
    pub fn is(&self, owner: NodeId, generation: u16, kind: u8) -> bool {
        self.kind() == kind && self.owner() == owner && self.generation() == generation
    }

    /// The entry after it.
    pub fn next(&self) -> u32 {
        u32_at(self.bytes, 8)
    }

    /// The number of members.
    pub fn count(&self) -> usize {
        usize::from(self.bytes[7])
    }

    /// The list in it.
    pub fn list(&self) -> impl ExactSizeIterator<Item = NodeId> + use<'a> {
        let data = &self.bytes[SIDE_DATA..];
        let (words, _) = data[..(4 * self.count()).min(data.len())].as_chunks::<4>();
        words.iter().map(|&word| u32::from_le_bytes(word))
    }

    /// The TIDs in it.
    pub fn tids(&self) -> impl Iterator<Item = Tid> + use<'a> {
        self.bytes[SIDE_DATA..].chunks_exact(TID).take(self.count()).map(Tid::read)
    }
}

/// A side entry being written.
pub struct SideMut<'a> {
    bytes: &'a mut [u8],
}

impl SideMut<'_> {
    /// Makes it an empty one of `kind` that belongs to a node.
    pub fn init(&mut self, owner: NodeId, generation: u16, kind: u8, next: u32) {
        self.bytes.fill(0);
        put_u32(self.bytes, 0, owner);
        put_u16(self.bytes, 4, generation);
        self.bytes[6] = kind;
        put_u32(self.bytes, 8, next);
    }

    /// Frees it.
    pub fn free(&mut self) {
        self.bytes.fill(0);
    }

    /// Sets the entry after it.
    pub fn set_next(&mut self, next: u32) {
        put_u32(self.bytes, 8, next);
    }

    /// Replaces the list. Members that stay keep their place.
    pub fn set_list(&mut self, new: &[NodeId]) {
        let count = usize::from(self.bytes[7]).min((self.bytes.len() - SIDE_DATA) / 4);
        put_list(&mut self.bytes[SIDE_DATA..], count, new);
        self.bytes[7] = new.len() as u8;
    }

    /// Replaces the TIDs.
    pub fn set_tids(&mut self, tids: impl Iterator<Item = Tid>) {
        let mut count = 0;
        for (bytes, tid) in self.bytes[SIDE_DATA..].chunks_exact_mut(TID).zip(tids) {
            tid.write(bytes);
            count += 1;
        }
        self.bytes[7] = count;
    }
}

/// The metapage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// What distances are.
    pub metric: Metric,
    /// Neighbours chosen for a new node.
    pub m: usize,
    /// Candidates they are chosen from.
    pub ef_construction: usize,
    /// The length of the vectors.
    pub dims: usize,
    /// The model tag of the vectors; 0 while there is none with a tag.
    pub tag: u32,
    /// Where searches start.
    pub entry: Option<Entry>,
    /// The first of the side pages with free entries, each linked to the next; [`NONE`] if there is none.
    pub side: Block,
}

impl Meta {
    /// Bytes of the metapage in use; what is not named is zero and kept for later versions (a centroid's block).
    const SIZE: usize = 64;

    /// Reads it.
    pub fn read(page: Page<'_>) -> Option<Self> {
        if page.kind() != Some(Kind::Meta) {
            return None;
        }
        let bytes = page.bytes().get(..Self::SIZE)?;
        let metric = match bytes[0] {
            1 => Metric::L2,
            2 => Metric::Cosine,
            3 => Metric::InnerProduct,
            _ => return None,
        };
        let id = u32_at(bytes, 16);
        Some(Self {
            metric,
            m: usize::from(u16_at(bytes, 2)),
            ef_construction: usize::from(u16_at(bytes, 4)),
            dims: usize::from(u16_at(bytes, 6)),
            tag: u32_at(bytes, 8),
            entry: (id != NONE).then_some(Entry { id, level: bytes[1] }),
            side: u32_at(bytes, 12),
        })
    }

    /// Writes it to a page of its kind.
    pub fn write(&self, page: &mut PageMut<'_>) {
        let bytes = page.bytes_mut(Self::SIZE);
        bytes[0] = match self.metric {
            Metric::L2 => 1,
            Metric::Cosine => 2,
            Metric::InnerProduct => 3,
        };
        bytes[1] = self.entry.map_or(0, |entry| entry.level);
        put_u16(bytes, 2, self.m as u16);
        put_u16(bytes, 4, self.ef_construction as u16);
        put_u16(bytes, 6, self.dims as u16);
        put_u32(bytes, 8, self.tag);
        put_u32(bytes, 12, self.side);
        put_u32(bytes, 16, self.entry.map_or(NONE, |entry| entry.id));
    }
}
