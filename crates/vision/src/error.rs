//! What can be wrong with a picture.

/// A picture that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There are no bytes at all.
    #[error("the picture is empty")]
    Empty,
    /// The file is longer than [`Limits::max_bytes`](crate::Limits::max_bytes).
    #[error("the picture has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Length of the file.
        bytes: usize,
        /// The limit it exceeds.
        limit: usize,
    },
    /// The header declares more pixels than [`Limits::max_pixels`](crate::Limits::max_pixels).
    #[error("the picture is declared as {width} x {height} pixels, the limit is {limit} pixels in all")]
    TooManyPixels {
        /// Declared width in pixels.
        width: u32,
        /// Declared height in pixels.
        height: u32,
        /// The limit on their product.
        limit: u64,
    },
    /// A format, or a variant of a format, that is not read. Names it.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// The file contradicts its format, or ends too early.
    #[error("the picture is damaged: {0}")]
    Corrupt(String),
    /// The host asked to stop, see [`stop_when`](crate::stop_when).
    #[error("stopped while reading the picture")]
    Stopped,
    /// A request beyond what a function accepts, for example a thumbnail of side 0.
    #[error("{0}")]
    InvalidArgument(String),
    /// Memory for the pixels could not be had.
    #[error("out of memory for {bytes} bytes of pixels")]
    OutOfMemory {
        /// Size of the allocation that failed.
        bytes: usize,
    },
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A [`Error::Corrupt`] from anything that explains itself, on one line.
    pub(crate) fn corrupt(reason: impl std::fmt::Display) -> Self {
        Self::Corrupt(one_line(reason))
    }

    /// A [`Error::Unsupported`] that names what is not read.
    pub(crate) fn unsupported(what: impl std::fmt::Display) -> Self {
        Self::Unsupported(one_line(what))
    }
}

/// Longest reason given, in bytes: decoders print values from the file, and those may be as long as it is.
const MAX_REASON: usize = 300;

/// A text on one line, cut where it becomes too long. What is cut is not even made.
fn one_line(text: impl std::fmt::Display) -> String {
    struct Bounded(String);
    impl std::fmt::Write for Bounded {
        fn write_str(&mut self, part: &str) -> std::fmt::Result {
            let room = MAX_REASON.saturating_sub(self.0.len());
            let cut = (0..=room.min(part.len())).rev().find(|&at| part.is_char_boundary(at)).unwrap_or(0);
            self.0.push_str(&part[..cut]);
            if cut < part.len() {
                self.0.push_str("...");
                return Err(std::fmt::Error);
            }
            Ok(())
        }
    }
    let mut line = Bounded(String::new());
    // The error is that it was cut.
    let _ = std::fmt::Write::write_fmt(&mut line, format_args!("{text}"));
    line.0.split_whitespace().collect::<Vec<_>>().join(" ")
}
