//! What the README shows from the first search on, done: its SQL as it stands there, in a small shop.

use std::ops::RangeInclusive;

use pg_test::documentation::{page, statements};
use pg_test::{Database, describe, models, pictures, shared_cluster};
use postgres::Client;

/// How many products there are; the README asks for the look-alikes of number 42.
const PRODUCTS: i64 = 50;

const CATEGORIES: [&str; 4] = ["shoes", "dresses", "hats", "shirts"];

/// The statements of the README's SQL. Those that change the model come last: they take away what all others use.
fn statements_of_the_readme() -> Vec<String> {
    let readme = page("README.md");
    let (_, shown) = readme.split_once("\n## First search\n").expect("a first search");
    let (before, rest) = shown.split_once("\n### Changing the model\n").expect("a recipe for changing the model");
    let (recipe, after) = rest.split_once("\n## ").expect("sections after the recipe");
    [before, after, recipe].into_iter().flat_map(statements).collect()
}

/// Adds products to the one that the README inserts.
fn fill(session: &mut Client) {
    for number in 1..PRODUCTS {
        let category = CATEGORIES[number as usize % CATEGORIES.len()];
        let title = format!("red {category} {number}");
        session
            .execute(
                "INSERT INTO products (title, category, price, photo) VALUES ($1, $2, 20, $3)",
                &[&title, &category, &pictures::photo(number as u64)],
            )
            .unwrap_or_else(|e| panic!("inserting: {}", describe(&e)));
    }
}

fn returns_rows(sql: &str) -> bool {
    ["SELECT", "WITH", "EXPLAIN", "EXECUTE"].iter().any(|word| sql.starts_with(word))
}

/// How many rows a statement that returns any must return.
fn expected_rows(sql: &str) -> RangeInclusive<usize> {
    let products = PRODUCTS as usize;
    if sql.starts_with("EXPLAIN") {
        1..=usize::MAX
    } else if sql.contains("picture_problem(photo)") {
        // All pictures are sound.
        0..=0
    } else if sql.starts_with("WITH RECURSIVE") {
        products..=products
    } else if sql.ends_with("LIMIT 9") || sql.starts_with("EXECUTE") {
        9..=9
    } else if sql.ends_with("LIMIT 3") {
        3..=3
    } else {
        1..=products
    }
}

/// Runs a query, with the picture for its parameter, and checks what it returns.
fn check(session: &mut Client, sql: &str, picture: &[u8]) {
    let found = if sql.contains("$1") { session.query(sql, &[&picture]) } else { session.query(sql, &[]) };
    let rows = found.unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
    assert!(expected_rows(sql).contains(&rows.len()), "{} rows: {sql}", rows.len());
    if sql.contains("ORDER BY embedding <-> embed_image($1) LIMIT") {
        assert_eq!(rows[0].get::<_, String>("title"), "Red sneaker", "the picture itself is nearest: {sql}");
    }
    if sql.starts_with("WITH RECURSIVE") {
        let finite = |column: &str| rows.iter().all(|row| row.get::<_, f64>(column).is_finite());
        assert!(finite("x") && finite("y"), "{sql}");
    }
}

#[test]
fn the_sql_of_the_readme_works() {
    let database = Database::shared("docs_readme");
    let cluster = shared_cluster();
    cluster.install_model("new-model", &models::colours(1.0));
    let picture = pictures::photo(0);
    let file = cluster.write_file("sneaker.jpg", &picture);
    let mut session = database.connect();
    let statements = statements_of_the_readme();
    assert!(statements.len() >= 40, "{statements:#?}");
    for sql in statements {
        // The stand-in has other dimensions than the README's new model.
        let sql = sql
            .replace("/tmp/sneaker.jpg", &file.display().to_string())
            .replace("image_embedding(512)", &format!("image_embedding({})", models::COLOURS_DIMS));
        if returns_rows(&sql) {
            check(&mut session, &sql, &picture);
        } else {
            // Each by itself, so that what must not run in a transaction does not, unless the README begins one.
            session.batch_execute(&sql).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
        }
        if sql.starts_with("INSERT INTO products") {
            fill(&mut session);
        }
    }

    let mut count = || -> (i64, i64) {
        let row = session
            .query_one(
                "SELECT count(*), count(*) FILTER (WHERE embedding = embed_image(photo, 'new-model')) FROM products",
                &[],
            )
            .unwrap_or_else(|e| panic!("after the recipe: {}", describe(&e)));
        (row.get(0), row.get(1))
    };
    assert_eq!(count(), (PRODUCTS, PRODUCTS), "all products have embeddings of the new model");
    database.run("INSERT INTO products (photo) SELECT photo FROM products WHERE title = 'Red sneaker'");
    assert_eq!(count(), (PRODUCTS + 1, PRODUCTS + 1), "and so have those that come");
}
