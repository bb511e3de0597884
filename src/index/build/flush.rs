//! Writing a graph from memory to pages.
//!
//! Nodes go to pages in an order in which neighbours share pages ([`vs_graph::page_order`]); their numbers change
//! accordingly. After the pages of nodes come the side pages, filled in the same order.

use super::sign::Signatures;
use crate::error::{SqlError, SqlResult, out_of_memory};
use crate::index::pages::{INLINE_TIDS, Layout, Meta, Place, TIDS, Tid, UNLISTED, damaged, too_large};
use crate::storage::{Block, Change, Hints, Index, Kind, Logging};
use vs_filter::Keys;
use vs_graph::{Arena, ArenaHandle, Candidate, Entry, NONE, NodeId, Reach, ReachError, Storage, page_order};
use vs_quantize::Query;

/// A row whose vector had a node already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Joined {
    /// The node that stands for it.
    pub node: NodeId,
    /// The number under which it was published.
    pub row: NodeId,
}

/// A side entry to be written.
struct Side {
    owner: NodeId,
    kind: u8,
    next: u32,
    list: Vec<NodeId>,
    tids: Vec<Tid>,
    /// Of the vector that all of its rows have, if they do.
    digest: Option<u64>,
}

/// Writes `arena` to the pages after the metapage, `filled` nodes to a page, and completes the metapage. `digests` are those
/// of the vectors, in the order in which they were published.
pub fn flush(
    index: Index,
    layout: &Layout,
    filled: usize,
    arena: &Arena,
    mut joined: Vec<Joined>,
    digests: &[u64],
    tag: u32,
) -> SqlResult<()> {
    joined.sort_unstable();
    let limit = arena.ids().last().map_or(0, |last| last as usize + 1);
    let mut is_row_of_another = zeros::<bool>(limit, false)?;
    for row in &joined {
        is_row_of_another[row.row as usize] = true;
    }
    let ids: Vec<NodeId> = arena.ids().filter(|&id| !is_row_of_another[id as usize]).collect();
    connect(arena, &ids, limit)?;
    let mut hints = Hints::default();
    let meta = Meta::read(index.read(&mut hints, 0).page()).ok_or_else(|| damaged(index, "its metapage is missing"))?;
    let signatures = Signatures::new(&meta, arena, &ids, limit)?;
    let order =
        page_order(&mut Interruptible::new(arena), &ids, limit, filled, |id| arena.level(id)).map_err(failure)?;
    let numbers = number(layout, filled, &order, limit)?;
    let node_pages = order.len().div_ceil(filled.max(1)) as Block;
    let mut sides = Sides { layout: *layout, first: node_pages, entries: Vec::new() };
    let mut list = Vec::new();
    for (at, page_ids) in order.chunks(filled.max(1)).enumerate() {
        pgrx::check_for_interrupts!();
        let block = layout.block(at as Block);
        if layout.is_map(block - 1) {
            let of_group = order[at * filled.max(1)..].chunks(filled.max(1)).take(layout.group() as usize);
            write_map(index, layout, &mut hints, block - 1, of_group, &signatures)?;
        }
        extend_to(index, block)?;
        let mut pages = Change::lock(index, &mut hints, &[block], Logging::Building);
        let mut page = pages.init(block, Kind::Nodes, 0);
        for (at, &id) in page_ids.iter().enumerate() {
            let Some(code) = arena.code(id) else { continue };
            let number = numbers[id as usize];
            let mut error = code.header.error;
            let mut tids = vec![Tid(arena.payload(id))];
            let mut rows = vec![id];
            let from = joined.partition_point(|row| row.node < id);
            for row in joined[from..].iter().take_while(|row| row.node == id) {
                tids.push(Tid(arena.payload(row.row)));
                rows.push(row.row);
                error = error.max(arena.code(row.row).map_or(0.0, |code| code.header.error));
            }
            let upper = sides.upper(arena, id, number, &numbers)?;
            let alike = (rows
                .windows(2)
                .skip(INLINE_TIDS)
                .all(|pair| digests.get(pair[0] as usize) == digests.get(pair[1] as usize)))
            .then(|| rows.get(INLINE_TIDS).and_then(|&row| digests.get(row as usize).copied()))
            .flatten();
            let overflow = sides.overflow(number, tids.get(INLINE_TIDS..).unwrap_or_default(), alike)?;
            let mut node = layout.node_mut(&mut page, at);
            node.init(arena.level(id), code, Keys::new(arena.keys(id)));
            node.set_error(error);
            node.set_upper(upper);
            node.set_overflow(overflow);
            node.set_tids(tids.iter().copied().take(INLINE_TIDS));
            list.clear();
            arena.neighbours(id, 0, &mut list);
            let members: Vec<NodeId> = list.iter().map(|&id| numbers[id as usize]).collect();
            node.set_list(&members, |number| {
                let at = members.iter().position(|&member| member == number);
                at.map(|at| signatures.of(list[at])).unwrap_or_default()
            });
        }
        pages.commit();
    }
    let side = sides.write(index, &mut hints)?;
    let mut pages = Change::lock(index, &mut hints, &[0], Logging::Building);
    let meta = Meta::read(pages.page(0)).ok_or_else(|| damaged(index, "its metapage is missing"))?;
    let entry = arena.entry().map(|entry| Entry { id: numbers[entry.id as usize], level: entry.level });
    let mut page = pages.page_mut(0);
    Meta { entry, tag, side, connected: order.len() as u32, ..meta }.write(&mut page);
    meta.write_cuts(&mut page, &signatures.cuts);
    pages.commit();
    Ok(())
}

/// Makes the file longer by one page, which must be `block`.
fn extend_to(index: Index, block: Block) -> SqlResult<()> {
    if index.extend() == block {
        return Ok(());
    }
    Err(damaged(index, "another process is writing to it while it is built"))
}

/// Writes the map of the pages after `map`, whose nodes are those of `pages`.
fn write_map<'a>(
    index: Index,
    layout: &Layout,
    hints: &mut Hints,
    map: Block,
    pages: impl Iterator<Item = &'a [NodeId]>,
    signatures: &Signatures,
) -> SqlResult<()> {
    extend_to(index, map)?;
    let mut change = Change::lock(index, hints, &[map], Logging::Building);
    let mut page = change.init(map, Kind::Map, 0);
    for (block, ids) in (map + 1..).zip(pages) {
        for (at, &id) in ids.iter().enumerate() {
            layout.put_signature(&mut page, Place { block, at }, signatures.of(id));
        }
    }
    change.commit();
    Ok(())
}

/// Attaches what no search reaches.
fn connect(arena: &Arena, ids: &[NodeId], limit: usize) -> SqlResult<()> {
    let mut handle = arena.handle();
    let mut reach = Reach::traverse(&mut Interruptible::new(arena), limit).map_err(failure)?;
    for &id in ids {
        if !reach.reached(id) {
            pgrx::check_for_interrupts!();
            let Ok(_) = reach.attach(&mut handle, arena.params(), id);
        }
    }
    Ok(())
}

fn failure(error: ReachError<SqlError>) -> SqlError {
    match error {
        ReachError::Memory(_) => out_of_memory("writing a vs_hnsw index"),
        ReachError::Storage(error) => error,
    }
}

/// The graph in memory for walks through all of it, which may take seconds: checks for interrupts now and then.
struct Interruptible<'a> {
    handle: ArenaHandle<'a>,
    asked: u32,
}

impl<'a> Interruptible<'a> {
    fn new(arena: &'a Arena) -> Self {
        Self { handle: arena.handle(), asked: 0 }
    }
}

impl Storage for Interruptible<'_> {
    type Error = SqlError;

    fn entry(&mut self) -> SqlResult<Option<Entry>> {
        let Ok(entry) = self.handle.entry();
        Ok(entry)
    }

    fn score(&mut self, query: &Query, ids: &[NodeId], out: &mut Vec<Candidate>) -> SqlResult<()> {
        let Ok(()) = self.handle.score(query, ids, out);
        Ok(())
    }

    fn neighbours(&mut self, id: NodeId, level: u8, out: &mut Vec<NodeId>) -> SqlResult<bool> {
        self.asked = self.asked.wrapping_add(1);
        if self.asked.is_multiple_of(4096) {
            pgrx::check_for_interrupts!();
        }
        let Ok(there) = self.handle.neighbours(id, level, out);
        Ok(there)
    }
}

fn zeros<T: Clone>(len: usize, value: T) -> SqlResult<Vec<T>> {
    let mut all = Vec::new();
    all.try_reserve_exact(len).map_err(|_| out_of_memory("writing the index"))?;
    all.resize(len, value);
    Ok(all)
}

/// The numbers of the nodes on pages, by their numbers in memory.
fn number(layout: &Layout, filled: usize, order: &[NodeId], limit: usize) -> SqlResult<Vec<NodeId>> {
    let mut numbers = zeros(limit, NONE)?;
    for (position, &id) in order.iter().enumerate() {
        let place = Place { block: layout.block((position / filled) as Block), at: position % filled };
        numbers[id as usize] = layout.id(place).ok_or_else(too_large)?;
    }
    Ok(numbers)
}

/// Side entries being collected.
struct Sides {
    layout: Layout,
    /// Pages of nodes before them.
    first: Block,
    entries: Vec<Side>,
}

impl Sides {
    fn push(&mut self, entry: Side) -> SqlResult<u32> {
        let per_page = self.layout.sides_per_page();
        let position = self.entries.len();
        let block = self.layout.block(self.first + (position / per_page) as Block);
        let place = Place { block, at: position % per_page };
        let number = self.layout.side_id(place).ok_or_else(too_large)?;
        self.entries.try_reserve(1).map_err(|_| out_of_memory("writing a vs_hnsw index"))?;
        self.entries.push(entry);
        Ok(number)
    }

    /// The lists above layer 0 of node `id`, whose number is to be `number`. Returns the first entry.
    fn upper(&mut self, arena: &Arena, id: NodeId, number: NodeId, numbers: &[NodeId]) -> SqlResult<u32> {
        let mut next = NONE;
        for layer in (1..=arena.level(id)).rev() {
            let mut list = Vec::new();
            arena.neighbours(id, layer, &mut list);
            list.iter_mut().for_each(|id| *id = numbers[*id as usize]);
            next = self.push(Side { owner: number, kind: layer, next, list, tids: Vec::new(), digest: None })?;
        }
        Ok(next)
    }

    /// Further rows of a node. Returns the first entry.
    fn overflow(&mut self, number: NodeId, tids: &[Tid], digest: Option<u64>) -> SqlResult<u32> {
        let mut next = NONE;
        for tids in tids.chunks(self.layout.side_tids(digest.is_some())).rev() {
            next =
                self.push(Side { owner: number, kind: TIDS, next, list: Vec::new(), tids: tids.to_vec(), digest })?;
        }
        Ok(next)
    }

    /// Writes all of them and returns the page that has room, if the last one has.
    fn write(self, index: Index, hints: &mut Hints) -> SqlResult<Block> {
        let mut room = NONE;
        for (at, entries) in self.entries.chunks(self.layout.sides_per_page()).enumerate() {
            pgrx::check_for_interrupts!();
            let block = self.layout.block(self.first + at as Block);
            if self.layout.is_map(block - 1) {
                // A map of no nodes yet.
                extend_to(index, block - 1)?;
            }
            extend_to(index, block)?;
            let full = entries.len() == self.layout.sides_per_page();
            let mut pages = Change::lock(index, hints, &[block], Logging::Building);
            let mut page = pages.init(block, Kind::Side, if full { UNLISTED } else { NONE });
            for (at, entry) in entries.iter().enumerate() {
                let mut side = self.layout.side_mut(&mut page, at);
                if entry.kind == TIDS {
                    side.init_rows(entry.owner, 0, entry.digest, entry.next);
                    side.set_tids(entry.tids.iter().copied());
                } else {
                    side.init(entry.owner, 0, entry.kind, entry.next);
                    side.set_list(&entry.list);
                }
            }
            pages.commit();
            if !full {
                room = block;
            }
        }
        Ok(room)
    }
}
