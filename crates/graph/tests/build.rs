//! Building: recall, invariants, duplicates, threads, and storages that fail.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use support::{Failed, Rng, Rough, built, check_lists, clustered, empty, publish, recall};
use vs_graph::{Arena, BLOCK, Inserted, Inserter, NodeId, Params, Reach, Storage, StorageMut, page_order};
use vs_quantize::{Metric, Query, Scratch};

const PARAMS: Params = Params { m: 16, ef_construction: 64 };

fn all(_: NodeId) -> bool {
    true
}

/// Attaches what is unreachable and returns how many nodes were.
fn attach(arena: &Arena) -> usize {
    let mut handle = arena.handle();
    let ids: Vec<NodeId> = arena.ids().collect();
    let mut reach = Reach::traverse(&mut handle, ids.len()).unwrap();
    let lost = ids.iter().filter(|&&id| !reach.reached(id)).count();
    for &id in &ids {
        assert_eq!(reach.attach(&mut handle, arena.params(), id), Ok(true));
    }
    let again = Reach::traverse(&mut handle, ids.len()).unwrap();
    assert!(ids.iter().all(|&id| again.reached(id)), "attaching one node cut off another");
    lost
}

#[test]
fn a_graph_of_clusters_finds_what_brute_force_finds() {
    let (rows, queries) = (clustered(4000, 48, 1), clustered(60, 48, 1));
    for (metric, least) in [(Metric::L2, 0.98), (Metric::Cosine, 0.98), (Metric::InnerProduct, 0.98)] {
        let arena = built(&rows, metric, PARAMS);
        let found = recall(&arena, &mut arena.handle(), &rows, &all, &queries, 64);
        assert!(found >= least, "{metric:?}: recall {found}");
        check_lists(&arena, &mut arena.handle(), &all);
    }
}

/// All lists of a graph in one number (FNV-1a).
fn digest(arena: &Arena) -> u64 {
    let mut handle = arena.handle();
    arena.ids().flat_map(|id| (0..=arena.level(id)).map(move |level| (id, level))).fold(
        0xcbf2_9ce4_8422_2325,
        |hash, at| {
            let list = support::list(&mut handle, at.0, at.1);
            let ids = list.into_iter().chain([vs_graph::NONE]);
            ids.fold(hash, |hash, id| (hash ^ u64::from(id)).wrapping_mul(0x100_0000_01b3))
        },
    )
}

#[test]
fn graphs_of_distances_are_what_they_have_been() {
    // Whoever changes how neighbours are chosen under a distance does so on purpose, and measures it.
    for (metric, lists) in [(Metric::L2, 0x369a_ac0a_a0d5_ce08), (Metric::Cosine, 0x34af_fc29_f902_371a)] {
        let found = digest(&built(&clustered(2000, 24, 14), metric, PARAMS));
        assert_eq!(found, lists, "{metric:?}: {found:#x}");
    }
}

#[test]
fn every_node_can_be_reached_after_attaching() {
    let mut rng = Rng(8);
    for (rows, m, most) in [(3000, 2, 600), (3000, 4, 100), (1500, 16, 5), (1, 16, 0), (2, 16, 0)] {
        let params = Params { m, ef_construction: 2 * m };
        // Tight clusters and small lists are what leaves nodes without a link to them.
        let arena = built(&clustered(rows, 3 + rng.below(20), 5), Metric::L2, params);
        let lost = attach(&arena);
        assert!(lost <= most, "m {m}: {lost} of {rows} were unreachable");
        check_lists(&arena, &mut arena.handle(), &all);
    }
}

#[test]
fn equal_points_are_reported_and_not_linked() {
    let distinct = clustered(500, 24, 3);
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
        let arena = built(&distinct, metric, PARAMS);
        let again = publish(&arena, &distinct, 500);
        let (mut handle, mut inserter) = (arena.handle(), Inserter::default());
        let mut found = 0;
        for (first, &second) in again.iter().enumerate() {
            match handle.insert(&mut inserter, second) {
                Inserted::Same(id) => {
                    assert_eq!(id as usize, first);
                    found += 1;
                }
                Inserted::New(id) => assert_eq!(id, second),
            }
        }
        assert_eq!(found, 500, "{metric:?}");
    }
}

#[test]
fn a_thousand_copies_are_one_node() {
    let mut rows = clustered(300, 16, 4);
    rows.extend(vec![rows[7].clone(); 1000]);
    let arena = empty(16, Metric::L2, PARAMS, rows.len());
    let ids = publish(&arena, &rows, 0);
    let (mut handle, mut inserter) = (arena.handle(), Inserter::default());
    let same = ids.iter().filter(|&&id| handle.insert(&mut inserter, id) == Inserted::Same(ids[7])).count();
    assert_eq!(same, 1000);
}

#[test]
fn threads_build_as_good_a_graph_as_one_does() {
    let (rows, queries) = (clustered(6000, 32, 6), clustered(60, 32, 6));
    let serial = built(&rows, Metric::L2, PARAMS);
    let arena = empty(32, Metric::L2, PARAMS, rows.len());
    // Nothing is in the graph when they start: the race for the entry point is part of the test.
    let (ids, next) = (publish(&arena, &rows, 0), AtomicUsize::new(0));
    let barrier = std::sync::Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let (mut handle, mut inserter) = (arena.handle(), Inserter::default());
                barrier.wait();
                while let Some(&id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                    assert_eq!(handle.insert(&mut inserter, id), Inserted::New(id));
                }
            });
        }
    });
    check_lists(&arena, &mut arena.handle(), &all);
    let lost = attach(&arena);
    assert!(lost <= 30, "{lost} nodes were unreachable");
    let one = recall(&serial, &mut serial.handle(), &rows, &all, &queries, 50);
    let four = recall(&arena, &mut arena.handle(), &rows, &all, &queries, 50);
    assert!(four >= one - 0.01 && one > 0.97, "one thread {one}, four threads {four}");
}

#[test]
fn many_threads_may_race_for_an_empty_graph() {
    let rows = clustered(64, 8, 7);
    for round in 0..50 {
        let arena = empty(8, Metric::L2, PARAMS, rows.len());
        let (ids, barrier) = (publish(&arena, &rows[..4 + round % 5], 0), std::sync::Barrier::new(4));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (arena, ids, barrier) = (&arena, &ids, &barrier);
                scope.spawn(move || {
                    let (mut handle, mut inserter) = (arena.handle(), Inserter::default());
                    barrier.wait();
                    ids.iter().skip(thread).step_by(4).for_each(|&id| _ = handle.insert(&mut inserter, id));
                });
            }
        });
        let reach = Reach::traverse(&mut arena.handle(), ids.len()).unwrap();
        assert!(ids.iter().all(|&id| reach.reached(id)), "round {round}");
    }
}

#[test]
fn lists_that_others_change_are_read_again() {
    let (rows, queries) = (clustered(1500, 24, 9), clustered(40, 24, 9));
    let arena = empty(24, Metric::L2, PARAMS, rows.len());
    let ids = publish(&arena, &rows, 0);
    let mut inserter = Inserter::default();
    let mut rough = Rough::new(&arena);
    rough.contention = 3;
    insert_all(&arena, &mut rough, &mut inserter, &ids);
    check_lists(&arena, &mut arena.handle(), &all);
    let found = recall(&arena, &mut arena.handle(), &rows, &all, &queries, 64);
    assert!(found >= 0.97, "recall {found}");
}

/// Inserts by the generic path; returns how many insertions failed.
fn insert_all(arena: &Arena, rough: &mut Rough<'_>, inserter: &mut Inserter, ids: &[NodeId]) -> usize {
    let mut query = Query::default();
    let mut failed = 0;
    for &id in ids {
        rough.handle.set_inserting(id);
        arena.space().probe(arena.code(id).unwrap(), &mut query);
        match inserter.insert(rough, arena.params(), &query, arena.level(id)) {
            Ok(inserted) => assert_eq!(inserted, Inserted::New(id)),
            Err(Failed) => failed += 1,
        }
    }
    failed
}

#[test]
fn an_insertion_that_fails_anywhere_leaves_a_valid_graph() {
    let (rows, queries) = (clustered(1500, 24, 10), clustered(40, 24, 10));
    let arena = empty(24, Metric::L2, PARAMS, rows.len());
    let ids = publish(&arena, &rows, 0);
    let mut inserter = Inserter::default();
    let mut rough = Rough::new(&arena);
    rough.failure = 1000;
    let failed = insert_all(&arena, &mut rough, &mut inserter, &ids);
    assert!((100..1400).contains(&failed), "{failed} insertions failed: the test should see both outcomes");
    check_lists(&arena, &mut arena.handle(), &all);
    // What failed can be attached, and then everything is found.
    attach(&arena);
    let found = recall(&arena, &mut arena.handle(), &rows, &all, &queries, 200);
    assert!(found >= 0.9, "recall {found}");
}

#[test]
fn nothing_is_linked_to_dead_nodes_nor_joins_them() {
    let rows = clustered(1200, 24, 11);
    let arena = empty(24, Metric::L2, PARAMS, 3 * rows.len());
    let first = publish(&arena, &rows, 0);
    let mut inserter = Inserter::default();
    let mut rough = Rough::new(&arena);
    insert_all(&arena, &mut rough, &mut inserter, &first);
    rough.dead = first.iter().copied().filter(|id| id % 2 == 0).collect();
    // The same points again: those whose node is dead must get one of their own.
    let second = publish(&arena, &rows, rows.len());
    let mut query = Query::default();
    let mut joined = 0;
    for (at, &id) in second.iter().enumerate() {
        rough.handle.set_inserting(id);
        arena.space().probe(arena.code(id).unwrap(), &mut query);
        let inserted = inserter.insert(&mut rough, arena.params(), &query, arena.level(id)).unwrap();
        if at % 2 == 1 {
            joined += usize::from(inserted == Inserted::Same(first[at]));
        } else {
            assert_eq!(inserted, Inserted::New(id));
            let list = support::list(&mut rough, id, 0);
            assert!(!list.is_empty() && list.iter().all(|other| !rough.dead.contains(other)));
        }
    }
    // One or two cannot be reached; they become duplicates, which is harmless.
    assert!(joined >= rows.len() / 2 - 6, "{joined}");
}

#[test]
fn a_graph_in_which_all_are_dead_starts_afresh() {
    let rows = clustered(600, 24, 13);
    let arena = empty(24, Metric::L2, PARAMS, 2 * rows.len());
    let (first, mut inserter) = (publish(&arena, &rows, 0), Inserter::default());
    let mut rough = Rough::new(&arena);
    insert_all(&arena, &mut rough, &mut inserter, &first);
    rough.dead = first.iter().copied().collect();
    let second = publish(&arena, &rows, rows.len());
    insert_all(&arena, &mut rough, &mut inserter, &second);
    let reach = Reach::traverse(&mut rough, 4 * BLOCK).unwrap();
    let lost = second.iter().filter(|&&id| !reach.reached(id)).count();
    assert!(lost <= 6, "{lost} of the new nodes cannot be reached");
}

#[test]
fn a_page_order_is_a_permutation_and_keeps_neighbours_together() {
    let rows = clustered(3000, 24, 12);
    let arena = built(&rows, Metric::L2, PARAMS);
    let ids: Vec<NodeId> = arena.ids().collect();
    // In a random order (per_page − 1) / 2999 of the edges would lead to the same page: .002, .0023, .016.
    for (per_page, least) in [(1, 0.0), (7, 0.14), (8, 0.15), (50, 0.3)] {
        let order = page_order(&mut arena.handle(), &ids, ids.len(), per_page, |id| arena.level(id)).unwrap();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, ids);
        let mut page = vec![0; ids.len()];
        order.iter().enumerate().for_each(|(at, &id)| page[id as usize] = at / per_page);
        let mut edges = [0, 0];
        for &id in &ids {
            for other in support::list(&mut arena.handle(), id, 0) {
                edges[usize::from(page[id as usize] == page[other as usize])] += 1;
            }
        }
        let inside = f64::from(edges[1]) / f64::from(edges[0] + edges[1]);
        assert!(inside >= least, "{per_page} on a page: {inside}");
    }
    let order = page_order(&mut arena.handle(), &[], 0, 0, |_| 0).unwrap();
    assert!(order.is_empty());
}

#[test]
fn the_arena_refuses_what_does_not_fit() {
    let arena = Arena::new(vs_quantize::Space::new(4, Metric::L2).unwrap(), PARAMS, BLOCK).unwrap();
    let mut scratch = Scratch::default();
    let row = clustered(1, 4, 1).remove(0);
    let mut block = arena.builder().unwrap();
    for _ in 0..BLOCK {
        assert_eq!(block.push(0, 0, |code| arena.space().encode(&row, &mut scratch, code)), Ok(true));
    }
    assert_eq!(block.push(0, 0, |code| arena.space().encode(&row, &mut scratch, code)), Ok(false));
    let mut failing = arena.builder().unwrap();
    assert_eq!(failing.push(0, 0, |_| Err(Failed)), Err(Failed));
    assert!(failing.is_empty());
    let ids = arena.publish(block).unwrap();
    assert!(arena.publish(failing).is_err(), "there is room for one block only");

    let mut handle = arena.handle();
    let (a, b, c) = (ids.start, ids.start + 1, ids.start + 2);
    assert_eq!(handle.replace(a, 0, &[], &[b]), Ok(true));
    assert_eq!(handle.replace(a, 0, &[], &[c]), Ok(false), "the list is not empty any more");
    assert_eq!(handle.replace(a, 0, &[b], &[b; 33]), Ok(false), "longer than a list may be");
    assert_eq!(handle.replace(a, 1, &[], &[c]), Ok(false), "not on that layer");
    assert_eq!(handle.replace(u32::MAX - 1, 0, &[], &[c]), Ok(false), "no such node");
    assert_eq!(support::list(&mut handle, a, 0), [b]);
    let mut out = Vec::new();
    let Ok(()) = handle.score(&Query::default(), &[u32::MAX, u32::MAX - 1], &mut out);
    assert!(out.is_empty());
}

#[test]
fn whoever_comes_second_to_an_empty_graph_does_not_cut_off_the_first() {
    // Both found the graph empty. The second is on a higher layer, and yet not to become the entry point unlinked.
    let rows = clustered(500, 8, 13);
    let arena = empty(8, Metric::L2, PARAMS, rows.len());
    let ids = publish(&arena, &rows, 0);
    let low = ids.iter().copied().find(|&id| arena.level(id) == 0).unwrap();
    let high = ids.iter().copied().find(|&id| arena.level(id) > 0).unwrap();
    let (mut rough, mut inserter) = (Rough::new(&arena), Inserter::default());
    insert_all(&arena, &mut rough, &mut inserter, &[low]);
    rough.blank_entries = 1;
    insert_all(&arena, &mut rough, &mut inserter, &[high]);
    let reach = Reach::traverse(&mut rough, ids.len()).unwrap();
    assert!(reach.reached(low) && reach.reached(high));
    assert_eq!(rough.entry().unwrap().map(|entry| entry.id), Some(high));
}
