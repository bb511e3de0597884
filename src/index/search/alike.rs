//! Many rows with the very same vector, as of a placeholder picture.
//!
//! They share a node, and with it a lower bound, which is below their distance. So the executor would fetch all of them,
//! and compute the same distance again and again, before it could return the first: a LIMIT 9 would cost as much as there
//! are rows. But the index knows which are alike ([`crate::index::pages::SideRef::digest`]). One of them is looked up in
//! the table, its distance is that of all, and they are handed out with it when its turn comes, an entry at a time.

use crate::error::SqlResult;
use crate::index::pages::{Lap, Layout, NodeRef, Nodes, TIDS, Tid};
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use std::collections::HashSet;
use vs_graph::{NONE, NodeId};

/// Rows of a node that are alike, from one entry of their chain on.
pub struct Alike {
    /// Their distance.
    pub distance: f64,
    id: NodeId,
    generation: u16,
    /// How often a row had been taken out of the node when the present walk through the chain began.
    removals: u16,
    next: u32,
    /// Notices if the present walk goes round in a circle.
    lap: Lap,
    /// The entries that have been read.
    read: HashSet<u32>,
}

impl Alike {
    /// The rows of the chain that begins at entry `head`, if any of them is visible.
    pub fn find(
        nodes: &Nodes,
        (id, generation, removals): (NodeId, u16, u16),
        head: u32,
        table: &Table,
        tids: &mut Vec<Tid>,
    ) -> SqlResult<Option<Self>> {
        let walk = |distance| Self {
            distance,
            id,
            generation,
            removals,
            next: head,
            lap: Lap::new(head),
            read: HashSet::new(),
        };
        let mut probe = walk(0.0);
        while probe.advance(nodes, tids)? {
            if let Some(distance) = table.distance(tids) {
                return Ok(Some(walk(distance)));
            }
        }
        Ok(None)
    }

    /// Reads the rows of the next entry; false if there is none.
    ///
    /// A vacuum may have unlinked the entry since its number was read, or unlinked it and somebody used it again, as the
    /// first of the chain. Then the chain is walked again from its head to the first entry that has not been read. A row
    /// never moves from one entry to another. If no row has been taken out since the walk began, it was no vacuum.
    pub fn advance(&mut self, nodes: &Nodes, tids: &mut Vec<Tid>) -> SqlResult<bool> {
        while self.next != NONE {
            pgrx::check_for_interrupts!();
            let entry = self.next;
            let next = nodes.with_side(entry, self.id, self.generation, TIDS, |entry| {
                tids.clear();
                tids.extend(entry.tids());
                (entry.count() <= entry.capacity()).then_some(entry.next())
            })?;
            let Some(next) = next.flatten().filter(|&next| !self.lap.comes_back(next)) else {
                self.walk_again(nodes)?;
                continue;
            };
            self.next = next;
            if self.read.try_reserve(1).is_err() {
                return Err(crate::error::out_of_memory("reading the rows of a vector"));
            }
            if self.read.insert(entry) {
                nodes.check_rows(tids, &format_args!("node {}", self.id))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes back to the head of a chain that others have changed; to no entry if the node is gone.
    fn walk_again(&mut self, nodes: &Nodes) -> SqlResult<()> {
        let read = |_: &Layout, node: NodeRef<'_>| (node.generation(), node.removals(), node.overflow());
        let present = nodes.with_node(self.id, read)?.filter(|present| present.0 == self.generation);
        let Some((_, removals, head)) = present else {
            self.next = NONE;
            return Ok(());
        };
        if removals == self.removals {
            return Err(nodes.opened.damaged(&format!("the rows of node {} are not where it says", self.id)));
        }
        (self.removals, self.next, self.lap) = (removals, head, Lap::new(head));
        Ok(())
    }
}

/// The table of a scan, for the exact distance of a row.
pub struct Table(pg_sys::IndexScanDesc);

impl Table {
    /// That of `scan`.
    ///
    /// # Safety
    /// It must be a scan under way, with an order-by key that is not NULL, and stay so for as long as the value is used.
    pub unsafe fn of(scan: pg_sys::IndexScanDesc) -> Self {
        Self(scan)
    }

    /// The value of the scan's order-by operator for the first of `tids` that the scan's snapshot sees; `None` if it sees
    /// none.
    fn distance(&self, tids: &[Tid]) -> Option<f64> {
        let scan = self.0;
        // SAFETY: the scan is under way, so its relations are open and its snapshot is registered. What is made here is
        // ended here, or with the memory context of the call if something raises. No page of the index is held, and
        // expressions of the index are evaluated as the executor would. Functions of the table's access method are called
        // in a frame that owns nothing.
        unsafe {
            let (heap, key) = ((*scan).heapRelation, &mut *(*scan).orderByData);
            let methods = (*heap).rd_tableam.as_ref()?;
            let (begin, fetch, end) =
                (methods.index_fetch_begin?, methods.index_fetch_tuple?, methods.index_fetch_end?);
            let info = pg_sys::BuildIndexInfo((*scan).indexRelation);
            let estate = pg_sys::CreateExecutorState();
            let context = pg_sys::MakePerTupleExprContext(estate);
            let slot = pg_sys::table_slot_create(heap, std::ptr::null_mut());
            (*context).ecxt_scantuple = slot;
            let state = pg_guard_ffi_boundary(|| begin(heap));
            let mut found = None;
            for tid in tids.iter().filter(|tid| !tid.is_killed()) {
                let mut pointer = tid.to_pointer();
                let (mut again, mut dead) = (false, false);
                let seen = pg_guard_ffi_boundary(|| {
                    fetch(state, &mut pointer, (*scan).xs_snapshot, slot, &mut again, &mut dead)
                });
                if !seen {
                    continue;
                }
                let mut values = [pg_sys::Datum::null(); pg_sys::INDEX_MAX_KEYS as usize];
                let mut nulls = [false; pg_sys::INDEX_MAX_KEYS as usize];
                pg_sys::FormIndexDatum(info, slot, estate, values.as_mut_ptr(), nulls.as_mut_ptr());
                if !nulls[0] {
                    let distance =
                        pg_sys::FunctionCall2Coll(&mut key.sk_func, key.sk_collation, values[0], key.sk_argument);
                    found = Some(f64::from_bits(distance.value() as u64));
                }
                break;
            }
            pg_guard_ffi_boundary(|| end(state));
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            pg_sys::FreeExecutorState(estate);
            pg_sys::pfree(info.cast());
            found
        }
    }
}
