//! Finding nodes that no search reaches, and attaching them.
//!
//! To be sure takes a walk through the whole graph, with four bytes for each node. A vacuum takes it if it has taken nodes
//! out, and otherwise only if there is a node that no list names, which its first look at the pages tells, or a tenth more
//! nodes than at the last walk.

use crate::error::{SqlResult, out_of_memory};
use crate::index::pages::{Graph, Opened, Place};
use crate::storage::{Block, Logging};
use vs_graph::{NodeId, Reach, ReachError, Storage};

/// Makes every live node of the index reachable, and notes how many there are. Returns how many were not.
pub fn attach(opened: &Opened, logging: Logging) -> SqlResult<usize> {
    let mut graph = Graph::new(opened.for_walks(), logging);
    let blocks = opened.index.blocks();
    let mut reach = traverse(&mut graph, blocks)?;
    let params = opened.params();
    let (mut attached, mut all) = (0, 0u32);
    for block in 1..blocks {
        opened.index.pause();
        for id in live(opened, block) {
            all = all.saturating_add(1);
            if !reach.reached(id) {
                reach.attach(&mut graph, &params, id)?;
                attached += 1;
            }
        }
    }
    graph.change_meta(|meta| std::mem::replace(&mut meta.connected, all) != all)?;
    Ok(attached)
}

/// Whether one of the nodes that `id` names on layer 0 names it too.
pub fn is_named(graph: &mut Graph, id: NodeId) -> SqlResult<bool> {
    let (mut list, mut theirs) = (Vec::new(), Vec::new());
    graph.neighbours(id, 0, &mut list)?;
    for other in list {
        theirs.clear();
        graph.neighbours(other, 0, &mut theirs)?;
        if theirs.contains(&id) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What can be reached on layer 0.
pub fn traverse(graph: &mut Graph, blocks: Block) -> SqlResult<Reach> {
    let ids = graph.nodes.opened.layout.ids(blocks);
    Reach::traverse(graph, ids).map_err(|error| match error {
        ReachError::Memory(_) => out_of_memory("looking for nodes that no search reaches"),
        ReachError::Storage(error) => error,
    })
}

/// The live nodes of a page.
pub fn live(opened: &Opened, block: Block) -> Vec<NodeId> {
    let layout = opened.layout;
    let mut hints = opened.remembered.hints.borrow_mut();
    let lock = opened.index.read(&mut hints, block);
    let page = lock.page();
    let alive = |&at: &usize| layout.node(page, at).is_some_and(|node| node.live());
    (0..layout.slots(page)).filter(alive).filter_map(|at| layout.id(Place { block, at })).collect()
}
