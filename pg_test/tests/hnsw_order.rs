//! Scans of a vs_hnsw index return rows in exact order: of the values the operator computes, not of the index's codes.
//!
//! What a search returns at all depends on its settings; in which order does not. Where `ef_search` is large enough for
//! all of a table, the answer must be the exact one.

use pg_test::{
    Database, Embedding,
    vectors::{self, Generator, Metric, Search, prefer_index, prefer_table, rows, run},
};
use postgres::Client;

/// A table `items` with an index `by_likeness`, and queries: some of the table's own vectors, some others.
fn indexed(name: &str, metric: Metric, dims: usize, count: usize) -> (Client, Vec<Embedding>) {
    let mut session = Database::shared(name).connect();
    let mut generator = Generator::new(dims as u64, dims);
    let items = generator.vectors(count);
    vectors::table(&mut session, "items", &items);
    run(&mut session, &format!("CREATE INDEX by_likeness ON items USING vs_hnsw (embedding {})", metric.opclass()));
    let mut queries = generator.vectors(20);
    queries.extend(items.iter().step_by(count / 20).cloned());
    (session, queries)
}

#[test]
fn every_metric_and_odd_dimensions() {
    for metric in Metric::ALL {
        for (dims, count) in [(1, 600), (3, 1000), (32, 3000), (47, 1500)] {
            let (mut session, queries) = indexed(&format!("order_{}_{dims}", metric.name()), metric, dims, count);
            let _watch = pg_test::shared_cluster().watch();
            for k in [1, 10, 100] {
                let search = Search::nearest("items", metric, k);
                let recall = search.recall(&mut session, "by_likeness", &queries);
                assert!(recall > 0.98, "{metric:?}, {dims} dimensions: recall {recall} at {k}");
            }
            // Every row is a candidate: the exact answer.
            run(&mut session, &format!("SET vs_hnsw.ef_search = {count}"));
            let search = Search::nearest("items", metric, 50);
            for query in &queries {
                let (exact, found) =
                    (search.exactly(&mut session, query), search.by_index(&mut session, "by_likeness", query));
                let distances = |rows: &[vectors::Found]| rows.iter().map(|row| row.1).collect::<Vec<_>>();
                assert_eq!(distances(&found), distances(&exact), "{metric:?}, {dims} dimensions");
            }
        }
    }
}

#[test]
fn a_query_that_is_a_row_finds_it_first() {
    let (mut session, _) = indexed("order_itself", Metric::L2, 32, 2000);
    prefer_index(&mut session);
    let sql = "SELECT count(*) FROM (SELECT * FROM items WHERE id % 20 = 0) q,
               LATERAL (SELECT id, embedding <-> q.embedding AS d FROM items ORDER BY embedding <-> q.embedding LIMIT 1) n
               WHERE n.id = q.id AND n.d = 0";
    assert_eq!(session.query_one(sql, &[]).unwrap().get::<_, i64>(0), 100);
}

#[test]
fn more_rows_asked_for_than_there_are() {
    for metric in Metric::ALL {
        let (mut session, queries) = indexed(&format!("order_all_{}", metric.name()), metric, 16, 1500);
        let search = Search::nearest("items", metric, 5000);
        for setting in ["strict_order", "relaxed_order"] {
            run(&mut session, &format!("SET vs_hnsw.iterative_scan = {setting}; SET vs_hnsw.ef_search = 1500"));
            assert_eq!(search.by_index(&mut session, "by_likeness", &queries[0]).len(), 1500, "{metric:?}, {setting}");
        }
        run(&mut session, "SET vs_hnsw.iterative_scan = relaxed_order; SET vs_hnsw.ef_search = 10");
        prefer_index(&mut session);
        let mut ids: Vec<i32> = rows(&mut session, &search.sql, &[&queries[1]]).iter().map(|row| row.0).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..1500).collect::<Vec<_>>(), "{metric:?}: going on, a scan comes to every row once");
        run(&mut session, "SET vs_hnsw.iterative_scan = off");
        assert_eq!(search.by_index(&mut session, "by_likeness", &queries[1]).len(), 10, "{metric:?}: off");
    }
}

#[test]
fn tables_without_rows() {
    let (mut session, queries) = indexed("order_emptied", Metric::L2, 16, 1000);
    let search = Search::nearest("items", Metric::L2, 10);
    run(&mut session, "DELETE FROM items");
    assert!(search.by_index(&mut session, "by_likeness", &queries[0]).is_empty(), "deleted, not vacuumed");
    run(&mut session, "VACUUM items");
    assert!(search.by_index(&mut session, "by_likeness", &queries[0]).is_empty(), "deleted and vacuumed");
    vectors::assert_sound(&mut session, "by_likeness");
    vectors::append(&mut session, "items", 0, &queries);
    assert_eq!(search.recall(&mut session, "by_likeness", &queries), 1.0, "and filled again");

    run(
        &mut session,
        "CREATE TABLE none (id int, embedding image_embedding(16)); CREATE INDEX none_index ON none USING vs_hnsw (embedding)",
    );
    let search = Search::nearest("none", Metric::L2, 10);
    assert!(search.by_index(&mut session, "none_index", &queries[0]).is_empty(), "never any row");
    vectors::append(&mut session, "none", 0, &queries[..1]);
    assert_eq!(search.by_index(&mut session, "none_index", &queries[0]), [(0, Some(0.0))], "one row");
}

#[test]
fn rows_without_a_vector_come_last() {
    let (mut session, queries) = indexed("order_nulls", Metric::L2, 16, 1000);
    run(&mut session, "INSERT INTO items SELECT -g, NULL FROM generate_series(1, 2000) g");
    let search = Search::nearest("items", Metric::L2, 5000);
    for how in ["inserted", "built", "vacuumed"] {
        match how {
            "built" => run(&mut session, "REINDEX INDEX by_likeness"),
            "vacuumed" => {
                run(&mut session, "DELETE FROM items WHERE id % 2 = 0");
                vectors::vacuum(&mut session, "items", "by_likeness");
                // The pages of those that went are used again.
                let pages = vectors::stat(&mut session, "by_likeness", "pages");
                run(&mut session, "INSERT INTO items SELECT -2 * g, NULL FROM generate_series(1, 900) g");
                assert_eq!(vectors::stat(&mut session, "by_likeness", "pages"), pages);
            }
            _ => {}
        }
        let (found, exact) =
            (search.by_index(&mut session, "by_likeness", &queries[0]), search.exactly(&mut session, &queries[0]));
        assert_eq!(found.len(), exact.len(), "{how}");
        let with = exact.iter().take_while(|row| row.1.is_some()).count();
        assert!(found[..with].iter().all(|row| row.1.is_some()) && found[with..].iter().all(|row| row.1.is_none()));
        let mut ids: Vec<i32> = found.iter().map(|row| row.0).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), exact.len(), "{how}: every row once");
        vectors::assert_sound(&mut session, "by_likeness");
    }
    // An index of nothing else.
    run(&mut session, "DELETE FROM items WHERE embedding IS NOT NULL");
    assert!(search.by_index(&mut session, "by_likeness", &queries[0]).iter().all(|row| row.1.is_none()));
    run(
        &mut session,
        "CREATE TABLE none (id int, embedding image_embedding); INSERT INTO none VALUES (1, NULL), (2, NULL)",
    );
    run(&mut session, "CREATE INDEX none_index ON none USING vs_hnsw (embedding)");
    let search = Search::nearest("none", Metric::L2, 10);
    assert_eq!(search.by_index(&mut session, "none_index", &queries[0]).len(), 2);
    run(&mut session, "INSERT INTO none VALUES (3, NULL), (4, '[1,2,3]')");
    assert_eq!(search.by_index(&mut session, "none_index", &Embedding::of([1.0, 2.0, 3.0])).len(), 4);
}

#[test]
fn a_null_query_returns_every_row() {
    let (mut session, _) = indexed("order_null_query", Metric::L2, 16, 1000);
    run(&mut session, "INSERT INTO items SELECT -g, NULL FROM generate_series(1, 50) g");
    prefer_index(&mut session);
    for (query, plan_has) in
        [("NULL::image_embedding", "by_likeness"), ("(SELECT NULL::image_embedding)", "by_likeness")]
    {
        let sql = format!("SELECT id, embedding <-> {query} FROM items ORDER BY embedding <-> {query} LIMIT 5000");
        let plan = pg_test::explain(&mut session, "COSTS off", &sql);
        let found = rows(&mut session, &sql, &[]);
        assert!(plan.contains(plan_has) || query.starts_with("NULL"), "{plan}");
        vectors::assert_in_order(&found, &sql);
        assert_eq!(found.len(), 1050, "{sql}");
        assert!(found.iter().all(|row| row.1.is_none()));
    }
}

#[test]
fn zero_vectors_under_the_cosine() {
    let (mut session, queries) = indexed("order_zero", Metric::Cosine, 16, 1000);
    let zero = Embedding::of([0.0; 16]);
    let is_nan = |row: &vectors::Found| row.1.is_some_and(f64::is_nan);
    vectors::append(&mut session, "items", 5000, &vec![zero.clone(); 10]);
    run(&mut session, "INSERT INTO items VALUES (6000, NULL)");
    let search = Search::nearest("items", Metric::Cosine, 2000);
    // They are at no distance to anything, which sorts behind all numbers and before NULL.
    for how in ["inserted", "built"] {
        let found = search.by_index(&mut session, "by_likeness", &queries[0]);
        assert_eq!(found.len(), 1011, "{how}");
        assert!(found[..1000].iter().all(|row| row.1.is_some_and(f64::is_finite)), "{how}");
        assert!(found[1000..1010].iter().all(is_nan) && found[1010] == (6000, None), "{how}");
        // To search for one gives NaN for every row; any order is right.
        let found = search.by_index(&mut session, "by_likeness", &zero);
        assert_eq!(found.len(), 1011, "{how}");
        assert!(found[..1010].iter().all(is_nan) && found[1010] == (6000, None), "{how}");
        run(&mut session, "REINDEX INDEX by_likeness");
    }
    // A table of nothing else.
    vectors::table(&mut session, "zeros", &vec![zero.clone(); 300]);
    run(&mut session, "CREATE INDEX zeros_index ON zeros USING vs_hnsw (embedding image_embedding_cosine_ops)");
    let found = Search::nearest("zeros", Metric::Cosine, 10).by_index(&mut session, "zeros_index", &queries[0]);
    assert!(found.len() == 10 && found.iter().all(is_nan));
    // To the other metrics a zero vector is a vector.
    for metric in [Metric::L2, Metric::InnerProduct] {
        run(&mut session, &format!("CREATE INDEX other ON zeros USING vs_hnsw (embedding {})", metric.opclass()));
        let found = Search::nearest("zeros", metric, 300).by_index(&mut session, "other", &queries[0]);
        assert_eq!(found.len(), 300, "{metric:?}");
        run(&mut session, "DROP INDEX other");
    }
}

#[test]
fn extreme_vectors_are_ordered_too() {
    let mut session = Database::shared("order_extreme").connect();
    let mut random = fastrand::Rng::with_seed(1);
    // Norms from the smallest half-precision number to the largest, with repetitions.
    let items: Vec<Embedding> = (0..1500)
        .map(|number| {
            let size = 10f64.powf(random.f64() * 11.0 - 7.0);
            let kept = if number % 3 == 0 { 1 } else { 12 };
            Embedding::of((0..12).map(|at| if at < kept { size * (random.f64() - 0.3) } else { 0.0 }))
        })
        .collect();
    vectors::table(&mut session, "items", &items);
    for metric in [Metric::L2, Metric::InnerProduct] {
        run(&mut session, &format!("CREATE INDEX by_likeness ON items USING vs_hnsw (embedding {})", metric.opclass()));
        run(&mut session, "SET vs_hnsw.ef_search = 1500");
        let search = Search::nearest("items", metric, 2000);
        for query in items.iter().step_by(50) {
            let exact: Vec<_> = search.exactly(&mut session, query).iter().map(|row| row.1).collect();
            let found: Vec<_> = search.by_index(&mut session, "by_likeness", query).iter().map(|row| row.1).collect();
            assert_eq!(found.len(), exact.len(), "{metric:?}");
            assert_eq!(found, exact, "{metric:?}");
        }
        run(&mut session, "DROP INDEX by_likeness");
    }
}

#[test]
fn ties_come_along_with_the_last() {
    let (mut session, queries) = indexed("order_ties", Metric::L2, 16, 1000);
    // Ten copies of the rows 0 to 9.
    run(
        &mut session,
        "INSERT INTO items SELECT id + 1000 * c, embedding FROM items, generate_series(1, 9) c WHERE id < 10",
    );
    let query = Search::nearest("items", Metric::L2, 1).exactly(&mut session, &queries[20])[0];
    assert_eq!(query.1, Some(0.0), "a row of the table itself, the first");
    let sql = "SELECT id, embedding <-> $1 FROM items ORDER BY embedding <-> $1 FETCH FIRST 3 ROWS WITH TIES";
    prefer_index(&mut session);
    let found = rows(&mut session, sql, &[&queries[20]]);
    assert_eq!(found.len(), 10, "{found:?}");
    assert!(found.iter().all(|row| row.1 == Some(0.0) && row.0 % 1000 == 0), "{found:?}");
}

#[test]
fn several_keys() {
    let (mut session, queries) = indexed("order_keys", Metric::L2, 4, 500);
    run(&mut session, "INSERT INTO items SELECT id + 1000, embedding FROM items; SET vs_hnsw.ef_search = 1000");
    let sql = "SELECT id, embedding <-> $1, embedding <-> $2 FROM items
               ORDER BY embedding <-> $1, embedding <-> $2 LIMIT 200";
    let distances = |session: &mut Client| -> Vec<(f64, f64)> {
        let rows =
            session.query(sql, &[&queries[0], &queries[1]]).unwrap_or_else(|e| panic!("{}", pg_test::describe(&e)));
        rows.iter().map(|row| (row.get(1), row.get(2))).collect()
    };
    prefer_table(&mut session);
    let exact = distances(&mut session);
    prefer_index(&mut session);
    assert_eq!(distances(&mut session), exact);
}

#[test]
fn what_is_not_comparable_is_an_error() {
    let (mut session, queries) = indexed("order_errors", Metric::L2, 16, 1000);
    prefer_index(&mut session);
    let sql = |query: &str| format!("SELECT id FROM items ORDER BY embedding <-> '{query}' LIMIT 3");
    let error = pg_test::error_of(&mut session, &sql("[1,2,3]"));
    assert_eq!((error.code().code(), error.message()), ("22000", "different image_embedding dimensions 16 and 3"));
    // Rows without a model are comparable with everything, so is the index, until it has seen one with.
    let tagged = queries[0].clone().tagged(0xaaaa_0001);
    assert_eq!(session.query(&sql(&tagged.to_text()), &[]).unwrap().len(), 3);
    vectors::append(&mut session, "items", 9000, std::slice::from_ref(&tagged));
    assert_eq!(session.query(&sql(&tagged.to_text()), &[]).unwrap().len(), 3);
    // The executor meets it at the row.
    let error = pg_test::error_of(&mut session, &sql(&queries[0].clone().tagged(0xbbbb_0002).to_text()));
    assert_eq!(error.code().code(), "22000");
    assert_eq!(error.message(), "embeddings from different models: aaaa0001 and bbbb0002");
    // What is not there has no model and no length.
    run(&mut session, "DELETE FROM items");
    for query in [tagged.tagged(0xbbbb_0002).to_text(), "[1,2,3]".to_owned()] {
        assert!(session.query(&sql(&query), &[]).unwrap().is_empty());
    }
}
