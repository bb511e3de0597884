//! The metapage.

use super::slots::{put_u16, put_u32, u16_at, u32_at};
use crate::storage::{Block, Kind, Page, PageMut};
use vs_graph::{Entry, NONE};
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
    /// The length of the vectors; 0 if the column does not say and there has been none yet.
    pub dims: usize,
    /// The model tag of the vectors; 0 while there is none with a tag.
    pub tag: u32,
    /// Where searches start.
    pub entry: Option<Entry>,
    /// The first of the side pages with free entries, each linked to the next; [`NONE`] if there is none.
    pub side: Block,
    /// The first of the pages with room for rows without a place in the graph, each linked to the next; 0 if there is none.
    pub unplaced: Block,
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
            unplaced: u32_at(bytes, 52),
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
        put_u32(bytes, 52, self.unplaced);
        put_u32(bytes, 16, self.entry.map_or(NONE, |entry| entry.id));
    }
}
