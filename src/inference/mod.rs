//! Running networks on pictures and words.
//!
//! A model is a folder, as a text-search dictionary is a file: there is no registry table, so nothing can be out of
//! step at a restore, on a standby, or in a generated column. [`session`] holds what one backend has loaded and
//! remembered; [`functions`] are `embed_image` and its kin; [`trigger`] is `embed_on_write`; [`admin`] shows models and
//! statistics; [`workers`] are the threads that embed pictures in parallel.
//!
//! # Threads and exit
//! PostgreSQL's processes are single-threaded, and signal handlers must run in the main thread. So by default no
//! thread is started at all. With `visual_search.threads` above 1, every thread starts with all signals blocked, never
//! calls PostgreSQL, and is idle before control returns to it. A backend that ends by FATAL does not unwind:
//! [`workers::stop_at_exit`] registers a `before_shmem_exit` callback that stops and joins all threads first. The
//! postmaster loads no ONNX Runtime and starts no thread, even if the library is preloaded.

pub mod admin;
pub mod functions;
pub mod session;
pub mod trigger;
pub mod workers;
