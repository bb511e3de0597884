//! PNG, by the `png` crate.
//!
//! Palettes, 1-, 2- and 4-bit samples and `tRNS` transparency are expanded, 16-bit samples keep their high byte, all
//! inside the decoder. Text chunks and colour profiles, the places where compressed bombs hide, are skipped unread.

use std::io::Cursor;

use image::metadata::Orientation;
use png::{BitDepth, ColorType, Decoder, Limits as PngLimits, Reader, Transformations};

use super::{Header, exif};
use crate::error::{Error, Result};
use crate::limits;
use crate::picture::Raster;

type Source<'a> = Cursor<&'a [u8]>;

/// Bytes the decoder may hold besides a row and its output: chunk bodies, which can be as long as the file.
fn open(bytes: &[u8], budget: usize) -> Result<Reader<Source<'_>>> {
    let limits = PngLimits { bytes: budget.saturating_add(bytes.len()).saturating_add(1 << 16) };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.read_info().map_err(explain)
}

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let reader = open(bytes, usize::MAX / 2)?;
    let info = reader.info();
    let (color, _) = reader.output_color_type();
    Ok(Header {
        width: info.width,
        height: info.height,
        orientation: info.exif_metadata.as_deref().map_or(Orientation::NoTransforms, exif::orientation),
        has_alpha: matches!(color, ColorType::Rgba | ColorType::GrayscaleAlpha),
    })
}

pub(super) fn pixels(bytes: &[u8], header: &Header) -> Result<Raster> {
    // A row has at most 8 bytes a pixel, and a few rows are held at a time.
    let mut reader = open(bytes, (header.width as usize).saturating_mul(64))?;
    let (color, depth) = reader.output_color_type();
    if depth != BitDepth::Eight {
        return Err(Error::unsupported(format!("PNG with {depth:?} bits a sample")));
    }
    let size = reader.output_buffer_size().ok_or_else(|| Error::corrupt("the PNG overflows memory"))?;
    let mut data = limits::zeroed(size)?;
    let frame = reader.next_frame(&mut data).map_err(explain)?;
    if (frame.width, frame.height) != (header.width, header.height) {
        return Err(Error::corrupt("the PNG's first frame does not fill the picture"));
    }
    let (width, height) = (header.width, header.height);
    Ok(match color {
        ColorType::Rgb => Raster { width, height, alpha: false, data },
        ColorType::Rgba => Raster { width, height, alpha: true, data },
        ColorType::Grayscale => {
            Raster { width, height, alpha: false, data: super::spread(&data, |&[l]: &[u8; 1]| [l, l, l])? }
        }
        ColorType::GrayscaleAlpha => {
            Raster { width, height, alpha: true, data: super::spread(&data, |&[l, a]: &[u8; 2]| [l, l, l, a])? }
        }
        ColorType::Indexed => return Err(Error::unsupported("PNG palette without expansion")),
    })
}

fn explain(error: png::DecodingError) -> Error {
    match error {
        png::DecodingError::LimitsExceeded => Error::corrupt("a PNG chunk is larger than the picture warrants"),
        other => Error::corrupt(other),
    }
}
