//! The one place where a panic of somebody else's code becomes an error.
//!
//! The decoders, but for libjpeg-turbo and libwebp, are safe Rust, fuzzed by their authors and by our own hostile-input tests,
//! and meant to return errors. Still, an index out of bounds or an arithmetic overflow in one of them must not unwind
//! into a database backend. This is defence in depth, not a way of handling input: a panic that reaches it deserves a
//! check in front of the decoder.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result};

/// Runs `decode`, turning a panic into [`Error::Corrupt`].
///
/// Unwind safety: the closure owns or rebuilds all state it touches, and a caller drops its output buffers on an error,
/// so nothing half-written is seen afterwards.
pub(crate) fn guarded<T>(decode: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|payload| {
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        Err(Error::Corrupt(format!("the decoder gave up ({message})")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_errors() {
        let index = std::hint::black_box(3);
        assert!(
            matches!(guarded(|| Ok([1, 2][index])), Err(Error::Corrupt(reason)) if reason.contains("out of bounds"))
        );
        assert_eq!(guarded(|| Ok(7)), Ok(7));
    }
}
