//! Standbys and logical subscribers.

use pg_test::{Cluster, Embedding, describe, models, pictures, wait_until};
use postgres::Client;

const TRIGGER: &str = "CREATE TRIGGER embed BEFORE INSERT OR UPDATE OF photo ON products
    FOR EACH ROW EXECUTE FUNCTION embed_on_write('photo', 'embedding', 'vs-mini-1')";

fn insert(session: &mut Client, ids: std::ops::Range<i32>) {
    for id in ids {
        let photo = (id % 4 != 3).then(|| pictures::photo(id as u64));
        session
            .execute("INSERT INTO products (id, photo) VALUES ($1, $2)", &[&id, &photo])
            .unwrap_or_else(|e| panic!("{}", describe(&e)));
    }
}

fn embeddings(session: &mut Client) -> Vec<(i32, Option<Embedding>)> {
    let rows = session.query("SELECT id, embedding FROM products ORDER BY id", &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[test]
fn a_hot_standby_embeds_and_serves() {
    let primary = Cluster::new();
    let database = primary.database("shop");
    let standby = primary.standby();
    let (_primary_watch, _standby_watch) = (primary.watch(), standby.watch());
    let mut session = database.connect();
    session
        .batch_execute(&format!("CREATE TABLE products (id int, photo bytea, embedding image_embedding); {TRIGGER}"))
        .unwrap();
    insert(&mut session, 0..12);
    standby.wait_for_replay(&primary);

    let mut reader = standby.connect("shop");
    assert!(reader.query_one("SELECT pg_is_in_recovery()", &[]).unwrap().get::<_, bool>(0));
    assert_eq!(embeddings(&mut reader), embeddings(&mut session));
    for (session, name) in [(&mut session, "the primary"), (&mut reader, "the standby")] {
        let sql = "SELECT id FROM products WHERE photo IS NOT NULL ORDER BY embedding <-> embed_image($1) LIMIT 1";
        let nearest: i32 =
            session.query_one(sql, &[&pictures::photo(6)]).unwrap_or_else(|e| panic!("{}", describe(&e))).get(0);
        assert_eq!(nearest, 6, "on {name}");
    }
    // Models are files of each server's own: the standby has its own folder.
    primary.install_model("on-primary", &models::colours(1.0));
    let sql = "SELECT embed_image($1, 'on-primary')";
    session.query_one(sql, &[&pictures::tiny(1)]).unwrap();
    let error = reader.query_one(sql, &[&pictures::tiny(1)]).expect_err("the standby lacks it");
    assert_eq!(error.code().map(|code| code.code()), Some("42704"), "{}", describe(&error));

    drop(reader);
    standby.query_one::<bool>("SELECT pg_promote()");
    let mut promoted = standby.connect("shop");
    insert(&mut promoted, 20..24);
    assert_eq!(embeddings(&mut promoted).len(), 16);
    let wrong: i64 = promoted
        .query_one(
            "SELECT count(*) FROM products WHERE embedding IS DISTINCT FROM embed_image(photo, 'vs-mini-1')",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(wrong, 0, "the trigger works once the standby is promoted");
}

/// A subscriber to all tables of the publisher's database `shop`, once the first copy of the data is done.
fn subscribe(publisher: &Cluster, subscriber: &Cluster) -> Client {
    let mut session = subscriber.connect("shop");
    let connection = format!("host={} dbname=shop user=postgres", publisher.folder().display());
    session.batch_execute(&format!("CREATE SUBSCRIPTION shop CONNECTION '{connection}' PUBLICATION shop")).unwrap();
    wait_until("the first copy", || {
        let done = "SELECT 1 FROM pg_subscription_rel HAVING count(*) > 0 AND bool_and(srsubstate = 'r')";
        session.query_opt(done, &[]).unwrap()
    });
    session
}

fn wait_for_rows(session: &mut Client, count: i64) {
    wait_until("the changes to be applied", || {
        let rows: i64 = session.query_one("SELECT count(*) FROM products", &[]).unwrap().get(0);
        (rows == count).then_some(())
    });
}

#[test]
fn a_subscriber_gets_the_publishers_embeddings() {
    let (publisher, subscriber) = (Cluster::new(), Cluster::new());
    let (_publisher_watch, _subscriber_watch) = (publisher.watch(), subscriber.watch());
    let table = "CREATE TABLE products (id int PRIMARY KEY, photo bytea, embedding image_embedding)";
    let mut source = publisher.database("shop").connect();
    source.batch_execute(&format!("{table}; {TRIGGER}; CREATE PUBLICATION shop FOR TABLE products")).unwrap();
    insert(&mut source, 0..4);
    // A trigger that is merely enabled does not fire for replicated rows, so what was stored arrives as it is.
    subscriber.database("shop").run(&format!("{table}; {TRIGGER}"));
    let mut target = subscribe(&publisher, &subscriber);
    source.batch_execute("UPDATE products SET embedding = '[1,-0,65504]@0000002a' WHERE id = 1").unwrap();
    insert(&mut source, 4..10);
    wait_for_rows(&mut target, 10);
    assert_eq!(embeddings(&mut target), embeddings(&mut source));
    let (sent, arrived) =
        (embeddings(&mut source)[1].1.clone().unwrap(), embeddings(&mut target)[1].1.clone().unwrap());
    assert_eq!(sent.bits(), arrived.bits());
    target.batch_execute("DROP SUBSCRIPTION shop").unwrap();
}

#[test]
fn a_subscriber_can_embed_for_itself() {
    let (publisher, subscriber) = (Cluster::new(), Cluster::new());
    let (_publisher_watch, _subscriber_watch) = (publisher.watch(), subscriber.watch());
    // The publisher knows nothing of embeddings, not even the extension.
    let mut source = publisher.empty_database("shop").connect();
    source
        .batch_execute(
            "CREATE TABLE products (id int PRIMARY KEY, photo bytea); CREATE TABLE copies (LIKE products INCLUDING ALL);
             CREATE PUBLICATION shop FOR TABLE products, copies",
        )
        .unwrap();
    insert(&mut source, 0..4);
    subscriber.database("shop").run(&format!(
        "CREATE TABLE products (id int PRIMARY KEY, photo bytea, embedding image_embedding); {TRIGGER};
         ALTER TABLE products ENABLE ALWAYS TRIGGER embed;
         CREATE TABLE copies (id int PRIMARY KEY, photo bytea,
             embedding image_embedding GENERATED ALWAYS AS (embed_image(photo, 'vs-mini-1')) STORED)"
    ));
    let mut target = subscribe(&publisher, &subscriber);
    insert(&mut source, 4..10);
    source.execute("UPDATE products SET photo = $1 WHERE id = 5", &[&pictures::photo(55)]).unwrap();
    source.batch_execute("INSERT INTO copies SELECT * FROM products").unwrap();
    wait_until("the copies to be applied", || {
        let rows: i64 = target.query_one("SELECT count(*) FROM copies", &[]).unwrap().get(0);
        (rows == 10).then_some(())
    });
    for table in ["products", "copies"] {
        let sql = format!(
            "SELECT count(*), count(photo), count(*) FILTER
                (WHERE embedding IS DISTINCT FROM embed_image(photo, 'vs-mini-1')) FROM {table}"
        );
        let row = target.query_one(&sql, &[]).unwrap();
        let found: (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(found, (10, 8, 0), "{table}: rows, photos, wrong embeddings");
    }
    target.batch_execute("DROP SUBSCRIPTION shop").unwrap();
}
