//! Slots of nodes and side entries, field by field; where each field lies is told in [`super::layout`].

use super::tid::{TID, Tid};
use vs_filter::{Keys, SIGNED, Signature};
use vs_graph::{MAX_LEVEL, NONE, NodeId};
use vs_quantize::{CodeRef, Header};

/// What byte 1 of a slot is if there is a node in it: nothing that other bytes are likely to be.
const IN_USE: u8 = 0xA7;

const CODE_HEADER: usize = 8;
const UPPER: usize = 20;
const OVERFLOW: usize = 24;
const INLINE: usize = 28;
/// Where the list of layer 0 begins; after it come signatures and keys, and the code.
pub(super) const LIST: usize = 40;

/// Where the parts of a slot lie whose size depends on the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub(super) dims: usize,
    pub(super) m: usize,
    pub(super) columns: usize,
    /// Signatures beside each neighbour: one for each of the first key columns.
    pub(super) signed: usize,
    pub(super) keys_at: usize,
    pub(super) code_at: usize,
}

impl Shape {
    /// The shape for vectors of `dims` dimensions, lists of `m`, and so many key columns.
    pub(super) fn new(dims: usize, m: usize, columns: usize) -> Self {
        let signed = columns.min(SIGNED);
        let keys_at = LIST + (8 + 2 * signed) * m;
        Self { dims, m, columns, signed, keys_at, code_at: keys_at + Keys::size(columns) }
    }

    /// Where the signatures begin.
    fn signatures_at(&self) -> usize {
        LIST + 8 * self.m
    }
}

/// TIDs in a slot.
pub const INLINE_TIDS: usize = 2;

/// Where the members of a side entry begin.
pub(super) const SIDE_DATA: usize = 12;

/// [`SideRef::kind`] of an entry with TIDs.
pub const TIDS: u8 = 255;

/// [`SideRef::kind`] of an entry with TIDs of rows that have the very same vector, whose digest stands before them. All
/// entries behind it in its chain are of that kind, with that digest.
pub const ALIKE: u8 = 254;

/// The size of a digest.
const DIGEST: usize = 8;

/// The word at `at`, [`NONE`] where there is none.
#[inline]
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(NONE, |&word| u32::from_le_bytes(word))
}

/// The half-word at `at`.
#[inline]
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Writes a word.
pub fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Writes a half-word.
pub fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// A slot as it lies on a page.
#[derive(Clone, Copy)]
pub struct NodeRef<'a> {
    bytes: &'a [u8],
    shape: Shape,
}

impl<'a> NodeRef<'a> {
    /// The slot that lies in `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8], shape: Shape) -> Self {
        Self { bytes, shape }
    }

    /// Whether there is a node in it.
    #[inline]
    pub fn in_use(&self) -> bool {
        self.bytes[1] == IN_USE
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

    /// Whether a slot without a node is as [`NodeMut::free`] leaves it.
    pub fn is_clear(&self) -> bool {
        let zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
        zero(&self.bytes[..2])
            && zero(&self.bytes[4..UPPER])
            && self.upper() == NONE
            && self.overflow() == NONE
            && zero(&self.bytes[INLINE..])
    }

    /// Whether its lengths are such as can be, and the code is the one that its header was computed from. Each byte of the
    /// code counts; the list may name any nodes.
    pub fn is_sound(&self) -> bool {
        self.has_sound_lengths() && self.keys().is_sound(self.shape.columns) && self.code().is_sound()
    }

    /// Whether its level and its lengths can be.
    pub fn has_sound_lengths(&self) -> bool {
        self.level() <= MAX_LEVEL
            && self.inline_count() <= INLINE_TIDS
            && self.degree() <= 2 * self.shape.m
            && (!self.live() || (self.level() > 0) == (self.upper() != NONE))
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
        let start = self.shape.code_at;
        header.with(bytemuck_i8(&self.bytes[start..start + self.shape.dims]))
    }

    /// The words of the key columns.
    #[inline]
    pub fn keys(&self) -> Keys<'a> {
        Keys::new(&self.bytes[self.shape.keys_at..self.shape.code_at])
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
        let count = self.degree().min(2 * self.shape.m);
        let (words, _) = self.bytes[LIST..LIST + 4 * count].as_chunks::<4>();
        words.iter().map(|&word| u32::from_le_bytes(word))
    }

    /// The list of layer 0 with the signatures of its members, as many as the index has for each.
    #[inline]
    pub fn signed_list(&self) -> impl Iterator<Item = (NodeId, &'a [u8])> + use<'a> {
        let (start, signed) = (self.shape.signatures_at(), self.shape.signed);
        let signatures = &self.bytes[start..start + 2 * self.shape.m * signed];
        self.list().zip(signatures.chunks_exact(signed.max(1)))
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
    shape: Shape,
}

impl<'a> NodeMut<'a> {
    /// The slot that lies in `bytes`.
    pub fn new(bytes: &'a mut [u8], shape: Shape) -> Self {
        Self { bytes, shape }
    }

    /// Puts a node into the slot, without TIDs and neighbours. The generation stays.
    pub fn init(&mut self, level: u8, code: CodeRef<'_>, keys: Keys<'_>) {
        self.bytes[0] = level;
        self.bytes[1] = IN_USE;
        self.bytes[4..6].fill(0);
        self.bytes[CODE_HEADER..UPPER].copy_from_slice(&code.header.to_bytes());
        put_u32(self.bytes, UPPER, NONE);
        put_u32(self.bytes, OVERFLOW, NONE);
        let Shape { keys_at, code_at, .. } = self.shape;
        self.bytes[INLINE..keys_at].fill(0);
        self.bytes[keys_at..code_at].copy_from_slice(keys.bytes());
        for (byte, &value) in self.bytes[code_at..].iter_mut().zip(code.values) {
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

    /// Replaces the list of layer 0. Members that stay keep their place and their signature, so that little is logged;
    /// `sign` tells the signatures of others.
    pub fn set_list(&mut self, new: &[NodeId], sign: impl Fn(NodeId) -> Signature) {
        let Shape { m, signed, keys_at, .. } = self.shape;
        let count = usize::from(self.bytes[4]).min(2 * m);
        let (list, signatures) = self.bytes[LIST..keys_at].split_at_mut(8 * m);
        put_list(list, count, new, |at, id| {
            if signed > 0 {
                signatures[at * signed..(at + 1) * signed].copy_from_slice(&sign(id)[..signed]);
            }
        });
        self.bytes[4] = new.len() as u8;
    }
}

/// Overwrites a list of `count` members by `new`; members that stay keep their place. Calls `put` with the places of the
/// others.
fn put_list(bytes: &mut [u8], count: usize, new: &[NodeId], mut put: impl FnMut(usize, NodeId)) {
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
    let stays =
        |id: NodeId| words[..old].iter().enumerate().any(|(at, word)| kept(at) && u32::from_le_bytes(*word) == id);
    let mut fresh = Vec::with_capacity(new.len());
    fresh.extend(new.iter().copied().filter(|&id| !stays(id)));
    let mut fresh = fresh.into_iter();
    for (at, word) in words[..new.len()].iter_mut().enumerate() {
        if (at >= old || !kept(at))
            && let Some(id) = fresh.next()
        {
            *word = id.to_le_bytes();
            put(at, id);
        }
    }
}

/// A side entry as it lies on a page.
#[derive(Clone, Copy)]
pub struct SideRef<'a> {
    bytes: &'a [u8],
}

impl<'a> SideRef<'a> {
    /// The entry that lies in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

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

    /// Whether it is `kind` and belongs to that node; with [`TIDS`], whether there are rows in it, alike or not.
    pub fn is(&self, owner: NodeId, generation: u16, kind: u8) -> bool {
        let of_kind = self.kind() == kind || kind == TIDS && self.kind() == ALIKE;
        of_kind && self.owner() == owner && self.generation() == generation
    }

    /// Whether there are rows in it.
    pub fn has_rows(&self) -> bool {
        self.kind() >= ALIKE
    }

    /// The digest of the vector that all of its rows, and all behind it, have; `None` if they may differ.
    pub fn digest(&self) -> Option<u64> {
        let bytes = self.bytes[SIDE_DATA..].first_chunk::<DIGEST>()?;
        (self.kind() == ALIKE).then(|| u64::from_le_bytes(*bytes))
    }

    /// The rows it has room for.
    pub fn capacity(&self) -> usize {
        (self.bytes.len() - rows_at(self.kind())) / TID
    }

    /// Whether it is free and blank, or of a kind that there is with no more in it than has room: rows, or lists of `m` nodes.
    pub fn is_sound(&self, m: usize) -> bool {
        match self.kind() {
            0 => self.bytes.iter().all(|&byte| byte == 0),
            TIDS | ALIKE => self.count() <= self.capacity(),
            layer => layer <= MAX_LEVEL && self.count() <= m,
        }
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
        self.bytes[rows_at(self.kind())..].chunks_exact(TID).take(self.count()).map(Tid::read)
    }
}

/// Where the rows of an entry of `kind` begin.
pub(super) fn rows_at(kind: u8) -> usize {
    if kind == ALIKE { SIDE_DATA + DIGEST } else { SIDE_DATA }
}

/// A side entry being written.
pub struct SideMut<'a> {
    bytes: &'a mut [u8],
}

impl<'a> SideMut<'a> {
    /// The entry that lies in `bytes`.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes }
    }

    /// Makes it an empty one of `kind` that belongs to a node.
    pub fn init(&mut self, owner: NodeId, generation: u16, kind: u8, next: u32) {
        self.bytes.fill(0);
        put_u32(self.bytes, 0, owner);
        put_u16(self.bytes, 4, generation);
        self.bytes[6] = kind;
        put_u32(self.bytes, 8, next);
    }

    /// Makes it an empty one for rows of a node; alike if there is a digest.
    pub fn init_rows(&mut self, owner: NodeId, generation: u16, digest: Option<u64>, next: u32) {
        self.init(owner, generation, if digest.is_some() { ALIKE } else { TIDS }, next);
        if let Some(digest) = digest {
            self.bytes[SIDE_DATA..SIDE_DATA + DIGEST].copy_from_slice(&digest.to_le_bytes());
        }
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
        put_list(&mut self.bytes[SIDE_DATA..], count, new, |_, _| {});
        self.bytes[7] = new.len() as u8;
    }

    /// Replaces the TIDs.
    pub fn set_tids(&mut self, tids: impl Iterator<Item = Tid>) {
        let mut count = 0;
        let at = rows_at(self.bytes[6]);
        for (bytes, tid) in self.bytes[at..].chunks_exact_mut(TID).zip(tids) {
            tid.write(bytes);
            count += 1;
        }
        self.bytes[7] = count;
    }
}
