//! Stopping work that takes long and is not embedding: reading and hashing files, trial runs.
//!
//! The host says once how to find out whether it should stop. It is asked every so many bytes, and only by the thread
//! that called into this crate.

use std::sync::OnceLock;

use crate::error::{Error, ErrorKind, Result};

static ASK: OnceLock<fn() -> bool> = OnceLock::new();

/// Has `ask` asked between two pieces of long work, in the thread that does it; where it answers `true`, the work ends in
/// [`ErrorKind::Cancelled`]. The first call in a process counts.
pub fn ask_whether_to_stop(ask: fn() -> bool) {
    ASK.get_or_init(|| ask);
}

/// Fails if the host wants to stop.
pub(crate) fn check() -> Result<()> {
    match ASK.get() {
        Some(ask) if ask() => Err(Error::new(ErrorKind::Cancelled, "cancelled")),
        _ => Ok(()),
    }
}
