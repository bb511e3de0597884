//! Indexes for the inner product, of vectors whose lengths differ: built, filled by insertions, and after deletions.

use fastrand::Rng;
use pg_test::{
    Database, Embedding,
    vectors::{self, Metric, Search, run, stat, vacuum},
};

/// Positive vectors of three dimensions, most of them short: nearly all lie behind others.
fn positive(random: &mut Rng, count: usize) -> Vec<Embedding> {
    (0..count).map(|_| Embedding::of((0..3).map(|_| random.f64() * random.f64()).collect::<Vec<_>>())).collect()
}

#[test]
fn the_largest_products_are_found_in_every_state_of_an_index() {
    let mut session = Database::shared("products").connect();
    let mut random = Rng::with_seed(14);
    let (items, queries) = (positive(&mut random, 3000), positive(&mut random, 40));
    vectors::table(&mut session, "items", &items);
    run(
        &mut session,
        "ALTER TABLE items SET (autovacuum_enabled = off);
         CREATE INDEX by_likeness ON items USING vs_hnsw (embedding image_embedding_ip_ops)",
    );
    let search = Search::nearest("items", Metric::InnerProduct, 10);
    let check = |session: &mut _, state: &str| {
        let recall = search.recall(session, "by_likeness", &queries);
        assert!(recall >= 0.99, "{state}: recall {recall}");
        vectors::assert_sound(session, "by_likeness");
    };
    check(&mut session, "built");
    assert_eq!(stat(&mut session, "by_likeness", "unreachable_nodes"), 0);

    // Every other vector goes, and all the long ones, which searches lead to.
    run(&mut session, "DELETE FROM items WHERE id % 2 = 0 OR embedding_norm(embedding) > 1");
    vacuum(&mut session, "items", "by_likeness");
    check(&mut session, "after deletions");

    run(&mut session, "TRUNCATE items");
    vectors::append(&mut session, "items", 0, &items);
    check(&mut session, "filled by insertions");
    let unreachable = stat(&mut session, "by_likeness", "unreachable_nodes");
    assert!(unreachable <= 3, "{unreachable} of 3000 are in no list");
}
