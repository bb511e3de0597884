//! The metapage.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 1 | the distance |
//! | 1 | 1 | the layer that searches start on |
//! | 2 | 2 | m |
//! | 4 | 2 | ef_construction |
//! | 6 | 2 | dims |
//! | 8 | 4 | model tag |
//! | 12 | 4 | the first side page with room |
//! | 16 | 4 | the node that searches start at |
//! | 20 | 32 | the number of key columns, and the kind of each |
//! | 52 | 4 | the first page with room for rows without a place in the graph; 0 if there never was one, 2³² − 1 if all are full |
//! | 56 | 4 | live nodes when all were last made reachable |
//! | 60 | 4 | checksum of all other bytes in use, never 0 |
//! | 64 | | the cuts of the key columns, if there are any; then what few indexes need (`binder`, `other_length`) |
//!
//! Numbers that are wrong here make the whole index wrong, and nothing else on the pages would tell, hence the checksum.
//! Indexes made before there was one have zeros from 20 on, **all** of them: a page that only lost its checksum has
//! something else there, or something else wrong.

use super::slots::{put_u16, put_u32, u16_at, u32_at};
use crate::index::keys::Kinds;
use crate::index::plan::options::MAX_M;
use crate::storage::{Block, Kind, Page, PageMut};
use vs_filter::{Coarse, Cuts, MAX_COLUMNS, SIGNED};
use vs_graph::{Entry, MAX_LEVEL, NONE};
use vs_quantize::Metric;

/// The metapage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// What distances are.
    pub metric: Metric,
    /// Neighbours chosen for a new node.
    pub m: usize,
    /// Candidates they are chosen from.
    pub ef_construction: usize,
    /// The length of the vectors in the graph; 0 if the column does not say and there has been none yet.
    pub dims: usize,
    /// The model tag of the vectors; 0 while there is none with a tag.
    pub tag: u32,
    /// The transaction, with its epoch, without whose deletions the index would be bound to another length or model; 0 if
    /// there is none.
    pub binder: u64,
    /// The length of the vectors that there are, if it is not that of the graph; else 0.
    pub other_length: usize,
    /// Where searches start.
    pub entry: Option<Entry>,
    /// The first of the side pages with free entries, each linked to the next; [`NONE`] if there is none.
    pub side: Block,
    /// The first of the pages with room for rows without a place in the graph, each linked to the next; 0 if there
    /// never was one.
    pub unplaced: Block,
    /// What the key columns hold.
    pub kinds: Kinds,
    /// How many live nodes there were when all of them were last made reachable; 0 if that is not known.
    pub connected: u32,
}

/// Where [`Meta::connected`] is.
const CONNECTED: usize = 56;

/// Where the checksum is.
const CHECKSUM: usize = 60;

/// What was added after the first version begins here.
const ADDED: usize = 20;

/// The checksum of a metapage's bytes in use, without the place for it: FNV-1a (Fowler, Noll & Vo) by words of eight bytes,
/// folded after each so that every bit reaches every lower one too.
fn checksum(bytes: &[u8]) -> u32 {
    let around = bytes[..CHECKSUM].chunks(8).chain(bytes[CHECKSUM + 4..].chunks(8));
    let hash = around.fold(0xcbf2_9ce4_8422_2325u64, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let mixed = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3);
        mixed ^ mixed >> 32
    });
    (hash as u32).max(1)
}

/// Where the number of key columns is, and after it the kind of each.
const KINDS: usize = 20;

/// Where the cuts of the key columns are, if there are key columns: how many each of the first [`SIGNED`] has, and all of
/// them, a word each.
const CUTS: usize = Meta::SIZE;
const CUT_WORDS: usize = CUTS + 2 * SIGNED;

/// Bytes of what few indexes need: the binder, the other length, and six of nothing.
const RARE: usize = 16;

impl Meta {
    /// Bytes of the metapage in use; what is not named is zero and kept for later versions (a centroid's block).
    const SIZE: usize = 64;

    /// Reads it.
    pub fn read(page: Page<'_>) -> Option<Self> {
        if page.kind() != Some(Kind::Meta) {
            return None;
        }
        let bytes = page.bytes();
        if bytes.len() < Self::SIZE {
            return None;
        }
        let older = bytes[ADDED..].iter().all(|&byte| byte == 0);
        if !older && u32_at(bytes, CHECKSUM) != checksum(bytes) {
            return None;
        }
        let metric = match bytes[0] {
            1 => Metric::L2,
            2 => Metric::Cosine,
            3 => Metric::InnerProduct,
            _ => return None,
        };
        let id = u32_at(bytes, 16);
        let mut meta = Self {
            metric,
            m: usize::from(u16_at(bytes, 2)),
            ef_construction: usize::from(u16_at(bytes, 4)),
            dims: usize::from(u16_at(bytes, 6)),
            tag: u32_at(bytes, 8),
            binder: 0,
            other_length: 0,
            entry: (id != NONE).then_some(Entry { id, level: bytes[1] }),
            side: u32_at(bytes, 12),
            connected: u32_at(bytes, CONNECTED),
            unplaced: u32_at(bytes, 52),
            kinds: Kinds::stored(bytes[KINDS], &bytes[KINDS + 1..KINDS + 1 + MAX_COLUMNS])?,
        };
        let sensible = (2..=MAX_M as usize).contains(&meta.m)
            && meta.ef_construction > 0
            && meta.dims <= vs_quantize::MAX_DIMS
            && meta.entry.is_none_or(|entry| entry.level <= MAX_LEVEL && meta.dims > 0);
        let rare = bytes.get(meta.rare_at(page)..).unwrap_or_default();
        meta.binder = rare.first_chunk().map_or(0, |&word| u64::from_le_bytes(word));
        meta.other_length = if rare.len() < RARE { 0 } else { usize::from(u16_at(rare, 8)) };
        sensible.then_some(meta)
    }

    /// Writes the checksum: the last thing whenever anything on a metapage was changed.
    fn seal(page: &mut PageMut<'_>) {
        let len = page.as_page().bytes().len();
        let bytes = page.bytes_mut(len);
        let sum = checksum(bytes);
        put_u32(bytes, CHECKSUM, sum);
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
        put_u32(bytes, 52, self.unplaced);
        put_u32(bytes, 16, self.entry.map_or(NONE, |entry| entry.id));
        bytes[KINDS] = self.kinds.len() as u8;
        bytes[KINDS + 1..KINDS + 1 + MAX_COLUMNS].copy_from_slice(self.kinds.numbers());
        put_u32(bytes, CONNECTED, self.connected);
        self.write_rare(page);
        Self::seal(page);
    }

    /// Where that is which few indexes need: after the cuts of the key columns, if there are any.
    fn rare_at(&self, page: Page<'_>) -> usize {
        if self.kinds.len() == 0 {
            return Self::SIZE;
        }
        let counts = page.bytes().get(CUTS..CUT_WORDS).unwrap_or(&[0; 2 * SIGNED]);
        let columns = self.kinds.len().min(SIGNED);
        CUT_WORDS + (0..columns).map(|column| 8 * usize::from(u16_at(counts, 2 * column))).sum::<usize>()
    }

    /// Writes what few indexes need, unless it is nothing and never was anything.
    fn write_rare(&self, page: &mut PageMut<'_>) {
        let at = self.rare_at(page.as_page());
        if self.binder != 0 || self.other_length != 0 || page.as_page().bytes().len() > at {
            let end = at + RARE;
            if let Some(bytes) = page.bytes_mut(end).get_mut(at..end) {
                bytes[..8].copy_from_slice(&self.binder.to_le_bytes());
                put_u16(bytes, 8, self.other_length as u16);
            }
        }
    }

    /// The length of the vectors that there are; 0 if there have been none yet.
    pub fn length(&self) -> usize {
        if self.other_length == 0 { self.dims } else { self.other_length }
    }

    /// How the signatures of the key columns are made; `None` if what is on the page makes no sense.
    pub fn read_coarse(&self, page: Page<'_>) -> Option<Vec<Coarse>> {
        let bytes = page.bytes();
        let mut at = CUT_WORDS;
        let mut coarse = Vec::new();
        for (column, kind) in self.kinds.iter().take(SIGNED).enumerate() {
            // An index made empty has none.
            let count = if bytes.len() < CUT_WORDS { 0 } else { usize::from(u16_at(bytes, CUTS + 2 * column)) };
            let words = bytes.get(at..at + 8 * count).unwrap_or_default();
            let (words, _) = words.as_chunks::<8>();
            at += 8 * count;
            let cuts = (words.len() == count).then(|| words.iter().map(|&word| u64::from_le_bytes(word)).collect())?;
            coarse.push(kind.coarse(Cuts::stored(cuts)?));
        }
        Some(coarse)
    }

    /// Writes the cuts of the key columns, once and for all.
    pub fn write_cuts(&self, page: &mut PageMut<'_>, cuts: &[Cuts]) {
        if self.kinds.len() == 0 {
            return;
        }
        let words = cuts.iter().take(SIGNED).map(|cuts| cuts.words());
        let count: usize = words.clone().map(<[u64]>::len).sum();
        let bytes = page.bytes_mut(CUT_WORDS + 8 * count);
        let mut at = CUT_WORDS;
        for (column, words) in words.enumerate() {
            put_u16(bytes, CUTS + 2 * column, words.len() as u16);
            for word in words {
                bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
                at += 8;
            }
        }
        Self::seal(page);
    }
}
