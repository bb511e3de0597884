//! PNG, by the `png` crate.
//!
//! Palettes, 1-, 2- and 4-bit samples and `tRNS` transparency are expanded, 16-bit samples keep their high byte, all
//! inside the decoder. Text chunks and colour profiles, the places where compressed bombs hide, are skipped unread.

use image::metadata::Orientation;
use png::{BitDepth, ColorType, Decoder, Reader, Transformations};

use super::{Header, exif, sample_count, spread};
use crate::error::{Error, Result};
use crate::limits::{self, Limits};
use crate::picture::Raster;
use crate::stop::Stoppable;

/// Bytes before the first chunk.
const SIGNATURE: usize = 8;
/// Bytes after the body of each chunk.
const CHECKSUM: usize = 4;

/// Reads up to the image data; the dimensions are held against `limits` before the decoder sizes a row by them.
fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Reader<Stoppable<'a>>> {
    // A chunk may be as long as the file; a few rows of at most 8 bytes a pixel are held at a time.
    let row = usize::try_from(limits.max_pixels).unwrap_or(usize::MAX).saturating_mul(8 * 4);
    let budget = bytes.len().saturating_add(row).saturating_add(1 << 16);
    let mut decoder = Decoder::new_with_limits(Stoppable::new(bytes), png::Limits { bytes: budget });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let info = decoder.read_header_info().map_err(explain)?;
    limits.check_pixels(info.width, info.height)?;
    decoder.read_info().map_err(explain)
}

pub(super) fn header(bytes: &[u8], limits: &Limits) -> Result<Header> {
    let reader = open(bytes, limits)?;
    let info = reader.info();
    let (color, _) = reader.output_color_type();
    Ok(Header {
        width: info.width,
        height: info.height,
        orientation: exif_block(bytes, info).map_or(Orientation::NoTransforms, exif::orientation),
        has_alpha: matches!(color, ColorType::Rgba | ColorType::GrayscaleAlpha),
    })
}

/// The EXIF block, which may stand before the image data, where the decoder has read it, or after.
fn exif_block<'a>(bytes: &'a [u8], info: &'a png::Info<'_>) -> Option<&'a [u8]> {
    if let Some(block) = &info.exif_metadata {
        return Some(block);
    }
    let mut chunks = bytes.get(SIGNATURE..)?;
    loop {
        let (length, rest) = chunks.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        let (body, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        if kind == b"eXIf" {
            return Some(body);
        }
        chunks = rest.get(CHECKSUM..)?;
    }
}

pub(super) fn pixels(bytes: &[u8], header: &Header, limits: &Limits) -> Result<Raster> {
    let mut reader = open(bytes, limits)?;
    // Besides the output the decoder holds some rows as they are stored.
    limits::probe(reader.info().raw_row_length() as u64 * 4 + sample_count(header, 4) as u64)?;
    let (color, depth) = reader.output_color_type();
    if depth != BitDepth::Eight {
        return Err(Error::unsupported(format!("PNG with {depth:?} bits a sample")));
    }
    let size = reader.output_buffer_size().ok_or(Error::OutOfMemory { bytes: usize::MAX })?;
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
            Raster { width, height, alpha: false, data: spread(&data, |&[l]: &[u8; 1]| [l, l, l])? }
        }
        ColorType::GrayscaleAlpha => {
            Raster { width, height, alpha: true, data: spread(&data, |&[l, a]: &[u8; 2]| [l, l, l, a])? }
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
