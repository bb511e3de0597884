//! Searching: resumed searches, dead nodes, hostile scores.

mod support;

use std::collections::HashSet;
use support::{Rough, built, clustered};
use vs_graph::{Beam, Entry, NodeId, Params, Reach};
use vs_quantize::{Metric, Query, Scratch};

const PARAMS: Params = Params { m: 12, ef_construction: 48 };

#[test]
fn a_resumed_search_finds_what_a_wider_one_finds_and_in_the_end_everything() {
    let rows = clustered(3000, 20, 21);
    let arena = built(&rows, Metric::L2, PARAMS);
    let mut handle = arena.handle();
    let reach = Reach::traverse(&mut handle, rows.len()).unwrap();
    let reachable = (0..rows.len() as NodeId).filter(|&id| reach.reached(id)).count();
    let (mut scratch, mut query) = (Scratch::default(), Query::default());
    let (mut beam, mut wide) = (Beam::default(), Beam::default());
    let (mut batch, mut reference) = (Vec::new(), Vec::new());
    for asked in clustered(8, 20, 22) {
        arena.space().prepare(&asked, &mut scratch, &mut query).unwrap();
        let Ok(()) = beam.search(&mut handle, &query, 10);
        let mut seen = HashSet::new();
        let mut total = 10;
        loop {
            beam.take(&mut batch);
            assert!(batch.is_sorted());
            assert!(batch.iter().all(|c| seen.insert(c.id)), "handed out twice");
            if total == 10 || total == 70 {
                // As good as a search with the larger ef from the start: it visited at least as much.
                let Ok(()) = wide.search(&mut handle, &query, total);
                wide.take(&mut reference);
                let missing = reference.iter().filter(|c| !seen.contains(&c.id)).count();
                assert!(missing * 20 <= total, "{missing} of {total} are missing");
            }
            if batch.is_empty() {
                break;
            }
            let more = if total < 70 { 20 } else { 301 };
            total += more;
            let Ok(()) = beam.widen(&mut handle, &query, more);
        }
        assert!(beam.is_exhausted());
        assert_eq!(seen.len(), reachable);
    }
}

#[test]
fn one_at_a_time_is_nearly_in_order() {
    let rows = clustered(1000, 20, 23);
    let arena = built(&rows, Metric::L2, PARAMS);
    let (mut scratch, mut query, mut beam) = (Scratch::default(), Query::default(), Beam::default());
    arena.space().prepare(&rows[5], &mut scratch, &mut query).unwrap();
    let mut handle = arena.handle();
    let Ok(()) = beam.search(&mut handle, &query, 40);
    let (mut batch, mut keys) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        beam.take(&mut batch);
        keys.extend(batch.iter().map(|c| c.key));
        let Ok(()) = beam.widen(&mut handle, &query, 1);
    }
    assert_eq!(keys.len(), 239);
    let late = keys.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(late <= 12, "{late} came after a farther one");
}

#[test]
fn dead_nodes_lead_on_but_are_not_found() {
    let rows = clustered(2000, 20, 24);
    let arena = built(&rows, Metric::L2, PARAMS);
    let mut rough = Rough::new(&arena);
    rough.dead = (0..2000).filter(|id| id % 10 != 3).collect();
    let dead = rough.dead.clone();
    let live = |id: NodeId| !dead.contains(&id);
    let found = support::recall(&arena, &mut rough, &rows, &live, &clustered(30, 20, 25), 40);
    assert!(found > 0.97, "recall {found}");

    // Nothing alive at all: the search walks everything once, finds nothing, and says that it is done.
    rough.dead = (0..2000).collect();
    let (mut scratch, mut query, mut beam, mut batch) =
        (Scratch::default(), Query::default(), Beam::default(), Vec::new());
    arena.space().prepare(&rows[0], &mut scratch, &mut query).unwrap();
    beam.search(&mut rough, &query, 10).unwrap();
    beam.take(&mut batch);
    assert!(batch.is_empty() && beam.is_exhausted());
}

#[test]
fn nodes_that_vanish_are_skipped() {
    let rows = clustered(2000, 20, 26);
    let arena = built(&rows, Metric::L2, PARAMS);
    let mut rough = Rough::new(&arena);
    rough.gone = (0..2000).filter(|id| id % 5 == 0).collect();
    rough.entry = Some(vs_graph::Entry { id: 1, level: 0 });
    let gone = rough.gone.clone();
    let there = |id: NodeId| !gone.contains(&id);
    let found = support::recall(&arena, &mut rough, &rows, &there, &clustered(30, 20, 27), 60);
    assert!(found > 0.9, "recall {found}");
    // The entry point itself may be gone.
    rough.entry = Some(vs_graph::Entry { id: 0, level: 3 });
    let (mut scratch, mut query, mut beam) = (Scratch::default(), Query::default(), Beam::default());
    arena.space().prepare(&rows[0], &mut scratch, &mut query).unwrap();
    beam.search(&mut rough, &query, 10).unwrap();
    assert!(beam.is_exhausted());
}

#[test]
fn an_empty_graph_has_nothing_to_find() {
    let arena = support::empty(4, Metric::L2, PARAMS, 1);
    let (mut beam, mut batch) = (Beam::default(), Vec::new());
    for ef in [0, 1, 10_000] {
        let Ok(()) = beam.search(&mut arena.handle(), &Query::default(), ef);
        beam.take(&mut batch);
        assert!(batch.is_empty() && beam.is_exhausted());
        let Ok(()) = beam.widen(&mut arena.handle(), &Query::default(), ef);
        assert!(beam.is_exhausted());
    }
}

#[test]
fn a_query_that_fits_nothing_neither_loops_nor_panics() {
    // A query of another length, and one never prepared: scores are meaningless, the walk still ends.
    let rows = clustered(500, 20, 28);
    let arena = built(&rows, Metric::L2, PARAMS);
    let other = vs_quantize::Space::new(3, Metric::L2).unwrap();
    let (mut scratch, mut query, mut beam, mut batch) =
        (Scratch::default(), Query::default(), Beam::default(), Vec::new());
    let Ok(()) = beam.search(&mut arena.handle(), &query, 5);
    other.prepare(&rows[0][..3], &mut scratch, &mut query).unwrap();
    let Ok(()) = beam.search(&mut arena.handle(), &query, 5);
    beam.take(&mut batch);
    assert_eq!(batch.len(), 5);
}

#[test]
fn a_search_whose_entry_point_is_freed_begins_again() {
    let rows = clustered(800, 12, 26);
    let arena = built(&rows, Metric::L2, PARAMS);
    let (mut scratch, mut query, mut beam) = (Scratch::default(), Query::default(), Beam::default());
    arena.space().prepare(&rows[3], &mut scratch, &mut query).unwrap();
    let mut rough = Rough::new(&arena);
    // It was the entry point when it was read, and is gone when it is looked at.
    rough.stale_entry = Some(Entry { id: 7, level: arena.level(7) });
    rough.gone.insert(7);
    beam.search(&mut rough, &query, 20).unwrap();
    let mut found = Vec::new();
    beam.take(&mut found);
    assert_eq!(found.len(), 20);
    assert_eq!(found[0].id, 3);
    assert!(!beam.is_starved());
    // It is there when it is scored, alive or dead, and gone when its neighbours are asked for; on every layer that it
    // was on, or on layer 0 alone.
    for (alive, level) in [(true, 0), (false, 0), (true, 2), (false, 2)] {
        let mut rough = Rough::new(&arena);
        rough.stale_entry = Some(Entry { id: 7, level });
        rough.goes_when_scored = Some(7);
        rough.dead.extend((!alive).then_some(7));
        beam.search(&mut rough, &query, 20).unwrap();
        assert!(rough.gone.contains(&7), "it has been there");
        beam.take(&mut found);
        assert_eq!(found.len(), 20);
        assert_eq!(found[0].id, 3);
        assert!(found.iter().all(|candidate| candidate.id != 7));
    }
}

#[test]
fn a_search_does_not_begin_again_for_ever() {
    let rows = clustered(300, 12, 26);
    let arena = built(&rows, Metric::L2, PARAMS);
    let (mut scratch, mut query, mut beam) = (Scratch::default(), Query::default(), Beam::default());
    arena.space().prepare(&rows[3], &mut scratch, &mut query).unwrap();
    let mut rough = Rough::new(&arena);
    // Of every node the neighbours are gone.
    rough.without_lists = true;
    beam.search(&mut rough, &query, 20).unwrap();
    assert!(rough.calls.get() < 200, "{} calls", rough.calls.get());
    assert!(beam.is_exhausted());
}
