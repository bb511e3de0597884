//! Ten thousand damaged and lying picture files through one backend.
//!
//! Each must end in a vector or in an error, in bounded memory. A crash, an abort on an allocation, or memory that
//! grows with every bad picture would take the other sessions of the server down with it.

use std::collections::BTreeMap;

use fastrand::Rng;
use pg_test::{Database, Embedding, describe, memory_of, mutate, pictures};
use postgres::Client;

const PICTURES: usize = 10_000;
/// What the first pictures leave in memory, such as the model and the allocator's own stock, is not counted.
const WARM_UP: usize = 3_000;
/// Private memory that the rest may add: the cache, and fragments of a heap that has held large pictures.
const GROWTH: u64 = 48 << 20;
/// What is wrong with a picture is the picture's fault, never an internal error of the server or the extension.
const PICTURE_ERRORS: [&str; 3] = ["22P03", "0A000", "54000"];

fn outcome(session: &mut Client, picture: &[u8], what: &dyn std::fmt::Display) -> String {
    match session.query_one("SELECT embed_image($1)", &[&picture]) {
        Ok(row) => {
            let vector: Embedding = row.get(0);
            assert!(vector.elements.iter().all(|element| element.is_finite()), "{what}: a vector of finite numbers");
            assert!(vector.norm() > 0.0, "{what}: a made-up vector of zeros");
            "a vector".to_owned()
        }
        Err(error) => {
            let server = error.as_db_error().unwrap_or_else(|| panic!("{what}: the backend is gone: {error}"));
            let code = server.code().code().to_owned();
            assert!(PICTURE_ERRORS.contains(&code.as_str()), "{what}: {}", describe(&error));
            code
        }
    }
}

#[test]
fn ten_thousand_mutated_pictures() {
    let database = Database::shared("mutated_pictures");
    let _watch = database.watch();
    let mut session = database.connect();
    let pid: i32 = session.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    let seeds = mutate::seeds();
    let mut random = Rng::with_seed(2026);
    let (mut outcomes, mut memory) = (BTreeMap::new(), 0);
    for number in 0..PICTURES {
        if number == WARM_UP {
            memory = memory_of(pid).expect("the backend lives");
        }
        let picture = mutate::mutate(&seeds, &mut random);
        *outcomes.entry(outcome(&mut session, &picture, &format_args!("mutant {number}"))).or_insert(0) += 1;
    }
    println!("{outcomes:?}");
    let same: i32 = session.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    assert_eq!(same, pid, "one backend from the first picture to the last");
    let grown = memory_of(pid).expect("the backend lives").saturating_sub(memory);
    println!("private memory grew by {} kB", grown / 1024);
    assert!(grown < GROWTH, "private memory grew by {grown} bytes over {} pictures", PICTURES - WARM_UP);
    // The mutations are worth something only if they reach every way a picture can end.
    for kind in ["a vector", "22P03", "0A000", "54000"] {
        assert!(
            outcomes.get(kind).is_some_and(|&count| count >= 50),
            "hardly any picture ended in {kind}: {outcomes:?}"
        );
    }
    outcome(&mut session, &pictures::photo(1), &"a good picture afterwards");
}

#[test]
fn bombs_of_every_format() {
    let database = Database::shared("bombs");
    let _watch = database.watch();
    let mut session = database.connect();
    let pid: i32 = session.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    outcome(&mut session, &pictures::photo(1), &"a good picture");
    let before = memory_of(pid).expect("the backend lives");
    for (number, seed) in mutate::seeds().iter().enumerate() {
        // 10.8 GB of pixels; then a size just below the limit of 64 million, and ones that are merely long.
        for (width, height) in [(60_000, 60_000), (8_000, 7_999), (60_000, 1), (1, 60_000)] {
            let bomb = mutate::with_declared_size(seed, width, height);
            let what = format!("seed {number} as {width} x {height}");
            assert!(
                outcome(&mut session, &bomb, &what) != "a vector",
                "{what}: the pixels are not there, whence the vector?"
            );
        }
    }
    let grown = memory_of(pid).expect("the backend lives").saturating_sub(before);
    assert!(grown < GROWTH, "private memory grew by {grown} bytes");
}

#[test]
fn an_error_leaves_nothing_in_memory() {
    let database = Database::shared("errors_leak_nothing");
    let _watch = database.watch();
    let mut session = database.connect();
    let pid: i32 = session.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    let good = pictures::photo(1);
    let bad = [
        Vec::new(),
        b"no picture at all".to_vec(),
        good[..good.len() / 2].to_vec(),
        good[..20].to_vec(),
        mutate::with_declared_size(&pictures::tiny(1), 60_000, 60_000),
        mutate::with_declared_size(&pictures::tiny(1), 13, 12),
    ];
    for picture in &bad {
        let mut memory = 0;
        for round in 0..2_000 {
            if round == 500 {
                memory = memory_of(pid).expect("the backend lives");
            }
            assert!(outcome(&mut session, picture, &"a bad picture") != "a vector");
        }
        let grown = memory_of(pid).expect("the backend lives").saturating_sub(memory);
        assert!(grown < 512 << 10, "1,500 errors of one kind left {grown} bytes behind");
    }
}

#[test]
fn the_other_functions_take_the_same_pictures() {
    let database = Database::shared("mutants_elsewhere");
    let _watch = database.watch();
    let mut session = database.connect();
    let seeds = mutate::seeds();
    let mut random = Rng::with_seed(2027);
    for number in 0..600 {
        let picture = mutate::mutate(&seeds, &mut random);
        for call in ["image_info($1)::text", "image_thumbnail($1, 20, 'png')", "image_data_uri($1)"] {
            if let Err(error) = session.query(&format!("SELECT {call}"), &[&picture]) {
                let server = error.as_db_error().unwrap_or_else(|| panic!("{call} of mutant {number}: {error}"));
                assert!(
                    PICTURE_ERRORS.contains(&server.code().code()),
                    "{call} of mutant {number}: {}",
                    describe(&error)
                );
            }
        }
        // A contact sheet draws what it can.
        let pictures = [Some(picture), None, Some(pictures::tiny(number))];
        let sheet: Vec<u8> = session
            .query_one("SELECT image_contact_sheet($1, 3, ARRAY['a mutant', NULL, 'a picture'])", &[&&pictures[..]])
            .unwrap_or_else(|e| panic!("a sheet with mutant {number}: {}", describe(&e)))
            .get(0);
        image::load_from_memory(&sheet).unwrap_or_else(|e| panic!("a sheet with mutant {number}: {e}"));
    }
}
