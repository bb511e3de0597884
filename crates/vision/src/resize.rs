//! Resampling as Pillow does it.
//!
//! Pillow's `Image.resize` stretches the filter by the reduction factor, so that every source pixel weighs in (no
//! aliasing), rounds weights to integers, and filters first rows, then columns, rounding to 8 bits in between. Published
//! models were trained on pictures reduced that way. `fast_image_resize` implements the same arithmetic with SIMD.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::limits;

/// A resampling filter, by Pillow's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The nearest source pixel; aliases.
    Nearest,
    /// Mean over the source area.
    Box,
    /// Triangle, support 1.
    #[default]
    Bilinear,
    /// Hamming-windowed sinc, support 1.
    Hamming,
    /// Keys' cubic with a = −0.5, support 2.
    Bicubic,
    /// Lanczos-windowed sinc, support 3.
    Lanczos,
}

impl Filter {
    fn algorithm(self) -> ResizeAlg {
        ResizeAlg::Convolution(match self {
            Self::Nearest => return ResizeAlg::Nearest,
            Self::Box => FilterType::Box,
            Self::Bilinear => FilterType::Bilinear,
            Self::Hamming => FilterType::Hamming,
            Self::Bicubic => FilterType::CatmullRom,
            Self::Lanczos => FilterType::Lanczos3,
        })
    }
}

/// Most pixels of a result. What exceeds it came from a strip and no photo: 1 × 60,000 pixels enlarged to a short edge of
/// 224 would be three billion.
const MAX_RESULT: u64 = 1 << 26;

/// Most pixels of the half-done picture, which has the new width and still the old height.
const MAX_HALF_DONE: u64 = 1 << 28;

/// Resizes interleaved 8-bit samples (3 channels, or 4 with straight alpha) to `to` = (width, height).
///
/// With alpha, colours are weighted by it, so that what is invisible does not bleed into what is seen.
///
/// # Errors
/// [`Error::Unsupported`] for pictures so elongated that the result would be enormous; [`Error::OutOfMemory`].
pub(crate) fn resize(
    data: &[u8],
    channels: usize,
    (width, height): (u32, u32),
    to: (u32, u32),
    filter: Filter,
) -> Result<Vec<u8>> {
    let half_done = u64::from(to.0) * u64::from(height);
    if u64::from(to.0) * u64::from(to.1) > MAX_RESULT || half_done > MAX_HALF_DONE {
        return Err(Error::unsupported(format!(
            "resizing a picture as elongated as {width} x {height} pixels to {} x {}",
            to.0, to.1
        )));
    }
    limits::probe(half_done * channels as u64)?;
    let pixel = if channels == 4 { PixelType::U8x4 } else { PixelType::U8x3 };
    let source = ImageRef::new(width, height, data, pixel).map_err(Error::corrupt)?;
    let mut out = limits::zeroed(to.0 as usize * to.1 as usize * channels)?;
    let mut target = Image::from_slice_u8(to.0, to.1, &mut out, pixel).map_err(Error::corrupt)?;
    let options = ResizeOptions::new().resize_alg(filter.algorithm()).use_alpha(channels == 4);
    Resizer::new().resize(&source, &mut target, &options).map_err(Error::corrupt)?;
    Ok(out)
}
