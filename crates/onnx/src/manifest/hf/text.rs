//! The text encoder of an export that has two.

use serde_json::Value;
use tokenizers::Tokenizer;

use super::{json, onnx, string};
use crate::{
    bundle::{Files, MAX_JSON},
    error::{Error, Result},
    manifest::{Outputs, Padding, TextInputs, TextSpec},
    runtime::guarded,
};

const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// The text side, if the export has a tokenizer and a network for it.
pub(super) fn read(files: &Files, config: &Value, named: &mut Vec<String>) -> Result<Option<TextSpec>> {
    if !files.has(TOKENIZER)? {
        return Ok(None);
    }
    // Beside a vision_model, a model.onnx is the whole and holds the text encoder too.
    let Some(file) = onnx::find(files, &["text_model", "model"])? else { return Ok(None) };
    let text_config = config.get("text_config").unwrap_or(&Value::Null);
    let settings = if files.has(TOKENIZER_CONFIG)? {
        named.push(TOKENIZER_CONFIG.to_owned());
        json(files, TOKENIZER_CONFIG)?
    } else {
        Value::Null
    };

    // "No limit" is written as a number of thirty digits.
    let whole = |object: &Value, key: &str| {
        object.get(key).and_then(Value::as_u64).and_then(|value| usize::try_from(value).ok())
    };
    let longest = whole(text_config, "max_position_embeddings");
    let max_tokens = match (whole(&settings, "model_max_length").filter(|&tokens| tokens < 1 << 20), longest) {
        (Some(tokens), Some(longest)) => Some(tokens.min(longest)),
        (tokens, longest) => tokens.or(longest),
    };

    // SigLIP reads its vector off the last position and was trained on texts padded to the full length.
    let siglip = string(config, "model_type").starts_with("siglip");
    // SigLIP 2 was trained on lower case. Its published tokenizers leave that to the caller, and say so or have the class
    // of another network's tokenizer. What a tokenizer does itself it may do twice.
    let class = string(&settings, "tokenizer_class");
    let lowercase = settings.get("do_lower_case").and_then(Value::as_bool).unwrap_or(false)
        || string(config, "model_type") == "siglip2"
        || (siglip && (class.starts_with("Gemma") || class.starts_with("Siglip2")));
    let pad_id = match settings.get("pad_token") {
        Some(Value::String(token)) => token_id(files, token)?,
        Some(Value::Object(token)) => {
            token_id(files, token.get("content").and_then(Value::as_str).unwrap_or_default())?
        }
        _ => None,
    };
    let pad_id = pad_id.or_else(|| whole(text_config, "pad_token_id").and_then(|id| u32::try_from(id).ok()));
    Ok(Some(TextSpec {
        file,
        tokenizer: TOKENIZER.to_owned(),
        inputs: TextInputs::default(),
        output: Outputs(["text_embeds", "pooler_output"].map(str::to_owned).to_vec()),
        max_tokens: if siglip { max_tokens.or(Some(64)) } else { max_tokens },
        padding: if siglip { Padding::Max } else { Padding::None },
        pad_id,
        lowercase,
        pooling: None,
        normalize: true,
    }))
}

/// The number of a token.
fn token_id(files: &Files, token: &str) -> Result<Option<u32>> {
    let bytes = files.read(TOKENIZER, MAX_JSON)?;
    let tokenizer = guarded(|| Tokenizer::from_bytes(&bytes).map_err(|error| error.to_string()))
        .map_err(|reason| Error::invalid(format!("\"{TOKENIZER}\" is no tokenizer: {reason}")))?;
    Ok(tokenizer.token_to_id(token))
}
