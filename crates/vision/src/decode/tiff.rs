//! TIFF, by the `tiff` crate: the first directory, integer samples of 1 to 16 bits.
//!
//! Grey, RGB, RGBA and CMYK, in strips or tiles, chunky or planar, uncompressed or compressed by PackBits, LZW or
//! Deflate. Palettes, floating point, JPEG and fax compression and scientific layouts are refused by name.

use image::metadata::Orientation;
use tiff::decoder::{Decoder, DecodingResult, Limits as TiffLimits};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

use super::{Header, sample_count, spread};
use crate::error::{Error, Result};
use crate::limits;
use crate::picture::Raster;
use crate::stop::Stoppable;

/// The value of the ExtraSamples tag for alpha that the colours were multiplied with.
const ASSOCIATED_ALPHA: u16 = 1;
/// Values of the PlanarConfiguration and Predictor tags: all samples of a pixel together, as they are.
const CHUNKY: u32 = 1;
const NO_PREDICTOR: u32 = 1;
/// Most samples of a pixel, with those that are no colour.
const MAX_SAMPLES: u32 = 8;
/// The value of the SampleFormat tag that is read.
const UNSIGNED_INTEGER: u16 = 1;

fn open(bytes: &[u8]) -> Result<Decoder<Stoppable<'_>>> {
    check_directory(bytes)?;
    Decoder::new(Stoppable::new(bytes)).map_err(explain)
}

/// Refuses a first directory with a value that is longer than the whole file.
///
/// The decoder reserves memory for as many values as an entry states before it looks for them.
fn check_directory(bytes: &[u8]) -> Result<()> {
    let big_endian = bytes.starts_with(b"MM");
    let short = |at: usize| {
        let pair = *bytes.get(at..)?.first_chunk::<2>()?;
        Some(if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
    };
    let long = |at: usize| {
        let four = *bytes.get(at..)?.first_chunk::<4>()?;
        Some(if big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
    };
    let fits = || {
        let start = long(4)? as usize;
        let entries = usize::from(short(start)?);
        let mut most = 0;
        for entry in (0..entries).map(|entry| start + 2 + 12 * entry) {
            let (field_type, count) = (short(entry + 2)?, u64::from(long(entry + 4)?));
            if type_size(field_type) * count > bytes.len() as u64 {
                return None;
            }
            // Descriptions are not read.
            if short(entry)? < FIRST_METADATA && field_type != ASCII {
                most = most.max(count);
            }
        }
        Some(most)
    };
    let most = fits().ok_or_else(|| Error::corrupt("the TIFF's directory does not fit into the file"))?;
    if most > MAX_CHUNKS {
        return Err(Error::unsupported(format!("TIFF with a list of {most} values")));
    }
    // Each is a value of the decoder's, and then a number in a list, of which there are two.
    limits::probe(most * (VALUE_BYTES + 2 * 8))
}

/// The field type of text.
const ASCII: u16 = 2;
/// The lowest tag of those that are no part of the format proper (XMP, colour profiles, EXIF), which are not read.
const FIRST_METADATA: u16 = 700;
/// Most strips or tiles of a picture: each costs some microseconds, however little is in it. Tiles of 16 × 16 pixels make
/// 750,000 of 64 million pixels in separate planes.
const MAX_CHUNKS: u64 = 1 << 20;
/// Bytes of a value as the decoder has it.
const VALUE_BYTES: u64 = 32;

/// Bytes of one value of a field type, TIFF 6.0 section 2, and of the BigTIFF types, which the decoder takes anywhere. 0
/// for a type that neither has: the decoder reads no such value.
fn type_size(field_type: u16) -> u64 {
    match field_type {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 0,
    }
}

/// Pixels of tiles beyond four times those of the picture: a small picture may lie in one large tile.
const TILE_PIXELS: u64 = 1 << 22;

/// Refuses what the decoder would buffer, or read and throw away, without a bound of its own: rows of more samples than
/// are shown, and tiles that are wider or longer than what they hold. Samples that are none of the colour's come out
/// wrong besides, where there is a predictor.
fn check_layout(decoder: &mut Decoder<Stoppable<'_>>, header: &Header, channels: usize) -> Result<()> {
    let mut number = |tag| decoder.find_tag_unsigned::<u32>(tag).map_err(explain);
    let samples = number(Tag::SamplesPerPixel)?.unwrap_or(1);
    let (width, length) = (number(Tag::TileWidth)?, number(Tag::TileLength)?);
    let tiled = width.is_some() || length.is_some();
    let planar = number(Tag::PlanarConfiguration)?.is_some_and(|configuration| configuration != CHUNKY);
    let predicted = number(Tag::Predictor)?.is_some_and(|predictor| predictor != NO_PREDICTOR);
    // The decoder drops what is no colour row by row, which is right in this form and no other.
    let droppable = !tiled && !planar && !predicted && samples as usize >= channels && samples <= MAX_SAMPLES;
    if samples as usize != channels && !droppable {
        return Err(Error::unsupported(format!("TIFF with {samples} samples a pixel for {channels} of colour")));
    }
    if planar && length.is_some_and(|length| !header.height.is_multiple_of(length)) {
        return Err(Error::unsupported("TIFF with planes of tiles that reach beyond the picture"));
    }
    let formats = decoder.find_tag_unsigned_vec::<u16>(Tag::SampleFormat).map_err(explain)?.unwrap_or_default();
    if formats.iter().any(|&format| format != UNSIGNED_INTEGER) {
        return Err(Error::unsupported("TIFF with signed or floating point samples"));
    }
    if !tiled {
        return Ok(());
    }
    let along = |side: u32, tile: Option<u32>| {
        let tile = u128::from(tile.unwrap_or(0));
        (tile > 0).then(|| u128::from(side).div_ceil(tile) * tile)
    };
    let tiled = along(header.width, width).zip(along(header.height, length)).map(|(width, height)| width * height);
    let allowed = 4 * u64::from(header.width) * u64::from(header.height) + TILE_PIXELS;
    match tiled {
        Some(pixels) if pixels <= u128::from(allowed) => Ok(()),
        _ => Err(Error::corrupt("the TIFF's tiles are larger than the picture warrants")),
    }
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
        has_alpha: matches!(color, ColorType::RGBA(_)),
    })
}

pub(super) fn pixels(bytes: &[u8], header: &Header) -> Result<Raster> {
    let decoder = open(bytes)?;
    // At most four 16-bit samples a pixel, and room for rows and tiles padded to whole ones.
    let mut budget = TiffLimits::default();
    budget.decoding_buffer_size = sample_count(header, 8).saturating_add(1 << 16);
    budget.intermediate_buffer_size = budget.decoding_buffer_size.saturating_add(bytes.len());
    let needed = budget.decoding_buffer_size as u64;
    let mut decoder = decoder.with_limits(budget);

    let color = decoder.colortype().map_err(explain)?;
    let (channels, bits) = match color {
        ColorType::Gray(bits @ (1 | 2 | 4 | 8 | 16)) => (1, bits),
        ColorType::RGB(bits @ (8 | 16)) => (3, bits),
        ColorType::RGBA(bits @ (8 | 16)) | ColorType::CMYK(bits @ (8 | 16)) => (4, bits),
        other => return Err(Error::unsupported(format!("TIFF with pixels of {other:?}"))),
    };
    check_layout(&mut decoder, header, channels)?;
    limits::probe(needed)?;
    let associated = color_is_multiplied(&mut decoder);
    let mut samples = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut samples).map_err(explain)?;
    let mut data = match samples {
        DecodingResult::U8(data) if bits < 8 => unpack(&data, header, bits)?,
        DecodingResult::U8(data) => data,
        DecodingResult::U16(data) => {
            let mut high = limits::with_capacity(data.len())?;
            high.extend(data.iter().map(|&sample| (sample >> 8) as u8));
            high
        }
        _ => return Err(Error::corrupt("the TIFF has other samples than it declares")),
    };
    if data.len() != sample_count(header, channels) {
        return Err(Error::corrupt("the TIFF has another number of samples than it declares"));
    }
    if layout.planes > 1 {
        data = interleave(&data, channels)?;
    }
    let (alpha, data) = match color {
        ColorType::RGB(_) => (false, data),
        ColorType::RGBA(_) if associated => (true, spread(&data, unmultiply)?),
        ColorType::RGBA(_) => (true, data),
        ColorType::CMYK(_) => (false, spread(&data, cmyk_to_rgb)?),
        _ => (false, spread(&data, |&[l]: &[u8; 1]| [l, l, l])?),
    };
    Ok(Raster { width: header.width, height: header.height, alpha, data })
}

fn color_is_multiplied(decoder: &mut Decoder<Stoppable<'_>>) -> bool {
    let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).ok().flatten();
    extra.is_some_and(|kinds| kinds.first() == Some(&ASSOCIATED_ALPHA))
}

/// One byte per sample from rows of `bits`-bit samples, scaled so that the largest becomes 255.
fn unpack(packed: &[u8], header: &Header, bits: u8) -> Result<Vec<u8>> {
    let (width, bits) = (header.width as usize, usize::from(bits));
    let mask = (1u8 << bits) - 1;
    let mut samples = limits::with_capacity(sample_count(header, 1))?;
    for row in packed.chunks_exact((width * bits).div_ceil(8)).take(header.height as usize) {
        samples.extend((0..width).map(|x| {
            let at = x * bits;
            let sample = (row[at / 8] >> (8 - bits - at % 8)) & mask;
            sample * (255 / mask)
        }));
    }
    Ok(samples)
}

/// Pixel after pixel from plane after plane.
fn interleave(planes: &[u8], channels: usize) -> Result<Vec<u8>> {
    let pixels = planes.len() / channels;
    let mut data = limits::with_capacity(planes.len())?;
    for pixel in 0..pixels {
        data.extend((0..channels).map(|channel| planes[channel * pixels + pixel]));
    }
    Ok(data)
}

/// Colours as they were before they were multiplied with alpha.
fn unmultiply(&[r, g, b, alpha]: &[u8; 4]) -> [u8; 4] {
    let straight = |sample: u8| match alpha {
        0 => 0,
        _ => (u32::from(sample) * 255 / u32::from(alpha)).min(255) as u8,
    };
    [straight(r), straight(g), straight(b), alpha]
}

/// The plain formula, (1 − ink)(1 − black), in Pillow's rounding.
fn cmyk_to_rgb(&[c, m, y, k]: &[u8; 4]) -> [u8; 3] {
    let light = 255 - u32::from(k);
    [c, m, y].map(|ink| (light - (u32::from(ink) * light + 127) / 255) as u8)
}

fn explain(error: TiffError) -> Error {
    match error {
        TiffError::UnsupportedError(what) => Error::unsupported(format!("TIFF: {what}")),
        other => Error::corrupt(other),
    }
}
