//! Small versions of pictures.

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use crate::decode::{self, decode_raster};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::picture::Raster;
use crate::resize::{Filter, resize_rgb, resize_rgba};

/// File format of a thumbnail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThumbFormat {
    /// JPEG at quality 85, transparency composited on white.
    Jpeg,
    /// PNG, transparency kept.
    Png,
    /// WebP at quality 85, transparency kept.
    WebP,
}

/// JPEG quality of thumbnails.
const JPEG_QUALITY: u8 = 85;

/// WebP quality of thumbnails.
const WEBP_QUALITY: f32 = 85.0;

/// Longest side a thumbnail may be asked for.
const MAX_SIDE: u32 = 4096;

/// A version of the picture whose longer side is at most `max_side` (1..=4096) pixels: upright, never enlarged, aspect
/// ratio kept, reduced with a Lanczos filter.
///
/// # Errors
/// [`Error::InvalidArgument`] for `max_side`; otherwise as for [`decode`](crate::decode()).
pub fn thumbnail(bytes: &[u8], max_side: u32, format: ThumbFormat, limits: &Limits) -> Result<Vec<u8>> {
    if !(1..=MAX_SIDE).contains(&max_side) {
        return Err(Error::InvalidArgument(format!("a thumbnail's side is 1 to {MAX_SIDE} pixels, not {max_side}")));
    }
    let raster = fit(decode_raster(bytes, limits)?, max_side)?;
    match format {
        ThumbFormat::Jpeg => encode_jpeg(raster),
        ThumbFormat::Png => encode_png(&raster),
        ThumbFormat::WebP => encode_webp(&raster),
    }
}

/// Reduces `raster` so that no side exceeds `max_side`.
pub(crate) fn fit(raster: Raster, max_side: u32) -> Result<Raster> {
    let long = raster.width.max(raster.height);
    if long <= max_side {
        return Ok(raster);
    }
    let scaled = |side: u32| {
        let exact = f64::from(side) * f64::from(max_side) / f64::from(long);
        (exact.round() as u32).max(1)
    };
    let to = (scaled(raster.width), scaled(raster.height));
    let from = (raster.width, raster.height);
    let data = if raster.alpha {
        resize_rgba(&raster.data, from, to)?
    } else {
        resize_rgb(&raster.data, from, to, Filter::Lanczos)?
    };
    Ok(Raster { width: to.0, height: to.1, alpha: raster.alpha, data })
}

fn encode_jpeg(raster: Raster) -> Result<Vec<u8>> {
    let rgb = raster.into_rgb();
    let mut out = Vec::new();
    JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY)
        .encode(rgb.data(), rgb.width(), rgb.height(), ExtendedColorType::Rgb8)
        .map_err(Error::corrupt)?;
    Ok(out)
}

pub(crate) fn encode_png(raster: &Raster) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, raster.width, raster.height);
    encoder.set_color(if raster.alpha { png::ColorType::Rgba } else { png::ColorType::Rgb });
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(Error::corrupt)?;
    writer.write_image_data(&raster.data).map_err(Error::corrupt)?;
    writer.finish().map_err(Error::corrupt)?;
    Ok(out)
}

fn encode_webp(raster: &Raster) -> Result<Vec<u8>> {
    decode::encode_webp(&raster.data, raster.width, raster.height, raster.alpha, WEBP_QUALITY)
}
