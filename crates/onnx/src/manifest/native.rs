//! Our own `manifest.json`.
//!
//! ```json
//! {
//!   "format": 1,
//!   "dims": 512,
//!   "image": { "file": "image.onnx", "output": "fire9/concat_1", "preprocess": { … }, "pooling": "gap" },
//!   "text": { "file": "text.onnx", "tokenizer": "tokenizer.json" }
//! }
//! ```
//!
//! Fields nobody knows are refused: a misspelt one would otherwise silently change every vector.

use serde::Deserialize;

use super::{ImageSpec, Spec, TextSpec, check};
use crate::{
    bundle::Files,
    error::{Error, Result},
};

/// The file's name.
pub(super) const FILE: &str = "manifest.json";
/// The largest manifest read, in bytes.
const MAX_MANIFEST: u64 = 1 << 20;
/// The format written here.
const FORMAT: u32 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    license: Option<String>,
    #[serde(default)]
    dims: Option<usize>,
    #[serde(default)]
    image: Option<ImageSpec>,
    #[serde(default)]
    text: Option<TextSpec>,
}

/// Reads the manifest.
pub(super) fn read(files: &Files) -> Result<Spec> {
    let bytes = files.read(FILE, MAX_MANIFEST)?;
    parse(&bytes).map_err(|error| error.within(FILE))
}

fn parse(bytes: &[u8]) -> Result<Spec> {
    /// Read first, so that a later format is refused by its number and not by the fields it adds.
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let malformed = |error: serde_json::Error| Error::invalid(error.to_string());
    let version: Version = serde_json::from_slice(bytes).map_err(malformed)?;
    if version.format != FORMAT {
        return Err(Error::invalid(format!("it has format {}, and {FORMAT} is the one known", version.format)));
    }
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(malformed)?;
    debug_assert_eq!(manifest.format, FORMAT);

    let mut named = vec![FILE.to_owned()];
    named.extend(manifest.image.iter().map(|image| image.file.clone()));
    named.extend(manifest.text.iter().flat_map(|text| [text.file.clone(), text.tokenizer.clone()]));
    named.sort();
    named.dedup();
    let spec = Spec {
        source: FILE,
        name: manifest.name,
        description: manifest.description,
        license: manifest.license,
        dims: manifest.dims,
        image: manifest.image,
        text: manifest.text,
        files: named,
    };
    check(&spec)?;
    Ok(spec)
}
