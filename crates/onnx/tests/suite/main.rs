//! Models, from files to vectors, with the real ONNX Runtime.

#[path = "../common/mod.rs"]
mod common;

mod bundles;
mod exports;
mod hostile;
mod images;
mod parity;
mod squeezenet;
mod texts;
mod threads;
