//! `embed_image`, `embed_images` and `embed_text`.
//!
//! The one-argument forms use `visual_search.default_model` and are STABLE; the forms that name a model are IMMUTABLE
//! in the sense in which `to_tsvector(regconfig, text)` is: the same as long as the model's files stay the same, which
//! the tag of every embedding shows.

use super::session::{self, Embedded};
use crate::embedding::EmbeddingBuf;
use crate::error::{OrRaise, SqlError, SqlResult};
use crate::returned::Returned;
use crate::settings;
use pgrx::PgSqlErrorCode;
use pgrx::prelude::*;

impl Embedded {
    /// As a value of type `image_embedding`.
    pub fn into_value(self) -> SqlResult<EmbeddingBuf> {
        EmbeddingBuf::from_f32(&self.vector, self.tag)
            .map_err(|error| error.hint("The model's output does not fit half precision; let its manifest normalize it."))
    }
}

/// Embeds one picture.
pub fn embed(image: &[u8], model: &str) -> SqlResult<EmbeddingBuf> {
    pgrx::check_for_interrupts!();
    session::with(|session| session.embed_image(model, image))?.into_value()
}

#[pg_extern(sql = false)]
fn embed_image_default(image: &[u8]) -> EmbeddingBuf {
    embed(image, &settings::default_model()).or_raise()
}

#[pg_extern(sql = false)]
fn embed_image(image: &[u8], model: &str) -> EmbeddingBuf {
    embed(image, model).or_raise()
}

#[pg_extern(sql = false)]
fn embed_images_default(images: Array<'_, &[u8]>, fcinfo: pg_sys::FunctionCallInfo) -> Returned {
    embed_many(&images, &settings::default_model(), fcinfo).or_raise()
}

#[pg_extern(sql = false)]
fn embed_images(images: Array<'_, &[u8]>, model: &str, fcinfo: pg_sys::FunctionCallInfo) -> Returned {
    embed_many(&images, model, fcinfo).or_raise()
}

fn embed_many(images: &Array<'_, &[u8]>, model: &str, fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<Returned> {
    let images: Vec<Option<&[u8]>> = images.iter().collect();
    let made = session::with(|session| session.embed_images(model, &images))?;
    let mut values = Vec::with_capacity(made.len());
    let mut nulls = Vec::with_capacity(made.len());
    for embedded in made {
        nulls.push(embedded.is_none());
        values.push(match embedded {
            Some(embedded) => embedded.into_value()?.into_datum(),
            None => pg_sys::Datum::null(),
        });
    }
    let count = i32::try_from(values.len()).map_err(|_| {
        SqlError::new(PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED, "too many pictures in one call")
    })?;
    // SAFETY: the function is declared to return image_embedding[], so the element type of its result is that of the
    // values: variable length, by reference, aligned to 4 bytes. Both vectors have `count` elements.
    unsafe {
        let element = pg_sys::get_element_type(pg_sys::get_func_rettype((*(*fcinfo).flinfo).fn_oid));
        let (mut dims, mut lower_bounds) = ([count], [1]);
        let array = if count == 0 {
            pg_sys::construct_empty_array(element)
        } else {
            pg_sys::construct_md_array(
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
                1,
                dims.as_mut_ptr(),
                lower_bounds.as_mut_ptr(),
                element,
                -1,
                false,
                pg_sys::TYPALIGN_INT as std::ffi::c_char,
            )
        };
        Ok(Returned::new(pg_sys::Datum::from(array)))
    }
}

#[pg_extern(sql = false)]
fn embed_text_default(query: ServerText<'_>) -> EmbeddingBuf {
    embed_words(query, &settings::default_model()).or_raise()
}

#[pg_extern(sql = false)]
fn embed_text(query: ServerText<'_>, model: &str) -> EmbeddingBuf {
    embed_words(query, model).or_raise()
}

fn embed_words(query: ServerText<'_>, model: &str) -> SqlResult<EmbeddingBuf> {
    pgrx::check_for_interrupts!();
    let query = query.to_utf8()?;
    session::with(|session| session.embed_text(model, query))?.into_value()
}

/// An argument of type `text`, in the server's encoding.
struct ServerText<'a>(&'a [u8]);

impl<'a> ServerText<'a> {
    /// The text in UTF-8, which tokenizers expect.
    fn to_utf8(&self) -> SqlResult<&'a str> {
        let invalid = |_| SqlError::new(PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\"");
        let length = i32::try_from(self.0.len()).map_err(|_| crate::error::out_of_memory("converting a text"))?;
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
            unsafe { arg.unbox_arg_using_from_datum() }.expect("embed_text is STRICT")
        }
    }

    // SAFETY: only used as an argument declared by hand in sql/inference.sql.
    unsafe impl SqlTranslatable for ServerText<'_> {
        const TYPE_IDENT: &'static str = "visual_search::inference::functions::ServerText";
        const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
        const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("text"));
        const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Err(ReturnsError::Datum);
    }
}
