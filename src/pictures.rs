//! Looking at pictures in SQL: what they are, thumbnails, data URIs and contact sheets.
//!
//! The work is done by `vs_vision`; here are the limits from the settings and the errors in PostgreSQL's form.

use crate::error::{OrRaise, SqlError, SqlResult};
use crate::returned::{Returned, column, record};
use crate::server_text::ServerText;
use crate::settings;
use pgrx::PgSqlErrorCode;
use pgrx::prelude::*;
use vs_vision::{Limits, ThumbFormat};

/// The limits on pictures that the settings give.
pub fn limits() -> Limits {
    Limits { max_bytes: settings::max_image_bytes(), max_pixels: settings::max_image_pixels() }
}

/// What is wrong with a picture, in PostgreSQL's form.
pub fn picture_error(error: vs_vision::Error) -> SqlError {
    use vs_vision::Error;
    match error {
        Error::Stopped => {
            // PostgreSQL knows the reason.
            pgrx::check_for_interrupts!();
            SqlError::new(PgSqlErrorCode::ERRCODE_QUERY_CANCELED, "canceled while reading a picture")
        }
        Error::Empty => SqlError::new(PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION, "picture is empty"),
        Error::TooLarge { bytes, limit } => {
            SqlError::new(PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED, "picture is too large")
                .detail(format!("It has {bytes} bytes; the limit is {limit}."))
                .hint("A superuser can raise visual_search.max_image_bytes.")
        }
        Error::TooManyPixels { width, height, limit } => {
            SqlError::new(PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED, "picture has too many pixels")
                .detail(format!("Its header says {width} x {height}; the limit is {limit} pixels."))
                .hint("A superuser can raise visual_search.max_image_pixels.")
        }
        Error::Unsupported(what) => SqlError::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, "cannot read picture")
            .detail(sentence(&format!("{what} is not supported"))),
        Error::Corrupt(reason) => {
            SqlError::new(PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION, "picture is damaged")
                .detail(sentence(&reason))
        }
        Error::InvalidArgument(what) => SqlError::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, what),
        Error::OutOfMemory { bytes } => crate::error::out_of_memory(format!("allocating {bytes} bytes for a picture")),
        other => SqlError::new(PgSqlErrorCode::ERRCODE_DATA_EXCEPTION, other.to_string()),
    }
}

/// The text with a capital first letter and a full stop, as a DETAIL has them.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", characters.as_str().trim_end_matches('.'))
}

/// A size given in SQL, which has no unsigned type.
fn positive(value: i32, name: &str) -> SqlResult<u32> {
    u32::try_from(value).ok().filter(|&value| value > 0).ok_or_else(|| {
        SqlError::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("{name} must be at least 1, not {value}"),
        )
    })
}

#[pg_extern(sql = false)]
fn image_info(image: &[u8], fcinfo: pg_sys::FunctionCallInfo) -> Returned {
    let info = vs_vision::inspect(image, &limits()).map_err(picture_error).or_raise();
    // SAFETY: the columns are those that sql/images.sql declares.
    unsafe {
        record(
            fcinfo,
            &[
                column(info.format.name().to_owned()),
                column(info.width as i32),
                column(info.height as i32),
                column(i32::from(info.orientation)),
                column(info.has_alpha),
            ],
        )
    }
    .or_raise()
}

#[pg_extern(sql = false)]
fn image_thumbnail(image: &[u8], max_side: i32, format: ServerText<'_>) -> Vec<u8> {
    let format = format.to_utf8().or_raise();
    let format = match format.to_ascii_lowercase().as_str() {
        "jpeg" | "jpg" => ThumbFormat::Jpeg,
        "png" => ThumbFormat::Png,
        "webp" => ThumbFormat::WebP,
        _ => SqlError::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("unrecognized thumbnail format \"{format}\""),
        )
        .hint("Available formats are jpeg, png and webp.")
        .raise(),
    };
    let max_side = positive(max_side, "max_side").or_raise();
    vs_vision::thumbnail(image, max_side, format, &limits()).map_err(picture_error).or_raise()
}

#[pg_extern(sql = false)]
fn image_data_uri(image: &[u8]) -> String {
    vs_vision::data_uri(image, &limits()).map_err(picture_error).or_raise()
}

#[pg_extern(sql = false)]
fn image_contact_sheet(
    images: Option<Array<'_, &[u8]>>,
    columns: Option<i32>,
    captions: Option<Array<'_, &[u8]>>,
) -> Option<Vec<u8>> {
    let (images, columns) = (images?, positive(columns?, "columns").or_raise());
    // Nothing is collected before it is known to be little: a NULL takes a bit of an array, and more here.
    let captions_given = captions.as_ref().map_or(0, Array::len);
    vs_vision::check_contact_sheet(images.len(), columns, captions_given).map_err(picture_error).or_raise();
    let images: Vec<Option<&[u8]>> = images.iter().collect();
    let captions = captions.iter().flat_map(|captions| captions.iter());
    let captions: SqlResult<Vec<Option<&str>>> =
        captions.map(|caption| caption.map(|caption| ServerText(caption).to_utf8()).transpose()).collect();
    let captions = captions.or_raise();
    let mut between = || {
        pgrx::check_for_interrupts!();
    };
    let sheet = vs_vision::contact_sheet(&images, columns, &captions, &limits(), &mut between);
    Some(sheet.map_err(picture_error).or_raise())
}
