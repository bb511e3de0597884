//! The files of a Hugging Face export, read as they are.
//!
//! An export is a folder with `config.json` (what the network is), `preprocessor_config.json` or
//! `processor_config.json` (what is done to a picture), `tokenizer.json`, and ONNX files in the folder or in `onnx/`:
//! `vision_model.onnx` and `text_model.onnx`, or one `model.onnx`. None of them says which output is the embedding, so
//! that is decided here, by family, as the libraries' own feature functions do:
//!
//! | family | embedding |
//! |---|---|
//! | two encoders (CLIP, SigLIP) | the projected vectors, else the pooled ones; scaled to length 1, as their scores do |
//! | ViT, DeiT | the class token of the last layer |
//! | DINOv2, DINOv3, Swin, BEiT, ResNet, ConvNeXt … | the pooled output, else the class token or the mean of the map |
//! | any with one encoder, exported as a classifier | what its last linear layer reads |

mod onnx;
mod processor;
mod text;
mod timm;

use serde_json::Value;
use vs_vision::Preprocess;

use super::{Classifier, ImageSpec, Outputs, Spec, Tokens, check};
use crate::{
    bundle::Files,
    error::{Error, Result},
};

const CONFIG: &str = "config.json";
const PROCESSORS: [&str; 2] = ["preprocessor_config.json", "processor_config.json"];
/// The largest configuration file read, in bytes; those that list 20,000 classes have two million.
const MAX_CONFIG: u64 = 16 << 20;

/// Whether `files` look like an export.
pub(super) fn is_export(files: &Files) -> Result<bool> {
    files.has(CONFIG)
}

/// Reads an export.
pub(super) fn read(files: &Files) -> Result<Spec> {
    let config = json(files, CONFIG)?;
    let mut named = vec![CONFIG.to_owned()];
    let model_type = string(&config, "model_type");
    // Some configurations name the family and nothing else; the files tell.
    let separate =
        || Ok(onnx::find(files, &["vision_model"])?.is_some() && onnx::find(files, &["text_model"])?.is_some());
    let two_encoders = (config.get("vision_config").is_some() && config.get("text_config").is_some()) || separate()?;

    let preprocess = preprocess(files, &config, &mut named)?;
    let image =
        onnx::find(files, &["vision_model", "model"])?.map(|file| image(file, &config, two_encoders, preprocess));
    let image =
        image.ok_or_else(|| Error::invalid("it has neither vision_model.onnx nor model.onnx, here or in onnx/"))?;

    let text = if two_encoders { text::read(files, &config, &mut named)? } else { None };
    named.push(image.file.clone());
    named.extend(text.iter().flat_map(|text| [text.file.clone(), text.tokenizer.clone()]));
    named.sort();
    named.dedup();
    let spec = Spec {
        source: "Hugging Face export",
        name: config.get("_name_or_path").and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned),
        description: (!model_type.is_empty()).then(|| format!("a network of the family \"{model_type}\"")),
        license: None,
        dims: None,
        image: Some(image),
        text,
        files: named,
    };
    check(&spec)?;
    Ok(spec)
}

/// The image side of the network in `file`.
fn image(file: String, config: &Value, two_encoders: bool, preprocess: Preprocess) -> ImageSpec {
    let outputs: &[&str] = match string(config, "model_type") {
        _ if two_encoders => &["image_embeds", "pooler_output"],
        "clip_vision_model" | "siglip_vision_model" | "siglip2_vision_model" => &["image_embeds", "pooler_output"],
        // Their pooled output goes through a layer that many checkpoints never trained.
        "vit" | "deit" | "vit_msn" => &["last_hidden_state"],
        _ => &["pooler_output", "last_hidden_state", "image_embeds"],
    };
    ImageSpec {
        file,
        input: None,
        output: Outputs(outputs.iter().map(|name| (*name).to_owned()).collect()),
        preprocess,
        layout: None,
        pooling: None,
        normalize: two_encoders,
        classifier: Some(if two_encoders { Classifier::default() } else { classifier(config) }),
        // Their last layer is pooled by the mean; the others begin with a class token.
        tokens: if matches!(string(config, "model_type"), "swin" | "swinv2") { Tokens::Mean } else { Tokens::Cls },
    }
}

/// What the configuration says of the classes that a network tells apart.
fn classifier(config: &Value) -> Classifier {
    let names = config.get("architectures").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let number = |object: &Value| object.get("num_classes").and_then(Value::as_u64);
    let labels = config.get("id2label").and_then(Value::as_object).map(|labels| labels.len() as u64);
    let classes = number(config).or_else(|| number(config.get("pretrained_cfg")?)).or(labels);
    Classifier {
        certain: { names }.any(|name| name.ends_with("ForImageClassification")),
        classes: classes.and_then(|classes| usize::try_from(classes).ok()).filter(|&classes| classes > 0),
    }
}

/// What is done to a picture, by whichever file says.
fn preprocess(files: &Files, config: &Value, named: &mut Vec<String>) -> Result<Preprocess> {
    for name in PROCESSORS {
        if !files.has(name)? {
            continue;
        }
        let processor = json(files, name)?;
        // Newer exports keep the image processor's fields in an object of that name.
        let processor = processor.get("image_processor").cloned().unwrap_or(processor);
        if processor.get("image_processor_type").is_none()
            && processor.get("feature_extractor_type").is_none()
            && processor.get("size").is_none()
        {
            continue;
        }
        named.push(name.to_owned());
        // timm's networks come with classes that only say so; what is done is in their own configuration.
        if !processor::is_known(&processor, string(config, "model_type"))
            && let Some(read) = timm_config(config)
        {
            return read;
        }
        return processor::read(&processor, string(config, "model_type")).map_err(|error| error.within(name));
    }
    if let Some(read) = timm_config(config) {
        return read;
    }
    Err(Error::invalid(format!("no {} says what is done to a picture", PROCESSORS.join(" or "))).with_hint(MANIFEST))
}

/// What timm's keys say, in an object of their own or, in older files, beside the others.
fn timm_config(config: &Value) -> Option<Result<Preprocess>> {
    let own = config.get("pretrained_cfg").filter(|value| value.is_object());
    let pretrained = own.or_else(|| Some(config).filter(|config| config.get("input_size").is_some()))?;
    Some(timm::read(pretrained).map_err(|error| error.within(CONFIG)))
}

const MANIFEST: &str = "A manifest.json in the model's folder can say what the export leaves open.";

fn json(files: &Files, name: &str) -> Result<Value> {
    let bytes = files.read(name, MAX_CONFIG)?;
    serde_json::from_slice(&bytes).map_err(|error| Error::invalid(format!("{name}: {error}")))
}

fn string<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}
