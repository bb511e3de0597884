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

/// As published for MobileCLIP: the configuration names a family, and the files tell that there are two encoders.
#[test]
fn two_encoders_without_their_configurations() {
    let folder = export(&[
        ("config.json", Json(json!({ "model_type": "clip", "transformers.js_config": {} }))),
        ("preprocessor_config.json", Json(processor())),
        ("tokenizer.json", Committed("tokenizer.json")),
        ("tokenizer_config.json", Json(json!({ "model_max_length": 9, "tokenizer_class": "CLIPTokenizer" }))),
        ("onnx/vision_model.onnx", Committed("dual.onnx")),
        ("onnx/text_model.onnx", Committed("text_nine.onnx")),
    ]);
    let model = folder.load().expect("a model");
    assert_eq!(model.sides(), [Side::Image, Side::Text]);
    let vector = image(&model, large());
    let norm: f32 = vector.iter().map(|value| value * value).sum();
    assert!((norm - 1.0).abs() < 1e-5, "scaled to length 1, as its scores do");
    assert_eq!(model.embed_texts(&["a red shirt"], &mut || false).expect("a vector")[0].len(), vector.len());
    let description = model.describe().expect("a description");
    assert_eq!(description["text"]["padded_to"], 9, "the graph takes no other number of tokens");
}

/// As published for SigLIP 2: lower-casing is left to the caller.
#[test]
fn what_is_not_in_the_tokenizer_is_done_before_it() {
    let mut tokenizer: Value = serde_json::from_slice(&fixture("tokenizer.json")).expect("JSON");
    tokenizer["normalizer"] = Value::Null;
    for (model_type, settings, lower) in [
        ("siglip", json!({ "tokenizer_class": "GemmaTokenizer" }), true),
        ("siglip", json!({ "tokenizer_class": "SiglipTokenizer", "do_lower_case": true }), true),
        ("siglip2", json!({}), true),
        ("siglip", json!({ "tokenizer_class": "T5Tokenizer" }), false),
        ("clip", json!({ "do_lower_case": false }), false),
    ] {
        let folder = export(&[
            ("config.json", Json(dual(model_type))),
            ("preprocessor_config.json", Json(processor())),
            ("tokenizer.json", Json(tokenizer.clone())),
            ("tokenizer_config.json", Json(settings.clone())),
            ("model.onnx", Committed("dual.onnx")),
        ]);
        let tokens = folder.load().expect("a model").tokens("Red SHIRT").expect("tokens");
        assert_eq!(tokens, if lower { [3, 4] } else { [1, 1] }, "{model_type}, {settings}");
    }
}

#[test]
fn an_only_output_is_the_embedding_unless_it_is_known_to_be_scores() {
    let logits = || numbers(&expected()["pictures"][1]["logits"]);
    let gap = || numbers(&expected()["pictures"][1]["gap"]);
    let plain = || json!({ "image_processor_type": "ViTImageProcessor", "size": 8, "image_mean": [0, 0, 0], "image_std": [1, 1, 1] });
    let of = |config: Value, file: &'static str| {
        let files = [
            ("config.json", Json(config)),
            ("preprocessor_config.json", Json(plain())),
            ("model.onnx", Committed(file)),
        ];
        export(&files).load()
    };
    let vit = json!({ "model_type": "vit" });
    let model = of(vit.clone(), "projection.onnx").expect("a model");
    assert_close(&image(&model, picture(1)), &logits(), 2e-6);
    for (key, value) in [
        ("architectures", json!(["ViTForImageClassification"])),
        ("num_classes", json!(10)),
        (
            "id2label",
            (0..10).map(|class| (class.to_string(), json!("a class"))).collect::<serde_json::Map<_, _>>().into(),
        ),
    ] {
        let mut config = vit.clone();
        config[key] = value;
        let model = of(config, "projection.onnx").expect("a model");
        assert_close(&image(&model, picture(1)), &gap(), 2e-6);
    }
    let mut other = vit.clone();
    other["num_classes"] = json!(1000);
    let model = of(other, "projection.onnx").expect("a model");
    assert_close(&image(&model, picture(1)), &logits(), 2e-6);

    let error = of(vit, "convolved_classifier.onnx").err().expect("scores are no embedding");
    assert_eq!(error.kind(), ErrorKind::ModelInvalid);
    assert!(error.message().contains("classifier") && error.hint().is_some(), "{error}");
}

#[test]
fn a_network_without_a_class_token_is_pooled_by_the_mean() {
    for (model_type, key) in [("swin", Some("gap")), ("dinov2", None)] {
        let processor = json!({
            "image_processor_type": "ViTImageProcessor", "size": 8, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]
        });
        let model = export(&[
            ("config.json", Json(json!({ "model_type": model_type }))),
            ("preprocessor_config.json", Json(processor)),
            ("model.onnx", Committed("token_map.onnx")),
        ]);
        let vector = image(&model.load().expect("a model"), picture(2));
        let case = &expected()["pictures"][2];
        let first: Vec<f32> = numbers(&case["map"]).iter().step_by(16).copied().collect();
        assert_close(&vector, &key.map_or(first, |key| numbers(&case[key])), 2e-6);
    }
}

/// As published for timm's networks: the processor's class says nothing, timm's keys do, here beside the others.
#[test]
fn timm_s_keys_stand_in_for_a_class_that_is_not_known() {
    let config = json!({
        "architecture": "mobilenetv4_conv_small", "num_classes": 10, "input_size": [3, 8, 8], "crop_pct": 1.0,
        "interpolation": "bilinear", "mean": [0, 0, 0], "std": [1, 1, 1], "fixed_input_size": false
    });
    for class in ["ImageFeatureExtractor", "TimmWrapperImageProcessor"] {
        let processor = json!({ "feature_extractor_type": class, "size": { "shortest_edge": 300 } });
        let model = export(&[
            ("config.json", Json(config.clone())),
            ("preprocessor_config.json", Json(processor)),
            ("onnx/model.onnx", Committed("picture.onnx")),
        ]);
        let model = model.load().expect("a model");
        assert_close(&image(&model, picture(3)), &numbers(&expected()["pictures"][3]["gap"]), 2e-6);
    }
}
