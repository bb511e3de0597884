//! JPEG, by libjpeg-turbo: networks see the samples that they were trained with.
//!
//! Nearly every published network was trained on pictures that libjpeg-turbo decoded, and the standard leaves a
//! decoder free in how it rounds: others are up to three levels off where halved colour planes are enlarged, which is
//! enough to move an embedding.
//!
//! The markers up to the first scan are walked here: that yields dimensions and orientation without building a decoder,
//! and refuses by name what the decoder would refuse with less to say. Files that are cut short are errors: the caller
//! would get a vector of a half-grey picture.

mod libjpeg;

use image::metadata::Orientation;
use memchr::memchr;

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

/// What the markers before the entropy-coded data say.
struct Markers {
    frame: Frame,
    orientation: Orientation,
}

/// A start-of-frame segment.
#[derive(Clone, Copy)]
struct Frame {
    width: u16,
    height: u16,
    components: u8,
}

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let Markers { frame, orientation } = read_markers(bytes)?;
    Ok(Header { width: frame.width.into(), height: frame.height.into(), orientation, has_alpha: false })
}

/// Decodes to RGB.
pub(super) fn pixels(bytes: &[u8], header: &Header) -> Result<Raster> {
    let Frame { width, height, components } = read_markers(bytes)?.frame;
    let channels = if components == 4 { 4 } else { 3 };
    let mut data = limits::zeroed(sample_count(header, channels.into()))?;
    libjpeg::decode(bytes, &mut data, width, height, channels)?;
    if channels == 4 {
        cmyk_to_rgb(&mut data);
    }
    Ok(Raster { width: header.width, height: header.height, alpha: false, data })
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
            SOF0..=SOF2 => frame = Some(Frame::parse(payload)?),
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
                });
            }
            _ => {}
        }
    }
}

impl Frame {
    fn parse(payload: &[u8]) -> Result<Self> {
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
        Ok(Self { width, height, components })
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

/// Turns CMYK into RGB where it lies, by the plain formula, as Pillow: each colour is what black leaves of it.
/// Samples are taken for inverted, as Adobe's programs write them.
fn cmyk_to_rgb(data: &mut Vec<u8>) {
    // a * b / 255, rounded.
    let times = |a: u8, b: u8| {
        let product = u32::from(a) * u32::from(b) + 128;
        (((product >> 8) + product) >> 8) as u8
    };
    let pixels = data.len() / 4;
    for i in 0..pixels {
        let [c, m, y, k] = [data[4 * i], data[4 * i + 1], data[4 * i + 2], data[4 * i + 3]];
        let rgb = [c, m, y].map(|color| k.saturating_sub(times(255 - color, k)));
        data[3 * i..3 * i + 3].copy_from_slice(&rgb);
    }
    data.truncate(3 * pixels);
}
