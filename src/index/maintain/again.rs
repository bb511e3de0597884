//! A row that comes again: an UPDATE of other columns inserts a vector that has its node already.
//!
//! The executor says so where it knows (`aminsert`'s `indexUnchanged`). A whole insertion would search for the node with
//! as many candidates as if neighbours were to be chosen; here it is looked up,
//!
//! * at first by a search that ends where it comes upon the node, which takes a third of the time or less;
//! * from some dozens of rows on in a **table of all nodes** by their codes, made by one pass over the index. It is made when
//!   the searches before have taken about as long as the pass will, so that whether few rows come or many, at most twice
//!   the shorter time is spent.
//!
//! Nothing here is believed: a node found either way is compared under its page's lock ([`Graph::join`]), and where none is
//! found the row is inserted as any other. So the table may be incomplete and out of date. It belongs to one statement (the
//! executor's `IndexInfo`) and takes no more than `maintenance_work_mem`; for an index that would take more there is none.

use crate::error::{SqlResult, out_of_memory};
use crate::index::pages::{Graph, Layout, Opened, Place};
use crate::storage::{Block, Sweep};
use pgrx::{PgMemoryContexts, pg_sys};
use vs_graph::{Inserter, NONE, NodeId};
use vs_quantize::{CodeRef, Query};

/// Rows that are searched for before a table is made, even for the smallest index.
const LEAST: usize = 8;

/// Pages that a pass reads in the time of a search.
const PAGES_A_SEARCH: Block = 40;

/// What a statement knows of an index.
#[derive(Default)]
pub struct Again {
    /// Rows that were searched for.
    searched: usize,
    table: Option<Table>,
}

impl Again {
    /// What the statement behind `info` knows.
    ///
    /// # Safety
    /// `info` must be what PostgreSQL passes to `aminsert`, and the reference must end with that call.
    pub unsafe fn of<'a>(info: *mut pg_sys::IndexInfo) -> &'a mut Again {
        // SAFETY: as above; the cache of an IndexInfo is the access method's own, nobody else puts anything there. It lives
        // in the context that the IndexInfo lives in, and is dropped with it. No code of users runs within `aminsert`, so
        // that there is one reference at a time.
        unsafe {
            if (*info).ii_AmCache.is_null() {
                let mut context = PgMemoryContexts::For((*info).ii_Context);
                (*info).ii_AmCache = context.leak_and_drop_on_delete(Again::default()).cast();
            }
            &mut *(*info).ii_AmCache.cast::<Again>()
        }
    }

    /// Adds the row that is being inserted through `graph` to the node that stands for its vector, if one is found.
    pub fn join(&mut self, graph: &mut Graph, inserter: &mut Inserter, query: &Query) -> SqlResult<bool> {
        let hash = hash(graph.row.code());
        // Vectors of another length have other numbers.
        self.table.take_if(|table| table.layout != graph.opened().layout);
        if self.table.is_none() && self.searched >= LEAST + (graph.opened().index.blocks() / PAGES_A_SEARCH) as usize {
            self.table = Some(Table::of(graph.opened())?);
        }
        if let Some(table) = &self.table {
            for id in table.find(hash) {
                if graph.join(id)? {
                    return Ok(true);
                }
            }
        }
        self.searched += 1;
        let Some(id) = inserter.find(graph, &graph.opened().params(), query)? else { return Ok(false) };
        let joined = graph.join(id)?;
        if joined {
            self.note(graph, id);
        }
        Ok(joined)
    }

    /// Notes that the row that is being inserted through `graph` has got the node `id`.
    pub fn note(&mut self, graph: &Graph, id: NodeId) {
        if let Some(table) = &mut self.table
            && table.layout == graph.opened().layout
        {
            table.add(hash(graph.row.code()), id);
        }
    }
}

/// Node numbers by the hashes of codes: open addressing, half of a hash for the place and half to compare.
struct Table {
    /// The half of the hash, and the number.
    entries: Vec<(u32, NodeId)>,
    len: usize,
    layout: Layout,
}

/// No entry.
const EMPTY: (u32, NodeId) = (0, NONE);

impl Table {
    /// The live nodes of an index; none, if there is not the memory for them.
    fn of(opened: &Opened) -> SqlResult<Self> {
        let index = opened.index;
        let layout = opened.layout;
        let mut table = Self { entries: Vec::new(), len: 0, layout };
        // SAFETY: reads a setting.
        let memory = unsafe { pg_sys::maintenance_work_mem } as usize * 1024;
        // A third more than there are nodes, so that a place is found soon, and some for those to come.
        let room = layout.ids(index.blocks()) / 3 * 4 + 1024;
        if room > memory / size_of::<(u32, NodeId)>() {
            return Ok(table);
        }
        table.entries.try_reserve_exact(room).map_err(|_| out_of_memory("updating rows of a vs_hnsw index"))?;
        table.entries.resize(room, EMPTY);
        let hints = &mut *opened.remembered.hints.borrow_mut();
        let mut sweep = Sweep::new(index, 1);
        loop {
            pgrx::check_for_interrupts!();
            let Some((block, shared)) = sweep.next(hints) else { break };
            let page = shared.page();
            for at in 0..layout.slots(page) {
                let node = layout.node(page, at).filter(|node| node.live());
                if let Some((node, id)) = node.zip(layout.id(Place { block, at })) {
                    table.add(hash(node.code()), id);
                }
            }
        }
        Ok(table)
    }

    /// The places where an entry with this hash may be, in order.
    fn places(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let len = self.entries.len();
        let first = (((hash >> 32) * len as u64) >> 32) as usize;
        (first..len).chain(0..first)
    }

    /// The nodes whose codes have this hash.
    fn find(&self, hash: u64) -> impl Iterator<Item = NodeId> {
        let entries = self.places(hash).map(|at| self.entries[at]).take_while(|&entry| entry != EMPTY);
        entries.filter(move |entry| entry.0 == hash as u32).map(|entry| entry.1)
    }

    /// Adds a node, unless it is there or there is no room for more.
    fn add(&mut self, hash: u64, id: NodeId) {
        if self.len >= self.entries.len() / 8 * 7 {
            return;
        }
        let entry = (hash as u32, id);
        let free = self.places(hash).find(|&at| self.entries[at] == EMPTY || self.entries[at] == entry);
        if let Some(at) = free.filter(|&at| self.entries[at] == EMPTY) {
            self.entries[at] = entry;
            self.len += 1;
        }
    }
}

/// A hash of what makes two codes the [same point](CodeRef::same_point).
fn hash(code: CodeRef<'_>) -> u64 {
    // Folded multiplication, as in wyhash: both halves of the product carry every bit of the factors.
    let mix = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        (product as u64) ^ (product >> 64) as u64
    };
    let head = u64::from(code.header.scale.to_bits()) << 32 | u64::from(code.header.norm);
    code.values.chunks(8).fold(mix(head ^ 0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db), |hash, chunk| {
        let word = chunk.iter().fold(0, |word, &value| word << 8 | u64::from(value as u8));
        mix(hash ^ word, 0x8ebc_6af0_9c88_c6e3)
    })
}
