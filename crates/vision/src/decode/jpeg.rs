//! JPEG, by `zune-jpeg`.
//!
//! The markers up to the first scan are walked here: that yields dimensions and orientation without building a decoder,
//! and refuses by name what the decoder would refuse with less to say. The decoder then runs in strict mode. In lenient
//! mode it would fill what a cut-short file lacks with grey, and the caller would get a vector of a half-grey picture.

use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::{Header, exif, sample_count};
use crate::error::{Error, Result};
use crate::limits;
use crate::picture::Raster;

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const APP1: u8 = 0xE1;
const TEM: u8 = 0x01;

/// Dimensions and orientation from the markers before the first scan.
pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let mut frame = None;
    let mut orientation = Orientation::NoTransforms;
    let mut rest = bytes.get(2..).unwrap_or_default();
    loop {
        let (marker, tail) = next_marker(rest)?;
        if matches!(marker, SOI | TEM | 0xD0..=0xD7) {
            rest = tail;
            continue;
        }
        if marker == EOI {
            return Err(Error::corrupt("the JPEG has no image data"));
        }
        let (payload, tail) = split_segment(tail)?;
        rest = tail;
        match marker {
            SOS => break,
            0xC0..=0xC2 => frame = Some(parse_frame(payload)?),
            0xC3 => return Err(Error::unsupported("lossless JPEG")),
            0xC5..=0xC7 => return Err(Error::unsupported("hierarchical JPEG")),
            0xC9..=0xCF => return Err(Error::unsupported("arithmetic-coded JPEG")),
            APP1 if payload.starts_with(b"Exif\0\0") => orientation = exif::orientation(payload),
            _ => {}
        }
    }
    let (width, height) = frame.ok_or_else(|| Error::corrupt("the JPEG has no frame header"))?;
    Ok(Header { width, height, orientation, has_alpha: false })
}

/// Width and height of a start-of-frame segment.
fn parse_frame(payload: &[u8]) -> Result<(u32, u32)> {
    let &[precision, h1, h0, w1, w0, components, ..] = payload else {
        return Err(Error::corrupt("the JPEG frame header is cut short"));
    };
    if precision != 8 {
        return Err(Error::unsupported(format!("JPEG with {precision} bits a sample")));
    }
    if !matches!(components, 1 | 3 | 4) {
        return Err(Error::unsupported(format!("JPEG with {components} colour components")));
    }
    let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
    if height == 0 {
        return Err(Error::unsupported("JPEG that states its height after the image data"));
    }
    Ok((width.into(), height.into()))
}

/// Skips to the next marker: 0xFF, any number of fill bytes 0xFF, a code that is neither 0 nor 0xFF.
fn next_marker(bytes: &[u8]) -> Result<(u8, &[u8])> {
    bytes
        .windows(2)
        .position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0 | 0xFF))
        .map(|at| (bytes[at + 1], &bytes[at + 2..]))
        .ok_or_else(|| Error::corrupt("the JPEG ends inside its headers"))
}

/// Splits a segment into its payload and what follows it.
fn split_segment(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let short = || Error::corrupt("the JPEG ends inside its headers");
    let (length, _) = bytes.split_first_chunk::<2>().ok_or_else(short)?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length < 2 {
        return Err(Error::corrupt(format!("a JPEG segment states a length of {length}")));
    }
    let (segment, tail) = bytes.split_at_checked(length).ok_or_else(short)?;
    Ok((&segment[2..], tail))
}

/// Decodes to RGB.
pub(super) fn pixels(bytes: &[u8], header: &Header) -> Result<Raster> {
    // Besides the output, a progressive picture holds every coefficient: four components of two bytes at most.
    limits::probe(sample_count(header, 3 + 8) as u64)?;
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(header.width as usize)
        .set_max_height(header.height as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(explain)?;
    let (width, height) = (header.width, header.height);
    if decoder.dimensions() != Some((width as usize, height as usize)) {
        return Err(Error::corrupt("the JPEG has more than one frame header"));
    }
    let mut data = limits::zeroed(sample_count(header, 3))?;
    decoder.decode_into(&mut data).map_err(explain)?;
    Ok(Raster { width, height, alpha: false, data })
}

fn explain(error: DecodeErrors) -> Error {
    match error {
        DecodeErrors::Unsupported(what) => Error::unsupported(format!("JPEG with {what:?}")),
        other => Error::corrupt(other),
    }
}
