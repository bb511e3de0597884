//! Graphs for the inner product: recall where lengths differ, what can be reached, and what deletions leave.

mod support;

use half::f16;
use std::collections::HashSet;
use support::{Rng, built, check_lists, clustered, publish, recall, vacuum};
use vs_graph::{Inserted, Inserter, NodeId, Params, Reach};
use vs_quantize::Metric;

/// The parameters of an index that nobody has chosen any for, and the candidates of a search.
const PARAMS: Params = Params { m: 16, ef_construction: 64 };
const EF: usize = 40;

type Rows = Vec<Vec<f16>>;

fn rows(count: usize, mut row: impl FnMut() -> Vec<f32>) -> Rows {
    (0..count).map(|_| row().into_iter().map(f16::from_f32).collect()).collect()
}

/// Positive vectors of three dimensions, most of them short: nearly all lie behind others.
fn positive(count: usize, seed: u64) -> Rows {
    let mut rng = Rng(seed);
    rows(count, || (0..3).map(|_| rng.uniform() * rng.uniform()).collect())
}

/// Any direction, and lengths from 1 to e³.
fn spread(count: usize, seed: u64) -> Rows {
    let mut rng = Rng(seed);
    rows(count, || {
        let direction: Vec<f32> = (0..64).map(|_| rng.normal()).collect();
        let length = direction.iter().map(|x| x * x).sum::<f32>().sqrt();
        let scale = (3.0 * rng.uniform()).exp() / length;
        direction.into_iter().map(|x| x * scale).collect()
    })
}

/// Clusters as embeddings have them, of lengths that differ threefold.
fn scaled_clusters(count: usize, seed: u64) -> Rows {
    let mut rng = Rng(seed);
    let mut of_any_length = clustered(count, 96, 17);
    for row in &mut of_any_length {
        let scale = 0.5 + rng.uniform();
        row.iter_mut().for_each(|x| *x = f16::from_f32(x.to_f32() * scale));
    }
    of_any_length
}

/// Queries that are not like the rows: around another centre, and of any sign.
fn elsewhere(count: usize) -> Rows {
    let mut rng = Rng(5);
    rows(count, || (0..96).map(|_| 0.5 + rng.normal()).collect())
}

fn data() -> [(&'static str, Rows, Rows); 3] {
    [
        ("positive", positive(3000, 1), positive(60, 2)),
        ("spread", spread(3000, 3), spread(60, 4)),
        ("clusters", scaled_clusters(3000, 6), elsewhere(60)),
    ]
}

#[test]
fn the_largest_products_are_found_at_default_settings() {
    for (name, rows, queries) in data() {
        let arena = built(&rows, Metric::InnerProduct, PARAMS);
        let found = recall(&arena, &mut arena.handle(), &rows, &|_| true, &queries, EF);
        assert!(found >= 0.99, "{name}: recall {found}");
        check_lists(&arena, &mut arena.handle(), &|_| true);
    }
}

#[test]
fn short_vectors_can_be_reached_and_are_found_again() {
    for (name, rows, _) in data() {
        let arena = built(&rows, Metric::InnerProduct, PARAMS);
        let (mut handle, mut inserter) = (arena.handle(), Inserter::default());
        let reach = Reach::traverse(&mut handle, rows.len()).unwrap();
        let lost = arena.ids().filter(|&id| !reach.reached(id)).count();
        assert!(lost <= rows.len() / 200, "{name}: {lost} cannot be reached");
        let again = publish(&arena, &rows, rows.len());
        let joined =
            again.iter().zip(0..).filter(|&(&id, first)| handle.insert(&mut inserter, id) == Inserted::Same(first));
        let joined = joined.count();
        assert!(joined >= rows.len() / 10 * 9, "{name}: {joined} of {} were found again", rows.len());
    }
}

#[test]
fn deleting_three_quarters_leaves_as_good_a_graph() {
    for (name, rows, queries) in data() {
        let arena = built(&rows, Metric::InnerProduct, PARAMS);
        // The longest ones go as well, where searches lead to.
        let victims: HashSet<NodeId> = (0..rows.len() as NodeId).filter(|id| id % 4 != 1).collect();
        let mut rough = vacuum(&arena, &victims);
        let found = recall(&arena, &mut rough, &rows, &|id| !victims.contains(&id), &queries, EF);
        assert!(found >= 0.98, "{name}: recall {found}");
    }
}
