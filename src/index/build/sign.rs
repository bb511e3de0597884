//! The signatures of a graph in memory, made before it is written out.
//!
//! The cuts between the buckets of ordered keys are quantiles of a sample of the nodes; from then on they stay.

use crate::error::{SqlResult, out_of_memory};
use crate::index::pages::Meta;
use vs_filter::{Coarse, Cuts, Keys, SIGNED, Signature, signature};
use vs_graph::{Arena, NodeId};

/// Nodes that the cuts are made from, about.
const SAMPLE: usize = 1 << 16;

/// The signatures of the nodes of `arena`, and how they were made.
#[derive(Default)]
pub struct Signatures {
    /// The cuts of the first key columns.
    pub cuts: Vec<Cuts>,
    /// By the numbers in memory; empty if there are no key columns.
    of_nodes: Vec<Signature>,
}

impl Signatures {
    /// Those of the nodes `ids`, of which the highest is below `limit`.
    pub fn new(meta: &Meta, arena: &Arena, ids: &[NodeId], limit: usize) -> SqlResult<Self> {
        if meta.kinds.len() == 0 {
            return Ok(Self::default());
        }
        let no_memory = |_| out_of_memory("writing a vs_hnsw index");
        let mut sample: Vec<u64> = Vec::new();
        sample.try_reserve_exact(2 * SAMPLE).map_err(no_memory)?;
        let mut cuts = Vec::new();
        let mut coarse: Vec<Coarse> = Vec::new();
        for (column, kind) in meta.kinds.iter().take(SIGNED).enumerate() {
            sample.clear();
            if kind.is_ordered() {
                let some = ids.iter().step_by((ids.len() / SAMPLE).max(1)).take(2 * SAMPLE);
                sample.extend(some.filter_map(|&id| Keys::new(arena.keys(id)).get(column)));
            }
            let of_column = Cuts::quantiles(&mut sample);
            coarse.push(kind.coarse(of_column.clone()));
            cuts.push(of_column);
        }
        let mut of_nodes = Vec::new();
        of_nodes.try_reserve_exact(limit).map_err(no_memory)?;
        of_nodes.resize(limit, [0; SIGNED]);
        for &id in ids {
            of_nodes[id as usize] = signature(&coarse, Keys::new(arena.keys(id)));
        }
        Ok(Self { cuts, of_nodes })
    }

    /// That of a node.
    pub fn of(&self, id: NodeId) -> Signature {
        self.of_nodes.get(id as usize).copied().unwrap_or_default()
    }
}
