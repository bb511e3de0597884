//! Which way a search goes that filters, by how many nodes meet the filter.
//!
//! What a filter keeps is measured, not guessed: the maps of the index say which nodes may pass, and reading them takes
//! microseconds for a hundred thousand nodes. There are three ways:
//!
//! | share that passes | way |
//! |---|---|
//! | about half, or more | through the graph; what fails is walked through |
//! | less | from one node that passes to the next ([`vs_graph::FilteredBeam`]) |
//! | so little that the graph of what passes falls apart, or so few that looking at all of them is quicker | a pass over those |
//!
//! A search by the second way stops when it has made as many visits as the third would have, and the third goes on.

use super::near::PASS_PAYS;
use crate::error::SqlResult;
use crate::index::pages::{Maps, Nodes};
use crate::index::plan::options;
use vs_graph::NodeId;

/// Map pages that are read first, spread evenly: enough to see that much passes.
const READ_FIRST: u32 = 16;

/// Map pages that are read at most, of a larger index so many, spread evenly.
const READ: u32 = 256;

/// If so much passes, the exact share does not matter.
const MUCH: f64 = 0.08;

/// Nodes that a pass looks at in the time in which a search gets as far with one candidate.
const PER_CANDIDATE: usize = 100;

/// Of so few nodes a graph falls apart...
const SPARSE: f64 = 0.04;

/// ... and then a pass may take so many times as long as a search would.
const SPARSE_COUNTS: usize = 6;

/// Of so many a search through all finds enough.
const DENSE: f64 = 0.5;

/// Nodes of the sample where searches start.
const SAMPLE: usize = 128;

/// A way.
pub enum Choice {
    /// Through the graph as if there was no filter.
    Plain,
    /// From one node that passes to the next.
    Filtered(Way),
    /// Over all that pass, which are these if they are known.
    Pass(Option<Vec<NodeId>>),
}

/// How a search from one node that passes to the next goes.
pub struct Way {
    /// Nodes that may pass, from everywhere.
    pub sample: Vec<NodeId>,
    /// Whether failing nodes are crossed.
    pub thorough: bool,
    /// How many times as many candidates it keeps as without a filter.
    pub wider: usize,
    /// After so many visits a pass is the quicker way.
    pub limit: usize,
}

/// Reads the maps on these pages: the nodes that may pass, to `ids`. Returns how many maps there were.
fn read_every(nodes: &Nodes, maps: impl Iterator<Item = u32>, ids: &mut Vec<NodeId>) -> SqlResult<u32> {
    let (mut reader, mut read) = (Maps::default(), 0);
    ids.clear();
    for map in maps {
        pgrx::check_for_interrupts!();
        reader.read(nodes, map, ids)?;
        read += 1;
    }
    Ok(read)
}

/// Chooses the way for the nearest `ef`.
pub fn choose(nodes: &Nodes, ef: usize) -> SqlResult<Choice> {
    let all = nodes.opened.layout.ids(nodes.opened.index.blocks());
    if !nodes.filters() {
        return Ok(Choice::Plain);
    }
    if nodes.signed().is_empty() {
        // Nothing is known before a look at each.
        return Ok(Choice::Filtered(Way { sample: Vec::new(), thorough: false, wider: 1, limit: all / PASS_PAYS }));
    }
    let every = nodes.opened.layout.group() + 1;
    let maps = (nodes.opened.index.blocks().max(1) - 1).div_ceil(every);
    let (mut ids, mut step) = (Vec::new(), 0);
    let (mut count, mut share) = (0, 0.0);
    for most in [READ_FIRST, READ] {
        if step == 1 {
            break;
        }
        step = maps.div_ceil(most).max(1);
        let read = read_every(nodes, (1..nodes.opened.index.blocks()).step_by((step * every) as usize), &mut ids)?;
        count = (ids.len() as f64 * f64::from(maps) / f64::from(read.max(1))) as usize;
        share = count as f64 / all.max(1) as f64;
        if share >= MUCH {
            break;
        }
    }
    if count <= PER_CANDIDATE * ef || share < SPARSE && count <= SPARSE_COUNTS * PER_CANDIDATE * ef {
        let worth_keeping = step == 1 && size_of_val(&ids[..]) <= options::work_mem() / 2;
        return Ok(Choice::Pass(worth_keeping.then_some(ids)));
    }
    let sample = ids.iter().copied().step_by((ids.len() / SAMPLE).max(1)).take(SAMPLE).collect();
    if share >= DENSE {
        return Ok(Choice::Plain);
    }
    Ok(Choice::Filtered(Way {
        sample,
        thorough: share < 0.07,
        wider: if share < 0.2 { 2 } else { 1 },
        limit: count.max(PER_CANDIDATE * ef),
    }))
}
