//! Limits on input, and allocation that respects them.
//!
//! A picture file of a few hundred bytes can declare billions of pixels. So dimensions are read first and compared
//! here, decoders are given a budget for their own buffers, and every buffer of ours is reserved fallibly: Rust aborts
//! the process on a failed allocation, which inside a database server would take every connection down.

use crate::error::{Error, Result};

/// What a picture may cost, checked before any pixel is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest file accepted, in bytes.
    pub max_bytes: usize,
    /// Most pixels accepted (width × height as declared by the header).
    pub max_pixels: u64,
}

impl Default for Limits {
    /// 32 MiB and 50 million pixels: the largest photo of a current camera, and about 150 MB as RGB.
    fn default() -> Self {
        Self { max_bytes: 32 << 20, max_pixels: 50_000_000 }
    }
}

impl Limits {
    /// Refuses empty and oversized files.
    pub(crate) fn check_bytes(&self, bytes: &[u8]) -> Result<()> {
        match bytes.len() {
            0 => Err(Error::Empty),
            n if n > self.max_bytes => Err(Error::TooLarge { bytes: n, limit: self.max_bytes }),
            _ => Ok(()),
        }
    }

    /// Refuses dimensions that are zero or whose product is over the limit.
    pub(crate) fn check_pixels(&self, width: u32, height: u32) -> Result<()> {
        if width == 0 || height == 0 {
            return Err(Error::Corrupt(format!("it declares {width} x {height} pixels")));
        }
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(Error::TooManyPixels { width, height, limit: self.max_pixels });
        }
        Ok(())
    }
}

/// A zeroed buffer of `len` bytes, or [`Error::OutOfMemory`].
pub(crate) fn zeroed(len: usize) -> Result<Vec<u8>> {
    let mut buffer = with_capacity(len)?;
    buffer.resize(len, 0);
    Ok(buffer)
}

/// An empty buffer with room for `len` elements, or [`Error::OutOfMemory`].
pub(crate) fn with_capacity<T>(len: usize) -> Result<Vec<T>> {
    let mut buffer = Vec::new();
    buffer
        .try_reserve_exact(len)
        .map_err(|_| Error::OutOfMemory { bytes: len.saturating_mul(std::mem::size_of::<T>()) })?;
    Ok(buffer)
}

/// Asks whether `bytes` could be allocated now, for the decoders that allocate infallibly themselves.
///
/// The reservation is dropped again, so this is advice and no guarantee; but the decoder asks for the same amount an
/// instant later, and where memory is limited (`ulimit -v`, strict overcommit) the answer decides between an error and
/// an abort.
pub(crate) fn probe(bytes: u64) -> Result<()> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    with_capacity::<u8>(bytes).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_inclusive() {
        let limits = Limits { max_bytes: 4, max_pixels: 6 };
        assert_eq!(limits.check_bytes(&[]), Err(Error::Empty));
        assert_eq!(limits.check_bytes(&[0; 4]), Ok(()));
        assert_eq!(limits.check_bytes(&[0; 5]), Err(Error::TooLarge { bytes: 5, limit: 4 }));
        assert_eq!(limits.check_pixels(2, 3), Ok(()));
        assert_eq!(limits.check_pixels(7, 1), Err(Error::TooManyPixels { width: 7, height: 1, limit: 6 }));
        assert!(matches!(limits.check_pixels(0, 1), Err(Error::Corrupt(_))));
        assert!(limits.check_pixels(u32::MAX, u32::MAX).is_err());
    }

    #[test]
    fn impossible_allocations_are_errors() {
        assert_eq!(with_capacity::<u8>(usize::MAX), Err(Error::OutOfMemory { bytes: usize::MAX }));
        assert!(probe(u64::MAX).is_err());
        assert_eq!(zeroed(3), Ok(vec![0; 3]));
    }
}
