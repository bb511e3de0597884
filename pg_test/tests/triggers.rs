//! `embed_on_write` and generated columns under everything that writes rows.

use pg_test::{Database, Stats, describe, error_of, models, pictures, server_error, shared_cluster};
use postgres::Client;

/// The two ways to keep an embedding next to its photo.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Trigger,
    Generated,
}

const FORMS: [Form; 2] = [Form::Trigger, Form::Generated];

impl Form {
    /// Makes a table `products (id, title, photo, embedding)`.
    fn create(self, session: &mut Client, table: &str, options: &str) {
        let generated =
            if self == Form::Generated { "GENERATED ALWAYS AS (embed_image(photo, 'vs-mini-1')) STORED" } else { "" };
        let mut sql = format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, title text, photo bytea, embedding image_embedding {generated}) {options};"
        );
        if self == Form::Trigger {
            sql += &format!(
                "CREATE TRIGGER embed BEFORE INSERT OR UPDATE OF photo ON {table}
                 FOR EACH ROW EXECUTE FUNCTION embed_on_write('photo', 'embedding', 'vs-mini-1')"
            );
        }
        session.batch_execute(&sql).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
    }
}

/// A session with the table, for each form; the test's name keeps the databases apart.
fn each_form(name: &str, test: impl Fn(Form, &mut Client)) {
    for form in FORMS {
        let mut session = Database::shared(&format!("{name}_{form:?}").to_lowercase()).connect();
        form.create(&mut session, "products", "");
        test(form, &mut session);
    }
}

/// How many rows have an embedding that is not the one of their photo, or one without a photo.
fn wrong_rows(session: &mut Client, table: &str) -> i64 {
    // Two runs of one network over one picture differ in nothing; a batch could.
    let sql = format!("SELECT count(*) FROM {table} WHERE embedding IS DISTINCT FROM embed_image(photo, 'vs-mini-1')");
    session.query_one(&sql, &[]).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e))).get(0)
}

fn count(session: &mut Client, table: &str) -> i64 {
    session.query_one(&format!("SELECT count(*) FROM {table}"), &[]).unwrap().get(0)
}

fn insert(session: &mut Client, id: i32, photo: Option<&[u8]>) {
    session
        .execute("INSERT INTO products (id, title, photo) VALUES ($1, 'a product', $2)", &[&id, &photo])
        .unwrap_or_else(|e| panic!("inserting: {}", describe(&e)));
}

#[test]
fn rows_are_embedded_when_inserted_and_when_the_photo_changes() {
    each_form("write_plain", |form, session| {
        insert(session, 1, Some(&pictures::photo(1)));
        insert(session, 2, None);
        assert_eq!(wrong_rows(session, "products"), 0, "{form:?}");
        session.execute("UPDATE products SET photo = $1 WHERE id = 1", &[&pictures::photo(2)]).unwrap();
        assert_eq!(wrong_rows(session, "products"), 0, "{form:?}");
        session.batch_execute("UPDATE products SET photo = NULL WHERE id = 1").unwrap();
        let emptied: bool =
            session.query_one("SELECT embedding IS NULL FROM products WHERE id = 1", &[]).unwrap().get(0);
        assert!(emptied, "{form:?}: no photo, no embedding");
        session.execute("UPDATE products SET photo = $1 WHERE id = 2", &[&pictures::photo(3)]).unwrap();
        assert_eq!(wrong_rows(session, "products"), 0, "{form:?}");
    });
}

#[test]
fn a_broken_photo_stops_the_write_and_leaves_the_row() {
    each_form("write_broken", |form, session| {
        insert(session, 1, Some(&pictures::photo(1)));
        let before: Vec<u8> = session.query_one("SELECT photo FROM products", &[]).unwrap().get(0);
        let refused = session.execute("UPDATE products SET photo = $1", &[&before[..before.len() / 2].to_vec()]);
        assert_eq!(server_error(refused.expect_err("half a photo"), "update").code().code(), "22P03", "{form:?}");
        let after: Vec<u8> = session.query_one("SELECT photo FROM products", &[]).unwrap().get(0);
        assert!(before == after && wrong_rows(session, "products") == 0, "{form:?}");
    });
}

#[test]
fn an_update_that_leaves_the_photo_does_not_run_the_network() {
    let database = Database::shared("write_other_columns");
    // A session that has embedded nothing has nothing to remember.
    for (size, photo) in [("small", pictures::photo(1)), ("out of line", pictures::noise(2, 150, 150))] {
        let mut session = database.connect();
        session.batch_execute("DROP TABLE IF EXISTS products").unwrap();
        Form::Trigger.create(&mut session, "products", "");
        // Fires at every update, not at those of the photo alone.
        session
            .batch_execute(
                "CREATE OR REPLACE TRIGGER embed BEFORE INSERT OR UPDATE ON products
                 FOR EACH ROW EXECUTE FUNCTION embed_on_write('photo', 'embedding', 'vs-mini-1')",
            )
            .unwrap();
        insert(&mut session, 1, Some(&photo));
        for update in [
            "UPDATE products SET title = 'another name'",
            "UPDATE products SET photo = photo",
            "UPDATE products SET photo = photo, title = 'a third name'",
            "UPDATE products SET photo = photo || ''::bytea",
        ] {
            session.batch_execute("SELECT visual_search.reset_inference()").unwrap();
            session.batch_execute(update).unwrap();
            let stats = Stats::of(&mut session);
            assert_eq!((stats.network_runs, stats.cache_misses), (0, 0), "{size} photo: {update}");
        }
        session.batch_execute("SELECT visual_search.reset_inference()").unwrap();
        assert_eq!(wrong_rows(&mut session, "products"), 0);
        session.batch_execute("SELECT visual_search.reset_inference(); UPDATE products SET embedding = NULL").unwrap();
        assert_eq!(Stats::of(&mut session).network_runs, 1, "setting the embedding to NULL asks for a new one");
        assert_eq!(wrong_rows(&mut session, "products"), 0);
    }
}

#[test]
fn many_rows_at_once() {
    each_form("write_many", |form, session| {
        session.batch_execute("CREATE TABLE arrivals (id int, photo bytea)").unwrap();
        for id in 0..12 {
            let photo = (id % 4 != 3).then(|| pictures::photo(id as u64));
            session.execute("INSERT INTO arrivals VALUES ($1, $2)", &[&id, &photo]).unwrap();
        }
        session.batch_execute("INSERT INTO products (id, photo) SELECT id, photo FROM arrivals").unwrap();
        assert_eq!((count(session, "products"), wrong_rows(session, "products")), (12, 0), "{form:?}");

        session
            .batch_execute(
                "INSERT INTO products (id, title, photo) SELECT id, 'renewed', a.photo
                 FROM (SELECT id, (SELECT photo FROM arrivals b WHERE b.id = 11 - a.id) AS photo FROM arrivals a) a
                 ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title, photo = EXCLUDED.photo",
            )
            .unwrap();
        assert_eq!((count(session, "products"), wrong_rows(session, "products")), (12, 0), "{form:?}: after an upsert");
        let changed: i64 = session
            .query_one(
                "SELECT count(*) FROM products p JOIN arrivals a USING (id) WHERE p.photo IS DISTINCT FROM a.photo",
                &[],
            )
            .unwrap()
            .get(0);
        assert!(changed >= 10, "the upsert was to change photos, not {changed}");
        session
            .batch_execute("INSERT INTO products (id, photo) SELECT id, photo FROM arrivals ON CONFLICT DO NOTHING")
            .unwrap();
        assert_eq!((count(session, "products"), wrong_rows(session, "products")), (12, 0), "{form:?}");
    });
}

#[test]
fn copy_embeds_every_row() {
    each_form("write_copy", |form, session| {
        let mut sink = session.copy_in("COPY products (id, title, photo) FROM STDIN").unwrap();
        for id in 0..10u64 {
            let hex: String = pictures::photo(id).iter().map(|byte| format!("{byte:02x}")).collect();
            std::io::Write::write_all(&mut sink, format!("{id}\tproduct {id}\t\\\\x{hex}\n").as_bytes()).unwrap();
        }
        std::io::Write::write_all(&mut sink, b"10\tno photo\t\\N\n").unwrap();
        sink.finish().unwrap();
        assert_eq!((count(session, "products"), wrong_rows(session, "products")), (11, 0), "{form:?}");
    });
}

#[test]
fn partitions() {
    for form in FORMS {
        let mut session = Database::shared(&format!("write_partitions_{form:?}").to_lowercase()).connect();
        form.create(&mut session, "products", "PARTITION BY RANGE (id)");
        session
            .batch_execute(
                "CREATE TABLE low PARTITION OF products FOR VALUES FROM (0) TO (100);
                 CREATE TABLE high PARTITION OF products FOR VALUES FROM (100) TO (200)",
            )
            .unwrap();
        if form == Form::Trigger {
            // A partition whose columns lie in another order, with one dropped before them.
            session
                .batch_execute(
                    "CREATE TABLE odd (gone int, embedding image_embedding, photo bytea, title text, id int NOT NULL);
                     ALTER TABLE odd DROP COLUMN gone;
                     ALTER TABLE products ATTACH PARTITION odd FOR VALUES FROM (200) TO (300)",
                )
                .unwrap();
            insert(&mut session, 250, Some(&pictures::photo(250)));
        }
        insert(&mut session, 1, Some(&pictures::photo(1)));
        insert(&mut session, 150, Some(&pictures::photo(150)));
        assert_eq!(wrong_rows(&mut session, "products"), 0, "{form:?}");
        // From one partition into the other, with another photo.
        let moved =
            session.execute("UPDATE products SET id = 199, photo = $1 WHERE id = 1", &[&pictures::photo(2)]).unwrap();
        assert_eq!((moved, count(&mut session, "high"), wrong_rows(&mut session, "products")), (1, 2, 0), "{form:?}");
    }
}

#[test]
fn dropped_and_renamed_columns() {
    let mut session = Database::shared("write_dropped").connect();
    Form::Trigger.create(&mut session, "products", "");
    session.batch_execute("ALTER TABLE products DROP COLUMN title, ADD COLUMN title text DEFAULT 'x'").unwrap();
    insert(&mut session, 1, Some(&pictures::photo(1)));
    assert_eq!(wrong_rows(&mut session, "products"), 0);
    session.batch_execute("ALTER TABLE products RENAME COLUMN photo TO picture").unwrap();
    let error = error_of(&mut session, "INSERT INTO products (id, picture) VALUES (2, '\\x00')");
    assert_eq!(error.code().code(), "42703");
    assert!(error.message().contains("\"photo\""), "{}", error.message());
}

#[test]
fn the_default_model_and_the_columns_dimensions() {
    let database = Database::shared("write_default_model");
    shared_cluster().install_model("for-trigger", &models::colours(1.0));
    let mut session = database.connect();
    session
        .batch_execute(
            "CREATE TABLE products (id int, title text, photo bytea, embedding image_embedding(12));
             CREATE TRIGGER embed BEFORE INSERT OR UPDATE ON products
             FOR EACH ROW EXECUTE FUNCTION embed_on_write('photo', 'embedding');
             SET visual_search.default_model = 'for-trigger'",
        )
        .unwrap();
    insert(&mut session, 1, Some(&pictures::photo(1)));
    let same: bool =
        session.query_one("SELECT embedding = embed_image(photo, 'for-trigger') FROM products", &[]).unwrap().get(0);
    assert!(same);
    // The built-in model's vectors do not fit the column.
    session.batch_execute("RESET visual_search.default_model").unwrap();
    let refused = session.execute("INSERT INTO products VALUES (2, 't', $1)", &[&pictures::photo(2)]);
    let error = server_error(refused.expect_err("wrong dimensions"), "insert");
    assert_eq!(error.code().code(), "22000");
    assert!(error.message().contains("\"embedding\"") && error.message().contains("12"), "{}", error.message());
}

#[test]
fn a_domain_over_bytea_is_a_photo() {
    let mut session = Database::shared("write_domain").connect();
    session
        .batch_execute(
            "CREATE DOMAIN jpeg AS bytea CHECK (length(VALUE) > 10);
             CREATE TABLE products (id int, title text, photo jpeg, embedding image_embedding);
             CREATE TRIGGER embed BEFORE INSERT OR UPDATE ON products
             FOR EACH ROW EXECUTE FUNCTION embed_on_write('photo', 'embedding', 'vs-mini-1')",
        )
        .unwrap();
    session.execute("INSERT INTO products VALUES (1, 't', $1::bytea)", &[&pictures::photo(2)]).unwrap();
    assert_eq!(wrong_rows(&mut session, "products"), 0);
}

#[test]
fn wrong_definitions_are_refused_with_the_name() {
    let mut session = Database::shared("write_refusals").connect();
    session
        .batch_execute(
            "CREATE TABLE products (id int, title text, photo bytea, embedding image_embedding, numbers real[],
                 made image_embedding GENERATED ALWAYS AS (embedding) STORED,
                 raw text, decoded bytea GENERATED ALWAYS AS (decode(raw, 'base64')) STORED)",
        )
        .unwrap();
    let before = "BEFORE INSERT OR UPDATE ON products FOR EACH ROW";
    let cases = [
        (format!("{before} EXECUTE FUNCTION embed_on_write('picture', 'embedding')"), "42703", "\"picture\""),
        (format!("{before} EXECUTE FUNCTION embed_on_write('photo', 'vector')"), "42703", "\"vector\""),
        (format!("{before} EXECUTE FUNCTION embed_on_write('ctid', 'embedding')"), "42703", "\"ctid\""),
        (format!("{before} EXECUTE FUNCTION embed_on_write('title', 'embedding')"), "42804", "\"title\""),
        (format!("{before} EXECUTE FUNCTION embed_on_write('photo', 'numbers')"), "42804", "\"numbers\""),
        (format!("{before} EXECUTE FUNCTION embed_on_write('photo', 'made')"), "55000", "\"made\""),
        // A trigger before the event sees in it what it was before.
        (format!("{before} EXECUTE FUNCTION embed_on_write('decoded', 'embedding')"), "55000", "\"decoded\""),
        (format!("{before} EXECUTE FUNCTION embed_on_write()"), "39P01", "0"),
        (format!("{before} EXECUTE FUNCTION embed_on_write('photo')"), "39P01", "1"),
        (format!("{before} EXECUTE FUNCTION embed_on_write('photo', 'embedding', 'vs-mini-1', 'x')"), "39P01", "4"),
        (format!("{before} EXECUTE FUNCTION embed_on_write('photo', 'embedding', 'absent')"), "42704", "\"absent\""),
        (
            "AFTER INSERT ON products FOR EACH ROW EXECUTE FUNCTION embed_on_write('photo', 'embedding')".into(),
            "39P01",
            "before",
        ),
        (
            "BEFORE INSERT ON products FOR EACH STATEMENT EXECUTE FUNCTION embed_on_write('photo', 'embedding')".into(),
            "39P01",
            "each row",
        ),
    ];
    let photo = pictures::tiny(1);
    for (definition, code, named) in cases {
        session.batch_execute(&format!("CREATE TRIGGER wrong {definition}")).unwrap();
        let refused = session.execute("INSERT INTO products (id, photo) VALUES (1, $1)", &[&photo]);
        let error = server_error(refused.expect_err(&definition), &definition);
        assert_eq!(error.code().code(), code, "{definition}: {}", error.message());
        assert!(error.message().contains(named), "{definition}: {}", error.message());
        session.batch_execute("DROP TRIGGER wrong ON products").unwrap();
    }
    let deleting = "BEFORE DELETE ON products FOR EACH ROW EXECUTE FUNCTION embed_on_write('photo', 'embedding')";
    session.execute("INSERT INTO products (id) VALUES (1)", &[]).unwrap();
    session.batch_execute(&format!("CREATE TRIGGER wrong {deleting}")).unwrap();
    assert_eq!(error_of(&mut session, "DELETE FROM products").code().code(), "39P01");
    let error = error_of(&mut session, "SELECT embed_on_write()");
    assert!(["39P01", "0A000"].contains(&error.code().code()), "{error:?}");
}

#[test]
fn it_works_for_a_role_that_owns_nothing_else() {
    let database = Database::shared("write_as_role");
    let mut owner = database.connect();
    owner.batch_execute("CREATE ROLE shopkeeper LOGIN; GRANT CREATE ON SCHEMA public TO shopkeeper").unwrap();
    for form in FORMS {
        let mut session = database.connect_as("shopkeeper");
        form.create(&mut session, "products", "");
        insert(&mut session, 1, Some(&pictures::photo(1)));
        assert_eq!(wrong_rows(&mut session, "products"), 0, "{form:?}");
        session.batch_execute("DROP TABLE products").unwrap();
    }
}
