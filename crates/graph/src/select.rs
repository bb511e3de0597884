//! Choosing neighbours: near ones, but in different directions.
//!
//! Of candidates in order of distance one is kept if it is nearer to the base than to every one kept before (Malkov &
//! Yashunin 2018, algorithm 4). Walking from the base, a candidate not kept is reached through the kept one that is
//! nearer to it, so its edge would be wasted.
//!
//! Taken literally the rule leaves lists of five or six, from which a search needs many hops. Two relaxations were
//! chosen by counting the distances a search computes for recall 0.99 (Fashion-MNIST 60,000 × 784, m = 16; the literal
//! rule needs 321 distances in 37 hops, both relaxations 280 in 23):
//!
//! * a **new** node's list is filled up with the nearest of the candidates not kept, up to [`fill`] (the paper's
//!   `keepPrunedConnections`, but not to the brim: filled up to m it is 283 in 24, and building takes longer);
//! * a **full** list is thinned by a milder rule, which drops a member only if it is nearer to a kept one by a margin
//!   ([`MARGIN`]; 0.7 already keeps too much).

use crate::storage::{Candidate, NodeId, StorageMut};

/// When a full list is thinned, a member goes if its key to a kept one is below this fraction of its key to the base.
/// Keys are squared distances, so 0.85 is 8 % of the distance. Negative keys (inner products) get no margin.
const MARGIN: f32 = 0.85;

/// Up to how many neighbours the list of a new node is filled.
fn fill(m: usize) -> usize {
    m - m / 4
}

/// Chooses the list of a new node: at most `m` of `candidates` (scored against it, ascending), to `kept`.
pub(crate) fn select<S: StorageMut>(
    storage: &mut S,
    candidates: &[Candidate],
    m: usize,
    kept: &mut Vec<NodeId>,
    spare: &mut Vec<NodeId>,
) -> Result<(), S::Error> {
    kept.clear();
    spare.clear();
    for candidate in candidates {
        if kept.len() >= m {
            return Ok(());
        }
        match storage.any_nearer(candidate.id, kept, candidate.key)? {
            Some(false) => kept.push(candidate.id),
            Some(true) => spare.push(candidate.id),
            None => {}
        }
    }
    let room = fill(m).saturating_sub(kept.len());
    kept.extend(spare.iter().take(room));
    Ok(())
}

/// Thins a list that has grown too long: at most `limit` of `candidates` (scored against its node, ascending), to
/// `kept`.
pub(crate) fn thin<S: StorageMut>(
    storage: &mut S,
    candidates: &[Candidate],
    limit: usize,
    kept: &mut Vec<NodeId>,
) -> Result<(), S::Error> {
    kept.clear();
    for candidate in candidates {
        if kept.len() >= limit {
            break;
        }
        let key = if candidate.key > 0.0 { candidate.key * MARGIN } else { candidate.key };
        if storage.any_nearer(candidate.id, kept, key)? == Some(false) {
            kept.push(candidate.id);
        }
    }
    Ok(())
}
