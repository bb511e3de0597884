//! An order of the nodes that puts those visited together near each other.
//!
//! A search looks at the neighbours of a node together, so nodes that share edges should share pages. Two steps:
//!
//! 1. **Regions.** The nodes of the top layer come first; each layer below is divided among the nodes of the layer above
//!    it by breadth-first steps from all of them at once, and every node follows the one whose region it is in. Regions
//!    near each other on one layer stay near each other on all layers below.
//! 2. **Pages.** A page starts with the first node not yet placed and takes, one at a time, the unplaced node with the
//!    most edges to and from the nodes already in it.
//!
//! The nodes of the upper layers come first and are packed by their edges on layer 1. They are few, and every search
//! goes through them: scattered among all others, each would take a page visit of its own on the way down, a quarter of
//! all visits of a search.

use crate::reach::ReachError;
use crate::storage::{NONE, NodeId, Storage};
use crate::visited::Visited;

/// Orders `ids` so that every run of `per_page` of them is best stored on one page. `level` tells the highest layer of a
/// node; every neighbour's number is below `limit`. Takes about 20 bytes for each.
///
/// # Errors
/// The storage's, or that there is no memory.
pub fn page_order<S: Storage>(
    storage: &mut S,
    ids: &[NodeId],
    limit: usize,
    per_page: usize,
    level: impl Fn(NodeId) -> u8,
) -> Result<Vec<NodeId>, ReachError<S::Error>> {
    let order = regions(storage, ids, limit, &level)?;
    let (mut upper, mut ground) = (order, room(ids.len())?);
    ground.extend(upper.iter().copied().filter(|&id| level(id) == 0));
    upper.retain(|&id| level(id) > 0);
    let mut placed = room(ids.len())?;
    pages(storage, &upper, 1, limit, per_page, &mut placed)?;
    pages(storage, &ground, 0, limit, per_page, &mut placed)?;
    Ok(placed)
}

/// Step 1.
fn regions<S: Storage>(
    storage: &mut S,
    ids: &[NodeId],
    limit: usize,
    level: &impl Fn(NodeId) -> u8,
) -> Result<Vec<NodeId>, ReachError<S::Error>> {
    let top = ids.iter().map(|&id| level(id)).max().unwrap_or(0);
    let mut order: Vec<NodeId> = Vec::new();
    let mut region = room(limit)?;
    region.resize(limit, NONE);
    let mut list = Vec::new();
    for layer in (0..=top).rev() {
        // Regions are numbered by the position of their centre; a node in none yet becomes a centre of its own.
        region.fill(NONE);
        let mut reached: Vec<NodeId> = room(ids.len())?;
        let mut centres = 0;
        let mut next = 0;
        let rest = ids.iter().copied().filter(|&id| level(id) >= layer);
        let above = order.len();
        for (at, id) in std::mem::take(&mut order).into_iter().chain(rest).enumerate() {
            match region.get_mut(id as usize) {
                Some(slot) if *slot == NONE => *slot = centres,
                _ => continue,
            }
            centres += 1;
            reached.push(id);
            if at + 1 < above {
                continue;
            }
            while let Some(&from) = reached.get(next) {
                next += 1;
                list.clear();
                storage.neighbours(from, layer, &mut list).map_err(ReachError::Storage)?;
                for &to in &list {
                    if let Some(&own) = region.get(from as usize)
                        && let Some(slot) = region.get_mut(to as usize)
                        && *slot == NONE
                    {
                        *slot = own;
                        reached.push(to);
                    }
                }
            }
        }
        order = by_region(&reached, &region, centres as usize)?;
    }
    Ok(order)
}

/// `reached` in the order of the regions, of which there are `count`; within a region as it was.
fn by_region<E>(reached: &[NodeId], region: &[NodeId], count: usize) -> Result<Vec<NodeId>, ReachError<E>> {
    let own = |id: NodeId| region.get(id as usize).map_or(0, |&region| region as usize);
    // Where each region starts: a counting sort, which needs no more memory than it says.
    let mut next: Vec<usize> = room(count + 1)?;
    next.resize(count + 1, 0);
    for &id in reached {
        next[own(id) + 1] += 1;
    }
    for at in 1..next.len() {
        next[at] += next[at - 1];
    }
    let mut order = room(reached.len())?;
    order.resize(reached.len(), NONE);
    for &id in reached {
        let place = &mut next[own(id)];
        order[*place] = id;
        *place += 1;
    }
    Ok(order)
}

/// An empty vector with room for `len`.
fn room<T, E>(len: usize) -> Result<Vec<T>, ReachError<E>> {
    let mut all = Vec::new();
    all.try_reserve_exact(len).map_err(|_| ReachError::Memory(len))?;
    Ok(all)
}

/// Step 2, by the edges of layer `layer`: appends `order` to `placed`.
fn pages<S: Storage>(
    storage: &mut S,
    order: &[NodeId],
    layer: u8,
    limit: usize,
    per_page: usize,
    placed: &mut Vec<NodeId>,
) -> Result<(), ReachError<S::Error>> {
    let per_page = per_page.max(1);
    let mut unplaced = room(limit)?;
    unplaced.resize(limit, false);
    for &id in order {
        if let Some(slot) = unplaced.get_mut(id as usize) {
            *slot = true;
        }
    }
    let mut seen = Visited::default();
    let mut bids: Vec<Bid> = Vec::new();
    let mut list = Vec::new();
    for &first in order {
        match unplaced.get_mut(first as usize) {
            Some(slot) if *slot => *slot = false,
            _ => continue,
        }
        // If the last page found no more nodes with edges to it, this one starts a second group on it.
        let start = placed.len() - placed.len() % per_page;
        bids.clear();
        seen.clear();
        placed.push(first);
        while placed.len() - start < per_page {
            let last = placed[placed.len() - 1];
            for bid in &mut bids {
                bid.edges += u32::from(bid.list.contains(&last));
            }
            list.clear();
            storage.neighbours(last, layer, &mut list).map_err(ReachError::Storage)?;
            for &id in &list {
                if !unplaced.get(id as usize).copied().unwrap_or(false) {
                    continue;
                }
                if !seen.insert(id) {
                    if let Some(bid) = bids.iter_mut().find(|bid| bid.id == id) {
                        bid.edges += 1;
                    }
                    continue;
                }
                let mut own = Vec::new();
                storage.neighbours(id, layer, &mut own).map_err(ReachError::Storage)?;
                let edges = 1 + placed[start..].iter().filter(|member| own.contains(member)).count() as u32;
                bids.push(Bid { id, edges, list: own });
            }
            // The first of equals: nearer to the page's first node.
            let Some(best) = (0..bids.len()).rev().max_by_key(|&at| bids[at].edges) else { break };
            let best = bids.remove(best).id;
            if let Some(slot) = unplaced.get_mut(best as usize) {
                *slot = false;
            }
            placed.push(best);
        }
    }
    Ok(())
}

/// A node that would like to be on the page.
struct Bid {
    id: NodeId,
    /// Edges between it and the nodes on the page, in both directions.
    edges: u32,
    list: Vec<NodeId>,
}
