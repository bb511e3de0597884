//! What the tests share: the ONNX Runtime library, model folders made of the committed files, generated pictures.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use vs_onnx::{Bundle, Model, Options, Result, Runtime};
use vs_vision::Rgb;

/// The ONNX Runtime library to test with: `VS_ONNXRUNTIME`, else the one that `scripts/setup` puts under `target/`.
pub fn library() -> PathBuf {
    if let Some(path) = env::var_os("VS_ONNXRUNTIME") {
        return PathBuf::from(path);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/onnxruntime");
    let entries = |folder: &Path| {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut found: Vec<PathBuf> =
        entries(&folder).iter().flat_map(|path| [vec![path.clone()], entries(path)].concat()).collect();
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so")));
    found.sort();
    let path = found.pop().unwrap_or_else(|| {
        panic!(
            "there is no ONNX Runtime library under {}: run `scripts/setup`, or name one in VS_ONNXRUNTIME",
            folder.display()
        )
    });
    path.canonicalize().expect("the library's path")
}

/// ONNX Runtime, loaded.
pub fn runtime() -> &'static Runtime {
    Runtime::init(&library()).unwrap_or_else(|error| panic!("{error}\n{}", error.hint().unwrap_or_default()))
}

/// The folder of committed test models.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models")
}

/// The bytes of a committed test file.
pub fn fixture(name: &str) -> Vec<u8> {
    fs::read(fixtures().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Vectors that the test models must give, computed by `make.py`.
pub fn expected() -> Value {
    serde_json::from_slice(&fixture("expected.json")).expect("expected.json")
}

/// Numbers of a JSON array.
pub fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().expect("an array").iter().map(|number| number.as_f64().expect("a number") as f32).collect()
}

/// A model folder under construction, called `test-model`.
pub struct ModelFolder {
    root: TempDir,
}

impl ModelFolder {
    /// A folder with these committed files and this manifest.
    pub fn new(files: &[&str], manifest: &Value) -> Self {
        let this = ModelFolder { root: TempDir::new().expect("a temporary folder") };
        fs::create_dir(this.path()).expect("model folder");
        for name in files {
            this.write(name, &fixture(name));
        }
        this.write("manifest.json", manifest.to_string().as_bytes());
        this
    }

    /// The folder of model folders.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The model's folder.
    pub fn path(&self) -> PathBuf {
        self.root.path().join("test-model")
    }

    /// Adds or replaces a file.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, bytes).expect("a file");
    }

    /// Opens it.
    pub fn bundle(&self) -> Result<Bundle> {
        Bundle::open(&self.path())
    }

    /// Loads it with default options.
    pub fn load(&self) -> Result<Model> {
        Model::load(runtime(), self.bundle()?, &Options::default())
    }
}

/// A manifest for an image network of the committed ones, with `more` fields of its image side.
pub fn image_manifest(file: &str, more: &Value) -> Value {
    let mut image = json!({ "file": file, "preprocess": { "resize": { "mode": "exact", "width": 8, "height": 8 } } });
    for (key, value) in more.as_object().expect("an object") {
        image[key] = value.clone();
    }
    json!({ "format": 1, "image": image })
}

/// Folder and manifest of an image model in one.
pub fn image_model(file: &str, more: &Value) -> ModelFolder {
    ModelFolder::new(&[file], &image_manifest(file, more))
}

/// The 8 × 8 picture that `make.py` makes of `seed`.
pub fn picture(seed: u64) -> Rgb {
    let data = (0..8 * 8 * 3).map(|at: u64| ((at * 37 + at * at * 11 + seed * 53) % 251) as u8).collect();
    Rgb::new(8, 8, data).expect("a picture")
}

/// Fails unless two vectors agree to `tolerance` in every element.
pub fn assert_close(found: &[f32], wanted: &[f32], tolerance: f32) {
    assert_eq!(found.len(), wanted.len());
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert!((found - wanted).abs() <= tolerance, "element {at}: {found}, not {wanted}");
    }
}
