//! Every page of an index, in the order of the file.
//!
//! A sweep reads as a sequential scan of a table does: an index that is large against the buffer pool goes through a small
//! ring of buffers, so that one sweep does not throw out what other sessions use, and its pages are asked for ahead of
//! time. A smaller one is read through the session's hints and stays in memory.

use super::Block;
use super::buffer::{Hints, Index, Shared};
use pgrx::pg_sys;

/// Pages asked for ahead of the one that is read, where they come from disk.
const AHEAD: Block = 32;

/// A sweep over the blocks of an index. No page is pinned or locked between two calls of [`next`](Self::next).
pub struct Sweep {
    index: Index,
    next: Block,
    end: Block,
    /// Null where the pages are read like any others.
    ring: pg_sys::BufferAccessStrategy,
}

impl Sweep {
    /// A sweep from block `first` to the present end of the index.
    pub fn new(index: Index, first: Block) -> Self {
        let end = index.blocks();
        // SAFETY: reads a setting; the ring is palloc'd and freed by `Drop`, or with its memory context.
        let ring = unsafe {
            if end > pg_sys::NBuffers as Block / 4 && !index.is_temporary() {
                pg_sys::GetAccessStrategy(pg_sys::BufferAccessStrategyType::BAS_BULKREAD)
            } else {
                std::ptr::null_mut()
            }
        };
        Self { index, next: first, end, ring }
    }

    /// The next block and its page under a shared lock; `None` after the last.
    pub fn next(&mut self, hints: &mut Hints) -> Option<(Block, Shared)> {
        let block = self.next;
        if block >= self.end {
            return None;
        }
        self.next += 1;
        let shared = if self.ring.is_null() {
            self.index.read(hints, block)
        } else {
            if block.is_multiple_of(AHEAD) {
                self.index.prefetch(block + AHEAD..(block + 2 * AHEAD).min(self.end));
            }
            self.index.read_in_ring(block, self.ring)
        };
        Some((block, shared))
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        if !self.ring.is_null() && !std::thread::panicking() {
            // SAFETY: made by `new` and used by nobody else.
            unsafe { pg_sys::FreeAccessStrategy(self.ring) };
        }
    }
}
