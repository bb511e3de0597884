//! Windows bitmaps, by `image`.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError};

use super::{Header, sample_count, spread};
use crate::error::{Error, Result};
use crate::limits;
use crate::picture::Raster;

fn open(bytes: &[u8]) -> Result<BmpDecoder<Cursor<&[u8]>>> {
    BmpDecoder::new(Cursor::new(bytes)).map_err(explain)
}

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let decoder = open(bytes)?;
    let (width, height) = decoder.dimensions();
    Ok(Header { width, height, orientation: Orientation::NoTransforms, has_alpha: decoder.color_type().has_alpha() })
}

pub(super) fn pixels(bytes: &[u8], header: &Header) -> Result<Raster> {
    let decoder = open(bytes)?;
    let color = decoder.color_type();
    let mut data = limits::zeroed(sample_count(header, usize::from(color.bytes_per_pixel())))?;
    decoder.read_image(&mut data).map_err(explain)?;
    let (width, height) = (header.width, header.height);
    match color {
        ColorType::Rgb8 => Ok(Raster { width, height, alpha: false, data }),
        ColorType::Rgba8 => Ok(Raster { width, height, alpha: true, data }),
        ColorType::L8 => Ok(Raster { width, height, alpha: false, data: spread(&data, |&[l]: &[u8; 1]| [l, l, l])? }),
        other => Err(Error::unsupported(format!("BMP as {other:?}"))),
    }
}

fn explain(error: ImageError) -> Error {
    match error {
        ImageError::Unsupported(what) => Error::unsupported(format!("BMP: {what}")),
        other => Error::corrupt(other),
    }
}
