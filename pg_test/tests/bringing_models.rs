//! What `docs/models.md` says about bringing a model, done: its SQL as it stands there, with small networks in place of
//! those that a reader downloads.

use std::fs;
use std::path::Path;

use pg_test::documentation::{page, repository, statements};
use pg_test::{Database, describe, pictures, shared_cluster};
use postgres::Client;
use postgres::SimpleQueryMessage::Row;
use serde_json::Value;

/// The models that the page's SQL names, and the folders under `crates/onnx/tests/parity` that stand in for them:
/// exports of the families' own Python code.
const MODELS: [(&str, &str); 5] =
    [("clip", "clip"), ("siglip", "siglip"), ("dinov2", "dinov2"), ("resnet18", "resnet-int8"), ("own", "convnext")];

/// Puts a folder and what it holds into the shared cluster's folder of models.
fn install(name: &str, folder: &Path) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        let name = format!("{name}/{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            install(&name, &path);
        } else {
            shared_cluster().write_file(&format!("models/{name}"), &fs::read(&path).unwrap());
        }
    }
}

fn install_models() {
    for (name, folder) in MODELS {
        install(name, &repository().join("crates/onnx/tests/parity").join(folder));
    }
}

fn dims(session: &mut Client, model: &str) -> i32 {
    let row = session.query_one("SELECT dims, problem FROM visual_search.models WHERE name = $1", &[&model]).unwrap();
    assert_eq!(row.get::<_, Option<String>>(1), None, "{model}");
    row.get(0)
}

#[test]
fn the_sql_of_the_page_works() {
    let database = Database::shared("docs_models");
    install_models();
    let mut session = database.connect();
    session.batch_execute("CREATE TABLE products (id int PRIMARY KEY, photo bytea)").unwrap();
    for id in 0..5 {
        session.execute("INSERT INTO products VALUES ($1, $2)", &[&id, &pictures::photo(id as u64)]).unwrap();
    }
    let clip = dims(&mut session, "clip");
    let statements = statements(&page("docs/models.md"));
    assert!(statements.len() >= 8, "{statements:#?}");
    for (name, _) in MODELS {
        assert!(statements.iter().any(|sql| sql.contains(&format!("'{name}'"))), "the page does not mention {name}");
    }
    for sql in statements {
        // The stand-in has other dimensions than the published model.
        let sql = sql.replace("image_embedding(512)", &format!("image_embedding({clip})"));
        if sql.contains("_model(") {
            let told = session.simple_query(&sql).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
            let row = told.iter().find_map(|message| if let Row(row) = message { row.get(0) } else { None });
            assert!(serde_json::from_str::<Value>(row.unwrap_or_default()).is_ok_and(|told| told.is_object()), "{sql}");
            continue;
        }
        let query = pictures::photo(3);
        let found = if sql.contains("$1") { session.query(&sql, &[&query]) } else { session.query(&sql, &[]) };
        let rows = found.unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
        if sql.contains("FROM products") {
            assert_eq!(rows.len(), if sql.contains("LIMIT 1") { 1 } else { 5 }, "{sql}");
        }
        if sql.contains("$1") {
            assert_eq!(rows[0].get::<_, i32>(0), 3, "the picture itself is nearest: {sql}");
        }
    }
    let embedded: i64 = database.query_one("SELECT count(*) FROM products WHERE clip IS NOT NULL");
    assert_eq!(embedded, 5);
}

#[test]
fn pictures_embedded_together_have_the_vectors_of_each() {
    let database = Database::shared("docs_together");
    install_models();
    // Dynamic quantisation looks at a whole batch: the pictures beside one must not show in its vector.
    install("quantized", &repository().join("crates/onnx/tests/parity/clip-int8"));
    let mut session = database.connect();
    // Nothing is remembered from one function to the other.
    session.batch_execute("SET visual_search.threads = 2; SET visual_search.cache_bytes = 0").unwrap();
    let photos: Vec<Vec<u8>> = (0..6).map(pictures::photo).collect();
    for model in ["clip", "siglip", "dinov2", "resnet18", "own", "quantized"] {
        let row = session
            .query_one(
                "SELECT max(together <=> alone), bool_and(together = alone)
                 FROM (SELECT together, embed_image(photo, $2) AS alone
                       FROM unnest($1::bytea[], embed_images($1, $2)) AS pairs(photo, together)) vectors",
                &[&photos, &model],
            )
            .unwrap_or_else(|e| panic!("{model}: {}", describe(&e)));
        let (farthest, same): (f64, bool) = (row.get(0), row.get(1));
        assert!(farthest < 1e-6, "{model}: {farthest}");
        assert!(same || model != "quantized", "{farthest}");
    }
}
