//! New pages, pages with room, and locks that outlast a page.

use super::Block;
use super::buffer::Index;
use super::page::{Kind, PAGE_SIZE, PageMut};
use pgrx::pg_sys;

/// What the free space map is asked for and told: a page has room or it has not.
const ROOM: usize = PAGE_SIZE / 2;

impl Index {
    /// Appends a page of zeros and returns its number.
    ///
    /// No content lock may be held: this waits for others that extend the file.
    pub fn extend(self) -> Block {
        // SAFETY: the relation is open. P_NEW asks for a new last page; its pin is released at once.
        unsafe {
            let local = self.is_temporary();
            if !local {
                pg_sys::LockRelationForExtension(self.relation(), pg_sys::ExclusiveLock as i32);
            }
            let buffer = pg_sys::ReadBufferExtended(
                self.relation(),
                pg_sys::ForkNumber::MAIN_FORKNUM,
                pg_sys::InvalidBlockNumber,
                pg_sys::ReadBufferMode::RBM_NORMAL,
                std::ptr::null_mut(),
            );
            if !local {
                pg_sys::UnlockRelationForExtension(self.relation(), pg_sys::ExclusiveLock as i32);
            }
            let block = pg_sys::BufferGetBlockNumber(buffer);
            pg_sys::ReleaseBuffer(buffer);
            block
        }
    }

    /// A page that is believed to have room. The map is not logged: after a crash it may name pages that were never
    /// written, which are taken out of it here.
    pub fn page_with_room(self) -> Option<Block> {
        // SAFETY: the relation is open.
        let block = unsafe { pg_sys::GetPageWithFreeSpace(self.relation(), ROOM) };
        if block == pg_sys::InvalidBlockNumber {
            return None;
        }
        if block >= self.blocks() {
            self.note_room(block, false);
            return None;
        }
        Some(block)
    }

    /// Notes whether `block` has room, for everybody.
    pub fn note_room(self, block: Block, room: bool) {
        // SAFETY: the relation is open; the map holds anything for any block.
        unsafe { pg_sys::RecordPageWithFreeSpace(self.relation(), block, if room { PAGE_SIZE - 1 } else { 0 }) };
    }

    /// Makes notes about the blocks from `first` on (before `end`) findable: the upper levels of the map follow.
    pub fn publish_room(self, first: Block, end: Block) {
        // SAFETY: the relation is open.
        unsafe { pg_sys::FreeSpaceMapVacuumRange(self.relation(), first, end) };
    }
}

/// How a [`Barrier`] is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With others of this mode.
    Shared,
    /// Alone.
    Exclusive,
}

/// A lock of PostgreSQL's lock manager that belongs to an index: held for a whole operation, it may be waited for, is in
/// `pg_locks` (as the object of class `pg_class` with the index's OID), and takes part in the search for deadlocks. That
/// is why it is none of a page, which PostgreSQL leaves out of that search: whoever holds it exclusively may call functions
/// of users (see `index::maintain::bind`). Whoever holds it shared waits for nothing but content locks and the extension
/// of the file, whose holders do not wait for it.
pub struct Barrier {
    tag: pg_sys::LOCKTAG,
    mode: i32,
}

/// The number that tells the lock of a [`Barrier`] from others of the same relation.
const BARRIER: u16 = 1;

impl Barrier {
    /// Waits for the lock. No content lock may be held.
    pub fn acquire(index: Index, mode: Mode) -> Self {
        let mode = match mode {
            Mode::Shared => pg_sys::ShareLock,
            Mode::Exclusive => pg_sys::ExclusiveLock,
        } as i32;
        // SAFETY: reads a variable that is set once, when the process connects to its database.
        let database = unsafe { pg_sys::MyDatabaseId };
        let tag = pg_sys::LOCKTAG {
            locktag_field1: database.to_u32(),
            locktag_field2: pg_sys::RelationRelationId.to_u32(),
            locktag_field3: index.oid().to_u32(),
            locktag_field4: BARRIER,
            locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        };
        // SAFETY: the tag is complete; an error leaves nothing held.
        unsafe { pg_sys::LockAcquire(&tag, mode, false, false) };
        Self { tag, mode }
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        // After an error the transaction's end releases it.
        if !std::thread::panicking() {
            // SAFETY: taken by `acquire` with the same tag in the same mode.
            unsafe { pg_sys::LockRelease(&self.tag, self.mode, false) };
        }
    }
}

/// Writes the init fork of an unlogged index: one metapage, logged.
pub fn write_init_fork(index: Index, write: impl FnOnce(&mut PageMut<'_>)) {
    let mut image = Box::new([0u8; PAGE_SIZE]);
    let mut page = PageMut(&mut image);
    page.init(Kind::Meta, 0);
    write(&mut page);
    // SAFETY: the relation is open, its init fork has been created by the caller of `ambuildempty`, and the new page is
    // locked before it is written. It is logged as PostgreSQL's own access methods do (`btbuildempty`).
    unsafe {
        let buffer = pg_sys::ReadBufferExtended(
            index.relation(),
            pg_sys::ForkNumber::INIT_FORKNUM,
            pg_sys::InvalidBlockNumber,
            pg_sys::ReadBufferMode::RBM_NORMAL,
            std::ptr::null_mut(),
        );
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32);
        let target: *mut [u8; PAGE_SIZE] = pg_sys::BufferGetPage(buffer).cast();
        pg_sys::CritSectionCount += 1;
        *target = *image;
        pg_sys::MarkBufferDirty(buffer);
        pg_sys::log_newpage_buffer(buffer, true);
        pg_sys::CritSectionCount -= 1;
        pg_sys::UnlockReleaseBuffer(buffer);
    }
}
