//! The table that an index is on, as far as the index needs to know: how long it is.

use super::Block;
use pgrx::pg_sys;
use std::cell::Cell;

/// An open table.
pub struct TableLength {
    relation: pg_sys::Relation,
    /// The number of pages when it was last asked for; it does not go down while a scan has the table locked.
    blocks: Cell<Block>,
}

impl TableLength {
    /// Of an open table.
    ///
    /// # Safety
    /// It must be valid, and stay open and locked for as long as the value is used.
    pub unsafe fn of(relation: pg_sys::Relation) -> Self {
        Self { relation, blocks: Cell::new(0) }
    }

    /// Whether the table has page `block`.
    #[inline]
    pub fn has(&self, block: Block) -> bool {
        block < self.blocks.get() || {
            // SAFETY: the relation is open.
            let blocks =
                unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM) };
            self.blocks.set(blocks);
            block < blocks
        }
    }
}
