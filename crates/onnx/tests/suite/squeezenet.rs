//! A published network: SqueezeNet in half precision, with the preprocessing of its Caffe original.
//!
//! Runs where the optional data is present; the generated models cover the same code where it is not.

use std::{fs, path::Path};

use serde_json::json;
use vs_vision::{Limits, decode};

use crate::common::{ModelFolder, image_manifest};

#[test]
fn squeezenet_sees_a_tabby() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/squeezenet");
    let (Ok(network), Ok(photo)) = (fs::read(data.join("SqueezeNet_fp16.onnx")), fs::read(data.join("kitten_224.png")))
    else {
        println!("SqueezeNet: not present, looked in {}", data.display());
        return;
    };
    let preprocess = json!({
        "resize": { "mode": "exact", "width": 224, "height": 224 },
        "channels": "bgr", "scale": 1.0, "mean": [104.0, 117.0, 123.0]
    });
    let load = |more: serde_json::Value| {
        let mut more = more;
        more["preprocess"] = preprocess.clone();
        let folder = ModelFolder::new(&[], &image_manifest("network.onnx", &more));
        folder.write("network.onnx", &network);
        folder.load().expect("SqueezeNet")
    };
    let kitten = decode(&photo, &Limits::default()).expect("the photo");

    let classes =
        load(json!({ "pooling": "none" })).embed_images(std::slice::from_ref(&kitten)).expect("classes").remove(0);
    let best = classes.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).expect("classes");
    assert_eq!(classes.len(), 1000);
    assert_eq!(best.0, 281, "tabby cat");
    assert!((best.1 - 0.94).abs() < 0.01, "{}", best.1);

    let cut = load(json!({ "output": "fire9/concat_1" }));
    assert_eq!(cut.dims(), 512);
    let features = cut.embed_images(&[kitten]).expect("features").remove(0);
    assert!(features.iter().any(|&value| value > 0.0));
    println!("SqueezeNet: tabby {:.4}; cut at fire9/concat_1: {:?}", best.1, cut.trial().expect("a trial"));
}
