//! JPEG, by our own decoder: networks see the samples they were trained with.

use image::metadata::Orientation;
use vs_jpeg::Headers;

use super::{Header, exif, sample_count};
use crate::error::{Error, Result};
use crate::limits;
use crate::picture::Raster;

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let headers = Headers::read(bytes)?;
    Ok(Header {
        width: headers.width().into(),
        height: headers.height().into(),
        orientation: headers.exif().map_or(Orientation::NoTransforms, exif::orientation),
        has_alpha: false,
    })
}

/// Decodes to RGB.
pub(super) fn pixels(bytes: &[u8], header: &Header) -> Result<Raster> {
    let mut data = limits::zeroed(sample_count(header, 3))?;
    Headers::read(bytes)?.decode_rgb(&mut data)?;
    Ok(Raster { width: header.width, height: header.height, alpha: false, data })
}

impl From<vs_jpeg::Error> for Error {
    fn from(error: vs_jpeg::Error) -> Self {
        match error {
            vs_jpeg::Error::Unsupported(what) => Self::unsupported(what),
            vs_jpeg::Error::Corrupt(reason) => Self::corrupt(reason),
            vs_jpeg::Error::OutOfMemory { bytes } => Self::OutOfMemory { bytes },
        }
    }
}
