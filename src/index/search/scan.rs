//! A scan: rows in the order of a lower bound of their distance, until every row has been handed out.
//!
//! Rows come with a **lower bound** of the operator's value. The executor computes the exact value from the table's row,
//! and holds a row back until the bound of the next says that none can come before it (`IndexNextWithReorder` in
//! PostgreSQL's `nodeIndexscan.c`). So the order is exact, and little more than LIMIT rows are fetched from the table.
//!
//! ```text
//!            search of the graph, widened          pass over all codes          rows without a distance
//!  start ──▶ near ─────────────────────────▶ pass ───────────────────────▶ …
//!            until it is not worth it          until no node is left
//! ```
//!
//! The planner's guess of how many rows will be wanted decides what is fast, never what is right: a scan ends when the
//! executor stops asking or when there is no row left. With `iterative_scan = off` it ends after the first search; with
//! `exact = on` it is a pass from the start.
//!
//! No page is pinned or locked between calls: a candidate's rows are read when its turn comes, and only if the node's
//! generation still is the one that was scored. A slot that was freed and used again meanwhile holds a row too new for
//! this scan's snapshot.

use super::kill::Kills;
use super::near::{Near, Step};
use super::pass::Pass;
use crate::embedding::Embedding;
use crate::error::{SqlError, SqlResult};
use crate::index::pages::{Nodes, Opened, Tid};
use crate::index::plan::options::{self, IterativeScan};
use crate::storage::Index;
use pgrx::PgSqlErrorCode;
use std::cell::RefCell;
use vs_graph::NodeId;
use vs_quantize::{Error, Query, Scratch};

/// A search visits nodes all over the index, a pass reads them one after the other, some times as fast. When a search has
/// computed a distance to one in so many nodes, the rest comes cheaper by a pass.
const PASS_PAYS: usize = 4;

/// Memory that scans reuse.
#[derive(Default)]
struct Workspace {
    near: Near,
    pass: Pass,
    query: Query,
    scratch: Scratch,
    tids: Vec<Tid>,
}

thread_local! {
    /// Workspaces of scans that have ended.
    static SPARE: RefCell<Vec<Workspace>> = const { RefCell::new(Vec::new()) };
}

/// What a scan is up to.
enum Stage {
    /// Nothing has been asked for yet.
    Start,
    /// What a search of the graph finds.
    Near,
    /// What is left, nearest first.
    Pass,
    /// Everything in any order, because all distances are NULL or NaN: the next node.
    Everything(NodeId),
    /// There is nothing more.
    End,
}

/// A scan.
pub struct Scan {
    nodes: Option<Nodes>,
    stage: Stage,
    work: Workspace,
    /// The next of `work.tids`.
    next_tid: usize,
    /// The bound of the rows in `work.tids`.
    bound: Option<f64>,
    /// Rows handed out that were not found dead to everybody.
    returned: usize,
    /// The row handed out last.
    current: Option<Tid>,
    /// The node of the rows in `work.tids`, its generation, and its count of removals.
    node: (NodeId, u16, u16),
    kills: Kills,
}

impl Drop for Scan {
    fn drop(&mut self) {
        let work = std::mem::take(&mut self.work);
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < 4 {
                spare.push(work);
            }
        });
    }
}

impl Scan {
    /// A scan that has not been asked for anything.
    pub fn new() -> Self {
        Self {
            nodes: None,
            stage: Stage::Start,
            work: SPARE.with_borrow_mut(Vec::pop).unwrap_or_default(),
            next_tid: 0,
            bound: None,
            returned: 0,
            current: None,
            node: (0, 0, 0),
            kills: Kills::default(),
        }
    }

    /// Whether nothing has been asked for since the scan was begun, or begun again.
    pub fn is_fresh(&self) -> bool {
        matches!(self.stage, Stage::Start)
    }

    /// Begins again, perhaps for another query.
    pub fn restart(&mut self) -> SqlResult<()> {
        self.write_kills()?;
        self.stage = Stage::Start;
        self.next_tid = 0;
        self.returned = 0;
        self.current = None;
        self.work.tids.clear();
        Ok(())
    }

    /// Starts the search, for `query` or, without one, for everything.
    pub fn start(&mut self, index: Index, query: Option<&Embedding<'_>>) -> SqlResult<()> {
        let opened = Opened::open(index)?;
        if opened.meta.dims == 0 {
            self.stage = Stage::End;
            return Ok(());
        }
        if let Some(query) = query {
            opened.check(query)?;
        }
        match &mut self.nodes {
            Some(nodes) => nodes.reopen(opened),
            none => *none = Some(Nodes::new(opened)),
        }
        let (Some(query), Some(nodes)) = (query, &mut self.nodes) else {
            (self.stage, self.bound) = (Stage::Everything(0), None);
            return Ok(());
        };
        let Workspace { near, pass, query: prepared, scratch, .. } = &mut self.work;
        match nodes.opened.space().prepare(query.elements(), scratch, prepared) {
            Ok(()) => {}
            // The cosine distance to the zero vector is NaN whatever the row, so any order is right.
            Err(Error::Zero) => {
                (self.stage, self.bound) = (Stage::Everything(0), Some(f64::NEG_INFINITY));
                return Ok(());
            }
            Err(error) => return Err(SqlError::new(PgSqlErrorCode::ERRCODE_DATA_EXCEPTION, error.to_string())),
        }
        if options::exact() {
            self.stage = Stage::Pass;
            return pass.start(&[], f64::NEG_INFINITY);
        }
        self.stage = Stage::Near;
        near.start(nodes, prepared, options::ef_search())
    }

    /// The next row and its bound; no bound if distances are NULL.
    pub fn advance(&mut self, ignore_killed: bool) -> SqlResult<Option<(Tid, Option<f64>)>> {
        loop {
            while let Some(&tid) = self.work.tids.get(self.next_tid) {
                self.next_tid += 1;
                if ignore_killed && tid.is_killed() {
                    continue;
                }
                self.current = Some(tid.plain());
                self.returned += 1;
                return Ok(Some((tid.plain(), self.bound)));
            }
            let more = match self.stage {
                Stage::Near => self.next_near()?,
                Stage::Pass => self.next_in_pass()?,
                Stage::Everything(at) => self.next_of_all(at)?,
                Stage::Start | Stage::End => return Ok(None),
            };
            if !more {
                self.stage = Stage::End;
            }
        }
    }

    /// Reads the rows of the next node that the search has found. When it has found all that it is worth, a pass goes on.
    fn next_near(&mut self) -> SqlResult<bool> {
        let strict = options::iterative_scan() == IterativeScan::StrictOrder;
        let off = options::iterative_scan() == IterativeScan::Off;
        loop {
            let Workspace { near, pass, query, .. } = &mut self.work;
            let Some(nodes) = &mut self.nodes else { return Ok(false) };
            match near.step(strict, off)? {
                Step::Node(bound, candidate) => {
                    if self.read(candidate.id, candidate.stamp, Some(bound))? {
                        return Ok(true);
                    }
                }
                Step::Wanting if off => return Ok(false),
                Step::Wanting => {
                    let all = nodes.opened.layout.ids(nodes.opened.index.blocks());
                    if self.returned < options::max_scan_tuples()
                        && !near.is_exhausted()
                        && near.distances() < all / PASS_PAYS
                    {
                        near.widen(nodes, query, options::ef_search())?;
                        continue;
                    }
                    // In strict order what lies before a row that has been handed out comes when nothing else is left.
                    let floor = if strict { near.last() } else { f64::NEG_INFINITY };
                    pass.start(near.handed_out(), floor)?;
                    self.stage = Stage::Pass;
                    return Ok(true);
                }
            }
        }
    }

    /// Reads the rows of the next node of a pass.
    fn next_in_pass(&mut self) -> SqlResult<bool> {
        loop {
            let Workspace { pass, query, .. } = &mut self.work;
            let Some(nodes) = &self.nodes else { return Ok(false) };
            let Some(found) = pass.next(nodes, query)? else { return Ok(false) };
            if self.read(found.id, found.generation, Some(found.bound))? {
                return Ok(true);
            }
        }
    }

    /// Reads the rows of the next node of all.
    fn next_of_all(&mut self, mut at: NodeId) -> SqlResult<bool> {
        let Some(nodes) = &self.nodes else { return Ok(false) };
        let end = nodes.opened.layout.ids(nodes.opened.index.blocks());
        while (at as usize) < end {
            pgrx::check_for_interrupts!();
            let id = at;
            at += 1;
            let Some(generation) = self.nodes.as_ref().and_then(|nodes| nodes.generation(id)) else { continue };
            if self.read(id, generation, self.bound)? {
                self.stage = Stage::Everything(at);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes the rows of a node those that come next; false if it is not there any more.
    fn read(&mut self, id: NodeId, generation: u16, bound: Option<f64>) -> SqlResult<bool> {
        let Some(nodes) = &self.nodes else { return Ok(false) };
        let Some(removals) = nodes.tids(id, generation, &mut self.work.tids)? else { return Ok(false) };
        self.next_tid = 0;
        (self.bound, self.node) = (bound, (id, generation, removals));
        Ok(true)
    }

    /// Notes that the row handed out last is dead to everybody.
    pub fn kill_current(&mut self) {
        if let Some(tid) = self.current.take() {
            let (node, generation, removals) = self.node;
            self.kills.push((node, generation, removals, tid));
            self.returned -= 1;
        }
    }

    /// Marks the rows found dead.
    pub fn write_kills(&mut self) -> SqlResult<()> {
        match &self.nodes {
            Some(nodes) => self.kills.write(nodes),
            None => Ok(()),
        }
    }
}
