//! The frame of a page: PostgreSQL's header, the index's bytes, and a special area that says what kind of page it is.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 24 | PostgreSQL's page header |
//! | 24 | up to 8,160 | the index's bytes, as far as `pd_lower`; nothing beyond |
//! | 8,184 | 2 | magic number |
//! | 8,186 | 1 | format version |
//! | 8,187 | 1 | [`Kind`] |
//! | 8,188 | 4 | [`link`](Page::link): a block number for the index's use |
//!
//! `pd_lower` always points past the last byte in use and `pd_upper` at the special area. Generic WAL counts on that: it
//! neither logs nor restores what lies between. A page of zeros is legal anywhere: a crash between extending the file
//! and the first record for the new page leaves one.

use pgrx::pg_sys;

/// The size of a page.
pub const PAGE_SIZE: usize = pg_sys::BLCKSZ as usize;

/// PostgreSQL's page header.
pub(super) const HEADER: usize = std::mem::offset_of!(pg_sys::PageHeaderData, pd_linp);

/// The special area.
const SPECIAL: usize = 8;

/// Where the special area starts.
const SPECIAL_OFFSET: usize = PAGE_SIZE - SPECIAL;

/// Bytes of a page that an index can use.
pub const CAPACITY: usize = PAGE_SIZE - HEADER - SPECIAL;

const LOWER: usize = std::mem::offset_of!(pg_sys::PageHeaderData, pd_lower);
const UPPER: usize = std::mem::offset_of!(pg_sys::PageHeaderData, pd_upper);

/// "VS".
const MAGIC: u16 = 0x5653;
const VERSION: u8 = 1;

const _: () = assert!(HEADER == 24 && PAGE_SIZE == 8192);

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The index's own data, block 0.
    Meta = 1,
    /// Slots of nodes.
    Nodes = 2,
    /// Entries that belong to nodes on other pages.
    Side = 3,
    /// Addresses of rows without a node.
    Unplaced = 4,
    /// Signatures of nodes on the pages that follow.
    Map = 5,
}

fn word(bytes: &[u8; PAGE_SIZE], at: usize) -> usize {
    usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]))
}

/// A page being read.
#[derive(Clone, Copy)]
pub struct Page<'a>(pub(super) &'a [u8; PAGE_SIZE]);

impl<'a> Page<'a> {
    /// Whether nothing was ever written to it.
    pub fn is_new(self) -> bool {
        word(self.0, UPPER) == 0
    }

    /// What it holds; `None` for a new page and for one that is not ours.
    #[inline]
    pub fn kind(self) -> Option<Kind> {
        let special = &self.0[SPECIAL_OFFSET..];
        if u16::from_le_bytes([special[0], special[1]]) != MAGIC || special[2] != VERSION {
            return None;
        }
        match special[3] {
            1 => Some(Kind::Meta),
            2 => Some(Kind::Nodes),
            3 => Some(Kind::Side),
            4 => Some(Kind::Unplaced),
            5 => Some(Kind::Map),
            _ => None,
        }
    }

    /// The block number in the special area.
    pub fn link(self) -> u32 {
        let special = &self.0[SPECIAL_OFFSET..];
        u32::from_le_bytes([special[4], special[5], special[6], special[7]])
    }

    /// The bytes in use.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        &self.0[HEADER..word(self.0, LOWER).clamp(HEADER, SPECIAL_OFFSET)]
    }

    /// All bytes that an index can use. Those that are not in use are zero: a page begins so, and generic WAL restores it
    /// so.
    #[inline]
    pub fn body(self) -> &'a [u8; CAPACITY] {
        // The range has that length.
        self.0[HEADER..].first_chunk().unwrap_or(&[0; CAPACITY])
    }

    /// The header's fields agree with each other: what a check of the index verifies.
    pub fn is_sound(self) -> bool {
        let (lower, upper) = (word(self.0, LOWER), word(self.0, UPPER));
        (HEADER..=SPECIAL_OFFSET).contains(&lower) && upper == SPECIAL_OFFSET
    }
}

/// A page being changed.
pub struct PageMut<'a>(pub(super) &'a mut [u8; PAGE_SIZE]);

impl PageMut<'_> {
    /// Makes it an empty page of `kind`.
    pub fn init(&mut self, kind: Kind, link: u32) {
        // SAFETY: the array is a page, and PageInit writes no further than its size.
        unsafe { pg_sys::PageInit(self.0.as_mut_ptr().cast(), PAGE_SIZE, SPECIAL) };
        let special = &mut self.0[SPECIAL_OFFSET..];
        special[..2].copy_from_slice(&MAGIC.to_le_bytes());
        special[2] = VERSION;
        special[3] = kind as u8;
        special[4..].copy_from_slice(&link.to_le_bytes());
    }

    /// Sets the block number in the special area.
    pub fn set_link(&mut self, link: u32) {
        self.0[SPECIAL_OFFSET + 4..].copy_from_slice(&link.to_le_bytes());
    }

    /// As it reads.
    pub fn as_page(&self) -> Page<'_> {
        Page(self.0)
    }

    /// Its bytes as far as `len`, which from now on are in use, if they were not.
    pub fn bytes_mut(&mut self, len: usize) -> &mut [u8] {
        let end = HEADER + len.min(CAPACITY);
        if word(self.0, LOWER) < end {
            self.0[LOWER..LOWER + 2].copy_from_slice(&(end as u16).to_ne_bytes());
        }
        &mut self.0[HEADER..end]
    }
}
