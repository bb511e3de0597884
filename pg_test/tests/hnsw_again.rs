//! Updates of other columns: a new row version with the vector that is in the index already joins its node.

use pg_test::{
    Database, Embedding,
    vectors::{self, Generator, Metric, Search, run, stat},
};
use postgres::Client;

/// Rows; the first updates search, later ones look nodes up.
const ROWS: usize = 800;

/// A table with an index for each metric, and rows of which some are NULL, some zero, and some the same.
fn table(name: &str) -> (Client, Vec<Embedding>) {
    let mut session = Database::shared(name).connect();
    let mut items = Generator::new(21, 12).vectors(ROWS);
    let same = items[3].clone();
    items[500..600].fill(same);
    items[600] = Embedding::of(vec![0.0; 12]);
    vectors::table(&mut session, "items", &items);
    run(
        &mut session,
        "ALTER TABLE items SET (autovacuum_enabled = off);
         ALTER TABLE items ADD note text DEFAULT 'none';
         INSERT INTO items VALUES (800, NULL)",
    );
    for metric in Metric::ALL {
        let (name, class) = (metric.name(), metric.opclass());
        run(&mut session, &format!("CREATE INDEX by_{name} ON items USING vs_hnsw (embedding {class})"));
    }
    // Every new version is in every index.
    run(&mut session, "CREATE INDEX by_note ON items (note); ANALYZE items");
    (session, items)
}

/// Checks that all indexes are sound and answer as the table does.
fn check(session: &mut Client, queries: &[Embedding], what: &str) {
    for metric in Metric::ALL {
        let index = format!("by_{}", metric.name());
        vectors::assert_sound(session, &index);
        let search = Search::nearest("items", metric, 10);
        let recall = search.recall(session, &index, queries);
        assert!(recall >= 0.98, "{what}, {metric:?}: recall {recall}");
        let whole = Search::nearest("items", metric, 5000);
        run(session, "SET vs_hnsw.exact = on");
        let mut found: Vec<i32> = whole.by_index(session, &index, &queries[0]).iter().map(|row| row.0).collect();
        run(session, "RESET vs_hnsw.exact");
        found.sort_unstable();
        let ids = session.query("SELECT id FROM items ORDER BY id", &[]).unwrap();
        assert_eq!(found, ids.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), "{what}, {metric:?}: every row once");
    }
}

#[test]
fn a_vector_that_stays_keeps_its_node() {
    let (mut session, items) = table("again_stays");
    let queries: Vec<Embedding> = items.iter().skip(1).step_by(80).cloned().collect();
    let count =
        |session: &mut Client, column: &str| Metric::ALL.map(|m| stat(session, &format!("by_{}", m.name()), column));
    let nodes = count(&mut session, "nodes");
    let rows = count(&mut session, "rows");
    for round in 1..=2 {
        run(&mut session, &format!("UPDATE items SET note = 'round {round}'"));
        // One or two nodes that no search has found before there was a table of them.
        for (now, before) in count(&mut session, "nodes").into_iter().zip(nodes) {
            assert!((before..=before + 2).contains(&now), "round {round}: {now} nodes for {before}");
        }
        assert_eq!(count(&mut session, "rows"), rows.map(|rows| rows * (round + 1)), "round {round}");
    }
    check(&mut session, &queries, "updated");
    run(&mut session, "DELETE FROM items WHERE id % 3 = 1");
    run(&mut session, "VACUUM (INDEX_CLEANUP ON) items");
    // Numbers that were freed are used again while the table knows them as they were before.
    let others = Generator::new(22, 12).vectors(200);
    vectors::append(&mut session, "items", 5000, &others);
    run(&mut session, "UPDATE items SET note = 'after'");
    check(&mut session, &queries, "after deletions");
    run(&mut session, "VACUUM (INDEX_CLEANUP ON) items");
    check(&mut session, &queries, "vacuumed");
}

#[test]
fn a_trigger_may_change_the_vector_behind_the_executors_back() {
    let (mut session, items) = table("again_trigger");
    session
        .batch_execute(
            "CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF NEW.id % 2 = 0 THEN NEW.embedding := NEW.embedding + NEW.embedding; END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER change BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION change();
             UPDATE items SET note = 'changed'",
        )
        .unwrap();
    let queries: Vec<Embedding> = items.iter().skip(1).step_by(80).cloned().collect();
    check(&mut session, &queries, "changed by a trigger");
    // The new ones are in no table when they come.
    session
        .batch_execute("UPDATE items SET note = 'again'; UPDATE items SET note = 'and again' WHERE id < 30")
        .unwrap();
    check(&mut session, &queries, "changed again");
}
