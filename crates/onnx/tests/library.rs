//! Loading the library: every unsuitable file is an error, and none keeps a good one from being loaded afterwards.
//!
//! One test in a binary of its own, because a process keeps the first ONNX Runtime it loads.

mod common;

use std::{env, fs, os::unix::fs::symlink, path::Path, process::Command};

use vs_onnx::{Error, ErrorKind, Runtime};

fn refused(path: &Path) -> Error {
    match Runtime::init(path) {
        Ok(runtime) => panic!("{} passed as ONNX Runtime {}", path.display(), runtime.version()),
        Err(error) => {
            assert!(error.hint().is_some_and(|hint| hint.contains("Install ONNX Runtime")), "{error}");
            assert!(error.message().contains(&*path.to_string_lossy()), "{error}");
            error
        }
    }
}

#[test]
fn unsuitable_libraries_are_errors_and_a_suitable_one_loads_afterwards() {
    let good = common::library();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path
    };

    for path in [folder.path().join("nothing.so"), folder.path().join("a/b/c"), "libonnxruntime.so".into(), "".into()] {
        assert_eq!(refused(&path).kind(), ErrorKind::LibraryMissing, "{}", path.display());
    }

    let bytes = fs::read(&good).expect("the library");
    let mut other_machine = bytes.clone();
    other_machine[18] ^= 0x5a;
    let fifo = folder.path().join("fifo.so");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let dangling = folder.path().join("dangling.so");
    symlink(&fifo, &dangling).expect("a link");
    let mut unsuitable = vec![
        file(
            "text.so",
            b"this is no library, however long the text goes on, and it goes on for more than sixty-four bytes",
        ),
        file("empty.so", b""),
        file("short.so", &bytes[..50]),
        file("head.so", &bytes[..64]),
        file("half.so", &bytes[..bytes.len() / 2]),
        file("cut.so", &bytes[..bytes.len() * 9 / 10]),
        file("machine.so", &other_machine),
        folder.path().to_path_buf(),
        fifo,
        dangling,
        "/dev/zero".into(),
    ];
    let libm = loaded_library("libm");
    unsuitable.push(libm.clone());
    for path in &unsuitable {
        assert_eq!(refused(path).kind(), ErrorKind::LibraryUnsuitable, "{}", path.display());
    }
    assert!(refused(&libm).message().contains("OrtGetApiBase"));
    assert!(refused(&folder.path().join("half.so")).message().contains("cut short"));

    match env::var_os("VS_OLD_ONNXRUNTIME") {
        None => println!("an ONNX Runtime that is too old: not present (VS_OLD_ONNXRUNTIME names none)"),
        Some(old) => {
            let error = refused(Path::new(&old));
            assert_eq!(error.kind(), ErrorKind::LibraryUnsuitable);
            assert!(error.message().contains("or newer is needed"), "{error}");
            println!("{error}");
        }
    }

    assert!(Runtime::get().is_none());
    let runtime = Runtime::init(&good).expect("the good library");
    assert!(runtime.version().starts_with("1."), "{}", runtime.version());
    assert_eq!(runtime.path(), good);
    // The first one stays, whatever is asked for later.
    assert!(std::ptr::eq(Runtime::init(&libm).expect("loaded already"), runtime));
}

/// The path of a library that this process has loaded.
fn loaded_library(name: &str) -> std::path::PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").expect("maps");
    let path =
        maps.split_whitespace().find(|word| word.starts_with('/') && word.contains(name) && word.contains(".so"));
    path.unwrap_or("/lib/x86_64-linux-gnu/libm.so.6").into()
}
