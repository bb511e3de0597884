//! Choosing neighbours for searches by inner product.
//!
//! The inner product is no distance: a long vector is "near" to everything, and a short one not even to itself. Neighbours
//! chosen by it alone are the same few long vectors everywhere, each of them nearer to all others than these are to each
//! other, so that lists collapse and short vectors are in none. Neighbours chosen by distance alone make a graph in which
//! every vector can be found, but a search for the largest products has a long way to go, with hardly anything to lead it
//! where vectors are many dimensions apart. A list needs both (as ip-NSW+ by Liu et al. 2020 and the graphs after it
//! have found, with a graph of each kind):
//!
//! * a **quarter** is chosen by distance, as under the other metrics, and three quarters where a vector is
//!   [outshone](outshone) by others in its own direction: by these edges every vector is reached, and found again when it
//!   comes a second time;
//! * **the rest** by product: the largest first, but of those in one direction only the first. What a direction is,
//!   *distances* tell: a candidate is left out if it is nearer to one kept before than to the base. What is left out fills
//!   the list up, as lists that are not full cost recall here.
//!
//! Measured (recall@10, 40 candidates, m = 16; products alone as under the other metrics / distances alone / both): 10,000
//! × 3, all positive: .77 / 1.00 / 1.00; 20,000 × 64, lengths spread over e³: .85 / .11 / .89; 20,000 × 128 in clusters
//! and queries from elsewhere: .96 / .31 / .97; and of the first, 6,907 / 0 / 0 vectors could be reached from nowhere.
//! That of those outshone is for what comes twice: of 5,000 of the second kind 3,590 are found again, for 2,490 with a
//! quarter; recall is the same. What is missing to 1 the search makes good (see `search`).

use crate::storage::{Candidate, NodeId, StorageMut};

/// A candidate is left out of the part chosen by product if its squared distance to one kept there is below this fraction
/// of that to the base: 0.6 to 0.9 are equally good.
const MARGIN: f32 = 0.8;

/// How many of a list of `limit` are chosen by distance.
fn by_distance(limit: usize, outshone: bool) -> usize {
    if outshone { limit - limit / 4 } else { (limit / 4).max(1) }
}

/// Whether a node whose product with itself is `own` is outshone by half a list of `keys`, ascending by product: then it is
/// hardly the answer to any query, and whoever searches for products soon has better ones to go on from.
pub(crate) fn outshone(own: f32, mut keys: impl Iterator<Item = f32>, limit: usize) -> bool {
    keys.nth(limit / 2).is_some_and(|key| key < own)
}

/// Chooses lists; reusable memory.
#[derive(Debug, Default)]
pub(crate) struct Blend {
    /// Those chosen by product, some of which were chosen by distance before.
    apart: Vec<NodeId>,
    spare: Vec<NodeId>,
}

impl Blend {
    /// Chooses at most `limit` of the candidates, to `kept`. `near` are in order of distance; `large` in order of product,
    /// but with their distances as keys. `outshone` is what [`outshone`] says of the node whose list it is.
    pub(crate) fn choose<S: StorageMut>(
        &mut self,
        storage: &mut S,
        near: &[Candidate],
        large: &[Candidate],
        limit: usize,
        outshone: bool,
        kept: &mut Vec<NodeId>,
    ) -> Result<(), S::Error> {
        kept.clear();
        for candidate in near {
            if kept.len() >= by_distance(limit, outshone) {
                break;
            }
            if storage.any_nearer(candidate.id, kept, candidate.key)? == Some(false) {
                kept.push(candidate.id);
            }
        }
        self.apart.clear();
        self.spare.clear();
        for candidate in large {
            if kept.len() >= limit {
                return Ok(());
            }
            match storage.any_nearer(candidate.id, &self.apart, candidate.key * MARGIN)? {
                Some(false) => {
                    self.apart.push(candidate.id);
                    add(kept, candidate.id);
                }
                Some(true) => self.spare.push(candidate.id),
                None => {}
            }
        }
        for &id in &self.spare {
            if kept.len() >= limit {
                break;
            }
            add(kept, id);
        }
        Ok(())
    }
}

fn add(kept: &mut Vec<NodeId>, id: NodeId) {
    if !kept.contains(&id) {
        kept.push(id);
    }
}
