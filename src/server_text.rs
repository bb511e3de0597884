//! Text arguments in databases of any encoding.
//!
//! PostgreSQL hands text over in the encoding of the database, which need not be UTF-8, and Rust's strings are UTF-8:
//! an argument is taken as bytes and converted by PostgreSQL itself.

use crate::error::{SqlError, SqlResult, out_of_memory};
use pgrx::{PgSqlErrorCode, pg_sys};

/// A value of type `text`, in the encoding of the database.
#[derive(Clone, Copy)]
pub struct ServerText<'a>(pub &'a [u8]);

impl<'a> ServerText<'a> {
    /// The text in UTF-8.
    ///
    /// # Errors
    /// `character_not_in_repertoire` where the database takes any bytes for text and these are no UTF-8. PostgreSQL
    /// raises its own error for a character that has no equivalent.
    pub fn to_utf8(self) -> SqlResult<&'a str> {
        let invalid = |_| {
            let message = "invalid byte sequence for encoding \"UTF8\"";
            SqlError::new(PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE, message)
        };
        let length = i32::try_from(self.0.len()).map_err(|_| out_of_memory("converting a text"))?;
        // SAFETY: reads `length` bytes; returns either the same pointer, with the same length, or a palloc'd C string,
        // or raises. Both live as long as the call.
        let bytes = unsafe {
            let source = self.0.as_ptr().cast::<std::ffi::c_char>();
            let converted = pg_sys::pg_server_to_any(source, length, pg_sys::pg_enc::PG_UTF8 as i32);
            if converted.cast_const() == source { self.0 } else { std::ffi::CStr::from_ptr(converted).to_bytes() }
        };
        std::str::from_utf8(bytes).map_err(invalid)
    }
}

mod glue {
    use super::ServerText;
    use pgrx::callconv::{Arg, ArgAbi};
    use pgrx::pg_sys;
    use pgrx::pgrx_sql_entity_graph::metadata::{
        ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
    };

    impl pgrx::FromDatum for ServerText<'_> {
        unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, typoid: pg_sys::Oid) -> Option<Self> {
            // SAFETY: text and bytea have the same layout.
            unsafe { <&[u8]>::from_polymorphic_datum(datum, is_null, typoid) }.map(ServerText)
        }
    }

    // SAFETY: the SQL declares the argument as text, and the functions as STRICT.
    unsafe impl<'fcx> ArgAbi<'fcx> for ServerText<'fcx> {
        unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
            // SAFETY: as for the trait.
            unsafe { arg.unbox_arg_using_from_datum() }.expect("a strict function gets no NULL")
        }
    }

    // SAFETY: only used for arguments that sql/ declares by hand as text.
    unsafe impl SqlTranslatable for ServerText<'_> {
        const TYPE_IDENT: &'static str = "visual_search::server_text::ServerText";
        const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
        const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("text"));
        const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Err(ReturnsError::Datum);
    }
}
