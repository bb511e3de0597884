//! Choosing neighbours: near ones, but in different directions.
//!
//! Of candidates in order of distance one is kept if it is nearer to the base than to every one kept before (Malkov &
//! Yashunin 2018, algorithm 4). Walking from the base, a candidate not kept is reached through the kept one that is
//! nearer to it, so its edge would be wasted.

use crate::storage::{Candidate, NodeId, StorageMut};

/// Keeps at most `limit` of `candidates` (scored against the base, ascending) and writes them to `kept`, ascending.
pub(crate) fn select<S: StorageMut>(
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
        if !storage.any_nearer(candidate.id, kept, candidate.key)? {
            kept.push(candidate.id);
        }
    }
    Ok(())
}
