//! Damaged models: whatever the bytes, loading ends in a model or an error.

use serde_json::json;
use vs_onnx::{ErrorKind, Model, Options};

use crate::common::{ModelFolder, fixture, image_manifest, picture, runtime};

/// SplitMix64: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Flips bits, overwrites, cuts, repeats or removes a stretch.
fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(3) {
        if bytes.len() < 2 {
            break;
        }
        let at = random.below(bytes.len());
        let end = at + 1 + random.below((bytes.len() - at).min(32));
        let end = end.min(bytes.len());
        match random.below(6) {
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = random.next() as u8,
            3 => bytes.truncate(at),
            4 => {
                let stretch = bytes[at..end].to_vec();
                bytes.splice(at..at, stretch);
            }
            _ => drop(bytes.drain(at..end)),
        }
    }
    bytes
}

/// Mutations tried on each network; VS_MUTATIONS asks for more.
fn rounds() -> usize {
    std::env::var("VS_MUTATIONS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(200)
}

#[test]
fn a_graph_cannot_size_what_it_is_fed() {
    let image = image_manifest("huge_batch.onnx", &json!({}));
    let text = json!({
        "format": 1, "text": { "file": "huge_tokens.onnx", "tokenizer": "tokenizer.json", "max_tokens": 77 }
    });
    for (file, manifest) in [("huge_batch.onnx", image), ("huge_tokens.onnx", text)] {
        let folder = ModelFolder::new(&[file, "tokenizer.json"], &manifest);
        let error = folder.load().err().expect(file);
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{file}: {error}");
    }
}

/// An x86 processor answers a quotient that does not fit with a signal that no handler can return from.
#[cfg(target_arch = "x86_64")]
#[test]
fn an_overflowing_division_is_an_error() {
    let white = || vs_vision::Rgb::new(8, 8, vec![255; 8 * 8 * 3]).expect("a picture");
    let folder = crate::common::image_model("overflow.onnx", &json!({}));
    for _ in 0..3 {
        let model = folder.load().expect("a model");
        assert_eq!(model.embed_images(&[picture(0)]).expect("no white in it"), [[0.0; 3]]);
        let error = model.embed_images(&[white()]).expect_err("it overflows");
        assert_eq!(error.kind(), ErrorKind::RunFailed);
        assert!(error.message().contains("overflowed"), "{error}");
        assert!(model.has_faulted());
        assert!(model.embed_images(&[picture(0)]).is_err(), "what was cut short is not run again");
    }
}

#[test]
fn mutated_networks_load_or_are_refused() {
    let mut random = Random(7);
    let (mut loaded, mut refused) = (0, 0);
    for name in ["picture.onnx", "branch.onnx", "dual.onnx", "picture_u8.onnx", "picture_external.onnx"] {
        let bytes = fixture(name);
        let layout = if name == "picture_u8.onnx" { "nhwc" } else { "nchw" };
        let more =
            json!({ "preprocess": { "resize": { "mode": "exact", "width": 8, "height": 8 }, "layout": layout } });
        let folder = ModelFolder::new(&["picture_external.data"], &image_manifest(name, &more));
        for _ in 0..rounds() {
            folder.write(name, &mutate(&bytes, &mut random));
            match folder.load() {
                Ok(model) => {
                    loaded += 1;
                    match model.embed_images(&[picture(0), picture(1)]) {
                        Ok(vectors) => assert!(vectors.iter().flatten().all(|value| value.is_finite())),
                        Err(error) => {
                            assert!(matches!(error.kind(), ErrorKind::BadOutput | ErrorKind::RunFailed), "{error}")
                        }
                    }
                }
                Err(error) => {
                    refused += 1;
                    assert!(!matches!(error.kind(), ErrorKind::ModelMissing | ErrorKind::Cancelled), "{error}");
                }
            }
        }
    }
    println!("{loaded} loaded, {refused} refused");
    assert!(loaded > 50 && refused > 200, "{loaded} loaded, {refused} refused");
}

#[test]
fn mutated_manifests_and_tokenizers_load_or_are_refused() {
    let manifest = json!({
        "format": 1,
        "image": { "file": "dual.onnx", "preprocess": { "resize": { "mode": "exact", "width": 8, "height": 8 } } },
        "text": { "file": "dual.onnx", "tokenizer": "tokenizer.json" }
    });
    let mut random = Random(11);
    for name in ["manifest.json", "tokenizer.json"] {
        let folder = ModelFolder::new(&["dual.onnx", "tokenizer.json"], &manifest);
        let bytes = std::fs::read(folder.path().join(name)).expect("a file");
        for _ in 0..300 {
            folder.write(name, &mutate(&bytes, &mut random));
            if let Ok(bundle) = folder.bundle()
                && let Ok(model) = Model::load(runtime(), bundle, &Options::default())
            {
                // Only that it returns is asked.
                let _ = model.embed_texts(&["a red shoe", "🦓"], &mut || false);
                let _ = model.describe();
            }
        }
    }
}

#[test]
fn a_graph_of_countless_small_parts_is_refused() {
    // A node takes two bytes in the file and a hundred in memory.
    let nodes: Vec<u8> = [0x0a, 0x00].repeat(1 << 20);
    let mut bytes = vec![0x3a];
    let mut len = nodes.len();
    while len >= 0x80 {
        bytes.push(len as u8 | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes.extend(nodes);
    let folder = ModelFolder::new(&[], &image_manifest("nodes.onnx", &json!({})));
    folder.write("nodes.onnx", &bytes);
    assert_eq!(folder.bundle().expect_err("too many nodes").kind(), ErrorKind::LimitExceeded);

    // Graphs in graphs in graphs.
    let mut nested = Vec::new();
    for _ in 0..10_000 {
        let mut outer = Vec::new();
        for key in [0x32, 0x2a, 0x0a] {
            let inner = std::mem::take(&mut outer);
            let body = if inner.is_empty() { &nested } else { &inner };
            let mut field = vec![key];
            let mut len = body.len();
            while len >= 0x80 {
                field.push(len as u8 | 0x80);
                len >>= 7;
            }
            field.push(len as u8);
            field.extend(body);
            outer = field;
        }
        nested = outer;
        if nested.len() > 1 << 16 {
            break;
        }
    }
    let mut model = vec![0x3a];
    let mut len = nested.len();
    while len >= 0x80 {
        model.push(len as u8 | 0x80);
        len >>= 7;
    }
    model.push(len as u8);
    model.extend(nested);
    folder.write("nodes.onnx", &model);
    assert_eq!(folder.bundle().expect_err("too deep").kind(), ErrorKind::LimitExceeded);
}
