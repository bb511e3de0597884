//! Vectors and token numbers held to those of the model families' own Python code.
//!
//! `tests/parity` has small networks with random weights in the layouts of their exports, and what the pipelines of
//! `transformers` make of a few pictures and texts; `models/parity` tells how they came about and compares more.

use std::path::PathBuf;

use serde_json::Value;
use vs_onnx::{Bundle, Model, Options};
use vs_vision::Rgb;

use crate::common::{numbers, runtime};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parity")
}

fn expected() -> Value {
    let bytes = std::fs::read(folder().join("expected.json")).expect("expected.json");
    serde_json::from_slice(&bytes).expect("expected.json")
}

/// The models that there is a reference for.
fn models() -> Vec<(String, Model, Value)> {
    let Value::Object(models) = expected()["models"].take() else { panic!("no models") };
    let load = |name: &str| {
        let bundle = Bundle::find(Some(&folder()), name).unwrap_or_else(|error| panic!("{name}: {error}"));
        Model::load(runtime(), bundle, &Options::default()).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    models.into_iter().map(|(name, wanted)| (name.clone(), load(&name), wanted)).collect()
}

/// The picture that `reduce.py` makes of a size and a seed.
fn picture(width: u32, height: u32, seed: u32) -> Rgb {
    let sample = |x: u32, y: u32, channel: u32| {
        let ramp = (x * (5 + seed) + y * (3 + channel) + channel * 60 + seed * 17) % 256;
        let edge = (x * 4 / width + y * 3 / height) % 2 * 90;
        ((ramp / 2 + edge) % 256) as u8
    };
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    Rgb::new(width, height, pixels.flat_map(|(x, y)| [0, 1, 2].map(|channel| sample(x, y, channel))).collect())
        .expect("a picture")
}

fn pictures() -> Vec<Rgb> {
    let expected = expected();
    let sizes = expected["sizes"].as_array().expect("sizes");
    let side = |size: &Value, at: usize| size[at].as_u64().expect("a side") as u32;
    sizes.iter().enumerate().map(|(seed, size)| picture(side(size, 0), side(size, 1), seed as u32)).collect()
}

fn rows(value: &Value) -> Vec<Vec<f32>> {
    value.as_array().expect("rows").iter().map(numbers).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Every pair agrees to 0.9999 and half of them to 0.99999, although vectors of different inputs do not.
fn check(name: &str, found: &[Vec<f32>], wanted: &[Vec<f32>]) {
    assert_eq!(found.len(), wanted.len(), "{name}");
    assert!(found.iter().zip(wanted).all(|(found, wanted)| found.len() == wanted.len()), "{name}: dimensions differ");
    let mut cosines: Vec<f64> = found.iter().zip(wanted).map(|(found, wanted)| cosine(found, wanted)).collect();
    println!("{name}: {cosines:.7?}");
    cosines.sort_by(f64::total_cmp);
    assert!(cosines[0] >= 0.9999 && cosines[cosines.len() / 2] >= 0.99999, "{name}: {cosines:?}");
    let apart = wanted[1..].iter().map(|other| cosine(&wanted[0], other)).fold(f64::INFINITY, f64::min);
    assert!(apart < 0.98, "{name}: anything would agree, the nearest to it being {apart}");
}

#[test]
fn pictures_have_the_vectors_of_their_families() {
    let pictures = pictures();
    let mut count = 0;
    for (name, model, wanted) in models().iter().filter(|(.., wanted)| !wanted["images"].is_null()) {
        let found = model.embed_images(&pictures).unwrap_or_else(|error| panic!("{name}: {error}"));
        check(name, &found, &rows(&wanted["images"]));
        count += 1;
    }
    assert_eq!(
        count, 12,
        "CLIP, also in f16, in int8 and with external weights, MobileCLIP, SigLIP, SigLIP 2, DINOv2, a ViT classifier, \
         ResNet, also in int8, ConvNeXt"
    );
}

#[test]
fn texts_have_the_tokens_and_vectors_of_their_families() {
    let expected = expected();
    let texts: Vec<&str> =
        expected["texts"].as_array().expect("texts").iter().map(|text| text.as_str().expect("a text")).collect();
    assert_eq!(texts.len(), 200);
    let mut count = 0;
    for (name, model, wanted) in models().iter().filter(|(.., wanted)| !wanted["vectors"].is_null()) {
        for (text, ids) in texts.iter().zip(wanted["tokens"].as_array().unwrap_or(&Vec::new())) {
            let found = model.tokens(text).unwrap_or_else(|error| panic!("{name} {text:?}: {error}"));
            // A text without any token is told to be what the network gets: one of padding.
            let same = ids == &serde_json::json!(found) || ids == &serde_json::json!([]) && found.len() == 1;
            assert!(same, "{name} {text:?}: {found:?}, not {ids}");
        }
        let some: Vec<&str> = texts.iter().copied().step_by(20).collect();
        let found = model.embed_texts(&some, &mut || false).unwrap_or_else(|error| panic!("{name}: {error}"));
        check(name, &found, &rows(&wanted["vectors"]));
        count += 1;
    }
    assert_eq!(count, 8, "CLIP in four forms, MobileCLIP, SigLIP, SigLIP 2, a text model");
}

#[test]
fn the_vector_of_a_quantised_network_does_not_depend_on_its_company() {
    // Dynamic quantisation takes its scale from the whole batch: pictures must not share one.
    let (_, model, _) = models().into_iter().find(|(name, ..)| name == "clip-int8").expect("clip-int8");
    let pictures = pictures();
    let together = model.embed_images(&pictures).expect("vectors");
    for (picture, vector) in pictures.into_iter().zip(&together) {
        assert_eq!(&model.embed_images(&[picture]).expect("a vector")[0], vector);
    }
    let words = ["a red shirt", "a dog on grass", "shoes"];
    let together = model.embed_texts(&words, &mut || false).expect("vectors");
    for (word, vector) in words.iter().zip(&together) {
        assert_eq!(&model.embed_texts(&[word], &mut || false).expect("a vector")[0], vector);
    }
}
