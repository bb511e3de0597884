//! Embeds files and texts and prints one JSON object a line: `embed LIBRARY MODEL_DIR MODEL INPUT...`.
//!
//! An input is the path of a picture, or a text behind `text:`. Serves to compare with other implementations of a model.

use std::{env, error::Error, fs, path::Path};

use serde_json::json;
use vs_onnx::{Bundle, Model, Options, Runtime};
use vs_vision::{Limits, decode};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [library, folder, name, inputs @ ..] = arguments.as_slice() else {
        return Err("usage: embed LIBRARY MODEL_DIR MODEL INPUT...".into());
    };
    let runtime = Runtime::init(Path::new(library))?;
    let model = Model::load(runtime, Bundle::find(Some(Path::new(folder)), name)?, &Options::default())?;
    if inputs.is_empty() {
        println!("{:#}", model.describe()?);
    }
    for input in inputs {
        let line = match input.strip_prefix("text:") {
            Some(text) => {
                let vectors = model.embed_texts(&[text], &mut || false)?;
                json!({ "input": input, "tokens": model.tokens(text)?, "vector": vectors[0] })
            }
            None => {
                let picture = decode(&fs::read(input)?, &Limits::default())?;
                json!({ "input": input, "vector": model.embed_images(&[picture])?[0] })
            }
        };
        println!("{line}");
    }
    Ok(())
}
