//! Cancelling: an embedding that runs is the last one.

use fastrand::Rng;
use pg_test::{Database, Stats, error_of, memory_of, pictures, shared_cluster, wait_until};
use postgres::Client;
use std::time::{Duration, Instant};

const ROWS: i32 = 10_000;

/// A table of small pictures, no two alike.
fn filled(name: &str, rows: i32) -> (Database<'static>, Client) {
    let database = Database::shared(name);
    let mut session = database.connect();
    session.batch_execute("CREATE TABLE photos (id int PRIMARY KEY, photo bytea, embedding image_embedding)").unwrap();
    let mut random = Rng::with_seed(4);
    let mut sink = session.copy_in("COPY photos (id, photo) FROM STDIN").unwrap();
    for id in 0..rows {
        let hex: String = pictures::tiny(random.u64(..)).iter().map(|byte| format!("{byte:02x}")).collect();
        std::io::Write::write_all(&mut sink, format!("{id}\t\\\\x{hex}\n").as_bytes()).unwrap();
    }
    sink.finish().unwrap();
    session.batch_execute("ANALYZE photos; SET max_parallel_workers_per_gather = 0").unwrap();
    // The model is loaded beforehand, so that all that is seen below is embedding.
    session.batch_execute("SELECT embed_image(photo) FROM photos WHERE id = 0").unwrap();
    (database, session)
}

#[test]
fn a_statement_timeout_ends_a_big_update() {
    let (database, mut session) = filled("cancel_timeout", ROWS);
    let _watch = database.watch();
    // A sequence is not rolled back: it keeps when, in microseconds, the last picture was begun.
    session.batch_execute("CREATE SEQUENCE begun MINVALUE 0").unwrap();
    let before = Stats::of(&mut session).images_embedded;
    let error = error_of(
        &mut session,
        "SET statement_timeout = 500;
         UPDATE photos SET embedding = embed_image(photo) WHERE setval('begun',
             (extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1e6)::bigint) IS NOT NULL",
    );
    assert_eq!(error.code().code(), "57014", "{}", error.message());
    session.batch_execute("RESET statement_timeout").unwrap();
    let embedded = Stats::of(&mut session).images_embedded - before;
    assert!(0 < embedded && embedded < i64::from(ROWS), "{embedded} pictures were embedded before the end");
    let begun: i64 = session.query_one("SELECT last_value FROM begun", &[]).unwrap().get(0);
    // The timer goes off after 500 ms; from then on no picture is begun. The rest is room for a busy machine.
    assert!(begun < 500_000 + 1_000_000, "a picture was begun {begun} µs after the start");
    let written: i64 = session.query_one("SELECT count(embedding) FROM photos", &[]).unwrap().get(0);
    assert_eq!(written, 0, "the update was rolled back");
}

#[test]
fn a_request_to_cancel_is_heeded_before_the_next_picture() {
    let (database, mut session) = filled("cancel_request", 200);
    let _watch = database.watch();
    // The statement cancels itself at its 100th picture: whatever is embedded after that came too late. A signal that
    // a process sends to itself arrives before the call returns, unless another thread has taken it.
    for threads in [1, 2] {
        let sql = format!("SET visual_search.threads = {threads}; SELECT visual_search.reset_inference()");
        session.batch_execute(&sql).unwrap();
        let error = error_of(
            &mut session,
            "UPDATE photos SET embedding = embed_image(CASE WHEN id <> 99 OR pg_cancel_backend(pg_backend_pid()) THEN photo END)",
        );
        assert_eq!(error.code().code(), "57014", "{}", error.message());
        let embedded = Stats::of(&mut session).images_embedded;
        assert_eq!(embedded, 99, "with {threads} threads, the 100th picture was not begun");
    }
    // embed_image itself asks: here nothing else runs between the request and the picture.
    session.batch_execute("SELECT visual_search.reset_inference()").unwrap();
    let error = error_of(
        &mut session,
        "SELECT embed_image(CASE WHEN pg_cancel_backend(pg_backend_pid()) THEN photo END) FROM photos WHERE id = 150",
    );
    assert_eq!(error.code().code(), "57014");
    assert_eq!(Stats::of(&mut session).images_embedded, 0);
}

#[test]
fn a_batch_can_be_cancelled_midway() {
    let (database, mut session) = filled("cancel_batch", 3_000);
    let _watch = database.watch();
    for threads in [1, 2] {
        let sql = format!("SET visual_search.threads = {threads}; SELECT visual_search.reset_inference()");
        session.batch_execute(&sql).unwrap();
        session.batch_execute("SELECT embed_image(photo) FROM photos WHERE id = 0").unwrap();
        let error =
            error_of(&mut session, "SET statement_timeout = 400; SELECT embed_images(array_agg(photo)) FROM photos");
        assert_eq!(error.code().code(), "57014", "{}", error.message());
        session.batch_execute("RESET statement_timeout").unwrap();
        let embedded = Stats::of(&mut session).images_embedded;
        assert!(embedded < 3_000, "with {threads} threads all {embedded} pictures were embedded regardless");
        // The session goes on, and remembers nothing wrong.
        let right: bool = session
            .query_one("SELECT bool_and(embed_image(photo) = v) FROM photos, LATERAL (SELECT embed_image(photo) AS v) l WHERE id < 20", &[])
            .unwrap()
            .get(0);
        assert!(right);
    }
}

#[test]
fn a_batch_ends_with_the_pictures_at_hand() {
    let database = Database::shared("cancel_large_pictures");
    let mut session = database.connect();
    let _watch = database.watch();
    session.batch_execute("CREATE TABLE photos (id int, photo bytea)").unwrap();
    // Large enough that the time of one can be told from that of a batch. They differ in a comment behind the
    // start-of-image marker: drawing and encoding take long.
    let jpeg = pictures::encode(&pictures::draw(1, 2500, 2000).into(), image::ImageFormat::Jpeg);
    for id in 0..24 {
        let picture = [&jpeg[..2], &[0xff, 0xfe, 0, 3, id as u8], &jpeg[2..]].concat();
        session.execute("INSERT INTO photos VALUES ($1, $2)", &[&id, &picture]).unwrap();
    }
    for threads in [1, 2] {
        session.batch_execute(&format!("SET visual_search.threads = {threads}")).unwrap();
        session.batch_execute("SELECT embed_images(array_agg(photo)) FROM photos WHERE id < 2").unwrap();
        session.batch_execute("SET visual_search.cache_bytes = 0").unwrap();
        let started = Instant::now();
        session.batch_execute("SELECT embed_image(photo) FROM photos WHERE id = 3").unwrap();
        let one = started.elapsed();
        let before = Stats::of(&mut session).images_embedded;
        let started = Instant::now();
        let error =
            error_of(&mut session, "SET statement_timeout = 300; SELECT embed_images(array_agg(photo)) FROM photos");
        let passed = started.elapsed();
        session.batch_execute("RESET statement_timeout").unwrap();
        assert_eq!(error.code().code(), "57014", "{}", error.message());
        let embedded = Stats::of(&mut session).images_embedded - before;
        assert!(embedded < 24, "with {threads} threads all were embedded");
        // A run of several pictures where one thread does it all; the rest is room for a busy machine.
        let limit = Duration::from_millis(300) + one * 3 + Duration::from_millis(400);
        assert!(passed < limit, "with {threads} threads cancelled after {passed:?}; one picture takes {one:?}");
    }
}

#[test]
fn a_contact_sheet_ends_with_the_picture_at_hand() {
    let database = Database::shared("cancel_contact_sheet");
    let mut session = database.connect();
    let _watch = database.watch();
    session.batch_execute("CREATE TABLE photos (photo bytea)").unwrap();
    let png = pictures::encode(&image::RgbImage::new(4_000, 4_000).into(), image::ImageFormat::Png);
    session.execute("INSERT INTO photos VALUES ($1)", &[&png]).unwrap();
    let sheet = |count: usize| format!("SELECT image_contact_sheet(array_fill(photo, ARRAY[{count}]), 20) FROM photos");
    let started = Instant::now();
    session.batch_execute(&sheet(1)).unwrap();
    let one = started.elapsed();
    let started = Instant::now();
    let error = error_of(&mut session, &format!("SET statement_timeout = 300; {}", sheet(1_000)));
    let passed = started.elapsed();
    assert_eq!(error.code().code(), "57014", "{}", error.message());
    // The rest is room for a busy machine; all of it would be a thousand times one.
    let limit = Duration::from_millis(300) + one * 20 + Duration::from_secs(2);
    assert!(passed < limit, "cancelled after {passed:?}; one picture takes {one:?}");
}

#[test]
fn a_picture_that_takes_long_ends_in_the_middle() {
    let database = Database::shared("cancel_slow_picture");
    let mut session = database.connect();
    let _watch = database.watch();
    // A GIF of one pixel, and four million bytes of codes that say nothing but "begin anew".
    let mut gif = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xFF\xFF\xFF\x2C\0\0\0\0\x01\0\x01\0\0\x0B".to_vec();
    for _ in 0..16_000 {
        gif.push(255);
        gif.extend([0x00, 0x08, 0x80].repeat(85));
    }
    gif.extend([0, 0x3B]);
    session.execute("CREATE TABLE photos AS SELECT $1::bytea AS photo", &[&gif]).unwrap();
    for threads in [1, 2] {
        session.batch_execute(&format!("SET statement_timeout = 0; SET visual_search.threads = {threads}")).unwrap();
        for call in [
            "image_thumbnail(photo)",
            "embed_image(photo)",
            "embed_images(ARRAY[photo, photo || '\\x00'])",
            "image_contact_sheet(ARRAY[photo])",
        ] {
            let sql = format!("SET statement_timeout = 100; SELECT {call} FROM photos");
            let error = error_of(&mut session, &sql);
            // Were it decoded to the end, it would be an error of another kind: there is no pixel in it.
            assert_eq!(error.code().code(), "57014", "{call}: {}", error.message());
            assert!(error.message().contains("statement timeout"), "{call}: {}", error.message());
        }
    }
}

#[test]
fn reading_a_large_model_can_be_cancelled() {
    let database = Database::shared("cancel_loading");
    let mut session = database.connect();
    let _watch = database.watch();
    let manifest = br#"{ "format": 1, "image": { "file": "large.onnx", "preprocess": {} } }"#;
    let folder = "models/large-on-disk";
    shared_cluster().write_file(&format!("{folder}/manifest.json"), manifest);
    let network = shared_cluster().write_file(&format!("{folder}/large.onnx"), b"");
    // Takes no room on the disk, and seconds to read and to find out that it is no network.
    let file = std::fs::File::options().write(true).open(&network).unwrap();
    file.set_len(2 << 30).unwrap();
    for sql in ["SELECT visual_search.check_model('large-on-disk')", "SELECT count(*) FROM visual_search.models"] {
        let error = error_of(&mut session, &format!("SET statement_timeout = 30; {sql}"));
        assert_eq!(error.code().code(), "57014", "{sql}: {}", error.message());
        assert!(error.message().contains("statement timeout"), "{}", error.message());
    }
    std::fs::remove_dir_all(network.parent().unwrap()).unwrap();
}

#[test]
fn cancelling_again_and_again_leaks_nothing() {
    let (database, mut session) = filled("cancel_often", 500);
    let _watch = database.watch();
    let pid: i32 = session.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    session.batch_execute("SET visual_search.cache_bytes = 0").unwrap();
    let mut memory = 0;
    for round in 0..60 {
        let id = 1 + round * 7;
        let sql = format!(
            "SELECT embed_image(CASE WHEN id <> {id} OR pg_cancel_backend(pg_backend_pid()) THEN photo END)
                           FROM photos WHERE id BETWEEN {id} - 3 AND {id} + 3"
        );
        assert_eq!(error_of(&mut session, &sql).code().code(), "57014");
        if round == 20 {
            memory = memory_of(pid).expect("the backend lives");
        }
    }
    let grown = memory_of(pid).expect("the backend lives").saturating_sub(memory);
    assert!(grown < 32 << 20, "private memory grew by {grown} bytes");
}

#[test]
fn another_session_can_cancel() {
    let (database, mut session) = filled("cancel_from_elsewhere", 4_000);
    let _watch = database.watch();
    let pid: i32 = session.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| error_of(&mut session, "UPDATE photos SET embedding = embed_image(photo)"));
        let mut other = database.connect();
        wait_until("the update to run", || {
            let sql = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND query LIKE 'UPDATE%' AND state = 'active'";
            other.query_opt(sql, &[&pid]).unwrap()
        });
        other.query_one("SELECT pg_cancel_backend($1)", &[&pid]).unwrap();
        assert_eq!(running.join().expect("the update ends").code().code(), "57014");
    });
    assert_eq!(session.query_one("SELECT count(embedding) FROM photos", &[]).unwrap().get::<_, i64>(0), 0);
}
