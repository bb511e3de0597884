//! Embeddings survive `pg_dump`, `pg_restore` and binary COPY bit for bit, and a server without the model says so.

use pg_test::{Cluster, Database, Embedding, describe, models, pictures, shared_cluster};
use postgres::Client;

/// A row: id, photo, and the elements and the tag of its embedding.
type Row = (i32, Option<Vec<u8>>, Option<Vec<u16>>, Option<u32>);

/// Rows by id.
fn rows(session: &mut Client, table: &str) -> Vec<Row> {
    let rows = session.query(&format!("SELECT id, photo, embedding FROM {table} ORDER BY id"), &[]).unwrap();
    rows.iter()
        .map(|row| {
            let embedding: Option<Embedding> = row.get(2);
            (row.get(0), row.get(1), embedding.as_ref().map(Embedding::bits), embedding.map(|e| e.tag))
        })
        .collect()
}

/// Two tables with the same photos: one embedded by the trigger, one by a generated column.
fn filled<'a>(cluster: &'a Cluster, name: &str, model: &str) -> Database<'a> {
    let database = cluster.database(name);
    let mut session = database.connect();
    session
        .batch_execute(&format!(
            "CREATE TABLE triggered (id int PRIMARY KEY, photo bytea, embedding image_embedding);
             CREATE TRIGGER embed BEFORE INSERT OR UPDATE OF photo ON triggered
                 FOR EACH ROW EXECUTE FUNCTION embed_on_write('photo', 'embedding', '{model}');
             CREATE TABLE generated (id int PRIMARY KEY, photo bytea,
                 embedding image_embedding GENERATED ALWAYS AS (embed_image(photo, '{model}')) STORED);
             CREATE TABLE arrays (id int, embeddings image_embedding[], fixed image_embedding(2));
             INSERT INTO arrays VALUES (1, ARRAY['[1,-0]@0000000b', NULL, '[0.00000006]']::image_embedding[], '[1,2]@9f3c21aa')"
        ))
        .unwrap();
    for id in 0..12 {
        let photo = (id % 5 != 4).then(|| pictures::photo(id as u64));
        for table in ["triggered", "generated"] {
            session
                .execute(&format!("INSERT INTO {table} (id, photo) VALUES ($1, $2)"), &[&id, &photo])
                .unwrap_or_else(|e| panic!("{}", describe(&e)));
        }
    }
    // One that no photo made: a restore must not "repair" it.
    session.batch_execute("UPDATE triggered SET embedding = '[1,-0,65504]@0000002a' WHERE id = 3").unwrap();
    database
}

#[test]
fn plain_and_custom_dumps_restore_every_bit() {
    let database = filled(shared_cluster(), "dump_source", "vs-mini-1");
    let (triggered, generated) = {
        let mut session = database.connect();
        (rows(&mut session, "triggered"), rows(&mut session, "generated"))
    };
    let plain = database.program("pg_dump").run().expect_success();
    // In a folder of the harness's own, which the clean-up removes.
    let file = shared_cluster().folder().join("dump_source.custom").display().to_string();
    database.program("pg_dump").args(["-Fc", "-f", &file]).run().expect_success();

    for (name, inserts) in [("dump_plain", false), ("dump_custom", true)] {
        let restored = shared_cluster().empty_database(name);
        if inserts {
            restored.program("pg_restore").args(["-d", name, "--exit-on-error", &file]).run().expect_success();
        } else {
            restored.psql(plain.clone()).expect_success();
        }
        let mut session = restored.connect();
        assert_eq!(rows(&mut session, "triggered"), triggered, "{name}: kept as they were stored");
        assert_eq!(rows(&mut session, "generated"), generated, "{name}: computed again, to the same bits");
        let arrays: (String, String) = {
            let row = session.query_one("SELECT embeddings::text, fixed::text FROM arrays", &[]).unwrap();
            (row.get(0), row.get(1))
        };
        assert_eq!(arrays.0, r#"{"[1,-0]@0000000b",NULL,[0.00000006]}"#);
        assert_eq!(arrays.1, "[1,2]@9f3c21aa");
        // The trigger came along.
        session.execute("INSERT INTO triggered (id, photo) VALUES (100, $1)", &[&pictures::photo(100)]).unwrap();
        let embedded: bool =
            session.query_one("SELECT embedding IS NOT NULL FROM triggered WHERE id = 100", &[]).unwrap().get(0);
        assert!(embedded, "{name}");
    }
}

#[test]
fn inserts_instead_of_copy() {
    let database = filled(shared_cluster(), "dump_inserts_source", "vs-mini-1");
    let expected = rows(&mut database.connect(), "triggered");
    let plain = database.program("pg_dump").args(["--inserts", "--rows-per-insert=5"]).run().expect_success();
    let restored = shared_cluster().empty_database("dump_inserts");
    restored.psql(plain).expect_success();
    assert_eq!(rows(&mut restored.connect(), "triggered"), expected);
}

#[test]
fn binary_copy_carries_both_forms() {
    let database = filled(shared_cluster(), "binary_copy_tables", "vs-mini-1");
    let mut session = database.connect();
    for (table, columns) in [("triggered", "id, photo, embedding"), ("generated", "id, photo")] {
        let expected = rows(&mut session, table);
        let mut bytes = Vec::new();
        let sql = format!("COPY {table} ({columns}) TO STDOUT (FORMAT binary)");
        std::io::Read::read_to_end(&mut session.copy_out(&sql).unwrap(), &mut bytes).unwrap();
        // The trigger is there while rows arrive, as it is for a client's COPY; it would embed again.
        session.batch_execute(&format!("TRUNCATE {table}; ALTER TABLE {table} DISABLE TRIGGER USER")).unwrap();
        let mut sink = session.copy_in(&format!("COPY {table} ({columns}) FROM STDIN (FORMAT binary)")).unwrap();
        std::io::Write::write_all(&mut sink, &bytes).unwrap();
        sink.finish().unwrap();
        assert_eq!(rows(&mut session, table), expected, "{table}");
    }
}

#[test]
fn a_server_without_the_model_restores_the_trigger_form_alone() {
    let with_model = shared_cluster();
    with_model.install_model("house-model", &models::colours(1.0));
    let database = filled(with_model, "house_source", "house-model");
    let expected = rows(&mut database.connect(), "triggered");
    let dump = |table: &str| database.program("pg_dump").args(["-t", table]).run().expect_success();

    let without_model = Cluster::new();
    let _watch = without_model.watch();
    let target = without_model.database("house_target");
    target.psql(dump("triggered")).expect_success();
    assert_eq!(rows(&mut target.connect(), "triggered"), expected, "stored embeddings need no model");
    // They can be searched and compared, too.
    let nearest: i32 = target.query_one(
        "SELECT id FROM triggered WHERE id <> 3 AND embedding IS NOT NULL
         ORDER BY embedding <-> (SELECT embedding FROM triggered WHERE id = 7) LIMIT 1",
    );
    assert_eq!(nearest, 7);
    let refused =
        target.connect().execute("INSERT INTO triggered (id, photo) VALUES (100, $1)", &[&pictures::photo(1)]);
    let refused = describe(&refused.expect_err("a new photo needs the model"));
    assert!(refused.contains("house-model"), "{refused}");

    let outcome = target.psql(dump("generated"));
    assert!(!outcome.success(), "a generated column is computed again, which needs the model");
    assert!(outcome.stderr.contains("there is no model \"house-model\""), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("visual_search.models"), "the error has a hint: {}", outcome.stderr);

    // Once the model is there, it restores.
    without_model.install_model("house-model", &models::colours(1.0));
    let second = without_model.database("house_target_2");
    second.psql(dump("generated")).expect_success();
    assert_eq!(rows(&mut second.connect(), "generated"), rows(&mut database.connect(), "generated"));
}

/// pg_dump empties search_path and writes `IS DISTINCT FROM`, NULLIF and USING without the schema of the operator that they
/// use; PostgreSQL has no way to write it. What names the operator is restored.
#[test]
fn a_trigger_that_names_its_operator_is_restored() {
    let database = Database::shared("dump_trigger_source");
    database.run(
        "CREATE TABLE items (id int, touched int DEFAULT 0, embedding image_embedding(3));
         CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.touched := OLD.touched + 1; RETURN NEW; END';
         CREATE TRIGGER touch BEFORE UPDATE ON items FOR EACH ROW
             WHEN (NOT OLD.embedding OPERATOR(public.=) NEW.embedding OR (OLD.embedding IS NULL) <> (NEW.embedding IS NULL))
             EXECUTE FUNCTION touch();
         CREATE VIEW pairs AS SELECT a.id, b.id AS other FROM items a JOIN items b ON a.embedding OPERATOR(public.=) b.embedding;
         INSERT INTO items (id, embedding) VALUES (1, '[1,2,3]'), (2, '[1,2,3]'), (3, NULL)",
    );
    let dump = database.program("pg_dump").run().expect_success();
    let restored = shared_cluster().empty_database("dump_trigger_restored");
    restored.psql(dump).expect_success();
    for (change, touched) in [
        ("embedding = '[1,2,3]'", [0, 0, 1]),
        ("embedding = NULL", [1, 1, 2]),
        ("id = id", [1, 1, 2]),
        ("embedding = '[3,2,1]'", [2, 2, 3]),
    ] {
        restored.run(&format!("UPDATE items SET {change}"));
        let found: Vec<i32> = restored.query_one("SELECT array_agg(touched ORDER BY id) FROM items");
        assert_eq!(found, touched, "{change}");
    }
    assert_eq!(restored.query_one::<i64>("SELECT count(*) FROM pairs"), 9);
    // What the documentation warns of: the same without the operator's schema.
    database.run(
        "CREATE TRIGGER late BEFORE UPDATE ON items FOR EACH ROW
             WHEN (OLD.embedding IS DISTINCT FROM NEW.embedding) EXECUTE FUNCTION touch()",
    );
    let dump = database.program("pg_dump").run().expect_success();
    let refused = shared_cluster().empty_database("dump_trigger_refused").psql(dump);
    assert!(refused.stderr.contains("operator does not exist"), "PostgreSQL can do it now: mend the documentation");
}
