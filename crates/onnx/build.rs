//! Compiles every model folder under `models/` that holds a `manifest.json` into the library.
//!
//! The result is one Rust expression, `[(folder name, [(file name, bytes)])]`, which `src/builtin.rs` includes. Only
//! the manifest, ONNX graphs and tokenizers are taken; training code, model cards and pictures stay out.
//!
//! Compiles the C side of `src/trap.rs` besides.

use std::{env, fmt::Write as _, fs, io, path::Path};

fn main() -> io::Result<()> {
    const TRAP: &str = "src/trap.c";
    println!("cargo::rerun-if-changed={TRAP}");
    cc::Build::new().file(TRAP).warnings(true).extra_warnings(true).compile("vs_trap");

    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    println!("cargo::rerun-if-changed={}", models.display());

    let mut code = String::from("[\n");
    let mut folders: Vec<_> = match fs::read_dir(&models) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>()?.into_iter().map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    folders.sort();
    for folder in folders.iter().filter(|folder| folder.join("manifest.json").is_file()) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        println!("cargo::rerun-if-changed={}", folder.display());
        let _ = writeln!(code, "    ({name:?}, &[");
        let mut files: Vec<_> = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        files.sort_by_key(|file| file.file_name());
        for file in files {
            let file_name = file.file_name().to_string_lossy().into_owned();
            let belongs =
                ["manifest.json", "tokenizer.json"].contains(&file_name.as_str()) || file_name.ends_with(".onnx");
            if belongs && file.path().is_file() {
                let path = file.path().canonicalize()?;
                println!("cargo::rerun-if-changed={}", path.display());
                let _ = writeln!(
                    code,
                    "        ({file_name:?}, include_bytes!({:?}) as &[u8]),",
                    path.display().to_string()
                );
            }
        }
        code.push_str("    ]),\n");
    }
    code.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("builtin_models.rs"), code)
}
