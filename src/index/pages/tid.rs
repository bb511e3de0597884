//! Addresses of rows in the table.

use super::slots::u32_at;
use crate::storage::PAGE_SIZE;
use pgrx::pg_sys;

/// The size of a TID on a page.
pub const TID: usize = 6;

/// A heap TID: block number above, offset in the low 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(pub u64);

impl Tid {
    const KILLED: u64 = 0x8000;
    const MARK: u64 = 0x4000;
    const MARK2: u64 = 0x2000;

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

    /// Whether a row can have that address: rows are numbered from 1 on, and there are fewer on a page than it has bytes.
    pub fn is_possible(self) -> bool {
        (1..=PAGE_SIZE as u16).contains(&self.offset())
    }

    /// Whether it carries the mark of its page, whatever that means there.
    pub fn is_marked(self) -> bool {
        self.0 & Self::MARK != 0
    }

    /// The TID with that mark.
    pub fn marked(self) -> Self {
        Self(self.0 | Self::MARK)
    }

    /// The TID without that mark.
    pub fn unmarked(self) -> Self {
        Self(self.0 & !(Self::MARK | Self::MARK2))
    }

    /// Whether it bears a second mark.
    pub fn is_marked2(self) -> bool {
        self.0 & Self::MARK2 != 0
    }

    /// The TID with a second mark.
    pub fn marked2(self) -> Self {
        Self(self.0 | Self::MARK2)
    }

    /// The page of the table.
    pub fn block(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// The row's number on that page.
    pub fn offset(self) -> u16 {
        self.plain().0 as u16
    }

    /// From a page.
    pub fn read(bytes: &[u8]) -> Self {
        let offset = u16::from_le_bytes([bytes[4], bytes[5]]);
        Self(u64::from(u32_at(bytes, 0)) << 16 | u64::from(offset))
    }

    /// To a page.
    pub fn write(self, bytes: &mut [u8]) {
        bytes[..4].copy_from_slice(&((self.0 >> 16) as u32).to_le_bytes());
        bytes[4..TID].copy_from_slice(&(self.0 as u16).to_le_bytes());
    }
}

impl std::fmt::Display for Tid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({},{})", self.block(), self.offset())
    }
}
