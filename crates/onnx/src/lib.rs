//! Models in ONNX form: from a folder of files to embeddings.
//!
//! 1. A **[`Bundle`]** is a model's files: a folder, or bytes compiled into the library. Its specification says what the
//!    sides of the model are and how they are fed and read; its digest names the model.
//! 2. The **[`Runtime`]** is the ONNX Runtime library, loaded by path when it is first needed.
//! 3. A **[`Model`]** is a bundle with its networks loaded, which turns pictures and texts into vectors.
//!
//! ```no_run
//! use std::path::Path;
//! use vs_onnx::{Bundle, Model, Options, Runtime};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = Runtime::init(Path::new("/usr/lib/libonnxruntime.so"))?;
//! let model = Model::load(runtime, Bundle::find(None, "vs-mini-1")?, &Options::default())?;
//! let picture = vs_vision::decode(&std::fs::read("shoe.jpg")?, &vs_vision::Limits::default())?;
//! let vectors = model.embed_images(&[picture])?;
//! assert_eq!(vectors[0].len(), model.dims());
//! # Ok(())
//! # }
//! ```
//!
//! The crate knows nothing of its host, but is written for one that runs each client in a process of its own, handles
//! signals in that process's only thread, and loses every client if a process aborts: nothing is loaded or started
//! before it is needed, threads have all signals blocked, and whatever is wrong with a file, a library or a picture is
//! an [`Error`].

#![deny(unsafe_op_in_unsafe_fn)]

mod builtin;
mod bundle;
mod error;
mod graph;
mod image;
mod interrupt;
mod manifest;
mod memory;
mod model;
mod output;
mod pool;
mod runtime;
mod session;
mod signals;
mod text;
mod trap;

pub use builtin::{Files as BuiltinFiles, builtin};
pub use bundle::{Bundle, MAX_FILE, Origin, check_name, list};
pub use error::{Error, ErrorKind, Result};
pub use image::Prepared;
pub use interrupt::ask_whether_to_stop;
pub use manifest::{ImageSpec, MAX_DIMS, Outputs, Padding, Pooling, Spec, TextInputs, TextSpec};
pub use memory::Usage;
pub use model::{Model, Side, Timing, Trial};
pub use runtime::{OLDEST_MINOR_VERSION, Runtime};
pub use session::{Options, Provider, stop};
pub use signals::SignalsBlocked;
