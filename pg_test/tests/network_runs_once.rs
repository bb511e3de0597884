//! The same picture is embedded once, and different pictures are not taken for the same.
//!
//! `ORDER BY embedding <-> embed_image($1)` calls the function for every row of a sequential scan, so a counter of
//! network runs shows whether the session remembers. The opposite mistake is worse: PostgreSQL counts a plpgsql
//! variable as constant within a query, so an answer kept by "the argument is constant" would give every photo of a
//! loop, or of a user's own trigger, the vector of the first.

use fastrand::Rng;
use pg_test::{Database, Embedding, Stats, describe, explain, pictures};
use postgres::{Client, binary_copy::BinaryCopyInWriter};

const ROWS: usize = 3_000;

/// A gallery of random vectors of the default model's kind, as if that many pictures had been embedded.
struct Gallery {
    session: Client,
    vectors: Vec<Embedding>,
}

fn gallery(name: &str) -> Gallery {
    let mut session = Database::shared(name).connect();
    let model = session.query_one("SELECT dims, tag FROM visual_search.models WHERE is_default", &[]).unwrap();
    let (dims, tag): (i32, String) = (model.get("dims"), model.get("tag"));
    let tag = u32::from_str_radix(&tag, 16).expect("a tag is a hexadecimal number");
    session
        .batch_execute(&format!("CREATE TABLE gallery (id int PRIMARY KEY, embedding image_embedding({dims}))"))
        .unwrap();
    let mut random = Rng::with_seed(3);
    let mut vector = || Embedding::of((0..dims).map(|_| random.f64() - 0.5)).tagged(tag);
    let vectors: Vec<Embedding> = (0..ROWS).map(|_| vector()).collect();

    let ty = session.prepare("SELECT embedding FROM gallery").unwrap().columns()[0].type_().clone();
    let sink = session.copy_in("COPY gallery FROM STDIN (FORMAT binary)").unwrap();
    let mut writer = BinaryCopyInWriter::new(sink, &[postgres::types::Type::INT4, ty]);
    for (id, vector) in vectors.iter().enumerate() {
        writer.write(&[&(id as i32), vector]).unwrap();
    }
    writer.finish().unwrap();
    session.batch_execute("ANALYZE gallery; SET plan_cache_mode = force_generic_plan").unwrap();
    Gallery { session, vectors }
}

impl Gallery {
    /// The ids of the vectors nearest to that of a photo, found the plain way.
    fn nearest(&mut self, photo: &[u8], count: usize) -> Vec<(i32, f64)> {
        let query: Embedding = self.session.query_one("SELECT embed_image($1)", &[&photo]).unwrap().get(0);
        let mut distances: Vec<(i32, f64)> =
            self.vectors.iter().enumerate().map(|(id, vector)| (id as i32, vector.distance(&query))).collect();
        distances.sort_by(|a, b| a.1.total_cmp(&b.1));
        distances.truncate(count);
        distances
    }

    /// Runs a query that returns `id`, and holds the result and the number of network runs against what they must be.
    fn check(&mut self, sql: &str, photo: &[u8], plan_part: &str) {
        let declared = format!("PREPARE planned(bytea) AS {sql}");
        self.session.batch_execute(&declared).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
        let plan = explain(&mut self.session, "COSTS off, VERBOSE", r"EXECUTE planned('\x')");
        assert!(plan.contains(plan_part) && plan.contains("$1"), "not the plan that this test is about:\n{plan}");
        self.session.batch_execute("DEALLOCATE planned").unwrap();

        let statement = self.session.prepare(sql).unwrap();
        let (runs, rows) =
            Stats::runs_during(&mut self.session, |session| session.query(&statement, &[&photo]).unwrap());
        assert_eq!(runs, 1, "one query picture, so the network runs once, for\n{sql}\n{plan}");
        let found: Vec<i32> = rows.iter().map(|row| row.get("id")).collect();
        let expected: Vec<i32> = self.nearest(photo, found.len()).into_iter().map(|(id, _)| id).collect();
        assert_eq!(found, expected, "{sql}");
    }
}

#[test]
fn a_sequential_scan_with_a_generic_plan() {
    let mut gallery = gallery("once_seq_scan");
    let sql = "SELECT id FROM gallery ORDER BY embedding <-> embed_image($1) LIMIT 9";
    gallery.check(sql, &pictures::photo(1), "Seq Scan on public.gallery");
    // Another picture is another vector, in the same prepared statement.
    gallery.check(sql, &pictures::photo(2), "Seq Scan on public.gallery");
}

#[test]
fn the_distance_in_the_select_list_and_in_a_condition_too() {
    let mut gallery = gallery("once_select_list");
    let sql = "SELECT id, embedding <-> embed_image($1) AS distance FROM gallery \
               WHERE embedding <-> embed_image($1) < 1e6 ORDER BY embedding <-> embed_image($1) LIMIT 9";
    gallery.check(sql, &pictures::photo(3), "Seq Scan on public.gallery");

    let photo = pictures::photo(3);
    let rows = gallery.session.query(sql, &[&photo]).unwrap();
    let found: Vec<f64> = rows.iter().map(|row| row.get("distance")).collect();
    for ((_, expected), found) in gallery.nearest(&photo, 9).into_iter().zip(found) {
        assert!((found - expected).abs() <= 1e-6 * expected, "distance {found}, computed here {expected}");
    }
}

#[test]
fn an_index_scan_with_the_distance_in_the_select_list() {
    let mut gallery = gallery("once_index_scan");
    // The order of the rows comes from one index or the other, the distance from the function.
    let ordered_by_id = "SELECT id, embedding <-> embed_image($1) AS distance FROM gallery ORDER BY id LIMIT 3000";
    gallery.session.batch_execute("SET enable_seqscan = off; SET enable_sort = off").unwrap();
    let plan = explain(&mut gallery.session, "COSTS off", &ordered_by_id.replace("$1", r"'\x'::bytea"));
    assert!(plan.contains("Index Scan using gallery_pkey"), "{plan}");
    let photo = pictures::photo(4);
    let (runs, rows) =
        Stats::runs_during(&mut gallery.session, |session| session.query(ordered_by_id, &[&photo]).unwrap());
    assert_eq!((runs, rows.len()), (1, ROWS));

    let hnsw = gallery.session.query_opt("SELECT 1 FROM pg_am WHERE amname = 'vs_hnsw'", &[]).unwrap().is_some();
    if hnsw {
        gallery.session.batch_execute("CREATE INDEX by_likeness ON gallery USING vs_hnsw (embedding)").unwrap();
        // Random vectors have no neighbourhoods to follow; what is tested is not how many of them a narrow beam finds.
        gallery.session.batch_execute("SET vs_hnsw.ef_search = 1000").unwrap();
        let nearest = "SELECT id, embedding <-> embed_image($1) AS distance FROM gallery ORDER BY embedding <-> embed_image($1) LIMIT 9";
        gallery.check(nearest, &pictures::photo(5), "Index Scan using by_likeness");
    }
}

#[test]
fn a_picture_from_a_sub_select() {
    let mut gallery = gallery("once_sub_select");
    gallery.session.batch_execute("CREATE TABLE queries (id int PRIMARY KEY, photo bytea)").unwrap();
    let (small, large) = (pictures::photo(6), pictures::noise(7, 300, 200));
    assert!(large.len() > 100_000, "the second picture is to be stored out of line");
    gallery.session.execute("INSERT INTO queries VALUES (1, $1), (2, $2)", &[&small, &large]).unwrap();
    for (id, photo) in [(1, small), (2, large)] {
        let sql = format!(
            "SELECT id FROM gallery ORDER BY embedding <-> embed_image((SELECT photo FROM queries WHERE id = {id})) LIMIT 9"
        );
        let (runs, rows) = Stats::runs_during(&mut gallery.session, |session| session.query(&sql, &[]).unwrap());
        assert_eq!(runs, 1, "{sql}");
        let found: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        let expected: Vec<i32> = gallery.nearest(&photo, 9).into_iter().map(|(id, _)| id).collect();
        assert_eq!(found, expected, "{sql}");
    }
}

#[test]
fn a_plpgsql_loop_gives_every_photo_its_own_vector() {
    let database = Database::shared("once_plpgsql_loop");
    let mut session = database.connect();
    session
        .batch_execute(
            "CREATE TABLE photos (id int PRIMARY KEY, photo bytea);
             CREATE TABLE vectors (id int, embedding image_embedding);
             CREATE FUNCTION embed_all() RETURNS void LANGUAGE plpgsql AS $$
             DECLARE
                 item record;
                 vector image_embedding;
             BEGIN
                 FOR item IN SELECT * FROM photos ORDER BY id LOOP
                     vector := embed_image(item.photo);
                     INSERT INTO vectors VALUES (item.id, vector);
                 END LOOP;
             END $$",
        )
        .unwrap();
    let photos = insert_photos(&mut session, "photos", 10);
    let (runs, _) = Stats::runs_during(&mut session, |session| session.batch_execute("SELECT embed_all()").unwrap());
    assert_eq!(runs, 10, "ten photos, ten runs");
    check_vectors(&mut session, "vectors", &photos);
}

#[test]
fn a_users_own_plpgsql_trigger_gives_every_photo_its_own_vector() {
    let database = Database::shared("once_plpgsql_trigger");
    let mut session = database.connect();
    session
        .batch_execute(
            "CREATE TABLE products (id int PRIMARY KEY, photo bytea, embedding image_embedding);
             CREATE FUNCTION embed_new() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 NEW.embedding := embed_image(NEW.photo);
                 RETURN NEW;
             END $$;
             CREATE TRIGGER embed_new BEFORE INSERT OR UPDATE ON products FOR EACH ROW EXECUTE FUNCTION embed_new()",
        )
        .unwrap();
    let photos = insert_photos(&mut session, "products", 10);
    check_vectors(&mut session, "products", &photos);
    // All at once, so that one call of the trigger follows the other within a statement.
    session
        .batch_execute("UPDATE products SET photo = (SELECT photo FROM products o WHERE o.id = 9 - products.id)")
        .unwrap();
    let swapped: Vec<Vec<u8>> = photos.into_iter().rev().collect();
    check_vectors(&mut session, "products", &swapped);
}

/// Inserts photos with the ids 0, 1, … and gives them back.
fn insert_photos(session: &mut Client, table: &str, count: usize) -> Vec<Vec<u8>> {
    let photos: Vec<Vec<u8>> = (0..count).map(|number| pictures::photo(100 + number as u64)).collect();
    for (id, photo) in photos.iter().enumerate() {
        let sql = format!("INSERT INTO {table} (id, photo) VALUES ($1, $2)");
        session.execute(&sql, &[&(id as i32), photo]).unwrap_or_else(|e| panic!("{sql}: {}", describe(&e)));
    }
    photos
}

/// Holds the stored vectors against those of a session that has seen nothing else.
fn check_vectors(session: &mut Client, table: &str, photos: &[Vec<u8>]) {
    let stored = session.query(&format!("SELECT embedding FROM {table} ORDER BY id"), &[]).unwrap();
    let stored: Vec<Embedding> = stored.iter().map(|row| row.get(0)).collect();
    assert_eq!(stored.len(), photos.len());
    for (id, (photo, stored)) in photos.iter().zip(&stored).enumerate() {
        session.batch_execute("SELECT visual_search.reset_inference()").unwrap();
        let expected: Embedding = session.query_one("SELECT embed_image($1)", &[photo]).unwrap().get(0);
        assert!(expected.distance(stored) < 1e-3, "photo {id} was stored with another photo's vector");
    }
    for (a, first) in stored.iter().enumerate() {
        for (b, second) in stored.iter().enumerate().skip(a + 1) {
            assert!(first.distance(second) > 1e-3, "photos {a} and {b} have the same vector");
        }
    }
}
