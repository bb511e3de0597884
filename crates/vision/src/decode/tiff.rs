//! TIFF, by the `tiff` crate: the first directory, integer samples of 1 to 16 bits.

use std::io::Cursor;

use image::metadata::Orientation;
use tiff::decoder::{Decoder, DecodingResult, Limits as TiffLimits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::{Header, sample_count, spread};
use crate::error::{Error, Result};
use crate::limits;
use crate::picture::Raster;

fn open(bytes: &[u8]) -> Result<Decoder<Cursor<&[u8]>>> {
    Decoder::new(Cursor::new(bytes)).map_err(explain)
}

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let mut decoder = open(bytes)?;
    let (width, height) = decoder.dimensions().map_err(explain)?;
    let color = decoder.colortype().map_err(explain)?;
    let orientation = decoder.find_tag_unsigned::<u16>(Tag::Orientation).ok().flatten();
    let orientation = orientation.and_then(|value| Orientation::from_exif(u8::try_from(value).ok()?));
    Ok(Header {
        width,
        height,
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
        has_alpha: matches!(color, ColorType::RGBA(_) | ColorType::GrayA(_)),
    })
}

pub(super) fn pixels(bytes: &[u8], header: &Header) -> Result<Raster> {
    let decoder = open(bytes)?;
    let mut budget = TiffLimits::default();
    budget.decoding_buffer_size = sample_count(header, 8).saturating_add(1 << 16);
    budget.intermediate_buffer_size = budget.decoding_buffer_size.saturating_add(bytes.len());
    let mut decoder = decoder.with_limits(budget);
    let color = decoder.colortype().map_err(explain)?;
    let mut samples = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut samples).map_err(explain)?;
    if layout.planes > 1 {
        return Err(Error::unsupported("TIFF with separate colour planes"));
    }
    let data = match samples {
        DecodingResult::U8(data) => data,
        DecodingResult::U16(data) => {
            let mut high = limits::with_capacity(data.len())?;
            high.extend(data.iter().map(|&v| (v >> 8) as u8));
            high
        }
        _ => return Err(Error::unsupported(format!("TIFF with {color:?} samples that are no 8- or 16-bit integers"))),
    };
    let (width, height) = (header.width, header.height);
    let (alpha, data) = match color {
        ColorType::RGB(8 | 16) => (false, data),
        ColorType::RGBA(8 | 16) => (true, data),
        ColorType::Gray(8 | 16) => (false, spread(&data, |&[l]: &[u8; 1]| [l, l, l])?),
        ColorType::GrayA(8 | 16) => (true, spread(&data, |&[l, a]: &[u8; 2]| [l, l, l, a])?),
        other => return Err(Error::unsupported(format!("TIFF as {other:?}"))),
    };
    if data.len() != sample_count(header, if alpha { 4 } else { 3 }) {
        return Err(Error::corrupt("the TIFF has fewer samples than it declares"));
    }
    Ok(Raster { width, height, alpha, data })
}

fn explain(error: TiffError) -> Error {
    match error {
        TiffError::UnsupportedError(what) => Error::unsupported(format!("TIFF: {what}")),
        other => Error::corrupt(other),
    }
}
