//! Rows without a place in the graph: those whose vector is NULL, those whose vector has another length than those in the
//! graph, and under the cosine those whose vector is zero.
//!
//! Vectors of another length are there after a column was emptied and filled again. The index answers rightly, which is
//! all that can be said for it, until it is built anew.
//!
//! A scan that is drained has to return them like all others, last: their distance is NULL, or NaN. They need no order
//! among themselves, so pages of a kind of their own simply list their addresses. Whoever wants all of them looks at every
//! page of the index, as a pass over the codes does anyway; whoever adds one takes the first of the pages with room, which
//! are chained from the metapage.
//!
//! A page is a heap of TIDs, 6 bytes each. Bit 14 of a TID's offset marks a zero vector, bit 13 one of another length. An address never moves to another
//! page.

use super::graph::Graph;
use super::open::Opened;
use super::tid::{TID, Tid};
use crate::error::SqlResult;
use crate::storage::{Block, CAPACITY, Kind, Page, PageMut};

/// Addresses that a page holds.
const PER_PAGE: usize = CAPACITY / TID;

/// [`Page::link`] of the last page in the chain, and the head of the chain where there never was a page.
const END: Block = 0;

/// The head of an empty chain where all pages are full.
const FULL: Block = Block::MAX;

/// [`Page::link`] of a page that is not in the chain.
const UNCHAINED: Block = Block::MAX;

/// Why a row has no place in the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its vector is NULL, and so is its distance.
    Null,
    /// Its vector has no direction; its cosine distance is NaN.
    Zero,
    /// Its vector is not as long as those in the graph.
    Length,
}

/// The rows on a page, and why each is there.
pub fn unplaced(page: Page<'_>) -> impl Iterator<Item = (Tid, Why)> {
    let bytes = if page.kind() == Some(Kind::Unplaced) { page.bytes() } else { &[] };
    bytes.chunks_exact(TID).map(|bytes| {
        let tid = Tid::read(bytes);
        let why = match (tid.is_marked(), tid.is_marked2()) {
            (_, true) => Why::Length,
            (true, false) => Why::Zero,
            (false, false) => Why::Null,
        };
        (tid.unmarked(), why)
    })
}

/// Whether a page's length is one that such a page can have.
pub(super) fn is_whole(page: Page<'_>) -> bool {
    page.bytes().len().is_multiple_of(TID) && page.bytes().len() <= PER_PAGE * TID
}

/// Writes rows behind the `used` ones of a page, which has room for them.
fn append(page: &mut PageMut<'_>, used: usize, rows: &[(Tid, Why)]) {
    let bytes = page.bytes_mut((used + rows.len()) * TID);
    for (bytes, &(tid, why)) in bytes[used * TID..].chunks_exact_mut(TID).zip(rows) {
        let tid = match why {
            Why::Null => tid,
            Why::Zero => tid.marked(),
            Why::Length => tid.marked2(),
        };
        tid.write(bytes);
    }
}

impl Graph {
    /// Adds rows. Rows that are already there are there twice afterwards: nobody adds one twice.
    pub fn add_unplaced(&self, mut rows: &[(Tid, Why)]) -> SqlResult<()> {
        while !rows.is_empty() {
            pgrx::check_for_interrupts!();
            let opened = self.opened();
            let head = opened.read_meta()?.unplaced;
            if head == END || head == FULL {
                self.chain_fresh_page()?;
                continue;
            }
            // The metapage is everybody's, so it is locked only if the page gets full.
            let mut pages = opened.change(&[head], self.logging)?;
            if pages.page(head).kind() != Some(Kind::Unplaced) {
                return Err(opened.damaged("the chain of pages for rows without a vector leads elsewhere"));
            }
            let used = pages.page(head).bytes().len() / TID;
            if used + rows.len() < PER_PAGE {
                append(&mut pages.page_mut(head), used, rows);
                pages.commit();
                return Ok(());
            }
            drop(pages);
            let mut pages = opened.change(&[0, head], self.logging)?;
            let meta = opened.meta_of(pages.page(0))?;
            if meta.unplaced != head {
                continue;
            }
            let (used, next) = (pages.page(head).bytes().len() / TID, pages.page(head).link());
            let count = rows.len().min(PER_PAGE - used);
            let mut page = pages.page_mut(head);
            append(&mut page, used, &rows[..count]);
            if used + count == PER_PAGE {
                page.set_link(UNCHAINED);
                super::Meta { unplaced: if next == END { FULL } else { next }, ..meta }.write(&mut pages.page_mut(0));
            }
            pages.commit();
            rows = &rows[count..];
        }
        Ok(())
    }

    /// Puts a new page into the empty chain.
    fn chain_fresh_page(&self) -> SqlResult<()> {
        let opened = self.opened();
        let fresh = opened.extend();
        let mut pages = opened.change(&[0, fresh], self.logging)?;
        let meta = opened.meta_of(pages.page(0))?;
        // A vacuum may have seen the page of zeros meanwhile, and offered it to an insertion for nodes; another insertion
        // may have chained a page. A page of zeros that is left over is found by the next vacuum.
        if matches!(meta.unplaced, END | FULL) && pages.page(fresh).is_new() {
            pages.init(fresh, Kind::Unplaced, END);
            super::Meta { unplaced: fresh, ..meta }.write(&mut pages.page_mut(0));
            pages.commit();
        }
        Ok(())
    }

    /// Takes the rows for which `is_dead` holds off page `block`, and puts the page into the chain if it has room then.
    /// Returns how many rows went and how many are left.
    ///
    /// For the vacuum: nobody else takes rows off, so those that were read are still there afterwards, perhaps with others
    /// behind them.
    pub fn strip_unplaced(&self, block: Block, is_dead: &mut dyn FnMut(Tid) -> bool) -> SqlResult<(usize, usize)> {
        let opened = self.opened();
        let rows: Vec<(Tid, Why)> = {
            let mut hints = opened.remembered.hints.borrow_mut();
            let lock = opened.index.read(&mut hints, block);
            unplaced(lock.page()).collect()
        };
        let dead: Vec<bool> = rows.iter().map(|row| is_dead(row.0)).collect();
        let gone = dead.iter().filter(|dead| **dead).count();
        if gone == 0 {
            return Ok((0, rows.len()));
        }
        let mut pages = opened.change(&[0, block], self.logging)?;
        let meta = opened.meta_of(pages.page(0))?;
        let now: Vec<(Tid, Why)> = unplaced(pages.page(block)).collect();
        if now.get(..rows.len()) != Some(&rows[..]) {
            return Err(opened.damaged("rows without a vector went that nobody took away"));
        }
        let mut link = pages.page(block).link();
        if link == UNCHAINED {
            link = if meta.unplaced == FULL { END } else { meta.unplaced };
            super::Meta { unplaced: block, ..meta }.write(&mut pages.page_mut(0));
        }
        let mut page = pages.init(block, Kind::Unplaced, link);
        let stays = |(at, row): (usize, &(Tid, Why))| (dead.get(at) != Some(&true)).then_some(*row);
        let left: Vec<(Tid, Why)> = now.iter().enumerate().filter_map(stays).collect();
        append(&mut page, 0, &left);
        pages.commit();
        Ok((gone, left.len()))
    }
}

/// The pages with such rows, by a look at every page unless there never was one.
pub fn unplaced_blocks(opened: &Opened) -> SqlResult<Vec<Block>> {
    let mut found = Vec::new();
    if opened.read_meta()?.unplaced == END {
        return Ok(found);
    }
    let hints = &mut *opened.remembered.hints.borrow_mut();
    let mut sweep = crate::storage::Sweep::new(opened.index, 1);
    loop {
        pgrx::check_for_interrupts!();
        let Some((block, shared)) = sweep.next(hints) else { break };
        opened.check_page(block, shared.page())?;
        if shared.page().kind() == Some(Kind::Unplaced) {
            if found.try_reserve(1).is_err() {
                return Err(crate::error::out_of_memory("scanning a vs_hnsw index"));
            }
            found.push(block);
        }
    }
    opened.check_unplaced(&found)?;
    Ok(found)
}

impl Opened {
    /// Checks that the page where the chain begins is one of `found`, all such pages. It stays what it is for ever.
    pub fn check_unplaced(&self, found: &[Block]) -> SqlResult<()> {
        match self.meta.unplaced == END || found.contains(&self.meta.unplaced) {
            true => Ok(()),
            false => Err(self.damaged(&format!("page {} should have rows without a vector", self.meta.unplaced))),
        }
    }
}
