//! Errors in PostgreSQL's own form: SQLSTATE, message, DETAIL and HINT.
//!
//! Everything below the SQL functions returns [`SqlResult`]; the functions themselves call [`OrRaise::or_raise`] at
//! their outermost level. Raising is a Rust panic that pgrx turns into `ereport(ERROR)` at the C boundary, so every
//! destructor on the way runs. Message style follows the manual's "Error Message Style Guide": the primary message is
//! lower case without a full stop, DETAIL and HINT are sentences.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::PgLogLevel;
use pgrx::{PgSqlErrorCode, pg_sys};

/// An error to be raised to the client.
pub struct SqlError {
    code: PgSqlErrorCode,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
}

/// What fallible code of the extension returns.
pub type SqlResult<T> = Result<T, SqlError>;

impl SqlError {
    /// An error with its SQLSTATE and primary message.
    pub fn new(code: PgSqlErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None, hint: None }
    }

    /// Adds the DETAIL line: what exactly was found.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the HINT line: what the user can do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The primary message alone.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Prefixes the primary message with where it happened, as `context: message`.
    pub fn within(mut self, context: impl std::fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// Raises the error; control returns to PostgreSQL.
    #[track_caller]
    pub fn raise(self) -> ! {
        let mut report = ErrorReport::new(self.code, in_server_encoding(self.message), "");
        if let Some(detail) = self.detail {
            report = report.set_detail(in_server_encoding(detail));
        }
        if let Some(hint) = self.hint {
            report = report.set_hint(in_server_encoding(hint));
        }
        report.report(PgLogLevel::ERROR);
        unreachable!("reporting at level ERROR does not return")
    }
}

/// A text as PostgreSQL wants it in a message or a result: in the encoding of the database.
///
/// Where that is not UTF-8, what is not ASCII becomes question marks. A conversion could fail, and would then raise an
/// error of its own in place of this one. For the same reason the words of our own messages are ASCII: a client's
/// encoding need not have any other character.
pub fn in_server_encoding(text: String) -> String {
    // SAFETY: returns a number that is set once, when the process connects to its database.
    let utf8 = unsafe { pg_sys::GetDatabaseEncoding() } == pg_sys::pg_enc::PG_UTF8 as i32;
    if utf8 || text.is_ascii() {
        return text;
    }
    text.chars().map(|character| if character.is_ascii() { character } else { '?' }).collect()
}

/// Unwraps a result at the SQL boundary.
pub trait OrRaise<T> {
    /// The value, or the error raised to the client.
    fn or_raise(self) -> T;
}

impl<T> OrRaise<T> for SqlResult<T> {
    #[track_caller]
    fn or_raise(self) -> T {
        match self {
            Ok(value) => value,
            Err(error) => error.raise(),
        }
    }
}

/// The error for memory that could not be had, in the words of PostgreSQL's own.
pub fn out_of_memory(what: impl std::fmt::Display) -> SqlError {
    SqlError::new(PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, "out of memory").detail(format!("Failed while {what}."))
}
