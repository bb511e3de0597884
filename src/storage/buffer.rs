//! Reading pages: pins, shared locks, and where blocks were last seen.
//!
//! A visit of a page that is in memory is a handful of calls into the buffer manager, and a search makes hundreds. Two
//! things make them cheaper. `ReadRecentBuffer` pins a buffer that is *believed* to hold a block, after checking that it
//! still does, and so saves the look-up in the shared hash table. And pgrx's guard, which turns an `ereport` into a
//! panic, is set up once for a batch of pins, not once for each call. The calls made outside of it cannot raise: they
//! are listed in [`raw`] with the reason.

use super::Block;
use super::page::{PAGE_SIZE, Page};
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

/// PostgreSQL's functions without pgrx's guard.
///
/// `LockBuffer` raises for more than 200 locks held at once (the index holds four at most) and for an invalid mode.
/// Releasing a pin or a lock that is held does not raise. `ReadBuffer`,
/// `ReadBufferExtended`, `ReadRecentBuffer` and `PrefetchBuffer` may (an
/// I/O error, no memory for the list of pins), and are called inside one guard for several pages.
mod raw {
    use pgrx::pg_sys;

    unsafe extern "C-unwind" {
        pub(super) fn ReadBuffer(relation: pg_sys::Relation, block: pg_sys::BlockNumber) -> pg_sys::Buffer;
        pub(super) fn ReadBufferExtended(
            relation: pg_sys::Relation,
            fork: pg_sys::ForkNumber::Type,
            block: pg_sys::BlockNumber,
            mode: pg_sys::ReadBufferMode::Type,
            strategy: pg_sys::BufferAccessStrategy,
        ) -> pg_sys::Buffer;
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        pub(super) fn ReadRecentBuffer(
            file: pg_sys::RelFileNode,
            fork: pg_sys::ForkNumber::Type,
            block: pg_sys::BlockNumber,
            buffer: pg_sys::Buffer,
        ) -> bool;
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        pub(super) fn ReadRecentBuffer(
            file: pg_sys::RelFileLocator,
            fork: pg_sys::ForkNumber::Type,
            block: pg_sys::BlockNumber,
            buffer: pg_sys::Buffer,
        ) -> bool;
        pub(super) fn PrefetchBuffer(
            relation: pg_sys::Relation,
            fork: pg_sys::ForkNumber::Type,
            block: pg_sys::BlockNumber,
        ) -> pg_sys::PrefetchBufferResult;
        pub(super) fn LockBuffer(buffer: pg_sys::Buffer, mode: std::ffi::c_int);
        pub(super) fn ReleaseBuffer(buffer: pg_sys::Buffer);
        pub(super) static BufferDescriptors: *const std::ffi::c_void;
    }
}

/// Pins taken at once. PostgreSQL keeps eight in an array of each process and more in a hash table.
const BATCH: usize = 7;

/// Blocks whose buffer is remembered: of a larger index, the first 32 GB.
const MOST_HINTS: usize = 4 << 20;

/// For each block of an index the buffer it was last seen in, 4 bytes each. Nothing breaks if a hint is wrong.
#[derive(Debug, Default)]
pub struct Hints {
    buffers: Vec<pg_sys::Buffer>,
    /// Counts pins; see [`COUNTED`].
    pins: u32,
}

/// Of so many pins one looks the block up although its buffer is known. A pin by `ReadRecentBuffer` does not count as a use
/// of the buffer, and when memory is short PostgreSQL drops what is not used. Not a power of two, for all to have their turn.
const COUNTED: u32 = 29;

impl Hints {
    #[inline]
    fn get(&self, block: Block) -> pg_sys::Buffer {
        self.buffers.get(block as usize).copied().unwrap_or(0)
    }

    #[inline]
    fn set(&mut self, block: Block, buffer: pg_sys::Buffer) {
        if let Some(hint) = self.buffers.get_mut(block as usize)
            && buffer > 0
        {
            *hint = buffer;
        }
    }

    /// Whether the next pin is to count as a use.
    #[inline]
    fn is_counted(&mut self) -> bool {
        self.pins = if self.pins == 0 { COUNTED - 1 } else { self.pins - 1 };
        self.pins == 0
    }

    /// Makes room for an index of `blocks` pages; without memory for it there are fewer hints.
    fn fit(&mut self, blocks: Block) {
        let wanted = (blocks as usize).min(MOST_HINTS);
        if wanted > self.buffers.len() && self.buffers.try_reserve(wanted - self.buffers.len()).is_ok() {
            self.buffers.resize(wanted, 0);
        }
    }

    /// Where the index's bytes on a page, from `offset` on, seem to be in memory.
    #[inline]
    pub fn whereabouts(&self, block: Block, offset: usize) -> Whereabouts {
        let buffer = self.get(block);
        if buffer <= 0 {
            return Whereabouts(std::ptr::null());
        }
        // SAFETY: reads a pointer that is set once, when the process attaches to shared memory.
        let page = unsafe { pg_sys::BufferBlocks }.cast::<i8>().wrapping_add((buffer as usize - 1) * PAGE_SIZE);
        Whereabouts(page.wrapping_add(super::page::HEADER + offset))
    }

    /// Asks the processor for what PostgreSQL knows of the buffer, which pinning it reads and writes.
    #[inline]
    pub fn prefetch_descriptor(&self, block: Block) {
        let buffer = self.get(block);
        if buffer > 0 {
            // SAFETY: as above; the address is only asked for. Descriptors are padded to 64 bytes on 64-bit machines
            // (buf_internals.h); where they are not, this asks for the wrong bytes.
            let descriptors = unsafe { raw::BufferDescriptors }.cast::<i8>();
            prefetch(descriptors.wrapping_add((buffer as usize - 1) * 64), 1);
        }
    }
}

/// Where bytes of a page are believed to be. The address is good for asking the processor to fetch them ahead of time and
/// for nothing else: whatever is there by now is not looked at.
#[derive(Debug, Clone, Copy)]
pub struct Whereabouts(*const i8);

impl Whereabouts {
    /// Asks for the first `len` bytes.
    #[inline]
    pub fn prefetch(self, len: usize) {
        self.prefetch_from(0, len);
    }

    /// Asks for the bytes from `start` to `end`.
    #[inline]
    pub fn prefetch_from(self, start: usize, end: usize) {
        if !self.0.is_null() {
            prefetch(self.0.wrapping_add(start), end.saturating_sub(start));
        }
    }
}

/// An open index relation.
#[derive(Clone, Copy)]
pub struct Index {
    relation: pg_sys::Relation,
    access: Access,
}

/// For whom pages are read.
#[derive(Clone, Copy)]
enum Access {
    /// A user's command: as fast as can be.
    Command,
    /// A vacuum. Every page is looked up, for PostgreSQL to count it against `vacuum_cost_limit`, and one that is not in
    /// memory goes where the strategy says: with none, to where all pages go.
    Vacuum(pg_sys::BufferAccessStrategy),
}

impl Index {
    /// Wraps an open relation.
    ///
    /// # Safety
    /// It must be valid, and stay open and locked for as long as the value and its copies are used.
    pub unsafe fn new(relation: pg_sys::Relation) -> Self {
        Self { relation, access: Access::Command }
    }

    /// Wraps a relation that a vacuum has open, with the vacuum's ring of buffers.
    ///
    /// # Safety
    /// As for [`new`](Self::new), and `strategy` is null or lives as long.
    pub unsafe fn for_vacuum(relation: pg_sys::Relation, strategy: pg_sys::BufferAccessStrategy) -> Self {
        Self { relation, access: Access::Vacuum(strategy) }
    }

    /// For a vacuum's walks through the graph. They come to the same pages again and again, which a ring of a few buffers
    /// would have to read each time.
    pub fn without_ring(self) -> Self {
        let access = match self.access {
            Access::Command => Access::Command,
            Access::Vacuum(_) => Access::Vacuum(std::ptr::null_mut()),
        };
        Self { access, ..self }
    }

    /// Lets others go first: checks for interrupts, and in a vacuum sleeps as `vacuum_cost_delay` wants. No content lock
    /// may be held.
    #[inline]
    pub fn pause(self) {
        match self.access {
            Access::Command => {
                pgrx::check_for_interrupts!();
            }
            // SAFETY: sleeps, and checks for interrupts.
            Access::Vacuum(_) => unsafe {
                #[cfg(not(feature = "pg18"))]
                pg_sys::vacuum_delay_point();
                #[cfg(feature = "pg18")]
                pg_sys::vacuum_delay_point(false);
            },
        }
    }

    /// The relation.
    pub fn relation(self) -> pg_sys::Relation {
        self.relation
    }

    /// Its OID.
    pub fn oid(self) -> pg_sys::Oid {
        // SAFETY: the relation is open.
        unsafe { (*self.relation).rd_id }
    }

    /// Its name, for messages.
    pub fn name(self) -> String {
        // SAFETY: the relation is open, and its name is a zero-terminated string.
        unsafe { std::ffi::CStr::from_ptr((*(*self.relation).rd_rel).relname.data.as_ptr()) }
            .to_string_lossy()
            .into_owned()
    }

    /// Whether it is a temporary table's.
    pub fn is_temporary(self) -> bool {
        // SAFETY: the relation is open.
        unsafe { (*(*self.relation).rd_rel).relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP }
    }

    /// The number of its pages.
    pub fn blocks(self) -> Block {
        // SAFETY: the relation is open.
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM) }
    }

    /// Pins `block` and remembers where.
    ///
    /// # Safety
    /// May raise an error of PostgreSQL's: to be called inside a guard, in a frame that owns nothing.
    #[inline]
    unsafe fn pin(self, hints: &mut Hints, block: Block) -> pg_sys::Buffer {
        let recent = hints.get(block);
        // SAFETY: the relation is open; ReadRecentBuffer checks that the buffer holds the block, whatever we pass.
        unsafe {
            #[cfg(any(feature = "pg14", feature = "pg15"))]
            let file = (*self.relation).rd_node;
            #[cfg(not(any(feature = "pg14", feature = "pg15")))]
            let file = (*self.relation).rd_locator;
            if let Access::Vacuum(strategy) = self.access {
                let (fork, mode) = (pg_sys::ForkNumber::MAIN_FORKNUM, pg_sys::ReadBufferMode::RBM_NORMAL);
                return raw::ReadBufferExtended(self.relation, fork, block, mode, strategy);
            }
            if recent != 0
                && !hints.is_counted()
                && raw::ReadRecentBuffer(file, pg_sys::ForkNumber::MAIN_FORKNUM, block, recent)
            {
                return recent;
            }
            let buffer = raw::ReadBuffer(self.relation, block);
            hints.set(block, buffer);
            buffer
        }
    }

    /// Starts to read those of `blocks` that this session has not seen yet, so that pages that are not in memory are read
    /// from disk at the same time and not one after the other.
    ///
    /// # Safety
    /// As for [`pin`](Self::pin).
    #[inline]
    unsafe fn expect(self, hints: &mut Hints, blocks: &[Block]) {
        if matches!(self.access, Access::Vacuum(_)) || blocks.iter().filter(|&&block| hints.get(block) == 0).count() < 2
        {
            return;
        }
        for &block in blocks {
            if hints.get(block) == 0 {
                // SAFETY: the relation is open; a block past its end is not read.
                let found = unsafe { raw::PrefetchBuffer(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM, block) };
                hints.set(block, found.recent_buffer);
            }
        }
    }

    /// Calls `look` with the position and the page of each of `blocks`, under a shared lock.
    ///
    /// `look` must not call PostgreSQL.
    #[inline]
    pub fn visit(self, hints: &mut Hints, blocks: &[Block], mut look: impl FnMut(usize, Page<'_>)) {
        if let Some(&last) = blocks.last()
            && last as usize >= hints.buffers.len()
        {
            hints.fit(self.blocks());
        }
        let mut first = 0;
        for batch in blocks.chunks(BATCH) {
            let mut pins = Pins { buffers: [0; BATCH], count: 0 };
            // SAFETY: the closure owns nothing and cannot panic: `chunks` gives at most BATCH blocks.
            unsafe {
                pg_guard_ffi_boundary(|| {
                    self.expect(hints, batch);
                    for (slot, &block) in pins.buffers.iter_mut().zip(batch) {
                        *slot = self.pin(hints, block);
                        pins.count += 1;
                    }
                });
            }
            for at in 0..batch.len() {
                let lock = pins.lock(at);
                look(first + at, lock.page());
            }
            first += batch.len();
        }
    }

    /// The page `block` under a shared lock.
    pub fn read(self, hints: &mut Hints, block: Block) -> Shared {
        if block as usize >= hints.buffers.len() {
            hints.fit(self.blocks());
        }
        let buffer = self.pin_one(hints, block);
        // SAFETY: the buffer is pinned.
        unsafe { raw::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32) };
        Shared { buffer }
    }

    /// The page `block` under a shared lock, read through a ring of buffers.
    pub(super) fn read_in_ring(self, block: Block, ring: pg_sys::BufferAccessStrategy) -> Shared {
        // SAFETY: the relation is open and the ring valid; the pin is handed to the lock.
        unsafe {
            let buffer = pg_sys::ReadBufferExtended(
                self.relation,
                pg_sys::ForkNumber::MAIN_FORKNUM,
                block,
                pg_sys::ReadBufferMode::RBM_NORMAL,
                ring,
            );
            raw::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            Shared { buffer }
        }
    }

    /// Starts to read `blocks`, all of which exist.
    pub(super) fn prefetch(self, blocks: std::ops::Range<Block>) {
        for block in blocks {
            // SAFETY: the relation is open.
            unsafe { pg_sys::PrefetchBuffer(self.relation, pg_sys::ForkNumber::MAIN_FORKNUM, block) };
        }
    }

    /// Pins a page; the caller owns the pin.
    pub(super) fn pin_one(self, hints: &mut Hints, block: Block) -> pg_sys::Buffer {
        // SAFETY: the closure owns nothing.
        unsafe { pg_guard_ffi_boundary(|| self.pin(hints, block)) }
    }
}

/// Asks the processor for `len` bytes from `first` on; a hint without any other effect.
#[inline(always)]
fn prefetch(first: *const i8, len: usize) {
    for offset in (0..len).step_by(64) {
        let line = first.wrapping_add(offset);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch neither reads nor writes as far as the program can tell and never faults, wherever it
        // points; SSE is part of every x86-64 processor.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line)
        };
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}

/// Pins of a batch.
struct Pins {
    buffers: [pg_sys::Buffer; BATCH],
    count: usize,
}

impl Pins {
    /// Locks the page at `at`; dropping the lock drops the pin.
    #[inline]
    fn lock(&mut self, at: usize) -> Shared {
        let buffer = std::mem::take(&mut self.buffers[at]);
        // SAFETY: the buffer is pinned, and its pin is handed to the lock.
        unsafe { raw::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32) };
        Shared { buffer }
    }
}

impl Drop for Pins {
    #[inline]
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for &buffer in &self.buffers[..self.count] {
            if buffer != 0 {
                // SAFETY: pinned by us.
                unsafe { raw::ReleaseBuffer(buffer) };
            }
        }
    }
}

/// A page under a shared content lock, and pinned.
pub struct Shared {
    buffer: pg_sys::Buffer,
}

impl Shared {
    /// The page.
    #[inline]
    pub fn page(&self) -> Page<'_> {
        // SAFETY: the buffer is pinned, so its page stays where it is; the lock keeps writers away.
        Page(unsafe { &*pg_sys::BufferGetPage(self.buffer).cast::<[u8; PAGE_SIZE]>() })
    }
}

impl Drop for Shared {
    #[inline]
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: pinned and locked by us.
        unsafe { release(self.buffer) };
    }
}

/// Unlocks and unpins.
///
/// # Safety
/// The caller holds a lock and a pin on `buffer`.
#[inline]
pub(super) unsafe fn release(buffer: pg_sys::Buffer) {
    // SAFETY: as above.
    unsafe {
        raw::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        raw::ReleaseBuffer(buffer);
    }
}

/// Locks for writing.
///
/// # Safety
/// The caller holds a pin on `buffer`, and no lock on it or on any later block.
pub(super) unsafe fn lock_exclusive(buffer: pg_sys::Buffer) {
    // SAFETY: as above.
    unsafe { raw::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32) };
}
