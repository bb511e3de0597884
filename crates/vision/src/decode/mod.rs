//! Bytes to pixels, one file per format.
//!
//! Every format offers the same two steps: `header` reads the dimensions, the orientation and whether there is
//! transparency, without touching pixel data; `pixels` decodes the first frame into a [`Raster`]. Between the two lies
//! the check against [`Limits`], so no pixel buffer exists before its size is known to be allowed.

mod bmp;
mod exif;
mod gif;
mod jpeg;
mod png;
mod tiff;
mod webp;

use image::metadata::Orientation;

pub(crate) use webp::encode as encode_webp;

use crate::error::{Error, Result};
use crate::format::Format;
use crate::guard::guarded;
use crate::limits::Limits;
use crate::picture::{Raster, Rgb};
use crate::stop;

/// What the headers of a picture say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageInfo {
    /// The format, by magic bytes.
    pub format: Format,
    /// Width in pixels as stored, before the orientation is applied.
    pub width: u32,
    /// Height in pixels as stored, before the orientation is applied.
    pub height: u32,
    /// EXIF orientation, 1 (upright) to 8; 1 where the file states none or an invalid one.
    pub orientation: u8,
    /// Whether pixels can be transparent.
    pub has_alpha: bool,
}

impl ImageInfo {
    /// Width and height as displayed, with the orientation applied: what [`decode()`] returns.
    #[must_use]
    pub fn display_size(&self) -> (u32, u32) {
        if self.orientation >= 5 { (self.height, self.width) } else { (self.width, self.height) }
    }
}

/// What `header` of each format returns.
#[derive(Debug, Clone, Copy)]
struct Header {
    width: u32,
    height: u32,
    orientation: Orientation,
    has_alpha: bool,
}

/// Reads the headers of a picture, and no pixels.
///
/// # Errors
/// The limits of `limits`, a format or variant that is not read, headers that are damaged.
pub fn inspect(bytes: &[u8], limits: &Limits) -> Result<ImageInfo> {
    let (format, header) = read_header(bytes, limits)?;
    Ok(ImageInfo {
        format,
        width: header.width,
        height: header.height,
        orientation: header.orientation.to_exif(),
        has_alpha: header.has_alpha,
    })
}

/// Decodes the first frame of a picture: upright, transparency composited on white, 8 bits a sample.
///
/// Colours are those of Pillow's `convert("RGB")`: colour profiles and gamma are ignored, 16-bit samples keep their high
/// byte, CMYK is converted by the plain formula.
///
/// # Errors
/// As for [`inspect`]; and pixel data that is damaged or ends too early, or no memory.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Rgb> {
    decode_raster(bytes, limits).map(Raster::into_rgb)
}

/// As [`decode()`], with the transparency kept.
pub(crate) fn decode_raster(bytes: &[u8], limits: &Limits) -> Result<Raster> {
    let (format, header) = read_header(bytes, limits)?;
    let raster = guarded(|| match format {
        Format::Jpeg => jpeg::pixels(bytes, &header),
        Format::Png => png::pixels(bytes, &header, limits),
        Format::WebP => webp::pixels(bytes, &header, limits),
        Format::Gif => gif::pixels(bytes, &header, limits),
        Format::Bmp => bmp::pixels(bytes, &header),
        Format::Tiff => tiff::pixels(bytes, &header),
    });
    let raster = raster.map_err(unless_stopped)?;
    debug_assert_eq!(raster.data.len(), raster.width as usize * raster.height as usize * raster.channels());
    raster.upright(header.orientation)
}

fn read_header(bytes: &[u8], limits: &Limits) -> Result<(Format, Header)> {
    limits.check_bytes(bytes)?;
    let format = Format::sniff(bytes)?;
    let header = guarded(|| match format {
        Format::Jpeg => jpeg::header(bytes),
        Format::Png => png::header(bytes, limits),
        Format::WebP => webp::header(bytes, limits),
        Format::Gif => gif::header(bytes),
        Format::Bmp => bmp::header(bytes),
        Format::Tiff => tiff::header(bytes),
    });
    let header = header.map_err(unless_stopped)?;
    limits.check_pixels(header.width, header.height)?;
    Ok((format, header))
}

/// The error, or that it was asked for: decoders make something else of a reader that refuses.
fn unless_stopped(error: Error) -> Error {
    if stop::wanted() { Error::Stopped } else { error }
}

/// Bytes of `channels` interleaved 8-bit samples for the declared dimensions; fits `usize` once limits were checked.
fn sample_count(header: &Header, channels: usize) -> usize {
    header.width as usize * header.height as usize * channels
}

/// Maps every `FROM`-byte pixel to `TO` bytes.
fn spread<const FROM: usize, const TO: usize>(
    samples: &[u8],
    map: impl Fn(&[u8; FROM]) -> [u8; TO],
) -> Result<Vec<u8>> {
    let (pixels, _) = samples.as_chunks::<FROM>();
    let mut out = crate::limits::with_capacity(pixels.len() * TO)?;
    out.extend(pixels.iter().flat_map(map));
    Ok(out)
}
