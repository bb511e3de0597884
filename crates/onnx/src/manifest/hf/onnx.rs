//! Which of an export's ONNX files to use.

use crate::{bundle::Files, error::Result};

/// What the names of the same network in lesser precision end in, in order of preference.
const PRECISIONS: [&str; 8] = ["", "_fp16", "_quantized", "_int8", "_uint8", "_q4f16", "_q4", "_bnb4"];

/// The first of `stems` that there is an ONNX file for: in full precision if there is one, in `onnx/` or beside the
/// configuration.
pub(super) fn find(files: &Files, stems: &[&str]) -> Result<Option<String>> {
    let listed = [("onnx/", files.list("onnx")?), ("", files.list("")?)];
    for stem in stems {
        for precision in PRECISIONS {
            let wanted = format!("{stem}{precision}.onnx");
            if let Some((folder, _)) = listed.iter().find(|(_, names)| names.contains(&wanted)) {
                return Ok(Some(format!("{folder}{wanted}")));
            }
        }
    }
    Ok(None)
}
