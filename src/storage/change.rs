//! Changing pages: exclusive locks in ascending order, one WAL record for all, or nothing.

use super::Block;
use super::buffer::{Hints, Index, lock_exclusive, release};
use super::page::{Kind, PAGE_SIZE, Page, PageMut};
use pgrx::pg_sys;

/// Pages that one generic WAL record can hold.
pub const PAGES: usize = pg_sys::MAX_GENERIC_XLOG_PAGES as usize;

/// How changes become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logging {
    /// Each is a generic WAL record (where the relation has WAL at all).
    Generic,
    /// Not logged: the index is being built, and will be logged as a whole.
    Building,
}

/// Up to [`PAGES`] pages, locked exclusively, that change together.
///
/// Dropped without [`commit`](Self::commit) nothing has changed; with [`Logging::Building`] a page is changed at once,
/// so there the caller looks first and then changes and commits.
pub struct Change {
    index: Index,
    logging: Logging,
    state: *mut pg_sys::GenericXLogState,
    pages: [Locked; PAGES],
    count: usize,
}

#[derive(Clone, Copy)]
struct Locked {
    block: Block,
    buffer: pg_sys::Buffer,
    /// The image that is changed; null until it is.
    image: *mut [u8; PAGE_SIZE],
}

impl Change {
    /// Locks `blocks`, which must ascend, be at most [`PAGES`] and exist.
    pub fn lock(index: Index, hints: &mut Hints, blocks: &[Block], logging: Logging) -> Self {
        assert!(blocks.len() <= PAGES && blocks.is_sorted_by(|a, b| a < b), "pages are locked in ascending order");
        let mut change = Self {
            index,
            logging,
            state: std::ptr::null_mut(),
            pages: [Locked { block: 0, buffer: 0, image: std::ptr::null_mut() }; PAGES],
            count: 0,
        };
        // All pins before the first lock: reading a page from disk must not happen under a lock.
        let mut buffers = [0; PAGES];
        for (buffer, &block) in buffers.iter_mut().zip(blocks) {
            *buffer = index.pin_one(hints, block);
        }
        for (&buffer, &block) in buffers.iter().zip(blocks) {
            // SAFETY: pinned above, and later than all that are locked.
            unsafe { lock_exclusive(buffer) };
            change.pages[change.count] = Locked { block, buffer, image: std::ptr::null_mut() };
            change.count += 1;
        }
        change
    }

    fn position(&self, block: Block) -> usize {
        let position = self.pages[..self.count].iter().position(|page| page.block == block);
        position.expect("only locked pages are looked at")
    }

    /// A locked page, with the changes made so far.
    pub fn page(&self, block: Block) -> Page<'_> {
        let locked = &self.pages[self.position(block)];
        // SAFETY: the buffer is pinned and locked; the image belongs to the WAL record that is being made, or is the
        // buffer's page; nothing else refers to either while `self` is borrowed.
        unsafe {
            let image = if locked.image.is_null() { pg_sys::BufferGetPage(locked.buffer).cast() } else { locked.image };
            Page(&*image)
        }
    }

    /// A locked page to be changed.
    pub fn page_mut(&mut self, block: Block) -> PageMut<'_> {
        self.register(block, 0)
    }

    /// A locked page, made an empty one of `kind`.
    pub fn init(&mut self, block: Block, kind: Kind, link: u32) -> PageMut<'_> {
        let mut page = self.register(block, pg_sys::GENERIC_XLOG_FULL_IMAGE);
        page.init(kind, link);
        page
    }

    fn register(&mut self, block: Block, flags: u32) -> PageMut<'_> {
        let position = self.position(block);
        let locked = &mut self.pages[position];
        if locked.image.is_null() {
            // SAFETY: the relation is open, the buffer pinned and locked exclusively; a record takes as many pages as
            // there can be in `pages`.
            locked.image = unsafe {
                match self.logging {
                    Logging::Building => pg_sys::BufferGetPage(locked.buffer).cast(),
                    Logging::Generic => {
                        if self.state.is_null() {
                            self.state = pg_sys::GenericXLogStart(self.index.relation());
                        }
                        pg_sys::GenericXLogRegisterBuffer(self.state, locked.buffer, flags as i32).cast()
                    }
                }
            };
        }
        // SAFETY: as in `page`, and `self` is borrowed mutably.
        PageMut(unsafe { &mut *locked.image })
    }

    /// Makes the changes, with their WAL record, and unlocks.
    pub fn commit(mut self) {
        // SAFETY: the state was made by GenericXLogStart and is used up here; the buffers are pinned and locked.
        unsafe {
            if !self.state.is_null() {
                pg_sys::GenericXLogFinish(std::mem::replace(&mut self.state, std::ptr::null_mut()));
            }
            if self.logging == Logging::Building {
                for locked in self.pages[..self.count].iter().filter(|locked| !locked.image.is_null()) {
                    pg_sys::MarkBufferDirty(locked.buffer);
                }
            }
        }
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: what is not committed is a record begun by us, to be forgotten; pins and locks are ours.
        unsafe {
            if !self.state.is_null() {
                pg_sys::GenericXLogAbort(self.state);
            }
            for locked in self.pages[..self.count].iter().rev() {
                release(locked.buffer);
            }
        }
    }
}
