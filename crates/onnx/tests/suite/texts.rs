//! Text sides: tokens, padding, cutting, inputs.

use serde_json::{Value, json};
use vs_onnx::{ErrorKind, Model, Options, Side};

use crate::common::{ModelFolder, assert_close, expected, fixture, numbers, picture, runtime};

fn text_manifest(file: &str, more: &Value) -> Value {
    let mut text = json!({ "file": file, "tokenizer": "tokenizer.json" });
    for (key, value) in more.as_object().expect("an object") {
        text[key] = value.clone();
    }
    json!({ "format": 1, "text": text })
}

fn text_model(file: &str, more: &Value) -> ModelFolder {
    ModelFolder::new(&[file, "tokenizer.json"], &text_manifest(file, more))
}

fn check(model: &Model, key: &str) {
    let expected = expected();
    let cases = expected["texts"].as_array().expect("an array");
    let texts: Vec<&str> = cases.iter().map(|case| case["text"].as_str().expect("a text")).collect();
    let vectors = model.embed_texts(&texts, &mut || false).expect("vectors");
    for ((text, vector), case) in texts.iter().zip(&vectors).zip(cases) {
        assert_close(vector, &numbers(&case[key]), 1e-6);
        assert_close(&model.embed_texts(&[text], &mut || false).expect("a vector")[0], vector, 1e-6);
    }
}

#[test]
fn tokens_and_vectors() {
    let model = text_model("text.onnx", &json!({})).load().expect("a model");
    check(&model, "mean");
    assert_eq!(model.sides(), [Side::Text]);
    assert_eq!(model.dims(), 4);
    for case in expected()["texts"].as_array().expect("an array") {
        let ids: Vec<u32> = numbers(&case["ids"]).iter().map(|&id| id as u32).collect();
        assert_eq!(model.tokens(case["text"].as_str().expect("a text")).expect("tokens"), ids);
    }
}

#[test]
fn any_tensor_and_pooling() {
    check(&text_model("text.onnx", &json!({ "output": "tokens" })).load().expect("a model"), "mean");
    check(&text_model("text_fixed.onnx", &json!({})).load().expect("a model"), "mean_of_five");
    check(&text_model("text_fixed.onnx", &json!({ "pooling": "cls" })).load().expect("a model"), "first_of_five");
}

#[test]
fn padding_to_the_most_tokens_changes_nothing_where_a_mask_is_fed() {
    let model =
        text_model("text.onnx", &json!({ "padding": "max", "max_tokens": 9, "pad_id": 3 })).load().expect("a model");
    check(&model, "mean");
    let averaged = text_model("text.onnx", &json!({ "output": "tokens", "padding": "max", "max_tokens": 9 }))
        .load()
        .expect("a model");
    check(&averaged, "mean");
    assert_eq!(model.describe().expect("a description")["text"]["padded_to"], 9);
}

#[test]
fn padding_on_the_left_as_the_tokenizer_says() {
    let folder = text_model("text.onnx", &json!({ "output": "tokens", "padding": "max", "max_tokens": 9 }));
    let mut tokenizer: Value = serde_json::from_slice(&fixture("tokenizer.json")).expect("JSON");
    tokenizer["padding"] = json!({
        "strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"
    });
    folder.write("tokenizer.json", tokenizer.to_string().as_bytes());
    check(&folder.load().expect("a model"), "mean");
}

#[test]
fn long_texts_are_cut() {
    let model = text_model("text.onnx", &json!({ "max_tokens": 2 })).load().expect("a model");
    assert_eq!(model.tokens("a red striped shirt").expect("tokens"), [2, 3]);
    let both = model.embed_texts(&["a red striped shirt", "a red"], &mut || false).expect("vectors");
    assert_eq!(both[0], both[1]);
    let words = "shoe ".repeat(10_000);
    assert_eq!(model.tokens(&words).expect("tokens").len(), 2);
    let error = model.tokens(&"shoe ".repeat(20_000)).expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn odd_texts_degrade_and_never_fail() {
    let model = text_model("text.onnx", &json!({})).load().expect("a model");
    for text in [
        "",
        " ",
        "\0",
        "🦓🦓",
        "é\u{301}",
        "شاحنة حمراء",
        "红色的鞋",
        "\u{202e}shoe",
        "shoe\nshoe\tshoe",
        &"x".repeat(60_000),
    ] {
        let vectors = model.embed_texts(&[text], &mut || false).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert!(vectors[0].iter().all(|value| value.is_finite()));
    }
}

#[test]
fn both_sides_of_one_graph() {
    let manifest = json!({
        "format": 1,
        "dims": 4,
        "image": { "file": "dual.onnx", "preprocess": { "resize": { "mode": "exact", "width": 8, "height": 8 } } },
        "text": { "file": "dual.onnx", "tokenizer": "tokenizer.json" }
    });
    let folder = ModelFolder::new(&["dual.onnx", "tokenizer.json"], &manifest);
    let model = folder.load().expect("a model");
    check(&model, "mean");
    let vectors = model.embed_images(&[picture(0)]).expect("vectors");
    assert_close(&vectors[0], &numbers(&expected()["pictures"][0]["image_embeds"]), 2e-6);
    assert_eq!(model.sides(), [Side::Image, Side::Text]);
    let trial = model.trial().expect("a trial");
    assert!(trial.image.is_some() && trial.text.is_some());

    // Sides that do not share a space are refused when the second is loaded.
    let mut split = manifest;
    split["image"]["output"] = json!("embedding");
    split["text"]["output"] = json!("tokens");
    split["dims"] = json!(null);
    let folder = ModelFolder::new(&["dual.onnx", "tokenizer.json"], &split);
    let model = folder.load().expect("the image side alone is fine");
    let error = model.embed_texts(&["shoe"], &mut || false).expect_err("4 and 6 dimensions");
    assert!(error.message().contains("one side gives 4 dimensions and the other 6"), "{error}");
}

#[test]
fn cancelling_texts() {
    let folder = text_model("text.onnx", &json!({}));
    let model = Model::load(runtime(), folder.bundle().expect("a bundle"), &Options { batch: 1, ..Options::default() })
        .expect("a model");
    let error = model.embed_texts(&["shoe", "shirt"], &mut || true).expect_err("cancelled");
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn texts_that_cannot_be_embedded_are_refused_at_load() {
    let cases: &[(&str, Value, &str)] = &[
        ("text.onnx", json!({ "inputs": { "ids": "tokens" } }), "input_ids"),
        ("text.onnx", json!({ "inputs": { "mask": "m" } }), "attention_mask"),
        ("text.onnx", json!({ "max_tokens": 0 }), "0 tokens"),
        ("text_fixed.onnx", json!({ "max_tokens": 6 }), "the graph takes 5"),
        ("text.onnx", json!({ "pooling": "gap" }), "gap"),
        ("text.onnx", json!({ "output": "count" , "pooling": "mean_tokens" }), "meantokens"),
        ("picture.onnx", json!({}), "integers"),
    ];
    for (file, more, word) in cases {
        let error = text_model(file, more).load().err().unwrap_or_else(|| panic!("{file} {more} was loaded"));
        assert!(error.message().contains(word), "{file} {more}: {error}");
    }
    let folder = text_model("text.onnx", &json!({}));
    for broken in [&b"{}"[..], b"", b"not JSON", b"{\"version\": \"1.0\", \"model\": {\"type\": \"BPE\"}}"] {
        folder.write("tokenizer.json", broken);
        let error = folder.load().err().expect("a broken tokenizer");
        assert_eq!(error.kind(), ErrorKind::ModelInvalid);
        assert!(error.message().contains("tokenizer.json"), "{error}");
    }
}

/// Words are looked for without the network for pictures, even where that is broken.
#[test]
fn a_side_is_loaded_when_it_is_needed() {
    let manifest = json!({
        "format": 1, "dims": 4,
        "image": { "file": "not_a_number.onnx", "preprocess": { "resize": { "mode": "exact", "width": 8, "height": 8 } } },
        "text": { "file": "text.onnx", "tokenizer": "tokenizer.json" }
    });
    let folder = ModelFolder::new(&["not_a_number.onnx", "text.onnx", "tokenizer.json"], &manifest);
    let model = Model::new(runtime(), folder.bundle().expect("a bundle"), &Options::default());
    assert!(!model.is_loaded());
    model.load_side(Side::Text).expect("the text side");
    assert!(model.is_loaded());
    check(&model, "mean");
    assert_eq!(model.load_side(Side::Image).expect_err("no numbers").kind(), ErrorKind::BadOutput);
}
