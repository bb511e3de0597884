//! Rows that a scan found dead to everybody are marked, so that later scans do not fetch them again.
//!
//! The mark is advice: only a vacuum takes a row out. It is set in batches, page by page, when the scan ends or has
//! collected many, and logged like every change, since a page that differs from its replica's would fail
//! `wal_consistency_checking`. Between the note and the write a vacuum may have taken the row out and an insertion may
//! have put a new row with the same address in, into the same node or another in its slot: the node's generation and its
//! count of removals tell.

use crate::error::SqlResult;
use crate::index::pages::{NodeRef, Nodes, Tid};
use crate::storage::Logging;
use pgrx::pg_sys;
use vs_graph::NodeId;

/// Notes kept before they are written.
const BATCH: usize = 1000;

/// A dead row: its node, the node's generation and count of removals, and its address.
type Dead = (NodeId, u16, u16, Tid);

/// Dead rows to be marked.
#[derive(Debug, Default)]
pub struct Kills {
    rows: Vec<Dead>,
}

impl Kills {
    /// Notes that a row of a node is dead.
    pub fn push(&mut self, dead: Dead) {
        // Beyond the batch, advice is simply not given.
        if self.rows.len() < BATCH {
            self.rows.push(dead);
        }
    }

    /// Marks what was noted. Rows in side entries are left to the vacuum.
    pub fn write(&mut self, nodes: &Nodes) -> SqlResult<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut rows = std::mem::take(&mut self.rows);
        // SAFETY: reads a flag.
        if unsafe { pg_sys::RecoveryInProgress() } {
            return Ok(());
        }
        rows.sort_unstable();
        let opened = &nodes.opened;
        let layout = opened.layout;
        for page in rows.chunk_by(|a, b| layout.place(a.0).block == layout.place(b.0).block) {
            pgrx::check_for_interrupts!();
            let block = layout.place(page[0].0).block;
            let mut pages = opened.change(&[block], Logging::Generic)?;
            let mut any = false;
            for of_node in page.chunk_by(|a, b| a.0 == b.0) {
                let (id, generation, removals, _) = of_node[0];
                let at = layout.place(id).at;
                let same = |node: &NodeRef<'_>| (node.generation(), node.removals()) == (generation, removals);
                let Some(node) = layout.node(pages.page(block), at).filter(same) else { continue };
                let dead = |tid: Tid| of_node.contains(&(id, generation, removals, tid.plain()));
                let old: Vec<Tid> = node.tids().collect();
                let new: Vec<Tid> = old.iter().map(|&tid| if dead(tid) { tid.killed() } else { tid }).collect();
                if new != old {
                    layout.node_mut(&mut pages.page_mut(block), at).set_tids(new.into_iter());
                    any = true;
                }
            }
            if any {
                pages.commit();
            }
        }
        rows.clear();
        self.rows = rows;
        Ok(())
    }
}
