//! Image sides: element types, axes, batches, outputs and pooling, held to vectors computed without ONNX Runtime.

use serde_json::{Value, json};
use vs_onnx::{ErrorKind, Model, Options, Side};

use crate::common::{assert_close, expected, fixture, image_manifest, image_model, numbers, picture, runtime};

const TOLERANCE: f32 = 2e-6;

fn check(model: &Model, key: &str, tolerance: f32) {
    let expected = expected();
    let pictures: Vec<_> = (0..5).map(picture).collect();
    let vectors = model.embed_images(&pictures).expect("vectors");
    for (vector, wanted) in vectors.iter().zip(expected["pictures"].as_array().expect("an array")) {
        assert_close(vector, &numbers(&wanted[key]), tolerance);
    }
    assert_eq!(vectors.len(), 5);
    assert_eq!(model.dims(), vectors[0].len());
}

#[test]
fn the_only_output_is_the_embedding_by_default() {
    let model = image_model("picture.onnx", &json!({})).load().expect("a model");
    check(&model, "logits", TOLERANCE);
    assert_eq!(model.sides(), [Side::Image]);
}

#[test]
fn any_tensor_inside_the_graph_can_be_the_output() {
    for (output, pooling, key) in [
        ("embedding", json!(null), "gap"),
        ("map", json!("gap"), "gap"),
        ("map", json!("gmp"), "gmp"),
        ("map", json!("none"), "map"),
    ] {
        let mut more = json!({ "output": output });
        if !pooling.is_null() {
            more["pooling"] = pooling;
        }
        check(&image_model("picture.onnx", &more).load().expect("a model"), key, TOLERANCE);
    }
    // A feature map is averaged where nothing else is said.
    check(&image_model("picture.onnx", &json!({ "output": "map" })).load().expect("a model"), "gap", TOLERANCE);
    // Of several names the first that the graph computes.
    check(
        &image_model("picture.onnx", &json!({ "output": ["none", "embedding", "map"] })).load().expect("a model"),
        "gap",
        TOLERANCE,
    );
}

#[test]
fn the_layers_behind_the_output_are_not_loaded() {
    let model = image_model("picture.onnx", &json!({ "output": "map" })).load().expect("a model");
    let description = model.describe().expect("a description");
    let outputs: Vec<&str> = description["image"]["outputs"]
        .as_array()
        .expect("outputs")
        .iter()
        .filter_map(|o| o["name"].as_str())
        .collect();
    assert_eq!(outputs, ["map"]);
    let full = image_model("picture.onnx", &json!({})).load().expect("a model");
    assert!(model.memory().weights < full.memory().weights);
}

#[test]
fn half_precision_and_a_fixed_batch() {
    let model = image_model("picture_f16.onnx", &json!({})).load().expect("a model");
    check(&model, "gap", 2e-3);
    let description = model.describe().expect("a description");
    assert_eq!(description["image"]["element"], "f16");
    assert_eq!(description["image"]["batch"], 2);
}

#[test]
fn bytes_with_channels_last() {
    let more = json!({ "preprocess": { "resize": { "mode": "exact", "width": 8, "height": 8 }, "scale": 1.0, "layout": "nhwc" } });
    let model = image_model("picture_u8.onnx", &more).load().expect("a model");
    check(&model, "gap", TOLERANCE);
    assert_eq!(model.describe().expect("a description")["image"]["element"], "u8");
}

#[test]
fn bytes_are_fed_as_they_are() {
    let of = |more: Value| {
        let mut preprocess = json!({ "resize": { "mode": "exact", "width": 8, "height": 8 }, "layout": "nhwc" });
        preprocess.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        image_model("picture_u8.onnx", &json!({ "preprocess": preprocess })).load()
    };
    let model = of(json!({})).expect("a model");
    check(&model, "gap", TOLERANCE);
    assert_eq!(model.describe().expect("a description")["image"]["preprocess"]["scale"], 1.0);
    let error = of(json!({ "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5] })).err().expect("hardly any values");
    assert!(error.message().contains("scale") && error.hint().is_some(), "{error}");
    // A graph may want its bytes mapped.
    assert!(of(json!({ "scale": 0.5, "mean": [-64.0, -64.0, -64.0] })).is_ok());
}

#[test]
fn weights_in_another_file() {
    let manifest = image_manifest("picture_external.onnx", &json!({}));
    let folder = crate::common::ModelFolder::new(&["picture_external.onnx", "picture_external.data"], &manifest);
    let model = folder.load().expect("a model");
    check(&model, "logits", TOLERANCE);
    assert_eq!(model.bundle().files(), ["manifest.json", "picture_external.data", "picture_external.onnx"]);
    assert!(model.memory().weights > 800, "{:?}", model.memory());

    // In a folder below, the weights are found beside the graph.
    let folder = crate::common::ModelFolder::new(&[], &image_manifest("onnx/picture_external.onnx", &json!({})));
    folder.write("onnx/picture_external.onnx", &fixture("picture_external.onnx"));
    folder.write("onnx/picture_external.data", &fixture("picture_external.data"));
    check(&folder.load().expect("a model"), "logits", TOLERANCE);
}

#[test]
fn a_branch_reads_the_graph_around_it() {
    let model = image_model("branch.onnx", &json!({ "output": "chosen" })).load().expect("a model");
    let vectors = model.embed_images(&[picture(0)]).expect("vectors");
    let doubled: Vec<f32> = numbers(&expected()["pictures"][0]["gap"]).iter().map(|value| 2.0 * value).collect();
    assert_close(&vectors[0], &doubled, 2.0 * TOLERANCE);
}

#[test]
fn one_side_of_a_graph_that_has_two() {
    let model = image_model("dual.onnx", &json!({})).load().expect("a model");
    check(&model, "image_embeds", TOLERANCE);
}

#[test]
fn normalised_vectors() {
    let model = image_model("picture.onnx", &json!({ "normalize": true })).load().expect("a model");
    let vectors = model.embed_images(&[picture(3)]).expect("vectors");
    let norm: f64 = vectors[0].iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    assert!((norm - 1.0).abs() < 1e-6, "{norm}");
}

#[test]
fn a_vector_does_not_depend_on_the_batch_it_is_computed_in() {
    let folder = image_model("picture.onnx", &json!({}));
    let pictures: Vec<_> = (0..7).map(picture).collect();
    let of = |batch| {
        let options = Options { batch, ..Options::default() };
        Model::load(runtime(), folder.bundle().expect("a bundle"), &options)
            .expect("a model")
            .embed_images(&pictures)
            .expect("vectors")
    };
    let alone = of(1);
    for batch in [2, 3, 7, 100] {
        for (found, wanted) in of(batch).iter().zip(&alone) {
            assert_close(found, wanted, 1e-6);
        }
    }
}

#[test]
fn cancelling_between_batches() {
    let folder = image_model("picture.onnx", &json!({}));
    let options = Options { batch: 2, ..Options::default() };
    let model = Model::load(runtime(), folder.bundle().expect("a bundle"), &options).expect("a model");
    let prepared: Vec<_> = (0..7).map(|seed| model.prepare(&picture(seed)).expect("prepared")).collect();
    let mut asked = 0;
    let error = model
        .embed_prepared(&prepared, &mut || {
            asked += 1;
            asked == 3
        })
        .expect_err("cancelled");
    assert_eq!((error.kind(), asked), (ErrorKind::Cancelled, 3));
    let mut asked = 0;
    let counting = &mut || {
        asked += 1;
        false
    };
    assert_eq!(model.embed_prepared(&prepared, counting).expect("vectors").len(), 7);
    assert_eq!(asked, 4);
}

#[test]
fn pictures_prepared_for_another_model_are_refused() {
    let half = image_model("picture_f16.onnx", &json!({})).load().expect("a model");
    let full = image_model("picture.onnx", &json!({})).load().expect("a model");
    let foreign = half.prepare(&picture(0)).expect("prepared");
    let own = full.prepare(&picture(0)).expect("prepared");
    for pictures in [vec![foreign.clone()], vec![own.clone(), foreign.clone()], vec![foreign, own]] {
        let error = full.embed_prepared(&pictures, &mut || false).expect_err("foreign");
        assert_eq!(error.kind(), ErrorKind::RunFailed);
    }
    assert!(full.embed_images(&[]).expect("nothing for nothing").is_empty());
}

#[test]
fn a_model_without_texts_says_so() {
    let model = image_model("picture.onnx", &json!({})).load().expect("a model");
    let error = model.embed_texts(&["shoe"], &mut || false).expect_err("no text side");
    assert_eq!(error.kind(), ErrorKind::NoSuchSide);
    assert_eq!(error.message(), "model \"test-model\" cannot embed texts");
    assert_eq!(error.hint(), Some("It has no text side."));
}

#[test]
fn descriptions_and_trials_name_what_matters() {
    let model =
        image_model("picture.onnx", &json!({ "output": "embedding", "normalize": true })).load().expect("a model");
    let description = model.describe().expect("a description");
    assert_eq!(description["name"], "test-model");
    assert_eq!(description["dims"], 6);
    assert_eq!(description["image"]["pooling"], "none");
    assert_eq!(description["image"]["preprocess"]["layout"], "nchw");
    assert_eq!(description["image"]["inputs"][0]["shape"], json!([-1, 3, 8, 8]));
    assert_eq!(description["specification"]["image"]["normalize"], true);
    assert_eq!(description["runtime"]["provider"], "cpu");
    assert_eq!(description["tag"], format!("{:08x}", model.bundle().tag()));
    let trial = model.trial().expect("a trial");
    let timing = trial.image.expect("an image side");
    assert_eq!(trial.dims, 6);
    assert!(trial.text.is_none() && timing.run_ms > 0.0 && timing.prepare_ms > 0.0);
}

/// Everything that must be refused when it is loaded, with a word of the reason.
#[test]
fn networks_that_cannot_embed_are_refused_at_load() {
    let size = |width: u32, height: u32| json!({ "preprocess": { "resize": { "mode": "exact", "width": width, "height": height } } });
    let cases: &[(&str, Value, ErrorKind, &str)] = &[
        ("not_a_number.onnx", json!({}), ErrorKind::BadOutput, "element"),
        ("unknown_operator.onnx", json!({}), ErrorKind::ModelInvalid, "Sharpen"),
        ("too_wide.onnx", json!({ "pooling": "none" }), ErrorKind::LimitExceeded, "16000"),
        ("not_a_tensor.onnx", json!({}), ErrorKind::BadOutput, "no tensor"),
        ("not_a_number_type.onnx", json!({}), ErrorKind::BadOutput, "floating-point"),
        ("picture.onnx", size(9, 8), ErrorKind::ModelInvalid, "[-1, 3, 8, 8]"),
        ("picture.onnx", json!({ "output": "nowhere" }), ErrorKind::ModelInvalid, "nowhere"),
        ("picture.onnx", json!({ "output": "pixels" }), ErrorKind::ModelInvalid, "pixels"),
        ("picture.onnx", json!({ "output": "conv" }), ErrorKind::ModelInvalid, "conv"),
        ("picture.onnx", json!({ "input": "bytes" }), ErrorKind::ModelInvalid, "bytes"),
        ("picture.onnx", json!({ "pooling": "cls" }), ErrorKind::BadOutput, "cls"),
        ("picture_u8.onnx", json!({}), ErrorKind::ModelInvalid, "nchw"),
        ("dual.onnx", json!({ "output": "scores" }), ErrorKind::ModelInvalid, "inputs"),
        ("text.onnx", json!({}), ErrorKind::ModelInvalid, "inputs"),
    ];
    for (file, more, kind, word) in cases {
        let error = image_model(file, more).load().err().unwrap_or_else(|| panic!("{file} {more} was loaded"));
        assert_eq!(error.kind(), *kind, "{file} {more}: {error}");
        assert!(error.message().contains(word), "{file} {more}: {error}");
        assert!(error.message().starts_with("model \"test-model\": "), "{error}");
    }

    let mut wrong_dims = image_manifest("picture.onnx", &json!({}));
    wrong_dims["dims"] = json!(11);
    let folder = crate::common::ModelFolder::new(&["picture.onnx"], &wrong_dims);
    assert!(folder.load().err().expect("wrong dims").message().contains("11 dimensions"));
}
