//! Resampling as Pillow does it.
//!
//! Pillow's `Image.resize` stretches the filter by the reduction factor, so that every source pixel weighs in (no
//! aliasing), and filters along one axis, rounds to 8 bits, and filters along the other. Published models were trained on
//! pictures reduced that way. Rows come first, except that since version 13 columns do where the height shrinks much more
//! than the width; the order shows in single levels here and there.
//!
//! `fast_image_resize` has the same filters with SIMD kernels. Each pass is asked for by itself, to have Pillow's order.
//! What remains is its 16-bit weights against Pillow's 22-bit ones: one level in a few of a hundred samples.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8x3, U8x4};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
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

/// Most pixels of a result. What exceeds it came from a strip and no photo: 1 × 60,000 pixels enlarged to a short edge of
/// 224 would be three billion. Of such a one [`resize_part`] makes what is wanted.
const MAX_RESULT: u64 = 1 << 26;

/// Most pixels of the half-done picture, one side of which is new and one still old.
const MAX_HALF_DONE: u64 = 1 << 26;

/// Most weights of a pass along one axis: for every new pixel one for each old one under the filter. Two to six for each
/// pixel of the longer side, so a strip of 300,000 pixels is still resized.
const MAX_WEIGHTS: u64 = 1 << 21;

/// Bytes of a weight: the library has it in floating point, and then again rounded.
const WEIGHT_BYTES: u64 = 8 + 2;

/// Bytes of a pixel with alpha.
const ALPHA_PIXEL: usize = 4;

/// Resizes RGB samples to `to` = (width, height), as Pillow does.
///
/// # Errors
/// [`Error::Unsupported`] for pictures so elongated that the result would be enormous; [`Error::OutOfMemory`].
pub(crate) fn resize_rgb(data: &[u8], from: (u32, u32), to: (u32, u32), filter: Filter) -> Result<Vec<u8>> {
    let half_way = if columns_first(from, to) { (from.0, to.1) } else { (to.0, from.1) };
    check_size(from, to, half_way)?;
    let Some(filter) = convolution(filter) else { return nearest(data, from, to) };
    let half_done = convolve::<U8x3>(data, from, half_way, filter)?;
    convolve::<U8x3>(&half_done, half_way, to, filter)
}

/// Whether the whole of a result of this size is more than is made at once.
pub(crate) fn is_enormous(to: (u32, u32)) -> bool {
    u64::from(to.0) * u64::from(to.1) > MAX_RESULT
}

/// A rectangle of a resized picture, within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

/// The rectangle `part` of what [`resize_rgb`] would give, without the rest. With [`Filter::Box`], where a pixel's edge
/// falls exactly between two of the source, the other one may be taken.
///
/// # Errors
/// As for [`resize_rgb`], by the size of the part; always for [`Filter::Nearest`], whose steps add up over the whole.
pub(crate) fn resize_part(
    data: &[u8],
    from: (u32, u32),
    to: (u32, u32),
    part: Part,
    filter: Filter,
) -> Result<Vec<u8>> {
    let Some(filter) = convolution(filter) else { return Err(too_elongated(from, to)) };
    let size = (part.width, part.height);
    // A filter reads the pixels around the rectangle, too: only its centres lie within.
    let columns = along(from.0, to.0, part.left, part.width);
    let rows = along(from.1, to.1, part.top, part.height);
    let all = |length: u32| (0.0, f64::from(length));
    let passes = if columns_first(from, to) {
        [((from.0, size.1), all(from.0), rows), (size, columns, all(size.1))]
    } else {
        [((size.0, from.1), columns, all(from.1)), (size, all(size.0), rows)]
    };
    check_size(from, size, passes[0].0)?;
    let [(half_way, ..), _] = passes;
    let half_done = convolve_box::<U8x3>(data, from, half_way, filter, passes[0].1, passes[0].2)?;
    convolve_box::<U8x3>(&half_done, half_way, size, filter, passes[1].1, passes[1].2)
}

/// Start and length among `from` pixels of what `count` of `to` pixels from `start` on show.
fn along(from: u32, to: u32, start: u32, count: u32) -> (f64, f64) {
    let step = f64::from(from) / f64::from(to);
    let first = f64::from(start) * step;
    (first, (f64::from(count) * step).min(f64::from(from) - first))
}

/// The library's filter; there is none for [`Filter::Nearest`].
fn convolution(filter: Filter) -> Option<FilterType> {
    Some(match filter {
        Filter::Nearest => return None,
        Filter::Box => FilterType::Box,
        Filter::Bilinear => FilterType::Bilinear,
        Filter::Hamming => FilterType::Hamming,
        Filter::Bicubic => FilterType::CatmullRom,
        Filter::Lanczos => FilterType::Lanczos3,
    })
}

/// Pillow's choice of the first pass: columns if the height loses more than twice what the width loses.
fn columns_first(from: (u32, u32), to: (u32, u32)) -> bool {
    let lost = |from: u32, to: u32| i64::from(from) - i64::from(to);
    lost(from.1, to.1) > (2 * lost(from.0, to.0)).max(0)
}

/// Resizes RGBA samples with straight alpha to `to` = (width, height) with a Lanczos filter.
///
/// Colours are weighted by their alpha, so that what is invisible does not bleed into what is seen.
///
/// # Errors
/// As for [`resize_rgb`].
pub(crate) fn resize_rgba(data: &[u8], from: (u32, u32), to: (u32, u32)) -> Result<Vec<u8>> {
    check_size(from, to, (from.0, to.1))?;
    convolve::<U8x4>(data, from, to, FilterType::Lanczos3)
}

fn check_size(from: (u32, u32), to: (u32, u32), half_way: (u32, u32)) -> Result<()> {
    let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
    if pixels(to) > MAX_RESULT || pixels(half_way) > MAX_HALF_DONE {
        return Err(too_elongated(from, to));
    }
    limits::probe(pixels(half_way) * 4)
}

fn too_elongated(from: (u32, u32), to: (u32, u32)) -> Error {
    Error::unsupported(format!(
        "resizing a picture as elongated as {} x {} pixels to {} x {}",
        from.0, from.1, to.0, to.1
    ))
}

/// Resizes along the axes whose length changes.
///
/// Generic over the pixel type, because the library's untyped entry would compile the kernels of every type there is.
fn convolve<P: PixelTrait>(data: &[u8], from: (u32, u32), to: (u32, u32), filter: FilterType) -> Result<Vec<u8>> {
    convolve_box::<P>(data, from, to, filter, (0.0, f64::from(from.0)), (0.0, f64::from(from.1)))
}

/// The same for the box of the source that begins at and is as long as `columns` and `rows` say.
fn convolve_box<P: PixelTrait>(
    data: &[u8],
    from: (u32, u32),
    to: (u32, u32),
    filter: FilterType,
    columns: (f64, f64),
    rows: (f64, f64),
) -> Result<Vec<u8>> {
    let weights = weights(columns.1, to.0, filter).max(weights(rows.1, to.1, filter));
    if weights > MAX_WEIGHTS {
        return Err(too_elongated(from, to));
    }
    // Where there is alpha, the library works on a copy of the source.
    let copy = if P::size() == ALPHA_PIXEL { data.len() as u64 } else { 0 };
    limits::probe(weights * WEIGHT_BYTES + copy)?;
    let mut out = limits::zeroed(to.0 as usize * to.1 as usize * P::size())?;
    let source = TypedImageRef::<P>::from_buffer(from.0, from.1, data).map_err(Error::corrupt)?;
    let mut target = TypedImage::<P>::from_buffer(to.0, to.1, &mut out).map_err(Error::corrupt)?;
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(filter))
        .use_alpha(true)
        .crop(columns.0, rows.0, columns.1, rows.1);
    Resizer::new().resize_typed(&source, &mut target, &options).map_err(Error::corrupt)?;
    Ok(out)
}

/// The weights that the library computes for reducing or enlarging `length` pixels to `to`; none if nothing changes.
fn weights(length: f64, to: u32, filter: FilterType) -> u64 {
    let support = match filter {
        FilterType::Box => 0.5,
        FilterType::CatmullRom => 2.0,
        FilterType::Lanczos3 => 3.0,
        _ => 1.0,
    };
    let scale = (length / f64::from(to)).max(1.0);
    let window = (support * scale).ceil() as u64 * 2 + 1;
    if length == f64::from(to) { 0 } else { window.saturating_mul(u64::from(to)) }
}

/// The source pixel at the centre of each new one.
fn nearest(data: &[u8], from: (u32, u32), to: (u32, u32)) -> Result<Vec<u8>> {
    let (columns, rows) = (centres(from.0, to.0)?, centres(from.1, to.1)?);
    let (pixels, _) = data.as_chunks::<3>();
    let mut out = limits::with_capacity(columns.len() * rows.len() * 3)?;
    for row in rows {
        let line = &pixels[row * from.0 as usize..][..from.0 as usize];
        out.extend(columns.iter().flat_map(|&column| line[column]));
    }
    Ok(out)
}

/// For each of `to` positions the one among `from` that lies at its centre; steps are added up as Pillow does, so that
/// ties fall to the same side.
fn centres(from: u32, to: u32) -> Result<Vec<usize>> {
    let step = f64::from(from) / f64::from(to);
    let mut at = step * 0.5;
    let mut positions = limits::with_capacity(to as usize)?;
    for _ in 0..to {
        positions.push((at as usize).min(from as usize - 1));
        at += step;
    }
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_that_of_the_whole() {
        let from = (37, 23);
        let data: Vec<u8> = (0..from.0 * from.1 * 3).map(|at| (at * at / 7 % 251) as u8).collect();
        for to in [(80, 70), (12, 9), (20, 300), (300, 5)] {
            // Not the box filter: its hard edge makes a tie of two source pixels go either way.
            for filter in [Filter::Bilinear, Filter::Hamming, Filter::Bicubic, Filter::Lanczos] {
                let part = Part { left: to.0 / 3, top: to.1 / 4, width: to.0 / 2, height: to.1 / 2 };
                let whole = resize_rgb(&data, from, to, filter).unwrap();
                let found = resize_part(&data, from, to, part, filter).unwrap();
                let rows = whole.chunks(to.0 as usize * 3).skip(part.top as usize).take(part.height as usize);
                let wanted = rows.flat_map(|row| &row[part.left as usize * 3..][..part.width as usize * 3]);
                assert_eq!(found.len() as u32, part.width * part.height * 3);
                for (found, wanted) in found.iter().zip(wanted) {
                    assert!(found.abs_diff(*wanted) <= 1, "{to:?} {filter:?}: {found} and {wanted}");
                }
            }
        }
    }
}
