//! A vs_hnsw index in every shape of plan that searches for neighbours.

use pg_test::{
    Database, Embedding, Stats, describe, explain, pictures,
    vectors::{self, Found, Generator, Metric, Search, prefer_index, prefer_table, rows, run},
};
use postgres::Client;

const DIMS: usize = 24;
const ROWS: usize = 4000;

/// A table `items` with an index `by_likeness`, and queries.
fn indexed(name: &str) -> (Client, Vec<Embedding>) {
    let mut session = Database::shared(name).connect();
    let mut generator = Generator::new(5, DIMS);
    vectors::table(&mut session, "items", &generator.vectors(ROWS));
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding)");
    (session, generator.vectors(30))
}

/// The distances alone: rows at equal distances may change places.
fn distances(rows: &[Found]) -> Vec<Option<f64>> {
    rows.iter().map(|row| row.1).collect()
}

/// Runs a query with the index and without, and returns both answers. The plan must use the index.
fn both_ways(session: &mut Client, sql: &str, index: &str) -> (Vec<Found>, Vec<Found>) {
    prefer_index(session);
    let plan = explain(session, "COSTS off", sql);
    assert!(plan.contains(&format!("using {index} ")), "{sql}:\n{plan}");
    let found = rows(session, sql, &[]);
    prefer_table(session);
    let plan = explain(session, "COSTS off", sql);
    assert!(!plan.contains(&format!("using {index} ")), "{sql}:\n{plan}");
    (found, rows(session, sql, &[]))
}

#[test]
fn a_cursor_fetches_on_and_on() {
    let (mut session, queries) = indexed("queries_cursor");
    prefer_index(&mut session);
    let query = queries[0].to_text();
    run(&mut session, "SET vs_hnsw.ef_search = 20; SET cursor_tuple_fraction = 0.001");
    for (setting, least) in [("strict_order", ROWS), ("relaxed_order", ROWS)] {
        run(&mut session, &format!("SET vs_hnsw.iterative_scan = {setting}; BEGIN"));
        let sql = format!("SELECT id, embedding <-> '{query}' AS d FROM items ORDER BY embedding <-> '{query}'");
        run(&mut session, &format!("DECLARE nearest CURSOR FOR {sql}"));
        let mut found = Vec::new();
        let mut step = 1;
        loop {
            let more = rows(&mut session, &format!("FETCH {step} FROM nearest"), &[]);
            if more.is_empty() {
                break;
            }
            found.extend(more);
            step = step * 2 % 97 + 1;
        }
        run(&mut session, "COMMIT");
        if setting == "strict_order" {
            vectors::assert_in_order(&found, setting);
        }
        let mut ids: Vec<i32> = found.iter().map(|row| row.0).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), found.len(), "{setting}: every row once");
        assert!(found.len() >= least, "{setting}: {} of {ROWS} rows", found.len());
    }
}

#[test]
fn a_cursor_sees_what_was_there_when_it_was_opened() {
    let (mut session, queries) = indexed("queries_cursor_snapshot");
    let mut writer = pg_test::shared_cluster().connect("queries_cursor_snapshot");
    let expected = Search::nearest("items", Metric::L2, 300).exactly(&mut session, &queries[0]);
    prefer_index(&mut session);
    let query = queries[0].to_text();
    run(&mut session, "SET vs_hnsw.iterative_scan = relaxed_order; BEGIN ISOLATION LEVEL REPEATABLE READ");
    run(
        &mut session,
        &format!(
            "DECLARE nearest CURSOR FOR SELECT id, embedding <-> '{query}' FROM items ORDER BY embedding <-> '{query}' LIMIT 300"
        ),
    );
    let mut found = rows(&mut session, "FETCH 5 FROM nearest", &[]);
    // All rows go, and others come that are nearer than any.
    run(&mut writer, "DELETE FROM items; VACUUM items");
    vectors::append(&mut writer, "items", 10_000, &vec![queries[0].clone(); 200]);
    found.extend(rows(&mut session, "FETCH ALL FROM nearest", &[]));
    run(&mut session, "COMMIT");
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().all(|row| row.0 < 10_000), "rows of the time the cursor was opened");
    let common = found.iter().filter(|row| expected.contains(row)).count();
    assert!(common > 290, "{common} of 300");
}

#[test]
fn look_alikes_for_each_of_a_hundred() {
    let (mut session, _) = indexed("queries_lateral");
    let sql = "SELECT n.id, n.d, q.id FROM (SELECT * FROM items WHERE id % 40 = 7) q,
               LATERAL (SELECT id, embedding <-> q.embedding AS d FROM items i WHERE i.id <> q.id
                        ORDER BY i.embedding <-> q.embedding LIMIT 5) n ORDER BY q.id, n.d";
    prefer_index(&mut session);
    let plan = explain(&mut session, "COSTS off", sql);
    assert!(plan.contains("Nested Loop") && plan.contains("using by_likeness "), "{plan}");
    let found = rows(&mut session, sql, &[]);
    prefer_table(&mut session);
    let exact = rows(&mut session, sql, &[]);
    assert_eq!(found.len(), 500);
    let same = distances(&found).iter().zip(distances(&exact)).filter(|(a, b)| **a == *b).count();
    assert!(same >= 490, "{same} of 500 as in the exact answer");
}

#[test]
fn in_a_cte_a_sub_select_a_union_and_an_array() {
    let (mut session, queries) = indexed("queries_shapes");
    run(&mut session, "SET vs_hnsw.ef_search = 200");
    let (a, b) = (queries[0].to_text(), queries[1].to_text());
    let one = |query: &str| {
        format!("SELECT id, embedding <-> '{query}' AS d FROM items ORDER BY embedding <-> '{query}' LIMIT 10")
    };
    let shapes = [
        format!("WITH n AS ({}) SELECT * FROM n WHERE id % 2 = 0 ORDER BY d", one(&a)),
        format!("WITH n AS MATERIALIZED ({}) SELECT n.id, n.d FROM n JOIN items USING (id) ORDER BY d", one(&a)),
        format!("SELECT id, d FROM (({}) UNION ALL ({})) u ORDER BY d", one(&a), one(&b)),
        format!("SELECT id, 0::float8 FROM items WHERE id = ANY (ARRAY(SELECT id FROM ({}) s)) ORDER BY id", one(&a)),
        format!("SELECT id, (SELECT d FROM ({}) s OFFSET 9) FROM items WHERE id < 3", one(&b)),
        format!("SELECT id, d FROM ({}) s ORDER BY d DESC", one(&a)),
        "SELECT id, embedding <-> (SELECT embedding FROM items WHERE id = 17) FROM items
         ORDER BY embedding <-> (SELECT embedding FROM items WHERE id = 17) LIMIT 10 OFFSET 5"
            .to_owned(),
        format!("SELECT count(*)::int, sum(d) FROM ({}) s", one(&a)),
    ];
    for sql in shapes {
        let (found, exact) = both_ways(&mut session, &sql, "by_likeness");
        assert_eq!(distances(&found), distances(&exact), "{sql}");
    }
}

#[test]
fn rescans_of_an_inner_side() {
    let (mut session, _) = indexed("queries_rescan");
    // The same query vector again and again, and another each time, and none.
    run(
        &mut session,
        "CREATE TABLE asked AS SELECT g AS number, CASE WHEN g % 7 = 0 THEN NULL ELSE (g / 3) * 11 END AS item FROM generate_series(1, 60) g; ANALYZE asked",
    );
    let sql = "SELECT number, (SELECT sum(d) FROM (SELECT embedding <-> q.embedding AS d FROM items
                   ORDER BY embedding <-> q.embedding LIMIT 3) s)
               FROM asked LEFT JOIN items q ON q.id = item ORDER BY number";
    run(&mut session, "SET vs_hnsw.ef_search = 200");
    prefer_index(&mut session);
    let plan = explain(&mut session, "COSTS off", sql);
    assert!(plan.contains("using by_likeness "), "{plan}");
    let found = rows(&mut session, sql, &[]);
    prefer_table(&mut session);
    assert_eq!(found, rows(&mut session, sql, &[]));
    assert_eq!(found.len(), 60);
}

#[test]
fn prepared_with_a_generic_plan() {
    let (mut session, queries) = indexed("queries_generic");
    run(&mut session, "SET plan_cache_mode = force_generic_plan");
    let search = Search::nearest("items", Metric::L2, 10);
    prefer_index(&mut session);
    run(&mut session, "PREPARE nearest(image_embedding) AS SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 10");
    let plan = explain(&mut session, "COSTS off", "EXECUTE nearest(NULL)");
    assert!(plan.contains("using by_likeness") && plan.contains("$1"), "{plan}");
    let limited = "SELECT id, embedding <-> $1 FROM items ORDER BY embedding <-> $1 LIMIT $2";
    for query in &queries {
        let exact = search.exactly(&mut session, query);
        prefer_index(&mut session);
        let found = rows(&mut session, limited, &[query, &10i64]);
        assert_eq!(found.len(), 10);
        assert!(found.iter().filter(|row| exact.contains(row)).count() >= 8, "{found:?}\n{exact:?}");
    }
}

#[test]
fn partitions_under_a_merge_append() {
    let (mut session, queries) = indexed("queries_partitions");
    run(
        &mut session,
        &format!(
            "CREATE TABLE parts (id int, embedding image_embedding({DIMS})) PARTITION BY RANGE (id);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
         CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (1000) TO (3500);
         CREATE TABLE parts_3 PARTITION OF parts FOR VALUES FROM (3500) TO (9000);
         CREATE TABLE parts_4 PARTITION OF parts FOR VALUES FROM (9000) TO (9999);
         INSERT INTO parts SELECT * FROM items;
         CREATE INDEX parts_by_likeness ON parts USING vs_hnsw (embedding);
         ANALYZE parts; SET vs_hnsw.ef_search = 100"
        ),
    );
    for query in &queries {
        let sql =
            format!("SELECT id, embedding <-> '{0}' FROM parts ORDER BY embedding <-> '{0}' LIMIT 20", query.to_text());
        prefer_index(&mut session);
        let plan = explain(&mut session, "COSTS off", &sql);
        assert!(plan.contains("Merge Append") && plan.matches("_embedding_idx").count() == 4, "{plan}");
        let (found, exact) = both_ways(&mut session, &sql, "parts_1_embedding_idx");
        assert_eq!(distances(&found), distances(&exact));
    }
    // A row that moves from one partition to another.
    run(&mut session, "UPDATE parts SET id = id + 9000 WHERE id < 900");
    let sql = format!(
        "SELECT id, embedding <-> '{0}' FROM parts ORDER BY embedding <-> '{0}' LIMIT 20",
        queries[0].to_text()
    );
    let (found, exact) = both_ways(&mut session, &sql, "parts_4_embedding_idx");
    assert_eq!(distances(&found), distances(&exact));
}

#[test]
fn partial_and_expression_indexes() {
    let (mut session, queries) = indexed("queries_partial");
    run(
        &mut session,
        "CREATE INDEX even ON items USING vs_hnsw (embedding) WHERE id % 2 = 0;
         CREATE INDEX expression ON items USING vs_hnsw ((l2_normalize(embedding)))",
    );
    let query = queries[0].to_text();
    run(&mut session, "SET vs_hnsw.ef_search = 200");
    let sql = format!(
        "SELECT id, embedding <-> '{query}' FROM items WHERE id % 2 = 0 ORDER BY embedding <-> '{query}' LIMIT 20"
    );
    // The other index can answer that, too.
    run(&mut session, "BEGIN; DROP INDEX by_likeness");
    let (found, exact) = both_ways(&mut session, &sql, "even");
    run(&mut session, "ROLLBACK");
    assert_eq!(distances(&found), distances(&exact));
    let sql = format!(
        "SELECT id, l2_normalize(embedding) <-> '{query}' FROM items
                       ORDER BY l2_normalize(embedding) <-> '{query}' LIMIT 20"
    );
    let (found, exact) = both_ways(&mut session, &sql, "expression");
    assert_eq!(distances(&found), distances(&exact));
}

#[test]
fn a_filter_that_keeps_one_row_in_five_hundred() {
    let (mut session, queries) = indexed("queries_filter");
    let search = Search::of("items", Metric::L2, 5, "id % 500 = 3");
    for query in &queries {
        let exact = search.exactly(&mut session, query);
        assert_eq!(exact.len(), 5);
        for setting in ["strict_order", "relaxed_order"] {
            run(&mut session, &format!("SET vs_hnsw.iterative_scan = {setting}"));
            prefer_index(&mut session);
            let found = rows(&mut session, &search.sql, &[query]);
            assert_eq!(found.len(), 5, "{setting}: all that were asked for");
            if setting == "strict_order" {
                vectors::assert_in_order(&found, setting);
            }
            let near = found.iter().filter(|row| row.1 <= exact[4].1).count();
            assert!(near >= 3, "{setting}: {near} of the 5 nearest");
        }
        run(&mut session, "SET vs_hnsw.iterative_scan = off");
        assert!(search.by_index(&mut session, "by_likeness", query).len() < 5, "of 40 candidates few pass the filter");
    }
}

#[test]
fn a_scan_never_ends_early() {
    let (mut session, queries) = indexed("queries_never_short");
    run(&mut session, "INSERT INTO items SELECT id + 10000, embedding FROM items WHERE id < 500");
    prefer_index(&mut session);
    let all = ROWS + 500;
    for query in &queries[..3] {
        let sql = format!(
            "SELECT id, embedding <-> '{0}' FROM items ORDER BY embedding <-> '{0}' LIMIT 4600",
            query.to_text()
        );
        // Whatever makes it go over to reading all codes, and whether that takes one pass or many.
        for settings in [
            "SET vs_hnsw.max_scan_tuples = 1",
            "SET vs_hnsw.max_scan_tuples = 500",
            "SET vs_hnsw.ef_search = 1",
            "SET work_mem = 64; SET vs_hnsw.max_scan_tuples = 1",
            "SET vs_hnsw.exact = on",
        ] {
            for order in ["strict_order", "relaxed_order"] {
                run(&mut session, &format!("RESET ALL; SET vs_hnsw.iterative_scan = {order}; {settings}"));
                prefer_index(&mut session);
                let plan = explain(&mut session, "COSTS off", &sql);
                assert!(plan.contains("using by_likeness "), "{plan}");
                let found = rows(&mut session, &sql, &[]);
                let mut ids: Vec<i32> = found.iter().map(|row| row.0).collect();
                ids.sort_unstable();
                ids.dedup();
                assert_eq!((found.len(), ids.len()), (all, all), "{settings}, {order}");
            }
        }
        run(&mut session, "RESET ALL; SET vs_hnsw.iterative_scan = off; SET vs_hnsw.ef_search = 100");
        prefer_index(&mut session);
        let counted = format!("SELECT count(*)::int, NULL::float8 FROM ({sql}) AS first");
        assert!(rows(&mut session, &counted, &[])[0].0 < 200, "one search");
    }
}

/// The pages that a query looks at.
fn buffers(session: &mut Client, sql: &str) -> u64 {
    let plan = explain(session, "ANALYZE, BUFFERS, COSTS off, TIMING off, SUMMARY off", sql);
    let hit = plan.split("shared hit=").nth(1).unwrap_or_else(|| panic!("{plan}"));
    hit.split_whitespace().next().and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{plan}"))
}

/// A placeholder picture: thousands of rows with the very same vector.
#[test]
fn ties_end_where_the_limit_is_met() {
    let (mut session, queries) = indexed("queries_placeholder");
    // Some inserted, the others built; one of another vector with the same code as near as it comes; some dead.
    let copies = "INSERT INTO items SELECT 10000 + g, embedding FROM items, generate_series(1, 6000) g WHERE id = 7";
    run(&mut session, copies);
    run(&mut session, "UPDATE items SET id = id + 20000 WHERE id BETWEEN 12000 AND 12999");
    let row = session.query_one("SELECT embedding::text FROM items WHERE id = 7", &[]).unwrap();
    let placeholder: String = row.get(0);
    prefer_index(&mut session);
    for how in ["inserted", "built"] {
        for query in [placeholder.clone(), Embedding::of((0..DIMS).map(|_| 0.1)).to_text()] {
            let nearest = |limit: usize| {
                format!("SELECT id, embedding <-> '{query}' FROM items ORDER BY embedding <-> '{query}' LIMIT {limit}")
            };
            let elsewhere = format!("SELECT id FROM items ORDER BY embedding <-> '{}' LIMIT 9", queries[3].to_text());
            let ordinary = buffers(&mut session, &elsewhere);
            let ours = buffers(&mut session, &nearest(9));
            assert!(ours < 3 * ordinary, "{how}: {ours} pages, {ordinary} elsewhere");
            // All of them, each once, in order.
            let found = rows(&mut session, &nearest(20_000), &[]);
            // What the search came to too late stands at the very end.
            vectors::assert_in_order(&found[..9000], how);
            let mut ids: Vec<i32> = found.iter().map(|row| row.0).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!((found.len(), ids.len()), (ROWS + 6000, ROWS + 6000), "{how}");
            let filtered =
                format!("SELECT id, embedding <-> '{query}' FROM items WHERE id < 4000 ORDER BY 2 LIMIT 100");
            let filtered = rows(&mut session, &filtered, &[]);
            assert_eq!(filtered.len(), 100, "{how}");
        }
        run(
            &mut session,
            "DELETE FROM items WHERE id IN (SELECT id FROM items WHERE id > 10000 AND id % 2 = 0 LIMIT 500)",
        );
        run(
            &mut session,
            "INSERT INTO items SELECT 50000 + g, embedding FROM items, generate_series(1, 500) g WHERE id = 7",
        );
        run(&mut session, "VACUUM items");
        vectors::assert_sound(&mut session, "by_likeness");
        run(&mut session, "REINDEX INDEX by_likeness");
        vectors::assert_sound(&mut session, "by_likeness");
        run(&mut session, "UPDATE items SET id = id + 200000 WHERE id >= 50000");
    }
}

#[test]
fn exact_is_what_a_sort_gives() {
    let (mut session, queries) = indexed("queries_exact");
    run(&mut session, "SET vs_hnsw.exact = on; SET vs_hnsw.ef_search = 1");
    let search = Search::nearest("items", Metric::L2, 300);
    for query in &queries {
        let found = search.by_index(&mut session, "by_likeness", query);
        assert_eq!(distances(&found), distances(&search.exactly(&mut session, query)));
    }
    let filtered = Search::of("items", Metric::L2, 7, "id % 500 = 3");
    for query in &queries {
        let found = filtered.by_index(&mut session, "by_likeness", query);
        assert_eq!(found, filtered.exactly(&mut session, query));
    }
    let literal = queries[0].to_text();
    let plan = explain(
        &mut session,
        "SETTINGS on, COSTS off",
        &format!("SELECT id FROM items ORDER BY embedding <-> '{literal}' LIMIT 1"),
    );
    assert!(plan.contains("vs_hnsw.exact = 'on'"), "{plan}");
}

#[test]
fn the_network_runs_once_for_an_index_scan() {
    let mut session = Database::shared("queries_network").connect();
    let dims: i32 = session.query_one("SELECT dims FROM visual_search.models WHERE is_default", &[]).unwrap().get(0);
    let model: String = session.query_one("SELECT tag FROM visual_search.models WHERE is_default", &[]).unwrap().get(0);
    let tag = u32::from_str_radix(&model, 16).expect("a hexadecimal number");
    let mut generator = Generator::new(8, dims as usize);
    let items: Vec<Embedding> = generator.vectors(2000).into_iter().map(|vector| vector.tagged(tag)).collect();
    vectors::table(&mut session, "items", &items);
    run(
        &mut session,
        "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding); SET plan_cache_mode = force_generic_plan",
    );
    let sql = "SELECT id, embedding <-> embed_image($1) FROM items ORDER BY embedding <-> embed_image($1) LIMIT 9";
    for photo in [pictures::photo(1), pictures::photo(2)] {
        prefer_index(&mut session);
        run(&mut session, &format!("PREPARE planned(bytea) AS {sql}"));
        let plan = explain(&mut session, "COSTS off", r"EXECUTE planned('\x')");
        assert!(plan.contains("using by_likeness"), "{plan}");
        run(&mut session, "DEALLOCATE planned");
        let (runs, found) = Stats::runs_during(&mut session, |session| {
            session.query(sql, &[&photo]).unwrap_or_else(|e| panic!("{}", describe(&e))).len()
        });
        assert_eq!((runs, found), (1, 9));
    }
}
