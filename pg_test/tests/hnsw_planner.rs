//! Which plan the planner chooses by itself, with every setting at its default: an index where it is the faster way, and
//! not where it would be slower or would leave rows out.

use pg_test::{
    Database, Embedding, explain,
    vectors::{self, Generator, run},
};
use postgres::Client;

/// A table `items` of `rows` vectors with an index `by_likeness`, and a query as a literal.
fn indexed(name: &str, dims: usize, rows: usize) -> (Client, String) {
    let mut session = Database::shared(name).connect();
    let mut generator = Generator::new(17, dims);
    vectors::table(&mut session, "items", &generator.vectors(rows));
    // Small lists: how the graph was built makes no difference to the planner.
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding) WITH (m = 8, ef_construction = 16)");
    (session, format!("'{}'::image_embedding", generator.vector().to_text()))
}

/// Whether the planner uses the index, and the plan.
fn uses_index(session: &mut Client, sql: &str) -> (bool, String) {
    let plan = explain(session, "COSTS on", sql);
    (plan.contains("using by_likeness "), plan)
}

fn assert_index(session: &mut Client, sql: &str) {
    let (used, plan) = uses_index(session, sql);
    assert!(used, "{}…\n{plan}", &sql[..sql.len().min(100)]);
}

fn assert_no_index(session: &mut Client, sql: &str) {
    let (used, plan) = uses_index(session, sql);
    assert!(!used, "{}…\n{plan}", &sql[..sql.len().min(100)]);
}

#[test]
fn short_and_long_vectors_by_the_index() {
    // Vectors of 1,500 dimensions lie in the TOAST table, whose pages the planner does not count; a distance has to
    // fetch them all the same.
    for (dims, rows) in [(3, 10_000), (100, 5000), (384, 2000), (1500, 500)] {
        let (mut session, query) = indexed(&format!("planner_{dims}"), dims, rows);
        for limit in [1, 10, 50] {
            assert_index(&mut session, &format!("SELECT id FROM items ORDER BY embedding <-> {query} LIMIT {limit}"));
        }
        assert_index(&mut session, &format!("SELECT id FROM items ORDER BY embedding <-> {query} LIMIT 5 OFFSET 20"));
        assert_index(&mut session, &format!("SELECT id FROM items ORDER BY {query} <-> embedding LIMIT 10"));
    }
}

#[test]
fn few_rows_are_sorted() {
    let (mut session, query) = indexed("planner_few", 16, 100);
    assert_no_index(&mut session, &format!("SELECT id FROM items ORDER BY embedding <-> {query} LIMIT 10"));
}

#[test]
fn what_the_index_cannot_give_is_sorted() {
    let (mut session, query) = indexed("planner_cannot", 16, 8000);
    for sql in [
        // Another distance, the far end, or none at all.
        format!("SELECT id FROM items ORDER BY embedding <=> {query} LIMIT 10"),
        format!("SELECT id FROM items ORDER BY embedding <-> {query} DESC LIMIT 10"),
        format!("SELECT id FROM items WHERE embedding <-> {query} < 0.5"),
        format!("SELECT count(*) FROM items WHERE embedding IS NOT NULL AND embedding <-> {query} < 0.5"),
        // All rows: reading the table and sorting it is quicker than coming to its rows one by one.
        format!("SELECT id FROM items ORDER BY embedding <-> {query}"),
        format!("SELECT id FROM (SELECT id, embedding <-> {query} AS d FROM items ORDER BY 2) AS sorted WHERE d < 1"),
    ] {
        assert_no_index(&mut session, &sql);
    }
    assert_index(&mut session, &format!("SELECT id FROM items ORDER BY embedding <-> {query} LIMIT 10"));
    // How long a scan searches before it reads all codes makes no difference to what it can give.
    run(&mut session, "SET vs_hnsw.max_scan_tuples = 100");
    assert_index(&mut session, &format!("SELECT id FROM items ORDER BY embedding <-> {query} LIMIT 101"));
    // Without going on it gives what the first search finds.
    run(&mut session, "SET vs_hnsw.iterative_scan = off");
    assert_index(&mut session, &format!("SELECT id FROM items ORDER BY embedding <-> {query} LIMIT 10"));
    run(&mut session, "SET enable_seqscan = off; SET enable_sort = off");
    assert_no_index(&mut session, &format!("SELECT id FROM items ORDER BY embedding <-> {query}"));
}

/// Rows in the order of the index are sorted further, by a second key, as they come.
#[test]
fn a_second_key_is_sorted_on_top() {
    let (mut session, _) = indexed("planner_second_key", 16, 8000);
    // Equal vectors, which the second key tells apart.
    run(&mut session, "UPDATE items SET embedding = (SELECT embedding FROM items WHERE id = 7) WHERE id % 100 = 7");
    run(&mut session, "VACUUM ANALYZE items");
    let row = session.query_one("SELECT embedding::text FROM items WHERE id = 7", &[]).unwrap();
    let query = format!("'{}'::image_embedding", row.get::<_, String>(0));
    let sql = format!("SELECT id, embedding <-> {query} AS distance FROM items ORDER BY distance, id DESC LIMIT 200");
    assert_index(&mut session, &sql);
    let rows = |session: &mut Client| -> Vec<(f64, i32)> {
        session.query(&sql, &[]).unwrap().iter().map(|row| (row.get(1), row.get(0))).collect()
    };
    let found = rows(&mut session);
    run(&mut session, "SET enable_indexscan = off");
    let sorted = rows(&mut session);
    assert_eq!(found.len(), 200);
    assert!(found.is_sorted_by(|a, b| a.0 < b.0 || (a.0 == b.0 && a.1 > b.1)), "{found:?}");
    // The graph is a coarse one: it does not find them all.
    let common = found.iter().filter(|row| sorted.contains(row)).count();
    assert!(common >= 100, "{common} of 200");
    assert!(found[..80].iter().all(|(distance, id)| *distance == 0.0 && id % 100 == 7), "{found:?}");
}

#[test]
fn the_tighter_the_filter_the_less_the_index_is_worth() {
    let (mut session, query) = indexed("planner_filter", 100, 20_000);
    run(&mut session, "ALTER TABLE items ADD half int, ADD twentieth int, ADD thousandth int");
    run(&mut session, "UPDATE items SET half = id % 2, twentieth = id % 20, thousandth = id % 1000");
    run(&mut session, "VACUUM (FULL, ANALYZE) items");
    let nearest = |condition: &str, limit: usize| {
        format!("SELECT id FROM items WHERE {condition} ORDER BY embedding <-> {query} LIMIT {limit}")
    };
    assert_index(&mut session, &nearest("half = 1", 10));
    assert_index(&mut session, &nearest("twentieth = 7", 10));
    assert_no_index(&mut session, &nearest("thousandth = 3", 10));
    assert_no_index(&mut session, &nearest("twentieth = 7", 900));
    // With an index on the filter's column, its few rows are looked up and sorted.
    run(&mut session, "CREATE INDEX items_thousandth ON items (thousandth)");
    let (_, plan) = uses_index(&mut session, &nearest("thousandth = 3", 10));
    assert!(plan.contains("items_thousandth"), "{plan}");
    // More candidates at a time cost more, and the planner knows.
    let cost = |session: &mut Client| -> f64 {
        let plan = explain(session, "COSTS on", &nearest("true", 10));
        let total = plan.split("..").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|cost| cost.parse().ok());
        total.unwrap_or_else(|| panic!("{plan}"))
    };
    let usual = cost(&mut session);
    run(&mut session, "SET vs_hnsw.ef_search = 400");
    let wide = cost(&mut session);
    assert!(wide > 3.0 * usual, "{usual} and {wide}");
}

#[test]
fn parameters_joins_and_partial_indexes() {
    let (mut session, query) = indexed("planner_shapes", 64, 6000);
    run(&mut session, "SET plan_cache_mode = force_generic_plan");
    run(&mut session, "PREPARE nearest (image_embedding) AS SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 10");
    assert_index(&mut session, &format!("EXECUTE nearest({query})"));
    run(&mut session, "RESET plan_cache_mode");
    assert_index(
        &mut session,
        "SELECT a.id, near.id FROM (SELECT * FROM items WHERE id < 20) AS a CROSS JOIN LATERAL
             (SELECT b.id FROM items b ORDER BY b.embedding <-> a.embedding LIMIT 3) AS near",
    );
    assert_index(
        &mut session,
        "SELECT id FROM items ORDER BY embedding <-> (SELECT embedding FROM items WHERE id = 5) LIMIT 9",
    );
    run(&mut session, "DROP INDEX by_likeness; ALTER TABLE items ADD kind text");
    run(&mut session, "UPDATE items SET kind = CASE WHEN id % 3 = 0 THEN 'shoes' ELSE 'hats' END");
    run(&mut session, "VACUUM (FULL, ANALYZE) items");
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding) WHERE kind = 'shoes'");
    assert_index(
        &mut session,
        &format!("SELECT id FROM items WHERE kind = 'shoes' ORDER BY embedding <-> {query} LIMIT 10"),
    );
    assert_no_index(
        &mut session,
        &format!("SELECT id FROM items WHERE kind = 'hats' ORDER BY embedding <-> {query} LIMIT 10"),
    );
}

#[test]
fn a_distance_costs_what_its_dimensions_cost() {
    let mut session = Database::shared("planner_distance").connect();
    let query = Embedding::of([0.5; 4]).to_text();
    // What a distance adds to the cost of each row.
    let mut cost = |dims: &str| -> f64 {
        run(&mut session, "DROP TABLE IF EXISTS items");
        run(&mut session, &format!("CREATE TABLE items (embedding image_embedding{dims})"));
        let with = explain(&mut session, "COSTS on", &format!("SELECT embedding <-> '{query}' FROM items"));
        let without = explain(&mut session, "COSTS on", "SELECT embedding FROM items");
        let number = |plan: &str, before: &str| -> f64 {
            let rest = plan.split(before).nth(1).unwrap_or_else(|| panic!("{plan}"));
            rest.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{plan}"))
        };
        (number(&with, "..") - number(&without, "..")) / number(&with, " rows=")
    };
    let (unknown, short, inline, toasted, long) =
        (cost(""), cost("(4)"), cost("(900)"), cost("(1200)"), cost("(8000)"));
    assert!(short < inline && inline < toasted && toasted < long, "{short} {inline} {toasted} {long}");
    assert!(unknown < inline && unknown < toasted / 5.0, "{unknown} {inline} {toasted}");
    assert!(long > 2.0 * toasted, "{toasted} {long}");
}

#[test]
fn what_is_drawn_decides() {
    let (mut session, query) = indexed("planner_limits", 32, 8000);
    // A tenth of the rows, which PostgreSQL takes an unknown LIMIT for, would be too many.
    run(&mut session, "SET plan_cache_mode = force_generic_plan");
    run(
        &mut session,
        "PREPARE nearest (image_embedding, int) AS SELECT id FROM items ORDER BY embedding <-> $1 LIMIT $2",
    );
    assert_index(&mut session, &format!("EXECUTE nearest({query}, 10)"));
    run(&mut session, "RESET plan_cache_mode");
    // Of a cursor a part is expected to be fetched.
    for (fraction, by_index) in [("0.001", true), ("1", false)] {
        run(&mut session, &format!("SET cursor_tuple_fraction = {fraction}"));
        let sql = format!("DECLARE all_of_them CURSOR FOR SELECT id FROM items ORDER BY embedding <-> {query}");
        assert_eq!(uses_index(&mut session, &sql).0, by_index, "cursor_tuple_fraction = {fraction}");
    }
    // LIMIT stands above a window; whether its functions return their first row before they have read all rows is what
    // counts.
    let nearest = |column: &str, window: &str| {
        format!("SELECT id, {column} OVER ({window}) FROM items ORDER BY embedding <-> {query} LIMIT 10")
    };
    let by_distance = format!("ORDER BY embedding <-> {query}");
    for (column, window) in [("row_number()", &by_distance[..]), ("rank()", &by_distance[..])] {
        assert_index(&mut session, &nearest(column, window));
    }
    for (column, window) in [("ntile(4)", &by_distance[..]), ("percent_rank()", &by_distance[..]), ("count(*)", "")] {
        assert_no_index(&mut session, &nearest(column, window));
    }
}

#[test]
fn a_partial_index_is_judged_by_its_own_rows() {
    let (mut session, query) = indexed("planner_partial", 32, 20_000);
    run(&mut session, "DROP INDEX by_likeness; ALTER TABLE items ADD tenant int");
    run(&mut session, "UPDATE items SET tenant = id % 40; VACUUM (FULL, ANALYZE) items");
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding) WHERE tenant = 5; ANALYZE items");
    // One row of forty is the tenant's: of the whole table 400 would have to be looked at, of the index ten.
    run(&mut session, "SET vs_hnsw.max_scan_tuples = 100");
    let sql = format!("SELECT id FROM items WHERE tenant = 5 ORDER BY embedding <-> {query} LIMIT 10");
    assert_index(&mut session, &sql);
}

/// A share of one in so many, times as many, may be less than one.
#[test]
fn filters_that_keep_one_row_or_none() {
    let mut session = Database::shared("planner_one_row").connect();
    run(&mut session, "CREATE TABLE items (grp int, embedding image_embedding(3))");
    run(&mut session, "CREATE INDEX by_likeness ON items USING vs_hnsw (embedding, grp)");
    run(&mut session, "SET enable_seqscan = off; SET enable_sort = off");
    for rows in [1, 2, 49, 98, 103, 107] {
        run(&mut session, "TRUNCATE items");
        run(&mut session, &format!("INSERT INTO items SELECT g, ARRAY[g, 1, 2] FROM generate_series(1, {rows}) g"));
        run(&mut session, "VACUUM ANALYZE items");
        for (group, kept) in [(-5, 0), (1, 1)] {
            let sql = format!("SELECT grp FROM items WHERE grp = {group} ORDER BY embedding <-> '[1,2,3]' LIMIT 3");
            assert_index(&mut session, &sql);
            assert_eq!(session.query(&sql, &[]).unwrap().len(), kept, "{rows} rows");
        }
    }
}
