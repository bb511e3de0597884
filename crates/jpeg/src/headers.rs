//! The markers before the first scan.

use memchr::memchr;

use crate::frame::Frame;
use crate::{Error, Result, corrupt, unsupported};

/// Marker codes, ITU-T T.81 table B.1. A marker is 0xFF and its code.
pub(crate) mod marker {
    pub const TEM: u8 = 0x01;
    pub const SOF0: u8 = 0xC0;
    pub const SOF2: u8 = 0xC2;
    pub const DHT: u8 = 0xC4;
    pub const RST0: u8 = 0xD0;
    pub const RST7: u8 = 0xD7;
    pub const SOI: u8 = 0xD8;
    pub const EOI: u8 = 0xD9;
    pub const SOS: u8 = 0xDA;
    pub const DQT: u8 = 0xDB;
    pub const DRI: u8 = 0xDD;
    pub const APP0: u8 = 0xE0;
    pub const APP1: u8 = 0xE1;
    pub const APP14: u8 = 0xEE;
}
use marker::*;

/// What the segments before the first scan say about the picture.
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) frame: Frame,
    /// A JFIF segment is there, which stands for YCbCr.
    pub(crate) jfif: bool,
    /// Adobe's colour transform: 0 none, 1 YCbCr, 2 YCCK.
    pub(crate) adobe: Option<u8>,
    exif: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    /// Reads the markers up to the first scan.
    ///
    /// # Errors
    /// For kinds of JPEG that are not read, and for headers that are damaged.
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        let (mut frame, mut exif, mut jfif, mut adobe) = (None, None, false, None);
        let mut segments = Segments::new(bytes);
        loop {
            let (marker, payload) = segments.next()?;
            match marker {
                EOI => return corrupt("the JPEG has no image data"),
                SOF0..=SOF2 if frame.is_some() => return corrupt("the JPEG has two frame headers"),
                SOF0..=SOF2 => frame = Some(Frame::parse(payload, marker == SOF2)?),
                0xC3 => return unsupported("lossless JPEG"),
                0xC5..=0xC7 => return unsupported("hierarchical JPEG"),
                0xC9..=0xCF => return unsupported("arithmetic-coded JPEG"),
                APP0 if payload.starts_with(b"JFIF\0") && payload.len() >= 14 => jfif = true,
                APP1 if exif.is_none() && payload.starts_with(b"Exif\0\0") => exif = Some(payload),
                APP14 if payload.starts_with(b"Adobe") && payload.len() >= 12 => adobe = Some(payload[11]),
                SOS => {
                    let Some(frame) = frame else { return corrupt("the JPEG has no frame header") };
                    return Ok(Self { bytes, frame, jfif, adobe, exif });
                }
                _ => {}
            }
        }
    }

    /// Width in pixels. It may be 0, which nobody can decode.
    pub fn width(&self) -> u16 {
        self.frame.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u16 {
        self.frame.height
    }

    /// The first EXIF segment, from its `Exif\0\0` on.
    pub fn exif(&self) -> Option<&'a [u8]> {
        self.exif
    }
}

/// Walks the segments of a file.
pub(crate) struct Segments<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Segments<'a> {
    /// `bytes` begins with the start-of-image marker, by which it was recognised.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 2.min(bytes.len()) }
    }

    /// The next marker and its payload; empty for the end of the image, and restart markers are passed over.
    pub fn next(&mut self) -> Result<(u8, &'a [u8])> {
        loop {
            let (marker, at) = next_marker(self.bytes, self.position).ok_or_else(cut_short)?;
            self.position = at;
            if marker == EOI {
                return Ok((marker, &[]));
            }
            if matches!(marker, TEM | RST0..=RST7 | SOI) {
                continue;
            }
            let rest = &self.bytes[at..];
            let length = usize::from(u16::from_be_bytes(*rest.first_chunk::<2>().ok_or_else(cut_short)?));
            if length < 2 {
                return corrupt(format!("a JPEG segment states a length of {length}"));
            }
            let segment = rest.get(..length).ok_or_else(cut_short)?;
            self.position += length;
            return Ok((marker, &segment[2..]));
        }
    }

    /// Where the next segment is looked for: after a start-of-scan segment, the entropy-coded data.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Goes on behind entropy-coded data.
    pub fn resume_at(&mut self, position: usize) {
        self.position = position;
    }
}

/// The first marker from `from` on and where it ends: 0xFF, any number of fill bytes 0xFF, a code that is neither 0 nor
/// 0xFF.
pub(crate) fn next_marker(bytes: &[u8], from: usize) -> Option<(u8, usize)> {
    let mut at = from;
    loop {
        at += memchr(0xFF, bytes.get(at..)?)? + 1;
        match *bytes.get(at)? {
            0 | 0xFF => {}
            code => return Some((code, at + 1)),
        }
    }
}

fn cut_short() -> Error {
    Error::Corrupt("the JPEG ends inside its headers".into())
}
