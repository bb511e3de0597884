//! WebP, by `image-webp`; of an animation the first frame on its canvas.
//!
//! A WebP file states its size up to three times: in the canvas header, in the header of each animation frame and in the
//! bitstream itself. The decoder sizes buffers by the bitstream before it compares it with the canvas, so the bitstreams'
//! headers are read here first.

use std::io::Cursor;

use image::metadata::Orientation;
use image_webp::{DecodingError, WebPDecoder};

use super::{Header, exif, sample_count};
use crate::error::{Error, Result};
use crate::limits::{self, Limits};
use crate::picture::Raster;

/// Bytes of the RIFF header before the first chunk.
const RIFF_HEADER: usize = 12;
/// Bytes of an animation frame's own header before its chunks.
const FRAME_HEADER: usize = 16;

/// A file shorter than its RIFF header states was cut. One byte of grace: the padding of the last chunk is often forgotten.
fn check_length(bytes: &[u8]) -> Result<()> {
    let stated =
        bytes.get(4..).and_then(|rest| rest.first_chunk::<4>()).map_or(0, |length| u32::from_le_bytes(*length));
    if (bytes.len() as u64) + 1 < u64::from(stated) + 8 {
        return Err(Error::corrupt(format!("the WebP states {stated} bytes and ends before them")));
    }
    Ok(())
}

fn open(bytes: &[u8]) -> Result<WebPDecoder<Cursor<&[u8]>>> {
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(explain)?;
    // Bounds metadata chunks, whose stated length may be up to 4 GB.
    decoder.set_memory_limit(bytes.len());
    Ok(decoder)
}

pub(super) fn header(bytes: &[u8], limits: &Limits) -> Result<Header> {
    check_length(bytes)?;
    check_bitstreams(bytes.get(RIFF_HEADER..).unwrap_or_default(), Level::File, limits)?;
    let mut decoder = open(bytes)?;
    let (width, height) = decoder.dimensions();
    let exif = decoder.exif_metadata().map_err(explain)?;
    let orientation = exif.map_or(Orientation::NoTransforms, |block| exif::orientation(&block));
    Ok(Header { width, height, orientation, has_alpha: decoder.has_alpha() })
}

/// Where chunks stand. Frames hold no frames, which bounds the recursion.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    File,
    Frame,
}

/// Holds the size in every bitstream among `chunks`, and in animation frames among them, against the limits.
fn check_bitstreams(mut chunks: &[u8], level: Level, limits: &Limits) -> Result<()> {
    while let Some((&[a, b, c, d, l0, l1, l2, l3], body)) = chunks.split_first_chunk::<8>() {
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let payload = &body[..length.min(body.len())];
        match &[a, b, c, d] {
            b"VP8 " => {
                if let &[_, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1, ..] = payload {
                    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
                    limits.check_pixels(side(w0, w1), side(h0, h1))?;
                }
            }
            b"VP8L" => {
                if let &[0x2F, b0, b1, b2, b3, ..] = payload {
                    let bits = u32::from_le_bytes([b0, b1, b2, b3]);
                    limits.check_pixels((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1)?;
                }
            }
            b"ANMF" if level == Level::File => {
                check_bitstreams(payload.get(FRAME_HEADER..).unwrap_or_default(), Level::Frame, limits)?;
            }
            _ => {}
        }
        // Chunks are padded to an even length.
        chunks = body.get(length.saturating_add(length & 1)..).unwrap_or_default();
    }
    Ok(())
}

pub(super) fn pixels(bytes: &[u8], header: &Header) -> Result<Raster> {
    // Planes or an RGBA canvas besides the output.
    limits::probe(sample_count(header, 4 + 4) as u64)?;
    let mut decoder = open(bytes)?;
    let alpha = decoder.has_alpha();
    let mut data = limits::zeroed(sample_count(header, if alpha { 4 } else { 3 }))?;
    decoder.read_image(&mut data).map_err(explain)?;
    Ok(Raster { width: header.width, height: header.height, alpha, data })
}

fn explain(error: DecodingError) -> Error {
    match error {
        DecodingError::UnsupportedFeature(what) => Error::unsupported(format!("WebP with {what}")),
        other => Error::corrupt(other),
    }
}
