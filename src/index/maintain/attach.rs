//! Finding nodes that no search reaches, and attaching them.

use crate::error::{SqlResult, out_of_memory};
use crate::index::pages::{Graph, Opened, Place};
use crate::storage::{Block, Logging};
use vs_graph::{NodeId, Reach, ReachError};

/// Makes every live node of the index reachable. Returns how many were not.
pub fn attach(opened: &Opened, logging: Logging) -> SqlResult<usize> {
    let mut graph = Graph::new(opened.clone(), logging);
    let blocks = opened.index.blocks();
    let mut reach = traverse(&mut graph, blocks)?;
    let params = opened.params();
    let mut attached = 0;
    for block in 1..blocks {
        pgrx::check_for_interrupts!();
        for id in live(opened, block) {
            if !reach.reached(id) {
                reach.attach(&mut graph, &params, id)?;
                attached += 1;
            }
        }
    }
    Ok(attached)
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
