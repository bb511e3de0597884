//! `embed_image`, `embed_images` and `embed_text`.
//!
//! The one-argument forms use `visual_search.default_model` and are STABLE; the forms that name a model are IMMUTABLE
//! in the sense in which `to_tsvector(regconfig, text)` is: the same as long as the model's files stay the same, which
//! the tag of every embedding shows.

use super::session::{self, Embedded};
use crate::embedding::EmbeddingBuf;
use crate::error::{OrRaise, SqlError, SqlResult};
use crate::returned::Returned;
use crate::server_text::ServerText;
use crate::settings;
use pgrx::PgSqlErrorCode;
use pgrx::prelude::*;

/// Most pictures in a call of `embed_images`, NULLs included: a NULL takes a bit of an array, and some dozens of bytes here.
const MAX_PICTURES: usize = 1_000_000;

impl Embedded {
    /// As a value of type `image_embedding`.
    pub fn into_value(self) -> SqlResult<EmbeddingBuf> {
        EmbeddingBuf::from_f32(&self.vector, self.tag).map_err(|error| {
            error.hint("The model's output does not fit half precision; let its manifest normalize it.")
        })
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
fn embed_image(image: &[u8], model: ServerText<'_>) -> EmbeddingBuf {
    model.to_utf8().and_then(|model| embed(image, model)).or_raise()
}

#[pg_extern(sql = false)]
fn embed_images_default(images: Array<'_, &[u8]>, fcinfo: pg_sys::FunctionCallInfo) -> Returned {
    embed_many(&images, &settings::default_model(), fcinfo).or_raise()
}

#[pg_extern(sql = false)]
fn embed_images(images: Array<'_, &[u8]>, model: ServerText<'_>, fcinfo: pg_sys::FunctionCallInfo) -> Returned {
    model.to_utf8().and_then(|model| embed_many(&images, model, fcinfo)).or_raise()
}

fn embed_many(images: &Array<'_, &[u8]>, model: &str, fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<Returned> {
    if images.len() > MAX_PICTURES {
        let error = SqlError::new(PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED, "too many pictures in one call");
        return Err(error.detail(format!("There are {}; the limit is {MAX_PICTURES}.", images.len())));
    }
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
    let count = values.len() as i32;
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
fn embed_text(query: ServerText<'_>, model: ServerText<'_>) -> EmbeddingBuf {
    model.to_utf8().and_then(|model| embed_words(query, model)).or_raise()
}

fn embed_words(query: ServerText<'_>, model: &str) -> SqlResult<EmbeddingBuf> {
    pgrx::check_for_interrupts!();
    let query = query.to_utf8()?;
    session::with(|session| session.embed_text(model, query))?.into_value()
}
