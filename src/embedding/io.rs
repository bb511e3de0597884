//! Input and output functions: text, binary, and the type modifier of `image_embedding(n)`.
//!
//! The binary form is what the `send` function of a vector type would be expected to be: `int2` dims, `int2` flags,
//! `int4` tag, then the elements as 2-byte floats, all in network byte order.

use super::{Embedding, EmbeddingBuf, MAX_DIMS, literal};
use crate::error::{OrRaise, SqlError, SqlResult};
use half::f16;
use pgrx::prelude::*;
use pgrx::{Internal, PgSqlErrorCode};
use std::ffi::{CStr, CString};
use vs_distance::OutOfRange;

/// The error for a number of dimensions outside 1 to [`MAX_DIMS`].
pub fn dims_out_of_range(dims: usize) -> SqlError {
    if dims == 0 {
        SqlError::new(PgSqlErrorCode::ERRCODE_DATA_EXCEPTION, "image_embedding must have at least 1 dimension")
    } else {
        SqlError::new(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!("image_embedding cannot have more than {MAX_DIMS} dimensions"),
        )
    }
}

/// The error for an element that half precision cannot hold.
pub fn element_out_of_range(problem: OutOfRange) -> SqlError {
    let OutOfRange { index, value } = problem;
    if value.is_finite() {
        SqlError::new(
            PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            format!("\"{value}\" is out of range for type image_embedding"),
        )
        .detail(format!("It would be element {}; elements reach from -65504 to 65504.", index + 1))
    } else {
        let name = if value.is_nan() { "NaN" } else { "infinity" };
        SqlError::new(
            PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            format!("{name} is not allowed in image_embedding"),
        )
        .detail(format!("It would be element {}.", index + 1))
    }
}

/// The error for a vector that is not zero and that half precision would make zero; `number` is its first element that is
/// not.
///
/// An element that small among larger ones is lost like any other digit that half precision has no room for. But the zero
/// vector has no direction: cosine distances to it are NaN, and whoever stores 1e-9 in every element does not mean that.
pub fn vector_vanishes(number: impl std::fmt::Display) -> SqlError {
    SqlError::new(
        PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
        format!("\"{number}\" is out of range for type image_embedding"),
    )
    .detail("Every element would be rounded to 0: half precision has no number between 0 and 6e-8.")
    .hint("Multiply vectors this short by a constant; their order by distance stays the same.")
}

/// A number for [`vector_vanishes`], in the few digits that say enough of it.
pub fn few_digits(number: f64) -> String {
    let short = number as f32;
    if short == 0.0 { format!("{number:e}") } else { format!("{short:e}") }
}

/// Refuses a vector that has become zero although `number`, one of its elements, was not.
pub fn check_vanished(elements: &[f16], number: Option<impl std::fmt::Display>) -> SqlResult<()> {
    match number {
        Some(number) if elements.iter().all(|&element| element == f16::ZERO) => Err(vector_vanishes(number)),
        _ => Ok(()),
    }
}

/// Refuses a value whose dimensions do not match `image_embedding(n)`; a negative modifier means no limit.
pub fn check_typmod(dims: usize, typmod: i32) -> SqlResult<()> {
    if typmod >= 0 && dims != typmod as usize {
        return Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
            format!("expected {typmod} dimensions, not {dims}"),
        ));
    }
    Ok(())
}

#[pg_extern(sql = false)]
fn image_embedding_in(text: &CStr, _oid: pg_sys::Oid, typmod: i32) -> EmbeddingBuf {
    // The server has validated its encoding, which need not be UTF-8; whatever is not ASCII is an error anyway.
    let bytes = text.to_bytes();
    let (text, whole) = match std::str::from_utf8(bytes) {
        Ok(text) => (text, true),
        Err(error) => (std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(), false),
    };
    let (elements, tag) = literal::parse(text).or_raise();
    if !whole {
        let error = SqlError::new(
            PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
            "invalid input syntax for type image_embedding",
        );
        error.detail("There are characters behind its end.").raise();
    }
    check_typmod(elements.len(), typmod).or_raise();
    EmbeddingBuf::from_elements(&elements, tag).or_raise()
}

#[pg_extern(sql = false)]
fn image_embedding_out(value: Embedding<'_>) -> CString {
    CString::new(literal::format(value.elements(), value.tag())).expect("the text form contains no NUL")
}

#[pg_extern(sql = false)]
fn image_embedding_recv(message: Internal, _oid: pg_sys::Oid, typmod: i32) -> EmbeddingBuf {
    let buffer: pg_sys::StringInfo = message.unwrap().map_or(std::ptr::null_mut(), |datum| datum.cast_mut_ptr());
    // SAFETY: PostgreSQL calls a receive function with a StringInfo; the pq_getmsg functions check its length.
    let (dims, flags, tag) = unsafe {
        (pg_sys::pq_getmsgint(buffer, 2) as usize, pg_sys::pq_getmsgint(buffer, 2), pg_sys::pq_getmsgint(buffer, 4))
    };
    if flags != 0 {
        SqlError::new(
            PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION,
            format!("expected flags to be 0, not {flags}, in external image_embedding"),
        )
        .raise();
    }
    check_typmod(dims, typmod).or_raise();
    let mut value = EmbeddingBuf::zeros(dims, tag).or_raise();
    // All at once: a call for each element would take longer than all else that a query does with its argument.
    // SAFETY: as above; what it returns are that many bytes of the message, which outlives this call.
    let bytes = unsafe {
        let length = 2 * dims;
        std::slice::from_raw_parts(pg_sys::pq_getmsgbytes(buffer, length as i32).cast::<u8>(), length)
    };
    for (index, (element, bytes)) in value.elements_mut().iter_mut().zip(bytes.chunks_exact(2)).enumerate() {
        *element = f16::from_bits(u16::from_be_bytes([bytes[0], bytes[1]]));
        if !element.is_finite() {
            element_out_of_range(OutOfRange { index, value: element.to_f64() }).raise();
        }
    }
    value
}

#[pg_extern(sql = false)]
fn image_embedding_send(value: Embedding<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + 2 * value.dims());
    bytes.extend((value.dims() as u16).to_be_bytes());
    bytes.extend(0u16.to_be_bytes());
    bytes.extend(value.tag().to_be_bytes());
    for element in value.elements() {
        bytes.extend(element.to_bits().to_be_bytes());
    }
    bytes
}

#[pg_extern(sql = false)]
fn image_embedding_typmod_in(modifiers: Array<'_, &CStr>) -> i32 {
    let mut modifiers = modifiers.iter();
    let (Some(Some(text)), None) = (modifiers.next(), modifiers.next()) else {
        SqlError::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, "invalid type modifier")
            .hint("Write the number of dimensions: image_embedding(384).")
            .raise()
    };
    let text = text.to_string_lossy();
    let Ok(dims) = text.parse::<i64>() else {
        SqlError::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, format!("invalid type modifier: \"{text}\""))
            .hint("Write the number of dimensions: image_embedding(384).")
            .raise()
    };
    if dims < 1 {
        SqlError::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "dimensions for type image_embedding must be at least 1",
        )
        .raise();
    }
    if dims > MAX_DIMS as i64 {
        SqlError::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("dimensions for type image_embedding cannot exceed {MAX_DIMS}"),
        )
        .raise();
    }
    dims as i32
}

#[pg_extern(sql = false)]
fn image_embedding_enforce_typmod(value: Embedding<'_>, typmod: i32, _explicit: bool) -> EmbeddingBuf {
    check_typmod(value.dims(), typmod).or_raise();
    EmbeddingBuf::from_elements(value.elements(), value.tag()).or_raise()
}
