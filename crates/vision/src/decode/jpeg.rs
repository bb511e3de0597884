//! JPEG, by `zune-jpeg`.
//!
//! The markers up to the first scan are walked here: that yields dimensions and orientation without building a decoder,
//! and refuses by name what the decoder would refuse with less to say.
//!
//! A file cut short must be an error, where decoders like to show what they have and leave the rest grey: the caller
//! would get a vector of a half-grey picture. Three things see to that. The decoder runs in strict mode; the
//! end-of-image marker has to be there (Pillow insists on it too); and in a picture of one sequential scan, the common
//! kind, a *sentinel* of one-bits is put between the last coefficient and that marker. The standard reserves the code of
//! all ones, so a decoder that runs out of data too early reads an invalid code, and not the zeros it would make up.

use std::borrow::Cow;

use image::metadata::Orientation;
use memchr::{memchr, memmem};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::{Header, exif, sample_count};
use crate::error::{Error, Result};
use crate::limits;
use crate::picture::Raster;

// Marker codes, ITU-T T.81 table B.1. A marker is 0xFF and its code.
const TEM: u8 = 0x01;
const SOF0: u8 = 0xC0;
const SOF2: u8 = 0xC2;
const RST0: u8 = 0xD0;
const RST7: u8 = 0xD7;
const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const APP1: u8 = 0xE1;

/// Sixteen one-bits, longer than any code, as entropy-coded data: each 0xFF is followed by a stuffed zero byte. Twice,
/// because a decoder may first complete a value that was cut in the middle.
const SENTINEL: [u8; 8] = [0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0];

/// What the markers before the entropy-coded data say.
struct Markers {
    frame: Frame,
    orientation: Orientation,
    /// Number of components in the first scan.
    scan_components: u8,
    /// Where the entropy-coded data of the first scan begins.
    scan_start: usize,
}

/// A start-of-frame segment.
#[derive(Clone, Copy)]
struct Frame {
    width: u16,
    height: u16,
    components: u8,
    progressive: bool,
}

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let Markers { frame, orientation, .. } = read_markers(bytes)?;
    Ok(Header { width: frame.width.into(), height: frame.height.into(), orientation, has_alpha: false })
}

fn read_markers(bytes: &[u8]) -> Result<Markers> {
    let (mut frame, mut orientation) = (None, None);
    // The start-of-image marker was recognised by its bytes.
    let mut rest = bytes.get(2..).unwrap_or_default();
    loop {
        let (marker, tail) = next_marker(rest).ok_or_else(cut_short)?;
        if matches!(marker, TEM | RST0..=RST7 | SOI) {
            rest = tail;
            continue;
        }
        if marker == EOI {
            return Err(Error::corrupt("the JPEG has no image data"));
        }
        let (payload, tail) = split_segment(tail)?;
        rest = tail;
        match marker {
            SOF0..=SOF2 if frame.is_some() => return Err(Error::corrupt("the JPEG has two frame headers")),
            SOF0..=SOF2 => frame = Some(Frame::parse(payload, marker == SOF2)?),
            0xC3 => return Err(Error::unsupported("lossless JPEG")),
            0xC5..=0xC7 => return Err(Error::unsupported("hierarchical JPEG")),
            0xC9..=0xCF => return Err(Error::unsupported("arithmetic-coded JPEG")),
            APP1 if orientation.is_none() && payload.starts_with(b"Exif\0\0") => {
                orientation = Some(exif::orientation(payload));
            }
            SOS => {
                return Ok(Markers {
                    frame: frame.ok_or_else(|| Error::corrupt("the JPEG has no frame header"))?,
                    orientation: orientation.unwrap_or(Orientation::NoTransforms),
                    scan_components: *payload.first().ok_or_else(cut_short)?,
                    scan_start: bytes.len() - rest.len(),
                });
            }
            _ => {}
        }
    }
}

impl Frame {
    fn parse(payload: &[u8], progressive: bool) -> Result<Self> {
        let &[precision, h1, h0, w1, w0, components, ..] = payload else {
            return Err(cut_short());
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
        Ok(Self { width, height, components, progressive })
    }
}

/// The next marker's code and what follows it: 0xFF, any number of fill bytes 0xFF, a code that is neither 0 nor 0xFF.
fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let mut rest = bytes;
    loop {
        rest = &rest[memchr(0xFF, rest)? + 1..];
        match rest {
            [0 | 0xFF, ..] => {}
            [code, tail @ ..] => return Some((*code, tail)),
            [] => return None,
        }
    }
}

/// Splits a segment into its payload and what follows it.
fn split_segment(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let length = usize::from(u16::from_be_bytes(*bytes.first_chunk::<2>().ok_or_else(cut_short)?));
    if length < 2 {
        return Err(Error::corrupt(format!("a JPEG segment states a length of {length}")));
    }
    let (segment, tail) = bytes.split_at_checked(length).ok_or_else(cut_short)?;
    Ok((&segment[2..], tail))
}

fn cut_short() -> Error {
    Error::corrupt("the JPEG ends inside its headers")
}

/// The file with the sentinel in place, where there is a place for it; an error where the end of the image is missing.
fn guarded_against_truncation<'a>(bytes: &'a [u8], markers: &Markers) -> Result<Cow<'a, [u8]>> {
    let data = &bytes[markers.scan_start..];
    memmem::rfind(data, &[0xFF, EOI]).ok_or_else(|| Error::corrupt("the JPEG ends before its end-of-image marker"))?;
    let one_sequential_scan = !markers.frame.progressive && markers.scan_components == markers.frame.components;
    let Some(length) = entropy_coded_length(data).filter(|_| one_sequential_scan) else {
        return Ok(Cow::Borrowed(bytes));
    };
    let (before, after) = bytes.split_at(markers.scan_start + length);
    if !after.starts_with(&[0xFF, EOI]) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut copy = limits::with_capacity(bytes.len() + SENTINEL.len())?;
    copy.extend_from_slice(before);
    copy.extend_from_slice(&SENTINEL);
    copy.extend_from_slice(after);
    Ok(Cow::Owned(copy))
}

/// Length of the entropy-coded data `data` begins with: up to the first marker that is not a restart marker.
fn entropy_coded_length(data: &[u8]) -> Option<usize> {
    let mut rest = data;
    loop {
        let (marker, tail) = next_marker(rest)?;
        if !matches!(marker, RST0..=RST7) {
            return Some(data.len() - tail.len() - 2);
        }
        rest = tail;
    }
}

/// Decodes to RGB.
pub(super) fn pixels(bytes: &[u8], header: &Header) -> Result<Raster> {
    // Besides the output, a progressive picture holds every coefficient: four components of two bytes at most.
    limits::probe(sample_count(header, 3 + 8) as u64)?;
    let bytes = guarded_against_truncation(bytes, &read_markers(bytes)?)?;
    let (width, height) = (header.width, header.height);
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(width as usize)
        .set_max_height(height as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&*bytes), options);
    decoder.decode_headers().map_err(explain)?;
    if decoder.dimensions() != Some((width as usize, height as usize)) {
        return Err(Error::corrupt("the JPEG's headers contradict each other"));
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
