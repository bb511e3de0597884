//! The graph on pages, for writing: [`vs_graph::StorageMut`] over the buffer pool.
//!
//! | change | pages of its WAL record |
//! |---|---|
//! | a new node with its lists | its page, and a side page if it is on upper layers |
//! | lists of neighbours | up to four of their pages |
//! | one more row with the same vector | the node's page, and a side page |
//! | the entry point, the tag | the metapage |
//! | a fresh side page | the metapage and that page |
//!
//! After each of them the index is valid. An insertion that stops half-way leaves a node that searches may not find, and
//! whose row they need not find either: it was not committed.
//!
//! Decisions are made on copies, read without holding anything; the pages are then locked, it is checked that what was
//! read still holds, and either all is changed or nothing and it is decided again. There is no limit to how often: each
//! time somebody else has got on with what they do, and what is damaged is noticed by what it says, not by how long it takes.

use super::layout::Place;
use super::meta::Meta;
use super::nodes::Nodes;
use super::open::{Opened, too_large};
use super::tid::Tid;
use crate::error::{SqlError, SqlResult};
use crate::storage::{Block, Kind, Logging, PAGES};
use pgrx::PgSqlErrorCode;
use vs_filter::{KeysBuf, SIGNED, Signature, signature};
use vs_graph::{Candidate, Entry, NONE, NodeId, Storage, StorageMut, Updates};
use vs_quantize::{CodeRef, Header, Measure, Query};

/// [`crate::storage::Page::link`] of a side page that is not in the metapage's list.
pub const UNLISTED: u32 = 0;

/// What is being inserted.
#[derive(Debug, Default, Clone)]
pub struct NewRow {
    /// The code's bytes.
    pub code: Vec<i8>,
    /// What goes with them.
    pub header: Header,
    /// The words of the key columns.
    pub keys: KeysBuf,
    /// The digest of the vector.
    pub digest: u64,
    /// The row.
    pub tid: Option<Tid>,
}

impl NewRow {
    pub fn code(&self) -> CodeRef<'_> {
        self.header.with(&self.code)
    }
}

/// Write access to the graph of an index; reusable memory.
pub struct Graph {
    /// Read access.
    pub nodes: Nodes,
    /// How changes are logged.
    pub logging: Logging,
    /// The row that is being inserted.
    pub row: NewRow,
    gathered: Gathered,
    /// The signatures of nodes that are about to be put into lists, by their numbers.
    signatures: Vec<(NodeId, Signature)>,
}

/// Copies of codes that are being compared with each other.
#[derive(Default)]
struct Gathered {
    /// Number and position of each node's copy, in order.
    ids: Vec<(NodeId, usize)>,
    headers: Vec<Header>,
    codes: Vec<i8>,
}

impl Gathered {
    fn code(&self, id: NodeId, dims: usize) -> Option<CodeRef<'_>> {
        let at = self.ids.binary_search_by_key(&id, |entry| entry.0).ok()?;
        let at = self.ids[at].1;
        Some(self.headers[at].with(&self.codes[at * dims..(at + 1) * dims]))
    }
}

impl Graph {
    /// Write access to the graph of `opened`.
    pub fn new(opened: Opened, logging: Logging) -> Self {
        Self {
            nodes: Nodes::new(opened),
            logging,
            row: NewRow::default(),
            gathered: Gathered::default(),
            signatures: Vec::new(),
        }
    }

    pub fn opened(&self) -> &Opened {
        &self.nodes.opened
    }

    /// Changes the metapage by `change`, which says whether there is anything to change.
    pub fn change_meta(&self, change: impl FnOnce(&mut Meta) -> bool) -> SqlResult<bool> {
        let opened = self.opened();
        let mut pages = opened.change(&[0], self.logging)?;
        let mut meta = opened.meta_of(pages.page(0))?;
        let changed = change(&mut meta);
        if changed {
            meta.write(&mut pages.page_mut(0));
            pages.commit();
        }
        Ok(changed)
    }

    /// A side page with at least `wanted` free entries, as it seems: the caller checks again under the lock.
    pub fn side_page(&self, wanted: usize) -> SqlResult<Block> {
        let opened = self.opened();
        let layout = opened.layout;
        // Each turn takes a full page off the list, unless others have done so or have put one on it.
        loop {
            pgrx::check_for_interrupts!();
            let first = opened.side()?;
            if first == NONE {
                let fresh = opened.extend();
                let mut pages = opened.change(&[0, fresh], self.logging)?;
                // A vacuum may have seen the page of zeros meanwhile, and offered it to an insertion for nodes.
                if !pages.page(fresh).is_new() {
                    continue;
                }
                let mut meta = opened.meta_of(pages.page(0))?;
                pages.init(fresh, Kind::Side, meta.side);
                meta.side = fresh;
                meta.write(&mut pages.page_mut(0));
                pages.commit();
                return Ok(fresh);
            }
            if !opened.has(first) {
                return Err(opened.damaged(&format!("side page {first} is past the end")));
            }
            let (kind, free) = {
                let mut hints = opened.remembered.hints.borrow_mut();
                let lock = opened.index.read(&mut hints, first);
                (lock.page().kind(), layout.free_sides(lock.page()).take(wanted).count())
            };
            if kind != Some(Kind::Side) {
                return Err(opened.damaged(&format!("page {first} is listed as a side page and is none")));
            }
            if free >= wanted {
                return Ok(first);
            }
            let mut pages = opened.change(&[0, first], self.logging)?;
            let mut meta = opened.meta_of(pages.page(0))?;
            if meta.side == first && layout.free_sides(pages.page(first)).take(wanted).count() < wanted {
                meta.side = pages.page(first).link();
                meta.write(&mut pages.page_mut(0));
                pages.page_mut(first).set_link(UNLISTED);
                pages.commit();
            }
        }
    }

    /// A page where a node may find a free slot: that of its nearest neighbour, that of the last insertion, one that
    /// the free space map knows, or a new one.
    fn node_page(&self, near: Option<NodeId>) -> Block {
        let opened = self.opened();
        if let Some(block) = near.map(|near| opened.layout.place(near).block).filter(|&block| opened.has(block)) {
            let mut hints = opened.remembered.hints.borrow_mut();
            let lock = opened.index.read(&mut hints, block);
            if opened.layout.free_slot(lock.page()).is_some() {
                return block;
            }
        }
        // TRUNCATE and REINDEX make the file shorter.
        if let Some(block) = opened.remembered.target.get().filter(|&block| block < opened.index.blocks()) {
            return block;
        }
        if self.logging == Logging::Generic
            && let Some(block) = opened.index.page_with_room().filter(|&block| !opened.layout.is_map(block))
        {
            return block;
        }
        let block = opened.extend();
        if self.logging == Logging::Generic {
            opened.index.note_room(block, true);
            opened.index.publish_room(block, block + 1);
        }
        block
    }
}

impl Storage for Graph {
    type Error = SqlError;

    fn entry(&mut self) -> SqlResult<Option<Entry>> {
        self.nodes.entry()
    }

    fn score(&mut self, query: &Query, ids: &[NodeId], out: &mut Vec<Candidate>) -> SqlResult<()> {
        self.nodes.score(query, ids, out)
    }

    fn neighbours(&mut self, id: NodeId, level: u8, out: &mut Vec<NodeId>) -> SqlResult<bool> {
        self.nodes.neighbours(id, level, out)
    }
}

impl StorageMut for Graph {
    fn gather(&mut self, ids: &[NodeId], level: u8) -> SqlResult<()> {
        let gathered = &mut self.gathered;
        gathered.ids.clear();
        gathered.headers.clear();
        gathered.codes.clear();
        self.nodes.with_nodes(ids, |id, node| {
            if node.level() < level {
                return;
            }
            let code = node.code();
            // Nodes come in the order of their numbers.
            gathered.ids.push((id, gathered.headers.len()));
            gathered.headers.push(code.header);
            gathered.codes.extend_from_slice(code.values);
        })
    }

    fn measure(&self) -> Measure {
        self.opened().meta.metric.measure()
    }

    fn keys(&mut self, measure: Measure, from: NodeId, to: &[NodeId], out: &mut Vec<f32>) -> SqlResult<()> {
        let (dims, space) = (self.opened().layout.dims(), self.opened().space());
        let from = self.gathered.code(from, dims);
        out.extend(to.iter().map(|&id| {
            let key = from.zip(self.gathered.code(id, dims)).map(|(a, b)| space.between(measure, a, b));
            key.unwrap_or(f32::INFINITY)
        }));
        Ok(())
    }

    fn any_nearer(&mut self, node: NodeId, others: &[NodeId], key: f32) -> SqlResult<Option<bool>> {
        let (dims, space) = (self.opened().layout.dims(), self.opened().space());
        let Some(node) = self.gathered.code(node, dims) else { return Ok(None) };
        let nearer = |other| space.between(Measure::Distance, node, other) < key;
        Ok(Some(others.iter().any(|&id| self.gathered.code(id, dims).is_some_and(nearer))))
    }

    fn is_same(&mut self, query: &Query, id: NodeId) -> SqlResult<bool> {
        let keys = self.row.keys.keys();
        let same =
            |node: super::slots::NodeRef<'_>| node.live() && query.stands_for(&node.code()) && node.keys() == keys;
        Ok(self.nodes.with_node(id, |_, node| same(node))?.unwrap_or(false))
    }

    fn add(&mut self, level: u8, lists: &[Vec<NodeId>]) -> SqlResult<NodeId> {
        let layout = self.opened().layout;
        let mut near = lists.first().and_then(|list| list.first()).copied();
        self.sign(lists.iter().take(1).flatten().copied())?;
        loop {
            pgrx::check_for_interrupts!();
            let side = if level > 0 { Some(self.side_page(usize::from(level))?) } else { None };
            let block = self.node_page(near.take());
            let opened = self.opened();
            let mut blocks = vec![block];
            blocks.extend(side);
            let map = layout.map_of(block);
            blocks.extend(map);
            blocks.sort_unstable();
            blocks.dedup();
            let mut pages = opened.change(&blocks, self.logging)?;
            let Some(at) = layout.free_slot(pages.page(block)) else {
                drop(pages);
                self.note_full(block);
                continue;
            };
            let Some(id) = layout.id(Place { block, at }) else {
                return Err(SqlError::new(
                    PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                    format!("index \"{}\" cannot hold more nodes", opened.index.name()),
                ));
            };
            let mut free = Vec::new();
            if let Some(side) = side {
                free.extend(layout.free_sides(pages.page(side)).take(usize::from(level)));
                if free.len() < usize::from(level) {
                    continue;
                }
            }
            let new = pages.page(block).is_new();
            let generation = layout.slot(pages.page(block), at).map_or(0, |slot| slot.generation());
            let mut next = NONE;
            for (layer, &at) in (1..=level).zip(&free).rev() {
                let Some(side) = side else { break };
                let mut page = pages.page_mut(side);
                let mut entry = layout.side_mut(&mut page, at);
                entry.init(id, generation, layer, next);
                entry.set_list(lists.get(usize::from(layer)).map_or(&[][..], |list| list));
                next = layout.side_id(Place { block: side, at }).ok_or_else(too_large)?;
            }
            let mut page = if new { pages.init(block, Kind::Nodes, 0) } else { pages.page_mut(block) };
            let mut node = layout.node_mut(&mut page, at);
            node.init(level, self.row.code(), self.row.keys.keys());
            node.set_upper(next);
            node.set_tids(self.row.tid.into_iter());
            node.set_list(lists.first().map_or(&[][..], |list| list), |id| self.signature_of(id));
            let full = layout.free_slot(page.as_page()).is_none();
            if let Some(map) = map {
                let kind = pages.page(map).kind();
                if pages.page(map).is_new() {
                    pages.init(map, Kind::Map, 0);
                }
                if kind.is_none_or(|kind| kind == Kind::Map) {
                    let signature = signature(&opened.coarse, self.row.keys.keys());
                    layout.put_signature(&mut pages.page_mut(map), Place { block, at }, signature);
                }
            }
            pages.commit();
            if full {
                self.note_full(block);
            } else {
                self.opened().remembered.target.set(Some(block));
            }
            return Ok(id);
        }
    }

    fn replace(&mut self, id: NodeId, level: u8, old: &[NodeId], new: &[NodeId]) -> SqlResult<bool> {
        let Some(target) = self.target(id, level)? else { return Ok(false) };
        self.sign(fresh(level, old, new))?;
        let mut pages = self.opened().change(&[target.place.block], self.logging)?;
        let replaced = target.apply(self, &mut pages, old, new)?;
        if replaced {
            pages.commit();
        }
        Ok(replaced)
    }

    fn replace_all(&mut self, updates: &Updates, done: &mut Vec<bool>) -> SqlResult<()> {
        let first = done.len();
        done.resize(first + updates.len(), false);
        let mut targets = Vec::with_capacity(updates.len());
        for (at, update) in updates.iter().enumerate() {
            if let Some(target) = self.target(update.id, update.level)? {
                targets.push((target, at, update));
            }
        }
        targets.sort_unstable_by_key(|(target, ..)| target.place);
        self.sign(updates.iter().flat_map(|update| fresh(update.level, update.old, update.new)))?;
        let mut rest = &targets[..];
        while !rest.is_empty() {
            pgrx::check_for_interrupts!();
            // As many as lie on the next few pages.
            let mut blocks: Vec<Block> = Vec::with_capacity(PAGES);
            let mut count = 0;
            for (target, ..) in rest {
                if blocks.last() != Some(&target.place.block) {
                    if blocks.len() == PAGES {
                        break;
                    }
                    blocks.push(target.place.block);
                }
                count += 1;
            }
            let mut pages = self.opened().change(&blocks, self.logging)?;
            let mut any = false;
            for (target, at, update) in &rest[..count] {
                let replaced = target.apply(self, &mut pages, update.old, update.new)?;
                done[first + at] = replaced;
                any |= replaced;
            }
            if any {
                pages.commit();
            }
            rest = &rest[count..];
        }
        Ok(())
    }

    fn probe(&mut self, id: NodeId, query: &mut Query) -> SqlResult<bool> {
        let remembered = std::rc::Rc::clone(&self.opened().remembered);
        Ok(self.nodes.with_node(id, |_, node| remembered.space.probe(node.code(), query))?.is_some())
    }

    fn raise_entry(&mut self, entry: Entry, instead_of: Option<Option<Entry>>) -> SqlResult<bool> {
        loop {
            pgrx::check_for_interrupts!();
            let present = self.opened().read_meta()?.entry;
            if instead_of.is_some_and(|expected| expected != present) {
                return Ok(false);
            }
            if let Some(present) = present
                && present.level >= entry.level
                && self.nodes.with_node(present.id, |_, node| node.live())? == Some(true)
            {
                return Ok(false);
            }
            let raised = self.change_meta(|meta| {
                let same = meta.entry == present;
                if same {
                    meta.entry = Some(entry);
                }
                same
            })?;
            if raised {
                return Ok(true);
            }
        }
    }
}

impl Graph {
    /// Notes that a page has no free slot.
    fn note_full(&self, block: Block) {
        let opened = self.opened();
        if opened.remembered.target.get() == Some(block) {
            opened.remembered.target.set(None);
        }
        if self.logging == Logging::Generic {
            opened.index.note_room(block, false);
        }
    }

    /// Finds out the signatures of `ids`, before pages are locked.
    fn sign(&mut self, ids: impl Iterator<Item = NodeId>) -> SqlResult<()> {
        let Self { nodes, signatures, .. } = self;
        let coarse = std::rc::Rc::clone(&nodes.opened.coarse);
        signatures.clear();
        if coarse.is_empty() {
            return Ok(());
        }
        let mut wanted: Vec<NodeId> = ids.collect();
        wanted.sort_unstable();
        wanted.dedup();
        // Nodes come in the order of their numbers.
        nodes.with_nodes(&wanted, |id, node| signatures.push((id, signature(&coarse, node.keys()))))
    }

    /// The signature of a node after [`sign`](Self::sign); of one that is gone whatever.
    fn signature_of(&self, id: NodeId) -> Signature {
        let at = self.signatures.binary_search_by_key(&id, |entry| entry.0);
        at.map_or([0; SIGNED], |at| self.signatures[at].1)
    }

    /// Where the list of `id` on layer `level` is.
    fn target(&self, id: NodeId, level: u8) -> SqlResult<Option<Target>> {
        let layout = self.opened().layout;
        if level == 0 {
            return Ok(Some(Target { id, level, generation: 0, place: layout.place(id) }));
        }
        let entry = self.nodes.upper_entry(id, level)?;
        Ok(entry.map(|(side, generation)| Target { id, level, generation, place: layout.side_place(side) }))
    }
}

/// Members of the list `new` of layer 0 that may be written to another place than they had in `old`: not those that stand
/// where the new list reaches. Members of other lists have no signatures.
fn fresh<'a>(level: u8, old: &'a [NodeId], new: &'a [NodeId]) -> impl Iterator<Item = NodeId> + 'a {
    let stays = move |id: &NodeId| old.iter().take(new.len()).any(|member| member == id);
    new.iter().copied().filter(move |id| level == 0 && !stays(id))
}

/// A list to be changed, and where it is.
struct Target {
    id: NodeId,
    level: u8,
    /// The node's, for lists above layer 0.
    generation: u16,
    place: Place,
}

impl Target {
    /// Replaces the list if it is `old`.
    fn apply(
        &self,
        graph: &Graph,
        pages: &mut crate::storage::Change,
        old: &[NodeId],
        new: &[NodeId],
    ) -> SqlResult<bool> {
        let opened = graph.opened();
        let layout = &opened.layout;
        let Place { block, at } = self.place;
        if self.level == 0 {
            if pages.page(block).kind() != Some(Kind::Nodes) {
                return Err(opened.damaged(&format!("page {block} should have node {} on it", self.id)));
            }
            let unchanged = layout.node(pages.page(block), at).is_some_and(|node| node.list().eq(old.iter().copied()));
            if unchanged {
                layout.node_mut(&mut pages.page_mut(block), at).set_list(new, |id| graph.signature_of(id));
            }
            return Ok(unchanged);
        }
        let unchanged = layout.side(pages.page(block), at).is_some_and(|entry| {
            entry.is(self.id, self.generation, self.level) && entry.list().eq(old.iter().copied())
        });
        if unchanged {
            layout.side_mut(&mut pages.page_mut(block), at).set_list(new);
        }
        Ok(unchanged)
    }
}
