//! The `pretrained_cfg` that the `timm` library puts into `config.json`.
//!
//! timm evaluates a network so: resize to `input_size / crop_pct`, by `crop_mode`, and take the centre.

use serde_json::Value;
use vs_vision::{Crop, CropAlign, Filter, Preprocess, Resize, Rounding};

use super::{MANIFEST, string};
use crate::error::{Error, Result};

/// What `pretrained` says is done to a picture.
pub(super) fn read(pretrained: &Value) -> Result<Preprocess> {
    let wrong =
        |name: &str| Error::invalid(format!("\"pretrained_cfg\": \"{name}\" is not supported")).with_hint(MANIFEST);
    let (height, width) = match pretrained.get("input_size").and_then(Value::as_array).map(Vec::as_slice) {
        Some([channels, height, width]) if channels.as_u64() == Some(3) => (side(height), side(width)),
        _ => (None, None),
    };
    let (Some(height), Some(width)) = (height, width) else { return Err(wrong("input_size")) };
    let pct = match pretrained.get("crop_pct").filter(|value| !value.is_null()) {
        None => 0.875,
        Some(value) => value.as_f64().filter(|pct| *pct > 0.1 && *pct <= 1.0).ok_or_else(|| wrong("crop_pct"))?,
    };
    let scaled = |side: u32| (f64::from(side) / pct).floor() as u32;
    let resize = match string(pretrained, "crop_mode") {
        "" | "center" if height == width => Resize::ShortestEdge { size: scaled(height), rounding: Rounding::Floor },
        "squash" => Resize::Exact { width: scaled(width), height: scaled(height) },
        _ => return Err(wrong("crop_mode")),
    };
    let filter = match string(pretrained, "interpolation") {
        "" | "bicubic" => Filter::Bicubic,
        "bilinear" => Filter::Bilinear,
        "lanczos" => Filter::Lanczos,
        "nearest" => Filter::Nearest,
        _ => return Err(wrong("interpolation")),
    };
    let channels = |name: &str, default: [f32; 3]| match pretrained.get(name).filter(|value| !value.is_null()) {
        None => Ok(default),
        Some(value) => {
            let list = value
                .as_array()
                .map(|list| list.iter().filter_map(Value::as_f64).map(|value| value as f32).collect::<Vec<_>>());
            list.and_then(|list| <[f32; 3]>::try_from(list).ok()).ok_or_else(|| wrong(name))
        }
    };
    let preprocess = Preprocess {
        resize,
        filter,
        crop: Some(Crop { width, height, align: CropAlign::HalfEven }),
        mean: channels("mean", [0.485, 0.456, 0.406])?,
        std: channels("std", [0.229, 0.224, 0.225])?,
        ..Preprocess::default()
    };
    preprocess.validate().map_err(|error| Error::invalid(error.to_string()))?;
    Ok(preprocess)
}

fn side(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|side| u32::try_from(side).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn as_published() {
        let read = read(&json!({
            "input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "center",
            "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "num_classes": 1000
        }))
        .expect("a timm configuration");
        assert_eq!(read.resize, Resize::ShortestEdge { size: 235, rounding: Rounding::Floor });
        assert_eq!((read.output_size(), read.filter), ((224, 224), Filter::Bicubic));
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let good = json!({ "input_size": [3, 224, 224] });
        assert!(read(&good).is_ok());
        for (name, value) in [
            ("input_size", json!([1, 28, 28])),
            ("input_size", json!(null)),
            ("input_size", json!([3, 100_000, 100_000])),
            ("crop_mode", json!("border")),
            ("crop_pct", json!(0)),
            ("interpolation", json!("random")),
            ("mean", json!([0.5])),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
