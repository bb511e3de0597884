//! Deleting: lists repaired, nodes attached again, recall kept.

mod support;

use std::collections::HashSet;
use support::{Rough, built, check_lists, clustered, recall, vacuum};
use vs_graph::{Entry, NodeId, Params, Repairer, Storage};
use vs_quantize::Metric;

const PARAMS: Params = Params { m: 16, ef_construction: 64 };

/// Recall among the survivors of a vacuum, and of a graph built of the survivors alone.
fn compare(victim: impl Fn(usize, &[half::f16]) -> bool) -> (f64, f64) {
    let (rows, queries) = (clustered(4000, 32, 31), clustered(60, 32, 31));
    let arena = built(&rows, Metric::L2, PARAMS);
    let victims: HashSet<NodeId> =
        rows.iter().enumerate().filter(|(at, row)| victim(*at, row)).map(|(at, _)| at as NodeId).collect();
    let mut rough = vacuum(&arena, &victims);
    let repaired = recall(&arena, &mut rough, &rows, &|id| !victims.contains(&id), &queries, 40);
    let survivors: Vec<_> =
        rows.iter().enumerate().filter(|(at, _)| !victims.contains(&(*at as NodeId))).map(|(_, r)| r.clone()).collect();
    let fresh = built(&survivors, Metric::L2, PARAMS);
    (repaired, recall(&fresh, &mut fresh.handle(), &survivors, &|_| true, &queries, 40))
}

#[test]
fn three_quarters_deleted_at_random_leave_as_good_a_graph() {
    let (repaired, fresh) = compare(|at, _| at % 4 != 1);
    assert!(repaired >= 0.97 * fresh && fresh > 0.97, "repaired {repaired}, fresh {fresh}");
}

#[test]
fn a_deleted_region_leaves_as_good_a_graph() {
    // Everything on one side of a plane: whole clusters go, and most of the lists of some survivors with them.
    let (repaired, fresh) = compare(|_, row| row[0].to_f32() > 0.3 || row[1].to_f32() > 0.9);
    assert!(repaired >= 0.97 * fresh && fresh > 0.97, "repaired {repaired}, fresh {fresh}");
}

#[test]
fn all_but_a_few_and_then_all_may_be_deleted() {
    let rows = clustered(1500, 16, 33);
    let arena = built(&rows, Metric::L2, PARAMS);
    let most: HashSet<NodeId> = (0..1500).filter(|id| id % 300 != 7).collect();
    let mut rough = vacuum(&arena, &most);
    let mut list = Vec::new();
    rough.neighbours(7, 0, &mut list).unwrap();
    assert!(!list.is_empty() && list.iter().all(|id| id % 300 == 7));

    let rows = clustered(50, 16, 34);
    let arena = built(&rows, Metric::L2, PARAMS);
    vacuum(&arena, &(0..50).collect());
}

#[test]
fn repair_survives_contention_and_failures() {
    let rows = clustered(1500, 16, 35);
    let arena = built(&rows, Metric::L2, PARAMS);
    let gone = |id: NodeId| id.is_multiple_of(3);
    let mut rough = Rough::new(&arena);
    rough.dead = (0..1500).filter(|&id| gone(id)).collect();
    (rough.contention, rough.failure) = (3, 50);
    let mut repairer = Repairer::default();
    let mut failed = 0;
    for id in (0..1500).filter(|&id| !gone(id)) {
        for level in 0..=arena.level(id) {
            while repairer.repair(&mut rough, &PARAMS, id, level, &gone).is_err() {
                failed += 1;
            }
        }
    }
    assert!(failed > 10);
    check_lists(&arena, &mut arena.handle(), &|id| !gone(id));
}

#[test]
fn a_number_used_again_comes_to_no_list_of_a_layer_that_it_is_not_on() {
    // A vacuum repairs the lists of nodes that stay, frees some of the dead and is interrupted. The lists of those that are
    // still dead name the freed ones, and the numbers of these now belong to other nodes, on layer 0 alone.
    let rows = clustered(3000, 16, 41);
    let arena = built(&rows, Metric::L2, PARAMS);
    let upper: Vec<NodeId> = arena.ids().filter(|&id| arena.level(id) > 0).collect();
    let freed: HashSet<NodeId> = upper.iter().copied().step_by(5).collect();
    let dead: HashSet<NodeId> = upper.iter().copied().filter(|id| !freed.contains(id) && id % 3 == 0).collect();
    let mut rough = Rough::new(&arena);
    let stays: Vec<NodeId> = upper.iter().copied().filter(|id| !freed.contains(id) && !dead.contains(id)).collect();
    let highest = stays.iter().copied().max_by_key(|&id| arena.level(id));
    rough.entry = highest.map(|id| Entry { id, level: arena.level(id) });
    let mut repairer = Repairer::default();
    let mut repair = |rough: &mut Rough, gone: &HashSet<NodeId>| {
        for &id in &stays {
            for level in 1..=arena.level(id) {
                repairer.repair(rough, arena.params(), id, level, &|id| gone.contains(&id)).unwrap();
            }
        }
    };
    rough.dead = &freed | &dead;
    repair(&mut rough, &freed);
    let named = dead.iter().flat_map(|&id| support::list(&mut rough, id, 1)).filter(|id| freed.contains(id)).count();
    assert!(named > 20, "only {named} of the dead nodes' neighbours were freed");
    rough.dead.clone_from(&dead);
    rough.lowered.clone_from(&freed);
    repair(&mut rough, &dead);
    for &id in &stays {
        for level in 1..=arena.level(id) {
            let list = support::list(&mut rough, id, level);
            assert!(
                list.iter().all(|member| !freed.contains(member)),
                "{id} names a node that is not on layer {level}"
            );
        }
    }
}
