//! WebP, by `image-webp`; of an animation the first frame on its canvas.

use std::io::Cursor;

use image::metadata::Orientation;
use image_webp::{DecodingError, WebPDecoder};

use super::{Header, exif, sample_count};
use crate::error::{Error, Result};
use crate::limits::{self, Limits};
use crate::picture::Raster;

fn open(bytes: &[u8]) -> Result<WebPDecoder<Cursor<&[u8]>>> {
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(explain)?;
    // Bounds metadata chunks, whose stated length may be up to 4 GB.
    decoder.set_memory_limit(bytes.len());
    Ok(decoder)
}

pub(super) fn header(bytes: &[u8], _limits: &Limits) -> Result<Header> {
    let mut decoder = open(bytes)?;
    let (width, height) = decoder.dimensions();
    // A damaged metadata chunk does not spoil the picture.
    let orientation =
        decoder.exif_metadata().ok().flatten().map_or(Orientation::NoTransforms, |e| exif::orientation(&e));
    Ok(Header { width, height, orientation, has_alpha: decoder.has_alpha() })
}

pub(super) fn pixels(bytes: &[u8], header: &Header) -> Result<Raster> {
    // Planes or an RGBA canvas besides the output.
    limits::probe(sample_count(header, 4 + 4) as u64)?;
    let mut decoder = open(bytes)?;
    let alpha = decoder.has_alpha();
    let mut data = limits::zeroed(sample_count(header, if alpha { 4 } else { 3 }))?;
    decoder.read_image(&mut data).map_err(explain)?;
    Ok(Raster { width: header.width, height: header.height, alpha, data })
}

fn explain(error: DecodingError) -> Error {
    match error {
        DecodingError::UnsupportedFeature(what) => Error::unsupported(format!("WebP with {what}")),
        other => Error::corrupt(other),
    }
}
