//! One error type for the whole crate: what went wrong (a [`ErrorKind`] the caller can map to a code), a sentence that
//! names the offender, and, where something can be done about it, a hint.

use std::{fmt, io};

/// The classes of failure that a caller tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The ONNX Runtime library is not where it was looked for.
    LibraryMissing,
    /// A file is there, but it is no ONNX Runtime, or one that is too old, or one that failed to start.
    LibraryUnsuitable,
    /// There is no model of that name.
    ModelMissing,
    /// The model's files contradict themselves, are damaged, or need something that is not supported.
    ModelInvalid,
    /// The model has no image side, or no text side.
    NoSuchSide,
    /// ONNX Runtime failed while running the network.
    RunFailed,
    /// The network ran and its output cannot be an embedding: NaN, infinity, a wrong shape.
    BadOutput,
    /// A file could not be read.
    Io,
    /// Memory for a buffer could not be allocated.
    OutOfMemory,
    /// A file, a tensor or a text is larger than the limits allow.
    LimitExceeded,
    /// The caller asked to stop between two batches, or every session of the process has been stopped.
    Cancelled,
}

/// An error with its kind, its message and an optional hint; `Display` prints the message alone.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes an error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), hint: None }
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts `context` and a colon in front of the message.
    #[must_use]
    pub fn within(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// What class of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The sentence that says what went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the user can do about it, if anything is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::ModelInvalid, message)
    }

    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::LimitExceeded, message)
    }

    /// `name` is that of a file within a model: where models lie on a server is not everybody's business.
    pub(crate) fn io(name: &str, error: &io::Error) -> Self {
        let name = if name.is_empty() { "the model's folder".to_owned() } else { format!("\"{name}\"") };
        Error::new(ErrorKind::Io, format!("could not read {name}: {error}"))
    }

    pub(crate) fn memory(bytes: usize, what: &str) -> Self {
        Error::new(ErrorKind::OutOfMemory, format!("could not allocate {bytes} bytes for {what}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// An empty vector with room for `len` elements, or an error where the allocator refuses.
pub(crate) fn reserve<T>(len: usize, what: &str) -> Result<Vec<T>> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(len).map_err(|_| Error::memory(len.saturating_mul(size_of::<T>()), what))?;
    Ok(vec)
}
