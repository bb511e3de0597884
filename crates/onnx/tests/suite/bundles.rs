//! Folders of files: what is read, what is refused, what a digest covers, and when a folder counts as changed.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    process::Command,
};

use serde_json::{Value, json};
use vs_onnx::{Bundle, ErrorKind, MAX_FILE, Origin, builtin, check_name, list};

use crate::common::{ModelFolder, fixture, image_manifest, image_model};

#[test]
fn the_digest_covers_the_model_s_files_and_nothing_else() {
    let folder = image_model("picture.onnx", &json!({}));
    let bundle = folder.bundle().expect("a bundle");
    assert_eq!(bundle.files(), ["manifest.json", "picture.onnx"]);
    assert_eq!(bundle.name(), "test-model");
    assert_eq!(bundle.tag().to_be_bytes(), bundle.digest()[..4]);

    // By hand, as documented.
    let mut input = Vec::new();
    for name in ["manifest.json", "picture.onnx"] {
        let content = fs::read(folder.path().join(name)).expect("a file");
        input.extend((name.len() as u64).to_be_bytes());
        input.extend(name.as_bytes());
        input.extend((content.len() as u64).to_be_bytes());
        input.extend(content);
    }
    let sum = folder.root().join("input");
    fs::write(&sum, input).expect("a file");
    let output = Command::new("sha256sum").arg(&sum).output().expect("sha256sum").stdout;
    let hex: String = bundle.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(output.starts_with(hex.as_bytes()));

    folder.write("README.md", b"nothing to do with it");
    assert_eq!(folder.bundle().expect("a bundle").digest(), bundle.digest());
    let mut bytes = fixture("picture.onnx");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    folder.write("picture.onnx", &bytes);
    assert_ne!(folder.bundle().expect("a bundle").digest(), bundle.digest());
}

#[test]
fn a_folder_is_current_until_one_of_its_files_changes() {
    let folder = image_model("picture.onnx", &json!({}));
    let bundle = folder.bundle().expect("a bundle");
    assert!(bundle.is_current());
    folder.write("README.md", b"not a member");
    assert!(bundle.is_current());

    // The same bytes in another file are another file: telling them apart would mean reading them.
    let path = folder.path().join("picture.onnx");
    fs::rename(&path, folder.root().join("old")).expect("moved away");
    assert!(!bundle.is_current());
    folder.write("picture.onnx", &fixture("picture.onnx"));
    assert!(!bundle.is_current());
    let again = folder.bundle().expect("a bundle");
    assert_eq!(again.digest(), bundle.digest());
    assert!(again.is_current());
    folder.write("manifest.json", image_manifest("picture.onnx", &json!({ "normalize": true })).to_string().as_bytes());
    assert!(!again.is_current());

    // A model is not made of other bytes than were hashed.
    let error =
        vs_onnx::Model::load(crate::common::runtime(), again, &vs_onnx::Options::default()).err().expect("changed");
    assert_eq!(error.kind(), ErrorKind::ModelInvalid);
}

#[test]
fn names() {
    for good in ["a", "vs-mini-1", "clip_vit.b-32", "0", &"x".repeat(63)] {
        assert!(check_name(good).is_ok(), "{good}");
    }
    for bad in ["", ".", "..", ".hidden", "A", "a/b", "a\\b", "a b", "a\0", "é", "../a", &"x".repeat(64)] {
        assert_eq!(check_name(bad).expect_err(bad).kind(), ErrorKind::ModelMissing);
        assert_eq!(Bundle::find(None, bad).expect_err(bad).kind(), ErrorKind::ModelMissing);
    }
}

#[test]
fn finding_and_listing() {
    let folder = image_model("picture.onnx", &json!({}));
    fs::create_dir(folder.root().join("Not a name")).expect("a folder");
    fs::write(folder.root().join("a-file"), b"").expect("a file");
    let names: Vec<_> = list(Some(folder.root())).expect("a list");
    assert!(names.contains(&("test-model".to_owned(), Origin::Folder(folder.path()))));
    assert_eq!(names.len(), 1 + builtin().len());
    assert!(Bundle::find(Some(folder.root()), "test-model").is_ok());
    for (root, name) in [(Some(folder.root()), "another"), (None, "test-model"), (Some(folder.root()), "a-file")] {
        assert_eq!(Bundle::find(root, name).expect_err(name).kind(), ErrorKind::ModelMissing);
    }
    assert_eq!(list(Some(&folder.root().join("nowhere"))).expect("no folder, no models").len(), builtin().len());
}

#[test]
fn nothing_leads_out_of_the_folder() {
    let outside = |path: &str| {
        let folder = ModelFolder::new(&["picture.onnx"], &image_manifest(path, &json!({})));
        let error = folder.bundle().expect_err(path);
        assert_eq!(error.kind(), ErrorKind::ModelInvalid, "{path}: {error}");
        assert!(error.message().contains("not a plain path"), "{path}: {error}");
    };
    for path in [
        "/etc/passwd",
        "../test-model/picture.onnx",
        "./picture.onnx",
        "a/../picture.onnx",
        "",
        "a//b",
        "a/",
        "a\0b",
        "..",
        "\\\\a",
    ] {
        outside(path);
    }

    // The same for a file that the graph names.
    let mut bytes = fixture("picture_external.onnx");
    let at = bytes.windows(8).position(|window| window == b"picture_").expect("the location");
    bytes[at..at + 8].copy_from_slice(b"../../..");
    let folder = ModelFolder::new(&[], &image_manifest("picture_external.onnx", &json!({})));
    folder.write("picture_external.onnx", &bytes);
    assert_eq!(folder.bundle().expect_err("a path outside").kind(), ErrorKind::ModelInvalid);

    // Links, to files and to folders.
    let folder = image_model("picture.onnx", &json!({}));
    fs::rename(folder.path().join("picture.onnx"), folder.root().join("elsewhere.onnx")).expect("moved");
    symlink(folder.root().join("elsewhere.onnx"), folder.path().join("picture.onnx")).expect("a link");
    let error = folder.bundle().expect_err("a link");
    assert!(error.message().contains("symbolic link") && error.hint().is_some(), "{error}");
    let folder = ModelFolder::new(&[], &image_manifest("onnx/picture.onnx", &json!({})));
    symlink(crate::common::fixtures(), folder.path().join("onnx")).expect("a link");
    assert!(folder.bundle().expect_err("a link").message().contains("symbolic link"));
}

#[test]
fn what_is_no_file_is_refused_without_waiting() {
    let folder = image_model("picture.onnx", &json!({}));
    let path = folder.path().join("picture.onnx");
    fs::remove_file(&path).expect("removed");
    assert!(folder.bundle().expect_err("nothing there").message().contains("missing"));
    fs::create_dir(&path).expect("a folder");
    assert!(folder.bundle().expect_err("a folder").message().contains("not a regular file"));
    fs::remove_dir(&path).expect("removed");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    assert!(folder.bundle().expect_err("a pipe").message().contains("not a regular file"));
    fs::remove_file(&path).expect("removed");
    let _socket = UnixListener::bind(&path).expect("a socket");
    assert!(folder.bundle().is_err());
}

#[test]
fn files_beyond_the_limit_are_refused_before_they_are_read() {
    let folder = image_model("picture.onnx", &json!({}));
    let file = fs::File::create(folder.path().join("picture.onnx")).expect("a file");
    file.set_len(MAX_FILE + 1).expect("a sparse file");
    let error = folder.bundle().expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    folder.write("manifest.json", " ".repeat(2 << 20).as_bytes());
    assert_eq!(folder.bundle().expect_err("too large").kind(), ErrorKind::LimitExceeded);
}

#[test]
fn manifests_that_are_wrong_are_refused_with_the_reason() {
    let good = image_manifest("picture.onnx", &json!({}));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        manifest.to_string()
    };
    let cases = [
        ("".to_owned(), "EOF"),
        ("[]".to_owned(), "invalid"),
        ("{}".to_owned(), "format"),
        (json!({ "format": 1 }).to_string(), "neither an image side nor a text side"),
        (with(&|m| m["format"] = json!(2)), "format 2"),
        (with(&|m| m["colour"] = json!("red")), "colour"),
        (with(&|m| m["dims"] = json!(0)), "0 dimensions"),
        (with(&|m| m["dims"] = json!(16_001)), "16001 dimensions"),
        (with(&|m| m["image"]["normalise"] = json!(true)), "normalise"),
        (with(&|m| m["image"]["pooling"] = json!("mean")), "expected one of `none`, `cls`, `mean_tokens`"),
        (with(&|m| m["image"]["file"] = json!(7)), "string"),
        (with(&|m| m["image"]["preprocess"]["resise"] = json!(1)), "resise"),
        (with(&|m| drop(m["image"].as_object_mut().expect("an object").remove("preprocess"))), "preprocess"),
    ];
    let folder = image_model("picture.onnx", &json!({}));
    for (manifest, word) in cases {
        folder.write("manifest.json", manifest.as_bytes());
        let error = folder.bundle().expect_err(&manifest);
        assert!(error.message().contains(word), "{manifest}: {error}");
    }
    fs::remove_file(folder.path().join("manifest.json")).expect("removed");
    assert_eq!(folder.bundle().expect_err("no manifest").kind(), ErrorKind::ModelInvalid);
}

#[test]
fn built_in_models_open() {
    for (name, files) in builtin() {
        let bundle = Bundle::find(None, name).expect(name);
        assert_eq!(*bundle.origin(), Origin::Builtin);
        assert!(bundle.is_current());
        assert!(files.iter().any(|(file, _)| *file == "manifest.json"));
        assert_ne!(bundle.tag(), 0);
    }
}
