//! Image processor configurations of the `transformers` library.
//!
//! A configuration names its class and those parameters that were saved; what is absent or null has the class's
//! default. Classes differ in defaults and a few in what they do, so only classes that are known are read: guessing
//! would give vectors that look right and are not.

use serde_json::Value;
use vs_vision::{ChannelOrder, Crop, CropAlign, Filter, Preprocess, Resize, Rounding};

use super::{MANIFEST, string};
use crate::error::{Error, Result};

const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];
const HALF: [f32; 3] = [0.5; 3];
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// The size a picture is resized to.
#[derive(Clone, Copy)]
enum Size {
    /// Height and width.
    Exact(u32, u32),
    /// The shorter side.
    Shortest(u32),
}

/// The defaults of a class of image processors.
#[derive(Clone, Copy)]
struct Class {
    filter: Filter,
    size: Size,
    /// What a bare number as the size means: a square, or the shorter side.
    square: bool,
    /// Side of the centre crop, and whether there is one.
    crop: Option<u32>,
    cropped: bool,
    mean: [f32; 3],
    std: [f32; 3],
    normalized: bool,
    /// Resizes to `size / crop_pct` and crops to `size`, but squashes to `size` from 384 on.
    by_crop_pct: bool,
    bgr: bool,
}

const CLIP: Class = Class {
    filter: Filter::Bicubic,
    size: Size::Shortest(224),
    square: false,
    crop: Some(224),
    cropped: true,
    mean: CLIP_MEAN,
    std: CLIP_STD,
    normalized: true,
    by_crop_pct: false,
    bgr: false,
};
const VIT: Class = Class {
    filter: Filter::Bilinear,
    size: Size::Exact(224, 224),
    square: true,
    crop: None,
    cropped: false,
    mean: HALF,
    std: HALF,
    ..CLIP
};

/// The defaults of the class `name`, which may also be a model type or the name of an older feature extractor.
fn class(name: &str) -> Option<Class> {
    let stem = ["Fast", "Pil", "ImageProcessor", "FeatureExtractor"]
        .iter()
        .fold(name, |stem, end| stem.strip_suffix(end).unwrap_or(stem));
    Some(match stem {
        "CLIP" | "ChineseCLIP" | "Bit" | "clip" | "chinese_clip" | "altclip" => CLIP,
        "Siglip" | "siglip" | "siglip2" => Class { filter: Filter::Bicubic, square: false, ..VIT },
        "ViT" | "vit" => VIT,
        "DeiT" | "deit" => {
            Class { filter: Filter::Bicubic, size: Size::Exact(256, 256), crop: Some(224), cropped: true, ..VIT }
        }
        "Beit" | "beit" => Class { filter: Filter::Bicubic, crop: Some(224), ..VIT },
        "Blip" | "blip" => {
            Class { filter: Filter::Bicubic, size: Size::Exact(384, 384), mean: CLIP_MEAN, std: CLIP_STD, ..VIT }
        }
        "Pvt" | "pvt" => Class { filter: Filter::Bicubic, mean: IMAGENET_MEAN, std: IMAGENET_STD, ..VIT },
        "DINOv3ViT" | "dinov3_vit" | "dinov3_convnext" => Class { mean: IMAGENET_MEAN, std: IMAGENET_STD, ..VIT },
        "dinov2" | "dinov2_with_registers" => {
            Class { size: Size::Shortest(256), mean: IMAGENET_MEAN, std: IMAGENET_STD, ..CLIP }
        }
        "ConvNext" | "convnext" | "convnextv2" | "resnet" | "regnet" => {
            Class { filter: Filter::Bicubic, size: Size::Shortest(384), square: false, by_crop_pct: true, ..VIT }
        }
        "MobileNetV1" | "MobileNetV2" | "mobilenet_v1" | "mobilenet_v2" => {
            Class { size: Size::Shortest(256), square: false, crop: Some(224), cropped: true, ..VIT }
        }
        "MobileViT" | "mobilevit" | "mobilevitv2" => Class {
            size: Size::Shortest(224),
            square: false,
            crop: Some(256),
            cropped: true,
            normalized: false,
            bgr: true,
            ..VIT
        },
        _ => return None,
    })
}

/// Whether the class that the configuration `processor` names, or the `model_type`, is one that can be read.
pub(super) fn is_known(processor: &Value, model_type: &str) -> bool {
    class(class_name(processor, model_type)).is_some()
}

fn class_name<'a>(processor: &'a Value, model_type: &'a str) -> &'a str {
    let names = [string(processor, "image_processor_type"), string(processor, "feature_extractor_type"), model_type];
    names.into_iter().find(|name| !name.is_empty()).unwrap_or("unnamed")
}

/// What the configuration `processor` says is done to a picture; `model_type` stands in for a class that it does not
/// name.
pub(super) fn read(processor: &Value, model_type: &str) -> Result<Preprocess> {
    let name = class_name(processor, model_type);
    let class = class(name).ok_or_else(|| {
        Error::invalid(format!("image processors of class \"{name}\" are not known")).with_hint(MANIFEST)
    })?;
    let field = |name: &str| processor.get(name).filter(|value| !value.is_null());
    let flag = |name: &str, default: bool| {
        field(name).map_or(Ok(default), |value| value.as_bool().ok_or_else(|| wrong(name, value)))
    };

    if flag("do_pad", false)? {
        return Err(Error::invalid("\"do_pad\" is not supported").with_hint(MANIFEST));
    }
    let size = field("size").map_or(Ok(class.size), |value| size("size", value, class.square))?;
    let mut crop = match field("crop_size") {
        Some(value) => match self::size("crop_size", value, true)? {
            Size::Exact(height, width) => Some((height, width)),
            Size::Shortest(_) => return Err(wrong("crop_size", value)),
        },
        None => class.crop.map(|side| (side, side)),
    };
    if !flag("do_center_crop", class.cropped)? {
        crop = None;
    }
    let mut resize = match size {
        Size::Exact(height, width) => Resize::Exact { width, height },
        Size::Shortest(size) => Resize::ShortestEdge { size, rounding: Rounding::Floor },
    };
    if class.by_crop_pct {
        let Size::Shortest(side) = size else { return Err(wrong("size", field("size").unwrap_or(&Value::Null))) };
        let pct = field("crop_pct").map_or(Ok(224.0 / 256.0), |value| number("crop_pct", value))?;
        if side < 384 {
            resize = Resize::ShortestEdge { size: (f64::from(side) / pct) as u32, rounding: Rounding::Floor };
            crop = Some((side, side));
        } else {
            resize = Resize::Exact { width: side, height: side };
            crop = None;
        }
    }
    if !flag("do_resize", true)? {
        resize = Resize::None;
    }
    let filter = field("resample").map_or(Ok(class.filter), filter)?;

    let scale = if flag("do_rescale", true)? {
        field("rescale_factor").map_or(Ok(1.0 / 255.0), |value| number("rescale_factor", value))? as f32
    } else {
        1.0
    };
    let (mean, std) = if flag("do_normalize", class.normalized)? {
        let mean = field("image_mean").map_or(Ok(class.mean), |value| channels("image_mean", value))?;
        (mean, field("image_std").map_or(Ok(class.std), |value| channels("image_std", value))?)
    } else {
        ([0.0; 3], [1.0; 3])
    };
    let bgr = flag("do_flip_channel_order", class.bgr)?;
    let preprocess = Preprocess {
        resize,
        filter,
        crop: crop.map(|(height, width)| Crop { width, height, align: CropAlign::Floor }),
        channels: if bgr { ChannelOrder::Bgr } else { ChannelOrder::Rgb },
        scale,
        mean,
        std,
        ..Preprocess::default()
    };
    preprocess.validate().map_err(|error| Error::invalid(error.to_string()).with_hint(MANIFEST))?;
    Ok(preprocess)
}

/// A size: a number, a pair of height and width, or an object.
fn size(name: &str, value: &Value, square: bool) -> Result<Size> {
    let side = |value: &Value| value.as_u64().and_then(|side| u32::try_from(side).ok());
    let whole = side(value).map(|side| if square { Size::Exact(side, side) } else { Size::Shortest(side) });
    let pair = || match value.as_array()?.as_slice() {
        [height, width] => Some(Size::Exact(side(height)?, side(width)?)),
        _ => None,
    };
    let object = || {
        let get = |key| value.get(key).filter(|value| !value.is_null());
        match (get("height"), get("width"), get("shortest_edge"), get("longest_edge")) {
            (Some(height), Some(width), None, None) => Some(Size::Exact(side(height)?, side(width)?)),
            (None, None, Some(shortest), None) => Some(Size::Shortest(side(shortest)?)),
            _ => None,
        }
    };
    whole.or_else(pair).or_else(object).ok_or_else(|| wrong(name, value))
}

/// A resampling filter by Pillow's number or name.
fn filter(value: &Value) -> Result<Filter> {
    let name = value.as_str().map(str::to_lowercase).unwrap_or_default();
    Ok(match (value.as_u64(), name.trim_start_matches("pilimageresampling.")) {
        (Some(0), _) | (_, "nearest") => Filter::Nearest,
        (Some(1), _) | (_, "lanczos") => Filter::Lanczos,
        (Some(2), _) | (_, "bilinear") => Filter::Bilinear,
        (Some(3), _) | (_, "bicubic") => Filter::Bicubic,
        (Some(4), _) | (_, "box") => Filter::Box,
        (Some(5), _) | (_, "hamming") => Filter::Hamming,
        _ => return Err(wrong("resample", value)),
    })
}

fn number(name: &str, value: &Value) -> Result<f64> {
    value.as_f64().filter(|number| number.is_finite() && *number > 0.0).ok_or_else(|| wrong(name, value))
}

/// One number per channel, or one for all.
fn channels(name: &str, value: &Value) -> Result<[f32; 3]> {
    if let Some(all) = value.as_f64() {
        return Ok([all as f32; 3]);
    }
    let list: Option<Vec<f32>> =
        value.as_array().map(|list| list.iter().filter_map(Value::as_f64).map(|value| value as f32).collect());
    list.and_then(|list| <[f32; 3]>::try_from(list).ok()).ok_or_else(|| wrong(name, value))
}

fn wrong(name: &str, value: &Value) -> Error {
    let shown: String = value.to_string().chars().take(80).collect();
    Error::invalid(format!("\"{name}\": {shown} is not supported")).with_hint(MANIFEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(value: &Value) -> Preprocess {
        read(value, "").unwrap_or_else(|error| panic!("{value}: {error}"))
    }

    #[test]
    fn clip_as_published() {
        let read = of(&json!({
            "crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true,
            "feature_extractor_type": "CLIPFeatureExtractor", "resample": 3, "size": 224,
            "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]
        }));
        assert_eq!(read.resize, Resize::ShortestEdge { size: 224, rounding: Rounding::Floor });
        assert_eq!(read.crop.map(|crop| (crop.width, crop.height)), Some((224, 224)));
        assert_eq!((read.filter, read.mean, read.std, read.scale), (Filter::Bicubic, CLIP_MEAN, CLIP_STD, 1.0 / 255.0));
        assert_eq!(of(&json!({ "image_processor_type": "CLIPImageProcessorFast" })), read);
        assert_eq!(of(&json!({ "image_processor_type": "CLIPImageProcessor", "do_center_crop": null })), read);
    }

    #[test]
    fn other_families_as_published() {
        let siglip = of(&json!({
            "image_processor_type": "SiglipImageProcessor", "size": { "height": 384, "width": 384 }, "resample": 3,
            "do_convert_rgb": null, "rescale_factor": 0.003_921_568_627_450_98,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]
        }));
        assert_eq!((siglip.output_size(), siglip.filter, siglip.mean), ((384, 384), Filter::Bicubic, HALF));

        let dino = of(&json!({
            "image_processor_type": "BitImageProcessor", "size": { "shortest_edge": 256 }, "resample": 3,
            "crop_size": { "height": 224, "width": 224 }, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]
        }));
        assert_eq!(dino.resize, Resize::ShortestEdge { size: 256, rounding: Rounding::Floor });
        assert_eq!((dino.output_size(), dino.mean), ((224, 224), IMAGENET_MEAN));

        let vit = of(&json!({ "feature_extractor_type": "ViTFeatureExtractor", "size": 224, "resample": 2 }));
        assert_eq!((vit.resize, vit.filter), (Resize::Exact { width: 224, height: 224 }, Filter::Bilinear));

        let resnet =
            of(&json!({ "feature_extractor_type": "ConvNextFeatureExtractor", "crop_pct": 0.875, "size": 224 }));
        assert_eq!(resnet.resize, Resize::ShortestEdge { size: 256, rounding: Rounding::Floor });
        assert_eq!(resnet.output_size(), (224, 224));
        let large = of(&json!({ "image_processor_type": "ConvNextImageProcessor", "size": { "shortest_edge": 384 } }));
        assert_eq!((large.resize, large.crop), (Resize::Exact { width: 384, height: 384 }, None));

        let mobile_clip = of(&json!({
            "image_processor_type": "CLIPImageProcessor", "do_normalize": false, "size": { "shortest_edge": 256 },
            "crop_size": { "height": 256, "width": 256 }, "resample": 2, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]
        }));
        assert_eq!((mobile_clip.mean, mobile_clip.std, mobile_clip.output_size()), ([0.0; 3], [1.0; 3], (256, 256)));
        assert_eq!(of(&json!({ "image_processor_type": "MobileViTImageProcessor" })).channels, ChannelOrder::Bgr);
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let cases = [
            (json!({ "image_processor_type": "Siglip2ImageProcessor" }), "Siglip2ImageProcessor"),
            (json!({ "image_processor_type": "DetrImageProcessor" }), "DetrImageProcessor"),
            (json!({ "size": 224 }), "unnamed"),
            (json!({ "image_processor_type": "CLIPImageProcessor", "size": { "longest_edge": 3 } }), "size"),
            (json!({ "image_processor_type": "CLIPImageProcessor", "size": -1 }), "size"),
            (json!({ "image_processor_type": "CLIPImageProcessor", "size": 1e9 }), "size"),
            (json!({ "image_processor_type": "CLIPImageProcessor", "size": 100_000 }), "size"),
            (json!({ "image_processor_type": "CLIPImageProcessor", "do_pad": true }), "do_pad"),
            (json!({ "image_processor_type": "CLIPImageProcessor", "do_resize": "yes" }), "do_resize"),
            (json!({ "image_processor_type": "CLIPImageProcessor", "do_center_crop": false }), "crop"),
            (json!({ "image_processor_type": "CLIPImageProcessor", "resample": 9 }), "resample"),
            (json!({ "image_processor_type": "CLIPImageProcessor", "image_std": [0, 1, 1] }), "std"),
            (json!({ "image_processor_type": "CLIPImageProcessor", "image_mean": [0.5] }), "image_mean"),
            (json!({ "image_processor_type": "ConvNextImageProcessor", "size": 224, "crop_pct": 0 }), "crop_pct"),
            (json!({ "image_processor_type": "ConvNextImageProcessor", "size": [224, 224] }), "size"),
        ];
        for (value, word) in cases {
            let error = read(&value, "").expect_err(&value.to_string());
            assert!(error.message().contains(word), "{value}: {error}");
        }
    }
}
