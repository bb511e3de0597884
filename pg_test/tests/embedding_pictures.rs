//! `embed_image` and `embed_images`: what they compute, what they refuse, and what a session remembers.

use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use pg_test::{
    Database, Embedding, Stats, describe, error_of, explain, models, pictures, server_error, shared_cluster,
};
use postgres::Client;
use std::time::Instant;

fn embed(session: &mut Client, picture: &[u8]) -> Embedding {
    let row = session.query_one("SELECT embed_image($1)", &[&picture]);
    row.unwrap_or_else(|e| panic!("embed_image: {}", describe(&e))).get(0)
}

fn embed_with(session: &mut Client, picture: &[u8], model: &str) -> Embedding {
    let row = session.query_one("SELECT embed_image($1, $2)", &[&picture, &model]);
    row.unwrap_or_else(|e| panic!("embed_image with {model}: {}", describe(&e))).get(0)
}

/// A picture of 8 × 8 pixels whose four quarters have one colour each, and what [`models::colours`] makes of it.
fn four_colours(seed: u64) -> (Vec<u8>, Vec<f64>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let quarters: Vec<Rgb<u8>> = (0..4).map(|_| Rgb([random.u8(..), random.u8(..), random.u8(..)])).collect();
    let picture = RgbImage::from_fn(8, 8, |x, y| quarters[(y / 4 * 2 + x / 4) as usize]);
    let means = (0..3).flat_map(|channel| quarters.iter().map(move |quarter| f64::from(quarter.0[channel]) / 255.0));
    (pictures::encode(&picture.into(), ImageFormat::Png), means.collect())
}

#[test]
fn the_vector_is_what_the_network_makes_of_the_pixels() {
    let database = Database::shared("vector_is_right");
    shared_cluster().install_model("colours", &models::colours(1.0));
    let mut session = database.connect();
    for seed in 0..20 {
        let (picture, expected) = four_colours(seed);
        let found = embed_with(&mut session, &picture, "colours");
        for (place, (found, expected)) in found.to_f64().iter().zip(&expected).enumerate() {
            // Half precision has eleven bits.
            assert!(
                (found - expected).abs() <= 1.0 / 2048.0,
                "picture {seed}, element {place}: {found}, not {expected}"
            );
        }
        assert_eq!(found.elements.len(), models::COLOURS_DIMS);
    }
}

#[test]
fn the_tag_is_that_of_the_model() {
    let database = Database::shared("tag_is_the_models");
    shared_cluster().install_model("tagging", &models::colours(1.0));
    let mut session = database.connect();
    for (name, dims, tag) in models_of(&mut session) {
        let embedding = embed_with(&mut session, &pictures::photo(1), &name);
        assert_eq!(format!("{:08x}", embedding.tag), tag, "{name}");
        assert_eq!(embedding.elements.len() as i32, dims, "{name}");
        let said: String = session
            .query_one("SELECT embedding_model(embed_image($1, $2))", &[&pictures::photo(1), &name])
            .unwrap()
            .get(0);
        assert_eq!(said, tag, "{name}");
    }
}

/// The usable models: name, dimensions, tag.
fn models_of(session: &mut Client) -> Vec<(String, i32, String)> {
    let sql = "SELECT name, dims, tag FROM visual_search.models WHERE problem IS NULL ORDER BY name";
    let rows = session.query(sql, &[]).unwrap();
    assert!(!rows.is_empty(), "there is a built-in model");
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[test]
fn every_format_gives_the_same_vector_for_the_same_pixels() {
    let mut session = Database::shared("every_format").connect();
    shared_cluster().install_model("for-formats", &models::colours(1.0));
    // Few colours, so that GIF's palette holds them all.
    let picture = DynamicImage::from(RgbImage::from_fn(64, 48, |x, y| {
        Rgb([if x < 20 { 250 } else { 30 }, if y < 30 { 40 } else { 200 }, if x > y { 10 } else { 160 }])
    }));
    let png = pictures::encode(&picture, ImageFormat::Png);
    let (vector, means) = (embed(&mut session, &png), embed_with(&mut session, &png, "for-formats"));
    for format in pictures::FORMATS {
        let file = pictures::encode(&picture, format);
        if format == ImageFormat::Jpeg {
            // JPEG alters pixels a little and means hardly at all.
            let distance = embed_with(&mut session, &file, "for-formats").distance(&means) / means.norm();
            assert!(distance < 0.01, "{format:?}: relative distance {distance} from PNG");
        } else {
            assert_eq!(embed(&mut session, &file), vector, "{format:?}");
        }
    }
}

#[test]
fn the_orientation_is_applied() {
    let mut session = Database::shared("orientation").connect();
    // Another decoder makes what is expected, and decoders round differently. Not so where blocks are plain and grey.
    let drawn = DynamicImage::from(pictures::draw(11, 12, 9)).grayscale().resize_exact(96, 72, FilterType::Nearest);
    let jpeg = pictures::encode(&drawn, ImageFormat::Jpeg);
    let stored = image::load_from_memory(&jpeg).unwrap();
    let upright: [(u8, DynamicImage); 4] =
        [(1, stored.clone()), (3, stored.rotate180()), (6, stored.rotate90()), (8, stored.rotate270())];
    for (orientation, expected) in upright {
        let rotated = embed(&mut session, &pictures::with_orientation(&jpeg, orientation));
        let expected = embed(&mut session, &pictures::encode(&expected, ImageFormat::Png));
        assert_eq!(rotated, expected, "orientation {orientation}");
    }
    let (plain, turned) = (embed(&mut session, &jpeg), embed(&mut session, &pictures::with_orientation(&jpeg, 6)));
    assert!(plain.distance(&turned) > 0.05 * plain.norm(), "a turned picture is not the same picture");
}

#[test]
fn transparency_is_laid_on_white() {
    let mut session = Database::shared("transparency").connect();
    let opaque =
        DynamicImage::from(RgbImage::from_fn(40, 40, |x, _| if x < 20 { Rgb([255; 3]) } else { Rgb([200, 20, 20]) }));
    let mut clear = opaque.to_rgba8();
    // The white half becomes a fully transparent black one.
    clear.enumerate_pixels_mut().filter(|(x, ..)| *x < 20).for_each(|(.., pixel)| pixel.0 = [0, 0, 0, 0]);
    let on_white = embed(&mut session, &pictures::encode(&clear.into(), ImageFormat::Png));
    let white = embed(&mut session, &pictures::encode(&opaque, ImageFormat::Png));
    assert_eq!(on_white, white);
}

#[test]
fn null_in_null_out() {
    let mut session = Database::shared("embed_null").connect();
    let sql = "SELECT embed_image(NULL) IS NULL AND embed_image(NULL, 'vs-mini-1') IS NULL \
               AND embed_images(NULL) IS NULL AND embed_images(NULL, 'vs-mini-1') IS NULL \
               AND embed_image('\\x00', NULL) IS NULL AND embed_images('{}', NULL) IS NULL";
    assert!(session.query_one(sql, &[]).unwrap().get::<_, bool>(0));
    assert_eq!(Stats::of(&mut session).models_loaded, 0, "nothing had to be loaded for that");
}

#[test]
fn a_batch_is_its_pictures_one_by_one() {
    let mut session = Database::shared("embed_batch").connect();
    for threads in [1, 2] {
        session.batch_execute(&format!("SET visual_search.threads = {threads}")).unwrap();
        // More than one run's worth, with NULLs and with a picture that occurs twice.
        let mut batch: Vec<Option<Vec<u8>>> = (0..21).map(|seed| Some(pictures::photo(seed))).collect();
        batch[4] = None;
        batch[20] = None;
        batch[13] = batch[2].clone();
        session.batch_execute("SELECT visual_search.reset_inference()").unwrap();
        let made: Vec<Option<Embedding>> = session.query_one("SELECT embed_images($1)", &[&batch]).unwrap().get(0);
        assert_eq!(Stats::of(&mut session).images_embedded, 18, "each distinct picture once");
        assert_eq!(made.len(), batch.len());
        session.batch_execute("SELECT visual_search.reset_inference()").unwrap();
        for (place, (picture, made)) in batch.iter().zip(&made).enumerate() {
            match (picture, made) {
                (None, made) => assert!(made.is_none(), "place {place} holds NULL"),
                (Some(picture), None) => panic!("no vector for place {place}, a picture of {} bytes", picture.len()),
                (Some(picture), Some(made)) => {
                    let alone = embed(&mut session, picture);
                    assert_eq!(made.tag, alone.tag);
                    // A batch may be summed in another order than a single picture.
                    let distance = made.distance(&alone) / alone.norm();
                    assert!(distance < 0.005, "place {place} with {threads} threads: relative distance {distance}");
                }
            }
        }
        let empty: Vec<Option<Embedding>> = session.query_one("SELECT embed_images('{}')", &[]).unwrap().get(0);
        assert!(empty.is_empty());
    }
}

#[test]
fn a_broken_picture_in_a_batch_is_named_by_its_place() {
    let mut session = Database::shared("embed_broken_batch").connect();
    for (threads, place) in [(1, 1), (1, 3), (2, 12), (2, 30)] {
        session.batch_execute(&format!("SET visual_search.threads = {threads}")).unwrap();
        let mut batch: Vec<Vec<u8>> = (0..30).map(|seed| pictures::tiny(500 + seed)).collect();
        let picture = &mut batch[place - 1];
        picture.truncate(picture.len() / 2);
        let error = session.query("SELECT embed_images($1)", &[&batch]).expect_err("a broken picture is refused");
        let error = server_error(error, "embed_images");
        assert!(error.message().contains(&format!("picture {place}:")), "place {place}: {}", error.message());
    }
}

#[test]
fn what_is_no_picture_is_refused_with_its_reason() {
    let mut session = Database::shared("embed_refuses").connect();
    let good = pictures::photo(1);
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("nothing", Vec::new(), "22P03"),
        ("a text", b"Not a picture, whatever its name may be.".to_vec(), "0A000"),
        ("an SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), "0A000"),
        ("half a JPEG", good[..good.len() / 2].to_vec(), "22P03"),
        ("a header alone", pictures::tiny(1)[..33].to_vec(), "22P03"),
        ("60,000 pixels a side", pg_test::mutate::with_declared_size(&pictures::tiny(1), 60_000, 60_000), "54000"),
    ];
    for (what, picture, code) in cases {
        let error = session.query("SELECT embed_image($1)", &[&picture]).expect_err("this is no picture");
        let error = server_error(error, what);
        assert_eq!(error.code().code(), code, "{what}: {}", error.message());
        assert!(error.message().contains("picture"), "{what}: {}", error.message());
    }
}

#[test]
fn limits_are_enforced_and_named() {
    let database = Database::shared("embed_limits");
    let mut session = database.connect();
    let picture = pictures::noise(1, 50, 40);
    for (setting, too_small, enough) in [
        ("visual_search.max_image_bytes", picture.len() - 1, picture.len()),
        ("visual_search.max_image_pixels", 1999, 2000),
    ] {
        session.batch_execute(&format!("SET {setting} = {too_small}")).unwrap();
        let error = session.query("SELECT embed_image($1)", &[&picture]).expect_err("the picture is beyond the limit");
        let error = server_error(error, setting);
        assert_eq!(error.code().code(), "54000", "{}", error.message());
        assert!(error.detail().is_some_and(|detail| detail.contains(&too_small.to_string())), "{error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains(setting)), "{error:?}");
        session.batch_execute(&format!("SET {setting} = {enough}")).unwrap();
        embed(&mut session, &picture);
        session.batch_execute(&format!("RESET {setting}; SELECT visual_search.reset_inference()")).unwrap();
    }
}

#[test]
fn an_unknown_model_is_an_error_and_a_name_is_never_a_path() {
    let database = Database::shared("embed_unknown_model");
    shared_cluster().install_model("present", &models::colours(1.0));
    let mut session = database.connect();
    let picture = pictures::tiny(1);
    let outside = shared_cluster().folder().display().to_string();
    let escape = format!("{outside}/models/present");
    let long = "x".repeat(10_000);
    for name in ["absent", "", ".", "..", "../models/present", "present/", "Present", "present\u{e9}", &escape, &long] {
        let error = session.query("SELECT embed_image($1, $2)", &[&picture, &name]).expect_err(name);
        let error = server_error(error, name);
        assert!(["42704", "42602", "22023"].contains(&error.code().code()), "{name}: {error:?}");
        assert!(error.message().len() < 300, "a long name is cut: {}", error.message());
    }
    let error = error_of(&mut session, "SET visual_search.default_model = 'absent'; SELECT embed_image('\\x00')");
    assert_eq!(error.code().code(), "42704");
    assert!(error.message().contains("\"absent\""), "{}", error.message());
    assert!(error.hint().is_some_and(|hint| hint.contains("visual_search.models")), "{error:?}");
}

#[test]
fn the_default_model_is_the_sessions_setting() {
    let database = Database::shared("embed_default_model");
    shared_cluster().install_model("other-default", &models::colours(1.0));
    let mut session = database.connect();
    let picture = pictures::photo(1);
    let builtin = embed(&mut session, &picture);
    // In a prepared statement too, whose plan must not have kept the first answer.
    let statement = session.prepare("SELECT embed_image($1)").unwrap();
    session.batch_execute("SET visual_search.default_model = 'other-default'").unwrap();
    let other: Embedding = session.query_one(&statement, &[&picture]).unwrap().get(0);
    assert_eq!(other, embed_with(&mut session, &picture, "other-default"));
    assert_ne!(other.tag, builtin.tag);
    session.batch_execute("RESET visual_search.default_model").unwrap();
    let again: Embedding = session.query_one(&statement, &[&picture]).unwrap().get(0);
    assert_eq!(again, builtin);
}

#[test]
fn vectors_of_two_models_do_not_compare() {
    let database = Database::shared("two_models");
    shared_cluster().install_model("first", &models::colours(1.0));
    shared_cluster().install_model("second", &models::colours(2.0));
    let mut session = database.connect();
    let picture = pictures::photo(1);
    let (first, second) = (embed_with(&mut session, &picture, "first"), embed_with(&mut session, &picture, "second"));
    let error = session
        .query("SELECT embed_image($1, 'first') <-> embed_image($1, 'second')", &[&picture])
        .expect_err("they are in different spaces");
    let error = server_error(error, "a distance");
    for tag in [first.tag, second.tag] {
        assert!(error.message().contains(&format!("{tag:08x}")), "both tags are named: {}", error.message());
    }
}

#[test]
fn changed_model_files_are_noticed_and_change_the_tag() {
    let database = Database::shared("changed_model");
    let cluster = shared_cluster();
    cluster.install_model("changing", &models::colours(1.0));
    let mut session = database.connect();
    let (picture, expected) = four_colours(77);
    let before = embed_with(&mut session, &picture, "changing");
    cluster.install_model("changing", &models::colours(0.5));
    let after = embed_with(&mut session, &picture, "changing");
    assert_ne!(before.tag, after.tag, "other files, another tag");
    for (after, expected) in after.to_f64().iter().zip(expected) {
        assert!((after - expected / 2.0).abs() <= 1.0 / 2048.0, "{after}, not half of {expected}");
    }
    // And back: the same bytes are the same model.
    cluster.install_model("changing", &models::colours(1.0));
    assert_eq!(embed_with(&mut session, &picture, "changing"), before);
}

#[test]
fn a_damaged_model_is_an_error_and_is_listed_with_its_problem() {
    let database = Database::shared("damaged_model");
    let cluster = shared_cluster();
    let mut session = database.connect();
    let good = models::colours(1.0);
    let network = |bytes: Vec<u8>| vec![good[0].clone(), ("colours.onnx", bytes)];
    let manifest = |text: &str| vec![("manifest.json", text.as_bytes().to_vec()), good[1].clone()];
    let damaged: [(&str, models::Files); 6] = [
        ("damaged-empty", vec![]),
        ("damaged-network", network(vec![0xff; 300])),
        ("damaged-short", network(good[1].1[..good[1].1.len() / 2].to_vec())),
        ("damaged-json", manifest("{ \"format\": 1, ")),
        ("damaged-field", manifest(r#"{ "format": 1, "dims": 12, "colour": "blue" }"#)),
        (
            "damaged-path",
            manifest(r#"{ "format": 1, "image": { "file": "../first/colours.onnx", "preprocess": {} } }"#),
        ),
    ];
    for (name, files) in &damaged {
        cluster.write_file(&format!("models/{name}/README"), b"a folder that calls itself a model");
        cluster.install_model(name, files);
        let error = session.query("SELECT embed_image($1, $2)", &[&pictures::tiny(1), name]).expect_err(name);
        let error = server_error(error, name);
        assert!(error.message().contains(name), "{name}: {}", error.message());
        assert!(!error.code().code().starts_with("XX"), "{name}: {error:?}");
    }
    let sql = "SELECT name FROM visual_search.models WHERE name LIKE 'damaged-%' AND problem IS NOT NULL ORDER BY name";
    let listed: Vec<String> = session.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    // What ONNX Runtime alone can find wrong shows when the model is used.
    for name in ["damaged-empty", "damaged-field", "damaged-json", "damaged-path"] {
        assert!(listed.iter().any(|listed| listed == name), "{name} is not listed with its problem: {listed:?}");
    }
    std::fs::remove_dir_all(cluster.folder().join("models/damaged-empty")).unwrap();
    embed(&mut session, &pictures::tiny(1));
}

#[test]
fn administrators_can_look_at_models() {
    let database = Database::shared("look_at_models");
    shared_cluster().install_model("looked-at", &models::colours(1.0));
    let mut session = database.connect();
    let row = |session: &mut Client, name: &str| {
        session.query_one("SELECT * FROM visual_search.models WHERE name = $1", &[&name]).unwrap()
    };
    let unused = row(&mut session, "looked-at");
    assert_eq!(unused.get::<_, String>("source"), "folder");
    assert_eq!(unused.get::<_, Vec<String>>("sides"), ["image"]);
    assert_eq!(unused.get::<_, i32>("dims"), 12);
    assert!(!unused.get::<_, bool>("loaded") && !unused.get::<_, bool>("is_default"));
    assert_eq!(unused.get::<_, Option<i64>>("memory_bytes"), None);
    embed_with(&mut session, &pictures::tiny(1), "looked-at");
    let used = row(&mut session, "looked-at");
    assert!(used.get::<_, bool>("loaded"));
    assert!(used.get::<_, i64>("memory_bytes") > 0);
    let builtin = row(&mut session, "vs-mini-1");
    assert_eq!(builtin.get::<_, String>("source"), "built-in");
    assert!(builtin.get::<_, bool>("is_default"));

    for name in ["vs-mini-1", "looked-at"] {
        let described: serde_json::Value = json(&mut session, "describe_model", name);
        assert!(described.is_object(), "{described}");
        let checked = json(&mut session, "check_model", name);
        assert_eq!(checked["name"], name, "{checked}");
    }
    let error = error_of(&mut session, "SELECT visual_search.describe_model('absent')");
    assert_eq!(error.code().code(), "42704", "{error:?}");
}

fn json(session: &mut Client, function: &str, model: &str) -> serde_json::Value {
    let sql = format!("SELECT visual_search.{function}($1)::text");
    let text: String = session.query_one(&sql, &[&model]).unwrap_or_else(|e| panic!("{}", describe(&e))).get(0);
    serde_json::from_str(&text).expect("it is JSON")
}

#[test]
fn the_cache_can_be_any_size() {
    let mut session = Database::shared("cache_sizes").connect();
    let photos: Vec<Vec<u8>> = (0..6).map(pictures::photo).collect();
    let expected: Vec<Embedding> = photos.iter().map(|photo| embed(&mut session, photo)).collect();
    for bytes in [0, 100, 5_000, 1 << 30] {
        session
            .batch_execute(&format!("SET visual_search.cache_bytes = {bytes}; SELECT visual_search.reset_inference()"))
            .unwrap();
        for place in [0, 1, 0, 0, 2, 3, 4, 5, 1, 0, 1, 5, 5] {
            assert_eq!(embed(&mut session, &photos[place]), expected[place], "photo {place}, cache of {bytes} bytes");
        }
        let stats = Stats::of(&mut session);
        assert_eq!(stats.cache_hits + stats.cache_misses, 13, "{stats:?}");
        assert_eq!(stats.network_runs, stats.cache_misses, "{stats:?}");
        // The latest answer is remembered whatever the size, so each repetition in a row is a hit.
        assert!(stats.cache_hits >= 2, "cache of {bytes} bytes: {stats:?}");
        if bytes == 1 << 30 {
            assert_eq!(stats.network_runs, 6, "{stats:?}");
        }
        let expected_room = bytes.max(photos.iter().map(Vec::len).max().unwrap() as i64 + 4096);
        assert!(stats.cache_bytes <= expected_room, "cache of {bytes} bytes: {stats:?}");
    }
}

#[test]
fn statistics_count_and_can_be_reset() {
    let mut session = Database::shared("statistics").connect();
    assert_eq!(Stats::of(&mut session).network_runs, 0);
    let batch: Vec<Vec<u8>> = (0..3).map(pictures::photo).collect();
    session.query("SELECT embed_images($1)", &[&batch]).unwrap();
    embed(&mut session, &batch[0]);
    embed(&mut session, &pictures::photo(9));
    let stats = Stats::of(&mut session);
    assert_eq!((stats.images_embedded, stats.cache_hits, stats.cache_misses), (4, 1, 4), "{stats:?}");
    assert_eq!((stats.network_runs, stats.cache_entries, stats.models_loaded), (2, 4, 1), "{stats:?}");
    assert!(stats.cache_bytes > 0 && stats.model_bytes > 0, "{stats:?}");
    session.batch_execute("SELECT visual_search.reset_inference()").unwrap();
    let stats = Stats::of(&mut session);
    assert_eq!((stats.images_embedded, stats.network_runs, stats.cache_entries, stats.models_loaded), (0, 0, 0, 0));
    // Side by side, with a copy of the weights for each thread.
    session.batch_execute("SET visual_search.threads = 2").unwrap();
    embed(&mut session, &pictures::photo(8));
    let one = Stats::of(&mut session);
    let started = Instant::now();
    session.query("SELECT embed_images($1)", &[&(10..30).map(pictures::photo).collect::<Vec<_>>()]).unwrap();
    let passed = started.elapsed().as_secs_f64() * 1e3;
    let two = Stats::of(&mut session);
    assert_eq!((two.images_embedded, two.cache_misses, two.models_loaded), (21, 21, 1), "{two:?}");
    assert!(two.model_bytes > one.model_bytes, "one copy: {one:?}, two: {two:?}");
    let shown: i64 = session
        .query_one("SELECT memory_bytes FROM visual_search.models WHERE name = 'vs-mini-1'", &[])
        .unwrap()
        .get(0);
    assert_eq!(shown, two.model_bytes);
    let spent: f64 =
        session.query_one("SELECT decode_ms + network_ms FROM visual_search.inference_stats()", &[]).unwrap().get(0);
    assert!(spent > 0.0 && spent < passed + 1e3, "{spent} ms of at most {passed} ms and what loading took");
    session.batch_execute("RESET visual_search.threads; SELECT visual_search.reset_inference()").unwrap();
    embed(&mut session, &pictures::photo(9));
}

#[test]
fn parallel_workers_embed_as_the_leader_does() {
    let database = Database::shared("parallel_embedding");
    let _watch = database.watch();
    let mut session = database.connect();
    session.batch_execute("CREATE TABLE photos (id int PRIMARY KEY, photo bytea)").unwrap();
    for id in 0..120 {
        session.execute("INSERT INTO photos VALUES ($1, $2)", &[&id, &pictures::photo(id as u64)]).unwrap();
    }
    session.batch_execute("ANALYZE photos; SET max_parallel_workers_per_gather = 0").unwrap();
    let sql = "SELECT id, embed_image(photo) FROM photos";
    let vectors = |session: &mut Client| {
        let mut rows: Vec<(i32, Embedding)> =
            session.query(sql, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
        rows.sort_by_key(|row| row.0);
        rows
    };
    let serial = vectors(&mut session);
    session
        .batch_execute(
            "SET max_parallel_workers_per_gather = 2; SET min_parallel_table_scan_size = 0;
             SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET parallel_leader_participation = off",
        )
        .unwrap();
    let plan = explain(&mut session, "COSTS off, VERBOSE", sql);
    assert!(plan.contains("Gather") && plan.contains("Parallel Seq Scan"), "{plan}");
    let before = Stats::of(&mut session).network_runs;
    let parallel = vectors(&mut session);
    assert_eq!(Stats::of(&mut session).network_runs, before, "the workers did it all");
    assert_eq!(parallel, serial);

    let filter = "SELECT count(*) FROM photos WHERE embedding_dims(embed_image(photo)) > 0";
    let counted: i64 = session.query_one(filter, &[]).unwrap().get(0);
    assert_eq!(counted, 120);
    // An error in a worker ends the query and nothing else.
    session.batch_execute("UPDATE photos SET photo = '\\x00' WHERE id = 60").unwrap();
    let error = session.query(sql, &[]).expect_err("one photo is broken");
    assert_eq!(server_error(error, sql).code().code(), "0A000");
    session.batch_execute("DELETE FROM photos WHERE id = 60").unwrap();
    assert_eq!(vectors(&mut session).len(), 119);
}

#[test]
fn networks_run_where_the_session_says_if_the_library_can() {
    let mut session = Database::shared("execution_provider").connect();
    let picture = pictures::photo(7);
    let expected = embed(&mut session, &picture);
    session
        .batch_execute("SELECT visual_search.reset_inference(); SET visual_search.execution_provider = cuda")
        .unwrap();
    // The library that set-up installs is the one for processors.
    let error = server_error(session.query("SELECT embed_image($1)", &[&picture]).expect_err("no CUDA"), "embed_image");
    assert_eq!(error.code().code(), "55000", "{error}");
    assert!(error.message().contains("no CUDA execution provider"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("visual_search.execution_provider")), "{error:?}");
    session.batch_execute("SET visual_search.execution_provider = cpu").unwrap();
    assert_eq!(embed(&mut session, &picture), expected);
    let error = error_of(&mut session, "SET visual_search.execution_provider = abacus");
    assert_eq!(error.code().code(), "22023");
    assert!(error.hint().is_some_and(|hint| hint.contains("cpu, cuda")), "{error:?}");
}
