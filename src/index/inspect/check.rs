//! Whether an index is what it should be: an amcheck for graphs.
//!
//! Three passes over the pages, with writers locked out: what exists ([`Known`]), whether every page, node and side
//! entry is sound in itself, and whether what they name exists. Then one over the table, whose rows must all be there. A
//! live node that no search reaches is not an error (the
//! next vacuum attaches it), nor is a dead node or a freed slot; `vs_hnsw_stats` counts them.

use super::held::Held;
use super::table::missing_rows;
use crate::error::{OrRaise, SqlResult, out_of_memory};
use crate::index::pages::{INLINE_TIDS, Lap, Layout, NodeRef, Nodes, Opened, Place, SideRef, TIDS, Tid, unplaced};
use crate::storage::{Block, Kind};
use pgrx::name;
use pgrx::prelude::*;
use vs_filter::{Signature, signature};
use vs_graph::{MAX_LEVEL, NONE, NodeId};

/// Something wrong.
pub struct Problem {
    /// On which page.
    pub block: Block,
    /// What.
    pub text: String,
}

/// Problems after which the rest is not worth listing.
const ENOUGH: usize = 1000;

/// What exists: for every possible node number its level plus one (0: no node) and generation, and for every side entry
/// who owns it.
struct Known {
    nodes: Vec<(u8, u16)>,
    /// Side entries that a node's chain has come to.
    sides: Vec<bool>,
}

impl Known {
    fn level(&self, id: NodeId) -> Option<u8> {
        self.nodes.get(id as usize).and_then(|node| node.0.checked_sub(1))
    }
}

fn filled<T: Clone>(len: usize, value: T) -> SqlResult<Vec<T>> {
    let mut all = Vec::new();
    all.try_reserve_exact(len).map_err(|_| out_of_memory("checking an index"))?;
    all.resize(len, value);
    Ok(all)
}

/// Checks an index.
pub fn check(held: &Held) -> SqlResult<Vec<Problem>> {
    let opened = Opened::open(held.index())?;
    let mut check = Check {
        table_blocks: held.table_blocks(),
        blocks: held.index().blocks(),
        layout: opened.layout,
        nodes: Nodes::new(opened),
        known: Known { nodes: Vec::new(), sides: Vec::new() },
        tids: Vec::new(),
        live: false,
        unplaced: false,
        problems: Vec::new(),
    };
    check.run()?;
    check.check_rows(held)?;
    check.problems.truncate(ENOUGH);
    Ok(check.problems)
}

struct Check {
    table_blocks: u32,
    blocks: Block,
    layout: Layout,
    nodes: Nodes,
    known: Known,
    tids: Vec<(Tid, Block)>,
    /// Whether there is a live node.
    live: bool,
    /// Whether there are pages of rows without a vector. Indexes made by the first version have none, whatever the rows.
    unplaced: bool,
    problems: Vec<Problem>,
}

/// What is kept of a node after its page has been left.
struct Chains {
    id: NodeId,
    level: u8,
    generation: u16,
    upper: u32,
    overflow: u32,
    dead: bool,
    signature: Signature,
}

impl Check {
    fn report(&mut self, block: Block, text: impl Into<String>) {
        if self.problems.len() < ENOUGH {
            self.problems.push(Problem { block, text: text.into() });
        }
    }

    fn run(&mut self) -> SqlResult<()> {
        self.learn()?;
        for block in 1..self.blocks {
            pgrx::check_for_interrupts!();
            for chains in self.check_page(block)? {
                self.check_signature(block, &chains);
                self.check_upper(block, &chains)?;
                self.check_overflow(block, &chains)?;
            }
        }
        self.check_sides_owned();
        self.check_lists();
        self.check_entry();
        self.check_tids();
        Ok(())
    }

    /// Notes which nodes there are.
    fn learn(&mut self) -> SqlResult<()> {
        let layout = self.layout;
        self.known.nodes = filled(layout.ids(self.blocks), (0, 0))?;
        self.known.sides = filled(self.blocks as usize * layout.sides_per_page(), false)?;
        let opened = &self.nodes.opened;
        for block in 1..self.blocks {
            pgrx::check_for_interrupts!();
            let mut hints = opened.remembered.hints.borrow_mut();
            let lock = opened.index.read(&mut hints, block);
            for at in 0..layout.slots(lock.page()) {
                if let (Some(node), Some(id)) = (layout.node(lock.page(), at), layout.id(Place { block, at })) {
                    self.known.nodes[id as usize] = (node.level().saturating_add(1), node.generation());
                }
            }
        }
        Ok(())
    }

    /// Checks a page and the nodes on it; returns those with side entries.
    fn check_page(&mut self, block: Block) -> SqlResult<Vec<Chains>> {
        let layout = self.layout;
        let mut found = Vec::new();
        let mut problems = Vec::new();
        let mut tids = Vec::new();
        let is_unplaced;
        {
            let opened = &self.nodes.opened;
            let mut hints = opened.remembered.hints.borrow_mut();
            let lock = opened.index.read(&mut hints, block);
            let page = lock.page();
            if page.is_new() {
                return Ok(found);
            }
            if !page.is_sound() {
                problems.push("the page's header is damaged".to_owned());
            }
            if !matches!(page.kind(), Some(Kind::Nodes | Kind::Side | Kind::Unplaced | Kind::Map)) {
                problems.push("the page is of no known kind".to_owned());
            }
            is_unplaced = page.kind() == Some(Kind::Unplaced);
            tids.extend(unplaced(page).map(|(tid, _)| (tid, block)));
            for at in 0..layout.slots(page) {
                let (Some(node), Some(id)) = (layout.node(page, at), layout.id(Place { block, at })) else { continue };
                problems.extend(self.node_problems(id, &node).into_iter().map(|text| format!("node {id}: {text}")));
                tids.extend(node.tids().map(|tid| (tid.plain(), block)));
                found.push(Chains {
                    id,
                    level: node.level(),
                    generation: node.generation(),
                    upper: node.upper(),
                    overflow: node.overflow(),
                    dead: !node.live(),
                    signature: signature(&opened.coarse, node.keys()),
                });
            }
            if problems.is_empty() && !layout.is_sensible(block, page) {
                problems.push("there is something on the page that cannot be".to_owned());
            }
        }
        self.unplaced |= is_unplaced;
        self.tids.try_reserve(tids.len()).map_err(|_| out_of_memory("checking an index"))?;
        self.tids.extend(tids);
        self.live |= found.iter().any(|node| !node.dead);
        for text in problems {
            self.report(block, text);
        }
        Ok(found)
    }

    fn node_problems(&self, id: NodeId, node: &NodeRef<'_>) -> Vec<String> {
        let mut problems = Vec::new();
        if node.level() > MAX_LEVEL {
            problems.push(format!("level {} is above {MAX_LEVEL}", node.level()));
        }
        if node.inline_count() > INLINE_TIDS {
            problems.push(format!("{} rows in a slot for {INLINE_TIDS}", node.inline_count()));
        }
        if node.degree() > 2 * self.layout.m() {
            problems.push(format!("a list of {} for {}", node.degree(), 2 * self.layout.m()));
        }
        let code = node.code();
        let norm: u64 = code.values.iter().map(|&c| u64::from(c.unsigned_abs()).pow(2)).sum();
        let header = code.header;
        let finite = header.scale.is_finite() && header.scale >= 0.0 && header.error >= 0.0 && !header.error.is_nan();
        if norm != u64::from(header.norm) || !finite {
            problems.push("the code and what is kept of it do not agree".to_owned());
        }
        // The list of a dead node is of no use any more: a vacuum that was interrupted may have freed what it names.
        if node.live() {
            problems.extend(self.list_problems(id, 0, &node.list().collect::<Vec<_>>()));
        }
        problems
    }

    /// What is wrong with a list of neighbours.
    fn list_problems(&self, id: NodeId, level: u8, list: &[NodeId]) -> Vec<String> {
        let mut problems = Vec::new();
        for (at, &member) in list.iter().enumerate() {
            let text = if member == id {
                "names the node itself"
            } else if list[..at].contains(&member) {
                "names a node twice"
            } else {
                match self.known.level(member) {
                    None => "names a node that is not there",
                    Some(highest) if highest < level => "names a node that is not on that layer",
                    Some(_) => continue,
                }
            };
            problems.push(format!("its list of layer {level} {text} ({member})"));
        }
        problems
    }

    /// A node's signature must be in the map of its page.
    fn check_signature(&mut self, block: Block, node: &Chains) {
        let (layout, opened) = (self.layout, &self.nodes.opened);
        let Some(map) = layout.map_of(block).filter(|_| !node.dead) else { return };
        let differs = {
            let mut hints = opened.remembered.hints.borrow_mut();
            let lock = opened.index.read(&mut hints, map);
            let kept = layout.mapped_signature(lock.page(), layout.place(node.id));
            // Pages whose map is used for something else have none.
            kept.map_or(lock.page().is_new(), |kept| kept != node.signature)
        };
        if differs {
            self.report(block, format!("node {}: the map on page {map} says something else of its keys", node.id));
        }
    }

    /// Follows a node's lists above layer 0.
    fn check_upper(&mut self, block: Block, node: &Chains) -> SqlResult<()> {
        let mut side = node.upper;
        for layer in 1..=node.level.min(MAX_LEVEL) {
            let read = |entry: SideRef<'_>| (entry.next(), entry.list().collect::<Vec<_>>());
            let found = match self.exists(side) {
                true => self.nodes.with_side(side, node.id, node.generation, layer, read)?,
                false => None,
            };
            let Some((next, list)) = found else {
                if node.dead {
                    // A vacuum that was interrupted: the next one goes on.
                    return Ok(());
                }
                self.report(block, format!("node {}: its list of layer {layer} is not there", node.id));
                return Ok(());
            };
            self.own(block, node.id, side);
            let problems = if node.dead { Vec::new() } else { self.list_problems(node.id, layer, &list) };
            for text in problems {
                self.report(block, format!("node {}: {text}", node.id));
            }
            side = next;
        }
        if side != NONE {
            self.report(block, format!("node {}: lists above its highest layer", node.id));
        }
        Ok(())
    }

    /// Follows a node's further rows.
    fn check_overflow(&mut self, block: Block, node: &Chains) -> SqlResult<()> {
        let mut side = node.overflow;
        while side != NONE {
            pgrx::check_for_interrupts!();
            let read = |entry: SideRef<'_>| (entry.next(), entry.tids().collect::<Vec<_>>());
            let found = match self.exists(side) {
                true => self.nodes.with_side(side, node.id, node.generation, TIDS, read)?,
                false => None,
            };
            let Some((next, tids)) = found else {
                self.report(block, format!("node {}: an entry with rows is not there", node.id));
                return Ok(());
            };
            if !self.own(block, node.id, side) {
                return Ok(());
            }
            if tids.is_empty() {
                self.report(block, format!("node {}: an entry for rows is empty", node.id));
            }
            self.tids.try_reserve(tids.len()).map_err(|_| out_of_memory("checking an index"))?;
            self.tids.extend(tids.iter().map(|tid| (tid.plain(), block)));
            side = next;
        }
        Ok(())
    }

    /// Whether a side entry can be where its number says.
    fn exists(&self, side: u32) -> bool {
        side != NONE && self.layout.side_place(side).block < self.blocks
    }

    /// Notes that a side entry has an owner; false if it had one already.
    fn own(&mut self, block: Block, id: NodeId, side: u32) -> bool {
        let Some(owned) = self.known.sides.get_mut(side as usize) else { return false };
        let first = !std::mem::replace(owned, true);
        if !first {
            self.report(block, format!("node {id}: side entry {side} is in two chains"));
        }
        first
    }

    /// Every side entry in use must be in its owner's chain.
    fn check_sides_owned(&mut self) {
        let layout = self.layout;
        for block in 1..self.blocks {
            let mut lost = Vec::new();
            {
                let opened = &self.nodes.opened;
                let mut hints = opened.remembered.hints.borrow_mut();
                let lock = opened.index.read(&mut hints, block);
                for at in 0..layout.sides(lock.page()) {
                    let Some(entry) = layout.side(lock.page(), at).filter(|entry| entry.kind() != 0) else { continue };
                    let number = layout.side_id(Place { block, at });
                    let owned = number.and_then(|number| self.known.sides.get(number as usize)).copied();
                    if owned != Some(true) {
                        lost.push(entry.owner());
                    }
                }
            }
            for owner in lost {
                self.report(block, format!("a side entry of node {owner} is in no chain"));
            }
        }
    }

    /// The metapage's lists of pages with room must lead to such pages and end.
    fn check_lists(&mut self) {
        let meta = self.nodes.opened.meta;
        for (mut block, end, kind) in [(meta.side, NONE, Kind::Side), (meta.unplaced, 0, Kind::Unplaced)] {
            let mut lap = Lap::new(block);
            while block != end {
                let found = (block < self.blocks).then(|| {
                    let opened = &self.nodes.opened;
                    let lock = opened.index.read(&mut opened.remembered.hints.borrow_mut(), block);
                    (lock.page().kind(), lock.page().link())
                });
                let next = found.filter(|found| found.0 == Some(kind)).map(|found| found.1);
                match next {
                    Some(next) if !lap.comes_back(next) => block = next,
                    Some(_) => return self.report(0, "a list of pages with room runs in a circle"),
                    None => return self.report(0, format!("a list of pages with room leads to page {block}")),
                }
            }
        }
    }

    /// Every row of the table must be there.
    fn check_rows(&mut self, held: &Held) -> SqlResult<()> {
        let mut tids = Vec::new();
        tids.try_reserve_exact(self.tids.len()).map_err(|_| out_of_memory("checking an index"))?;
        tids.extend(self.tids.iter().map(|row| row.0));
        let room = ENOUGH.saturating_sub(self.problems.len());
        for tid in missing_rows(held, &tids, self.unplaced, room)? {
            self.report(0, format!("row {tid} of the table is not in the index"));
        }
        Ok(())
    }

    fn check_entry(&mut self) {
        match self.nodes.opened.meta.entry {
            Some(entry) => match self.known.level(entry.id) {
                None => self.report(0, format!("searches start at node {}, which is not there", entry.id)),
                Some(level) if level != entry.level => {
                    self.report(
                        0,
                        format!("searches start at node {} on layer {}, not {level}", entry.id, entry.level),
                    );
                }
                Some(_) => {}
            },
            None => {
                if self.live {
                    self.report(0, "there are rows, but nowhere for searches to start");
                }
            }
        }
    }

    /// Every row once, and on a page that the table has.
    fn check_tids(&mut self) {
        self.tids.sort_unstable();
        let mut problems = Vec::new();
        for pair in self.tids.windows(2) {
            if pair[0].0 == pair[1].0 {
                problems.push((pair[1].1, format!("row {} is there twice", pair[0].0)));
            }
        }
        for &(tid, block) in &self.tids {
            if tid.block() >= self.table_blocks || tid.offset() == 0 {
                problems.push((block, format!("row {tid} is not in the table")));
            }
        }
        for (block, text) in problems {
            self.report(block, text);
        }
    }
}

#[pg_extern(sql = false)]
fn vs_hnsw_check(index: pg_sys::Oid) -> TableIterator<'static, (name!(block, i64), name!(problem, String))> {
    let problems: Vec<Problem> = Held::open(index, true).and_then(|held| check(&held)).or_raise();
    TableIterator::new(problems.into_iter().map(|problem| (i64::from(problem.block), problem.text)))
}
