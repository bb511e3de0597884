//! `aminsert`: one more row.
//!
//! 1. Take the insertion lock, shared. A vacuum waits for all who hold it before it repairs lists, so that none of them
//!    links to a node that it is about to free. If the row is not of the index's length and model, see [`super::bind`].
//! 2. Compute the code, search, write the node and link it ([`vs_graph::Inserter`] over [`Graph`]); or add the row to
//!    the node that has the very same code.

use super::again::Again;
use super::bind::{VectorKind, bind, rebind};
use crate::embedding::Embedding;
use crate::error::{OrRaise, SqlResult};
use crate::index::keys::{self, KeyColumns};
use crate::index::pages::{Graph, NewRow, Opened, Tid, Why, digest, encode, level};
use crate::storage::{Barrier, Index, Logging, Mode};
use pgrx::prelude::*;
use std::cell::RefCell;
use vs_filter::{Keys, KeysBuf};
use vs_graph::{Inserted, Inserter};
use vs_quantize::{Query, Scratch};

/// Memory that insertions reuse.
#[derive(Default)]
pub struct Workspace {
    inserter: Inserter,
    query: Query,
    scratch: Scratch,
    row: NewRow,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

/// Inserts a row, of the length of the index, through `graph`; false if it has no place in the index. If the vector is
/// thought to be there already, `again` is what the statement knows of the index.
pub fn insert_row(
    graph: &mut Graph,
    workspace: &mut Workspace,
    embedding: &Embedding<'_>,
    keys: Keys<'_>,
    tid: Tid,
    again: Option<&mut Again>,
) -> SqlResult<bool> {
    let opened = graph.nodes.opened.clone();
    workspace.row.code.resize(opened.layout.dims(), 0);
    let header = encode(opened.space(), embedding, &mut workspace.scratch, &mut workspace.row.code)?;
    let Some(header) = header else {
        graph.add_unplaced(&[(tid, Why::Zero)])?;
        return Ok(false);
    };
    workspace.row.header = header;
    workspace.row.keys.copy(keys);
    workspace.row.digest = digest(embedding);
    workspace.row.tid = Some(tid);
    opened.space().probe(header.with(&workspace.row.code), &mut workspace.query);
    std::mem::swap(&mut graph.row, &mut workspace.row);
    let level = level(&opened.params(), tid);
    let inserted = place(graph, &mut workspace.inserter, &workspace.query, level, again);
    std::mem::swap(&mut graph.row, &mut workspace.row);
    inserted.map(|()| true)
}

/// Gives the row of `graph` a node.
fn place(
    graph: &mut Graph,
    inserter: &mut Inserter,
    query: &Query,
    level: u8,
    mut again: Option<&mut Again>,
) -> SqlResult<()> {
    if let Some(again) = &mut again
        && again.join(graph, inserter, query)?
    {
        return Ok(());
    }
    let params = graph.opened().params();
    let id = loop {
        match inserter.insert(graph, &params, query, level)? {
            Inserted::New(id) => break id,
            Inserted::Same(id) if graph.join(id)? => break id,
            Inserted::Same(_) => {}
        }
    };
    if let Some(again) = again {
        again.note(graph, id);
    }
    Ok(())
}

fn insert(
    index: Index,
    heap: pg_sys::Relation,
    embedding: &Embedding<'_>,
    keys: Keys<'_>,
    tid: Tid,
    again: Option<&mut Again>,
) -> SqlResult<()> {
    let kind = VectorKind::of(embedding);
    let mut barrier = Barrier::acquire(index, Mode::Shared);
    let mut graph = match bind(index, kind)? {
        Some(graph) => graph,
        None => {
            drop(barrier);
            barrier = Barrier::acquire(index, Mode::Exclusive);
            rebind(index, heap, kind)?
        }
    };
    if kind.dims != graph.nodes.opened.layout.dims() {
        return graph.add_unplaced(&[(tid, Why::Length)]);
    }
    let mut workspace = WORKSPACE.take();
    let inserted = insert_row(&mut graph, &mut workspace, embedding, keys, tid, again);
    WORKSPACE.set(workspace);
    drop(barrier);
    inserted.map(|_| ())
}

/// `aminsert`
#[pg_guard]
pub unsafe extern "C-unwind" fn aminsert(
    index: pg_sys::Relation,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    heap_tid: pg_sys::ItemPointer,
    heap: pg_sys::Relation,
    _check_unique: pg_sys::IndexUniqueCheck::Type,
    unchanged: bool,
    info: *mut pg_sys::IndexInfo,
) -> bool {
    // SAFETY: PostgreSQL passes an open index, the values of its columns, the row's address, its open table and
    // what the executor keeps of the index.
    unsafe {
        if *isnull {
            let graph = Graph::new(Opened::open(Index::new(index)).or_raise(), Logging::Generic);
            graph.add_unplaced(&[(Tid::from_pointer(*heap_tid), Why::Null)]).or_raise();
            return false;
        }
        let embedding = Embedding::read(*values).or_raise();
        let (index, mut keys) = (Index::new(index), KeysBuf::default());
        if keys::count(index) > 0 {
            KeyColumns::of(index).or_raise().read(values, isnull, &mut keys);
        }
        let again = if unchanged { Some(Again::of(info)) } else { None };
        insert(index, heap, &embedding, keys.keys(), Tid::from_pointer(*heap_tid), again).or_raise();
    }
    false
}
