//! Hugging Face exports, read without a manifest, held to the same network with one.

use serde_json::{Value, json};
use vs_onnx::{ErrorKind, Model, Side};
use vs_vision::Rgb;

use crate::common::{ModelFolder, assert_close, expected, fixture, numbers, picture};

/// A folder with these files: names within it, and committed files or JSON.
fn export(files: &[(&str, Content)]) -> ModelFolder {
    let folder = ModelFolder::new(&[], &Value::Null);
    std::fs::remove_file(folder.path().join("manifest.json")).expect("removed");
    for (name, content) in files {
        match content {
            Content::Committed(file) => folder.write(name, &fixture(file)),
            Content::Json(value) => folder.write(name, value.to_string().as_bytes()),
        }
    }
    folder
}

enum Content {
    Committed(&'static str),
    Json(Value),
}
use Content::{Committed, Json};

/// A CLIP processor for pictures of 8 × 8 pixels.
fn processor() -> Value {
    json!({ "image_processor_type": "CLIPImageProcessor", "size": { "shortest_edge": 8 }, "crop_size": 8, "resample": 3 })
}

fn dual(model_type: &str) -> Value {
    json!({ "model_type": model_type, "vision_config": {}, "text_config": { "max_position_embeddings": 9 } })
}

/// A picture that has to be resized and cropped.
fn large() -> Rgb {
    Rgb::new(30, 20, (0..30 * 20 * 3).map(|at: u32| (at * 7 % 256) as u8).collect()).expect("a picture")
}

fn image(model: &Model, picture: Rgb) -> Vec<f32> {
    model.embed_images(&[picture]).expect("a vector").remove(0)
}

#[test]
fn two_encoders_in_one_file() {
    let folder = export(&[
        ("config.json", Json(dual("clip"))),
        ("preprocessor_config.json", Json(processor())),
        ("tokenizer.json", Committed("tokenizer.json")),
        ("onnx/model.onnx", Committed("dual.onnx")),
        ("README.md", Json(json!("no part of the model"))),
    ]);
    assert_eq!(folder.bundle().expect("a bundle").spec().dims, Some(4), "known before anything is loaded");
    let model = folder.load().expect("a model");
    assert_eq!(model.sides(), [Side::Image, Side::Text]);
    assert_eq!(
        model.bundle().files(),
        ["config.json", "onnx/model.onnx", "preprocessor_config.json", "tokenizer.json"]
    );

    let manifest = json!({
        "format": 1,
        "image": {
            "file": "dual.onnx", "output": "image_embeds", "normalize": true,
            "preprocess": {
                "resize": { "mode": "shortest_edge", "size": 8 }, "crop": { "width": 8, "height": 8 }, "filter": "bicubic",
                "mean": [0.481_454_66, 0.457_827_5, 0.408_210_73], "std": [0.268_629_54, 0.261_302_58, 0.275_777_11]
            }
        },
        "text": { "file": "dual.onnx", "tokenizer": "tokenizer.json", "output": "text_embeds", "normalize": true }
    });
    let described = ModelFolder::new(&["dual.onnx", "tokenizer.json"], &manifest);
    let same = described.load().expect("a model");
    assert_eq!(image(&model, large()), image(&same, large()));
    let words = ["a red shirt", "shoe"];
    let texts = |model: &Model| model.embed_texts(&words, &mut || false).expect("vectors");
    assert_eq!(texts(&model), texts(&same));
    let norm: f32 = texts(&model)[0].iter().map(|value| value * value).sum();
    assert!((norm - 1.0).abs() < 1e-5);
    assert_eq!(model.describe().expect("a description")["text"]["max_tokens"], 9);
}

#[test]
fn two_encoders_in_two_files() {
    let folder = export(&[
        ("config.json", Json(dual("siglip2"))),
        (
            "processor_config.json",
            Json(json!({ "image_processor": {
            "image_processor_type": "SiglipImageProcessorFast", "size": { "height": 8, "width": 8 }, "crop_size": null
        } })),
        ),
        ("tokenizer.json", Committed("tokenizer.json")),
        ("tokenizer_config.json", Json(json!({ "model_max_length": 1e30, "pad_token": "[PAD]" }))),
        ("onnx/vision_model_quantized.onnx", Committed("not_a_number.onnx")),
        ("onnx/vision_model.onnx", Committed("dual.onnx")),
        ("onnx/text_model_fp16.onnx", Committed("dual.onnx")),
    ]);
    let model = folder.load().expect("a model");
    let files = model.bundle().files();
    assert!(
        files.contains(&"onnx/vision_model.onnx".to_owned()) && files.contains(&"onnx/text_model_fp16.onnx".to_owned()),
        "{files:?}"
    );
    let description = model.describe().expect("a description");
    assert_eq!(description["text"]["padded_to"], 9, "SigLIP pads");
    assert_eq!(description["specification"]["text"]["pad_id"], 0);
    assert_eq!(model.tokens("SHIRT").expect("tokens"), [4]);
}

#[test]
fn classifiers_are_cut_behind_their_last_layer() {
    let of = |config: Value, processor: Option<Value>| {
        let mut files = vec![("config.json", Json(config)), ("model.onnx", Committed("picture.onnx"))];
        files.extend(processor.map(|processor| ("preprocessor_config.json", Json(processor))));
        let model = export(&files).load().expect("a model");
        assert_eq!(model.sides(), [Side::Image]);
        model
    };
    let plain = json!({
        "feature_extractor_type": "ViTFeatureExtractor", "size": 8, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]
    });
    let model = of(json!({ "model_type": "vit", "architectures": ["ViTForImageClassification"] }), Some(plain));
    assert_close(&image(&model, picture(2)), &numbers(&expected()["pictures"][2]["gap"]), 2e-6);

    let timm = json!({
        "architecture": "resnet18", "num_classes": 10,
        "pretrained_cfg": { "input_size": [3, 8, 8], "crop_pct": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear" }
    });
    let model = of(timm, None);
    assert_close(&image(&model, picture(3)), &numbers(&expected()["pictures"][3]["gap"]), 2e-6);
}

#[test]
fn what_an_export_lacks_is_named() {
    let cases: Vec<(Vec<(&str, Content)>, &str)> = vec![
        (vec![("model.onnx", Committed("picture.onnx"))], "config.json"),
        (vec![("config.json", Json(json!({ "model_type": "vit" })))], "preprocessor_config.json"),
        (
            vec![
                ("config.json", Json(json!({ "model_type": "vit" }))),
                ("preprocessor_config.json", Json(processor())),
            ],
            "model.onnx",
        ),
        (
            vec![
                ("config.json", Json(json!({ "model_type": "detr" }))),
                ("preprocessor_config.json", Json(json!({ "image_processor_type": "DetrImageProcessor" }))),
                ("model.onnx", Committed("picture.onnx")),
            ],
            "DetrImageProcessor",
        ),
        (vec![("config.json", Json(json!([1, 2])))], "preprocessor_config.json"),
    ];
    for (files, word) in cases {
        let error = export(&files).bundle().expect_err(word);
        assert_eq!(error.kind(), ErrorKind::ModelInvalid);
        assert!(error.message().contains(word), "{word}: {error}");
    }
    // A manifest beside an export decides alone.
    let folder = export(&[("config.json", Json(json!("broken"))), ("picture.onnx", Committed("picture.onnx"))]);
    folder.write("manifest.json", crate::common::image_manifest("picture.onnx", &json!({})).to_string().as_bytes());
    assert_close(
        &image(&folder.load().expect("a model"), picture(0)),
        &numbers(&expected()["pictures"][0]["logits"]),
        2e-6,
    );
}
