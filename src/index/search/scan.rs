//! A scan: rows in the order of a lower bound of their distance, until every row has been handed out.
//!
//! Rows come with a **lower bound** of the operator's value. The executor computes the exact value from the table's row,
//! and holds a row back until the bound of the next says that none can come before it (`IndexNextWithReorder` in
//! PostgreSQL's `nodeIndexscan.c`). So the order is exact, and little more than LIMIT rows are fetched from the table.
//!
//! ```text
//!            a search, widened                over all codes              NULLs, zero vectors
//!  start ──▶ near ─────────────────────────▶ pass ─────────────────────▶ unplaced ──▶ end
//!            until it is not worth it         until no node is left
//! ```
//!
//! The planner's guess of how many rows will be wanted decides what is fast, never what is right: a scan ends when the
//! executor stops asking or when there is no row left. With `iterative_scan = off` it ends after the first search; with
//! `exact = on` it is a pass from the start. A cutoff, which the planner derives from a condition on the distance
//! ([`crate::index::plan::cutoff`]), ends a scan when all that is still to come lies beyond it.
//!
//! No page is pinned or locked between calls: a candidate's rows are read when its turn comes, and only if the node's
//! generation still is the one that was scored. A slot that was freed and used again meanwhile holds a row too new for
//! this scan's snapshot.

use super::alike::{Alike, Table};
use super::kill::Kills;
use super::matching::{self, Choice};
use super::near::{Near, PASS_PAYS, Step};
use super::pass::Pass;
use crate::embedding::Embedding;
use crate::error::{SqlError, SqlResult};
use crate::index::keys::Conditions;
use crate::index::pages::{Nodes, Opened, Place, Tid, Why, unplaced, unplaced_blocks};
use crate::index::plan::options::{self, IterativeScan};
use crate::storage::{Block, Index, TableLength};
use pgrx::PgSqlErrorCode;
use std::cell::RefCell;
use vs_graph::NodeId;
use vs_quantize::{Error, Query, Scratch};

/// Nodes that a search visits for each candidate it keeps, about.
const NODES_PER_CANDIDATE: usize = 10;

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
    /// Everything in any order, because all distances are NULL or NaN: the next page.
    Everything(Block),
    /// Rows without a place in the graph: those for one reason, from one page on.
    Unplaced(Why, usize),
    /// There is nothing more.
    End,
}

/// A row that a scan hands out.
pub struct Row {
    /// Where it is.
    pub tid: Tid,
    /// The lower bound of its distance; `None` if that is NULL.
    pub bound: Option<f64>,
    /// Whether the bound is the distance.
    pub is_exact: bool,
}

/// Beyond which distance no row is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Cutoff {
    /// That distance; minus infinity if no row is wanted at all.
    pub distance: f64,
    /// Whether rows are wanted whose distance is NaN.
    pub or_nan: bool,
}

/// A scan.
pub struct Scan {
    nodes: Option<Nodes>,
    stage: Stage,
    work: Workspace,
    cutoff: Option<Cutoff>,
    /// The next of `work.tids`.
    next_tid: usize,
    /// The bound of the rows in `work.tids`, and whether it is their very distance.
    bound: Option<f64>,
    is_exact: bool,
    /// Rows that are alike and whose turn has not come.
    alike: Vec<Alike>,
    /// Rows handed out that were not found dead to everybody.
    returned: usize,
    /// Whether the query is NULL, and with it all distances.
    is_for_null: bool,
    /// The query is not as long as the vectors in the graph.
    is_of_other_length: bool,
    /// The row handed out last.
    current: Option<Tid>,
    /// The node of the rows in `work.tids`, its generation, and its count of removals; none if they have no node.
    node: Option<(NodeId, u16, u16)>,
    kills: Kills,
    /// Nodes of the page that is being read, where everything is.
    on_page: Vec<(NodeId, u16)>,
    /// The pages of rows without a place in the graph.
    unplaced: Vec<Block>,
    /// Whether those are all that the scan's snapshot can see. Then they are for the same scan begun again, too.
    knows_unplaced: bool,
    /// What rows are filtered by.
    conditions: Conditions,
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
            cutoff: None,
            next_tid: 0,
            bound: None,
            is_exact: false,
            alike: Vec::new(),
            returned: 0,
            is_for_null: false,
            is_of_other_length: false,
            current: None,
            node: None,
            kills: Kills::default(),
            on_page: Vec::new(),
            unplaced: Vec::new(),
            knows_unplaced: false,
            conditions: Conditions::default(),
        }
    }

    /// Whether nothing has been asked for since the scan was begun, or begun again.
    pub fn is_fresh(&self) -> bool {
        matches!(self.stage, Stage::Start)
    }

    /// Begins again, perhaps for another query and cutoff.
    pub fn restart(&mut self, cutoff: Option<Cutoff>) -> SqlResult<()> {
        self.write_kills()?;
        self.cutoff = cutoff;
        self.stage = Stage::Start;
        self.next_tid = 0;
        self.returned = 0;
        self.current = None;
        self.on_page.clear();
        self.alike.clear();
        self.work.tids.clear();
        Ok(())
    }

    /// Whether the row handed out last has to be compared with the conditions again. Of rows without a place in the graph
    /// no keys are kept.
    pub fn rechecks(&self) -> bool {
        self.conditions.recheck || (self.conditions.any && self.node.is_none())
    }

    /// Starts the search, for `query` or, without one, for everything, among what meets `conditions`.
    pub fn start(
        &mut self,
        index: Index,
        table: TableLength,
        query: Option<&Embedding<'_>>,
        conditions: Conditions,
    ) -> SqlResult<()> {
        self.conditions = conditions;
        let opened = Opened::open(index)?;
        let empty = opened.meta.dims == 0;
        self.is_for_null = query.is_none();
        self.is_of_other_length = false;
        // A distance that is NULL is within no cutoff.
        let nothing = self.cutoff.is_some_and(|it| query.is_none() || it.distance == f64::NEG_INFINITY && !it.or_nan);
        if self.conditions.filter.is_never() || nothing {
            return self.end();
        }
        let length = opened.layout.dims();
        match &mut self.nodes {
            Some(nodes) => nodes.reopen(opened),
            none => *none = Some(Nodes::new(opened)),
        }
        let Some(nodes) = &mut self.nodes else { return Ok(()) };
        nodes.table = Some(table);
        nodes.set_filter(&self.conditions.filter);
        let Some(query) = query.filter(|_| !empty) else {
            (self.stage, self.bound) = (Stage::Everything(1), None);
            return Ok(());
        };
        if query.dims() != length {
            // Rows of the query's length, if there are any, are kept aside, without a bound. For any other row the operator
            // has an error, which the executor meets as it computes distances; for rows that its snapshot does not see
            // there is none.
            self.is_of_other_length = true;
            (self.stage, self.bound) = (Stage::Everything(1), Some(f64::NEG_INFINITY));
            return Ok(());
        }
        let Workspace { near, pass, query: prepared, scratch, .. } = &mut self.work;
        match nodes.opened.space().prepare(query.elements(), scratch, prepared) {
            Ok(()) => {}
            // The cosine distance to the zero vector is NaN whatever the row, so any order is right.
            Err(Error::Zero) => {
                if !self.wants_nan() {
                    return self.end();
                }
                (self.stage, self.bound) = (Stage::Everything(1), Some(f64::NAN));
                return Ok(());
            }
            Err(error) => return Err(SqlError::new(PgSqlErrorCode::ERRCODE_DATA_EXCEPTION, error.to_string())),
        }
        let cutoff = self.cutoff.map_or(f64::INFINITY, |it| it.distance);
        // A search would visit as many nodes as a pass reads in the same time.
        let all = nodes.opened.layout.ids(nodes.opened.index.blocks());
        let few = all <= PASS_PAYS * NODES_PER_CANDIDATE * options::ef_search();
        if options::exact() || few && options::iterative_scan() != IterativeScan::Off {
            self.stage = Stage::Pass;
            return pass.start(&[], f64::NEG_INFINITY, cutoff);
        }
        let way = match matching::choose(nodes, options::ef_search())? {
            Choice::Pass(possible) if options::iterative_scan() != IterativeScan::Off => {
                self.stage = Stage::Pass;
                pass.start(&[], f64::NEG_INFINITY, cutoff)?;
                pass.look_only_at(possible);
                return Ok(());
            }
            Choice::Pass(_) | Choice::Plain => None,
            Choice::Filtered(way) => Some(way),
        };
        self.stage = Stage::Near;
        near.start(nodes, prepared, options::ef_search(), way)
    }

    /// The next row.
    pub fn advance(&mut self, ignore_killed: bool, table: &Table) -> SqlResult<Option<Row>> {
        loop {
            while let Some(&tid) = self.work.tids.get(self.next_tid) {
                self.next_tid += 1;
                if ignore_killed && tid.is_killed() {
                    continue;
                }
                self.current = Some(tid.plain());
                self.returned += 1;
                return Ok(Some(Row { tid: tid.plain(), bound: self.bound, is_exact: self.is_exact }));
            }
            match self.stage {
                Stage::Near => self.next_near(table)?,
                Stage::Pass => self.next_in_pass(table)?,
                Stage::Everything(at) => self.next_of_all(at)?,
                Stage::Unplaced(why, at) => self.next_unplaced(why, at)?,
                Stage::Start | Stage::End => return Ok(None),
            }
        }
    }

    /// Reads the rows of the next node that the search has found. When it has found all that it is worth, a pass goes on.
    fn next_near(&mut self, table: &Table) -> SqlResult<()> {
        let strict = options::iterative_scan() == IterativeScan::StrictOrder;
        let off = options::iterative_scan() == IterativeScan::Off;
        loop {
            let before = self.nearest_alike();
            let Workspace { near, pass, query, .. } = &mut self.work;
            let Some(nodes) = &mut self.nodes else { return self.end() };
            let step = match self.cutoff {
                Some(Cutoff { distance, .. }) if !near.waits_within(distance) => {
                    if before <= distance && near.is_turn_of(before, strict) {
                        Step::Later
                    } else if !near.is_past(distance) {
                        Step::Wanting
                    } else if near.bring_back()? {
                        continue;
                    } else {
                        return self.end_near_cutoff();
                    }
                }
                _ => near.step(strict, off, before)?,
            };
            match step {
                Step::Node(bound, candidate) => {
                    if self.read_or_put_aside(candidate.id, candidate.stamp, bound, table)? {
                        return Ok(());
                    }
                }
                Step::Later => {
                    if self.read_alike()? {
                        return Ok(());
                    }
                }
                Step::Wanting if off => return self.end(),
                Step::Wanting => {
                    let all = nodes.opened.layout.ids(nodes.opened.index.blocks());
                    if self.returned < options::max_scan_tuples()
                        && !near.is_done(all)
                        && near.memory() < options::work_mem()
                    {
                        near.widen(nodes, query, options::ef_search())?;
                        continue;
                    }
                    // In strict order what lies before a row that has been handed out comes when nothing else is left.
                    let floor = if strict { near.last() } else { f64::NEG_INFINITY };
                    pass.start(near.handed_out(), floor, self.cutoff.map_or(f64::INFINITY, |it| it.distance))?;
                    self.stage = Stage::Pass;
                    return Ok(());
                }
            }
        }
    }

    /// Reads the rows of the next node of a pass.
    fn next_in_pass(&mut self, table: &Table) -> SqlResult<()> {
        loop {
            let before = self.nearest_alike();
            let Workspace { pass, query, .. } = &mut self.work;
            let Some(nodes) = &mut self.nodes else { return self.end() };
            let Some(found) = pass.next(nodes, query, before)? else {
                if before < f64::INFINITY {
                    if self.read_alike()? {
                        return Ok(());
                    }
                    continue;
                }
                if let Some(blocks) = pass.unplaced() {
                    (self.unplaced, self.knows_unplaced) = (blocks, true);
                }
                return self.end_near_cutoff();
            };
            if self.read_or_put_aside(found.id, found.generation, found.bound, table)? {
                return Ok(());
            }
        }
    }

    /// Reads the rows of the next node of all, page by page.
    fn next_of_all(&mut self, block: Block) -> SqlResult<()> {
        while let Some((id, generation)) = self.on_page.pop() {
            if self.read(id, generation, self.bound)? {
                return Ok(());
            }
        }
        let Some(nodes) = &self.nodes else { return self.end() };
        pgrx::check_for_interrupts!();
        let opened = &nodes.opened;
        // Where no length of vectors is known there is no node.
        if opened.meta.dims == 0 || !opened.has(block) {
            (self.unplaced, self.knows_unplaced) = (unplaced_blocks(opened)?, true);
            self.stage = Stage::Unplaced(Why::Length, 0);
            return Ok(());
        }
        let layout = opened.layout;
        let mut hints = opened.remembered.hints.borrow_mut();
        let lock = opened.index.read(&mut hints, block);
        opened.check_page(block, lock.page())?;
        let node = |at: usize| {
            let node = layout.node(lock.page(), at).filter(|node| nodes.is_wanted(node))?;
            Some((layout.id(Place { block, at })?, node.generation()))
        };
        self.on_page.extend((0..layout.slots(lock.page())).filter_map(node));
        self.stage = Stage::Everything(block + 1);
        Ok(())
    }

    /// Reads the rows of the next page of those without a place in the graph: vectors of another length first, then zero
    /// vectors, whose distance is NaN, then NULLs.
    fn next_unplaced(&mut self, why: Why, at: usize) -> SqlResult<()> {
        let (Some(nodes), Some(&block)) = (&self.nodes, self.unplaced.get(at)) else {
            match why {
                Why::Length => self.stage = Stage::Unplaced(Why::Zero, 0),
                Why::Zero if self.cutoff.is_none() => self.stage = Stage::Unplaced(Why::Null, 0),
                Why::Zero => self.stage = Stage::End,
                Why::Null => self.stage = Stage::End,
            }
            return Ok(());
        };
        pgrx::check_for_interrupts!();
        self.work.tids.clear();
        {
            let mut hints = nodes.opened.remembered.hints.borrow_mut();
            let lock = nodes.opened.index.read(&mut hints, block);
            self.work.tids.extend(unplaced(lock.page()).filter(|row| row.1 == why).map(|row| row.0));
        }
        nodes.check_rows(&self.work.tids, &format_args!("page {block}"))?;
        self.next_tid = 0;
        // Whether a distance is NaN or NULL depends on the query, too. A row that is not of the query's length has none.
        self.bound = match why {
            _ if self.is_for_null => None,
            Why::Length if self.is_of_other_length => Some(f64::NEG_INFINITY),
            Why::Length | Why::Zero => Some(f64::NAN),
            Why::Null => None,
        };
        (self.is_exact, self.node) = (false, None);
        self.stage = Stage::Unplaced(why, at + 1);
        Ok(())
    }

    /// Whether rows are wanted whose distance is NaN.
    fn wants_nan(&self) -> bool {
        self.cutoff.is_none_or(|cutoff| cutoff.or_nan || cutoff.distance == f64::INFINITY)
    }

    /// Goes on to rows without a place in the graph, if they can be within the cutoff.
    fn end_near_cutoff(&mut self) -> SqlResult<()> {
        if !self.wants_nan() {
            return self.end();
        }
        if let Some(nodes) = self.nodes.as_ref().filter(|_| !self.knows_unplaced) {
            (self.unplaced, self.knows_unplaced) = (unplaced_blocks(&nodes.opened)?, true);
        }
        self.stage = Stage::Unplaced(Why::Length, 0);
        Ok(())
    }

    fn end(&mut self) -> SqlResult<()> {
        self.stage = Stage::End;
        Ok(())
    }

    /// As [`read`](Self::read); but of a node with many rows that are alike only the first come next, and the others when
    /// it is the turn of their distance.
    fn read_or_put_aside(&mut self, id: NodeId, generation: u16, bound: f64, table: &Table) -> SqlResult<bool> {
        let Some(nodes) = &self.nodes else { return Ok(false) };
        let tids = &mut self.work.tids;
        self.next_tid = 0;
        let Some((removals, chain)) = nodes.tids_or_chain(id, generation, tids)? else {
            tids.clear();
            return Ok(false);
        };
        if let Some(head) = chain {
            let mut first = Vec::new();
            match Alike::find(nodes, (id, generation, removals), head, table, &mut first)? {
                Some(alike) if self.cutoff.is_some_and(|cutoff| alike.distance > cutoff.distance) => {}
                Some(alike) if alike.distance.is_finite() => self.alike.push(alike),
                // An order among what is not a number there is none, so they come as they are.
                Some(_) => return self.read(id, generation, Some(bound)),
                None => {}
            }
        }
        (self.bound, self.is_exact, self.node) = (Some(bound), false, Some((id, generation, removals)));
        Ok(!tids.is_empty())
    }

    /// The distance of the nearest rows that are alike and wait; infinite if there are none.
    fn nearest_alike(&self) -> f64 {
        self.alike.iter().fold(f64::INFINITY, |least, alike| least.min(alike.distance))
    }

    /// Makes the rows of an entry of the nearest that are alike those that come next; false if there are none left.
    fn read_alike(&mut self) -> SqlResult<bool> {
        let nearest = (0..self.alike.len()).min_by(|&a, &b| self.alike[a].distance.total_cmp(&self.alike[b].distance));
        let (Some(at), Some(nodes)) = (nearest, &self.nodes) else { return Ok(false) };
        self.next_tid = 0;
        self.work.tids.clear();
        if !self.alike[at].advance(nodes, &mut self.work.tids)? {
            self.alike.swap_remove(at);
            self.work.tids.clear();
            return Ok(false);
        }
        (self.bound, self.is_exact, self.node) = (Some(self.alike[at].distance), true, None);
        Ok(true)
    }

    /// Makes the rows of a node those that come next; false if it is not there any more.
    fn read(&mut self, id: NodeId, generation: u16, bound: Option<f64>) -> SqlResult<bool> {
        let Some(nodes) = &self.nodes else { return Ok(false) };
        let Some(removals) = nodes.tids(id, generation, &mut self.work.tids)? else { return Ok(false) };
        self.next_tid = 0;
        (self.bound, self.is_exact, self.node) = (bound, false, Some((id, generation, removals)));
        Ok(true)
    }

    /// Notes that the row handed out last is dead to everybody.
    pub fn kill_current(&mut self) {
        let Some(tid) = self.current.take() else { return };
        self.returned -= 1;
        if let Some((node, generation, removals)) = self.node {
            self.kills.push((node, generation, removals, tid));
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
