//! Searching among the nodes that pass a filter.

mod support;

use half::f16;
use std::collections::HashSet;
use std::convert::Infallible;
use support::{Rng, built, clustered};
use vs_graph::{ArenaHandle, Beam, Candidate, Entry, FilteredBeam, NodeId, Params, Storage};
use vs_quantize::{Metric, Query, Scratch};

const PARAMS: Params = Params { m: 16, ef_construction: 64 };
const DIMS: usize = 24;
const ROWS: usize = 20_000;

/// A graph of which some nodes pass, and somewhat more may pass by their signatures.
struct Marked<'a> {
    handle: ArenaHandle<'a>,
    pass: &'a [bool],
    may: Vec<bool>,
}

impl Storage for Marked<'_> {
    type Error = Infallible;

    fn entry(&mut self) -> Result<Option<Entry>, Infallible> {
        self.handle.entry()
    }

    fn score(&mut self, query: &Query, ids: &[NodeId], out: &mut Vec<Candidate>) -> Result<(), Infallible> {
        let from = out.len();
        self.handle.score(query, ids, out)?;
        out[from..].iter_mut().for_each(|candidate| candidate.live = self.pass[candidate.id as usize]);
        Ok(())
    }

    fn neighbours(&mut self, id: NodeId, level: u8, out: &mut Vec<NodeId>) -> Result<bool, Infallible> {
        self.handle.neighbours(id, level, out)
    }

    fn expand(&mut self, ids: &[NodeId], may: &mut Vec<NodeId>, fails: &mut Vec<NodeId>) -> Result<bool, Infallible> {
        let mut members = Vec::new();
        for &id in ids {
            self.handle.neighbours(id, 0, &mut members)?;
        }
        members.into_iter().for_each(|id| if self.may[id as usize] { may.push(id) } else { fails.push(id) });
        Ok(true)
    }
}

struct Measured {
    recall: f64,
    visits: f64,
}

/// Searches with a filter, and what a walk through all nodes as through any others would have cost.
fn measure(passes: impl Fn(usize, &[f16], &mut Rng) -> bool, ef: usize, thorough: bool) -> (Measured, Measured) {
    let all = clustered(ROWS + 30, DIMS, 77);
    let (queries, rows) = all.split_at(30);
    let arena = built(rows, Metric::L2, PARAMS);
    let mut rng = Rng(5);
    let pass: Vec<bool> = rows.iter().enumerate().map(|(at, row)| passes(at, row, &mut rng)).collect();
    // One in 256 of those that fail seems to pass.
    let may: Vec<bool> = pass.iter().map(|&pass| pass || rng.below(256) == 0).collect();
    let members: Vec<NodeId> = (0..ROWS as NodeId).filter(|&id| pass[id as usize]).collect();
    let sample: Vec<NodeId> = members.iter().copied().step_by((members.len() / 128).max(1)).collect();
    let mut storage = Marked { handle: arena.handle(), pass: &pass, may };
    let (mut scratch, mut query, mut found) = (Scratch::default(), Query::default(), Vec::new());
    let (mut beam, mut plain) = (FilteredBeam::default(), Beam::default());
    let mut hits = [0, 0];
    let mut visits = [0, 0];
    let mut wanted = 0;
    for asked in queries {
        arena.space().prepare(asked, &mut scratch, &mut query).unwrap();
        let mut exact = Vec::new();
        let Ok(()) = storage.score(&query, &members, &mut exact);
        exact.sort_unstable();
        exact.truncate(10);
        wanted += exact.len();
        let count = |found: &[Candidate]| {
            assert!(found.is_sorted() && found.iter().all(|candidate| pass[candidate.id as usize]));
            exact.iter().filter(|candidate| found.iter().take(10).any(|other| other.id == candidate.id)).count()
        };
        let Ok(()) = beam.search(&mut storage, &query, ef, &sample, thorough, usize::MAX);
        beam.take(&mut found);
        hits[0] += count(&found);
        visits[0] += beam.visits();
        let Ok(()) = plain.search(&mut storage, &query, ef);
        plain.take(&mut found);
        hits[1] += count(&found);
        visits[1] += plain.distances();
    }
    let of = |at: usize| Measured {
        recall: f64::from(hits[at] as u32) / f64::from(wanted as u32),
        visits: visits[at] as f64 / queries.len() as f64,
    };
    (of(0), of(1))
}

#[test]
fn random_filters_cost_what_no_filter_costs() {
    for (share, ef, thorough, least, most) in
        [(0.3, 40, false, 0.97, 1500.0), (0.1, 60, false, 0.95, 1300.0), (0.04, 100, true, 0.93, 2600.0)]
    {
        let (ours, walk) = measure(|_, _, rng| f64::from(rng.uniform()) < share, ef, thorough);
        assert!(ours.recall >= least && ours.visits <= most, "{share}: {} at {}", ours.recall, ours.visits);
        assert!(share > 0.1 || ours.visits < walk.visits, "{share}: {} and {}", ours.visits, walk.visits);
    }
}

#[test]
fn what_passes_lies_elsewhere_than_the_query() {
    // Rows far from the first query's side of the space: a tenth of all, in a few clusters.
    let far = |_: usize, row: &[f16], _: &mut Rng| row[..4].iter().map(|x| x.to_f32()).sum::<f32>() > 5.0;
    let (ours, walk) = measure(far, 100, true);
    assert!(ours.recall >= 0.95, "{} at {}, {} at {}", ours.recall, ours.visits, walk.recall, walk.visits);
    assert!(ours.visits < walk.visits, "{} and {}", ours.visits, walk.visits);
}

#[test]
fn widened_again_and_again_it_hands_out_each_once() {
    let rows = clustered(3000, DIMS, 21);
    let arena = built(&rows, Metric::L2, PARAMS);
    let pass: Vec<bool> = (0..rows.len()).map(|at| at % 7 == 0).collect();
    let mut storage = Marked { handle: arena.handle(), pass: &pass, may: pass.clone() };
    let (mut scratch, mut query, mut beam) = (Scratch::default(), Query::default(), FilteredBeam::default());
    arena.space().prepare(&rows[5], &mut scratch, &mut query).unwrap();
    let Ok(()) = beam.search(&mut storage, &query, 10, &[0, 7, 700], false, usize::MAX);
    let (mut batch, mut seen) = (Vec::new(), HashSet::new());
    loop {
        beam.take(&mut batch);
        if batch.is_empty() {
            break;
        }
        assert!(batch.iter().all(|candidate| seen.insert(candidate.id) && pass[candidate.id as usize]));
        let Ok(()) = beam.widen(&mut storage, &query, 50, usize::MAX);
    }
    assert!(beam.is_exhausted() && seen.len() > 400, "{} of 429", seen.len());
    // After so many visits it stops with what it has, and can be asked to go on.
    let Ok(()) = beam.search(&mut storage, &query, 100, &[], false, 200);
    assert!(beam.is_cut_short() && beam.visits() < 400, "{}", beam.visits());
    beam.take(&mut batch);
    let Ok(()) = beam.widen(&mut storage, &query, 100, usize::MAX);
    assert!(!beam.is_cut_short());
}
