//! WebP, by libwebp, as Pillow does; of an animation the first frame on its canvas.
//!
//! A WebP file states its size up to three times: in the canvas header, in the header of each animation frame and in the
//! bitstream itself. The demuxer takes no file in which they contradict each other, and nothing is decoded before the
//! frame has been held against the limits besides.

mod libwebp;

use image::metadata::Orientation;

use super::{Header, exif, sample_count};
use crate::error::{Error, Result};
use crate::limits::{self, Limits};
use crate::picture::Raster;

pub(crate) use libwebp::encode;
use libwebp::{Demuxer, Frame};

/// Bytes of the RIFF header before the first chunk.
const RIFF_HEADER: usize = 12;

/// The file as the demuxer wants it, which is whole: the padding of the last chunk is often forgotten.
fn padded(bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let stated =
        bytes.get(4..).and_then(|rest| rest.first_chunk::<4>()).map_or(0, |length| u32::from_le_bytes(*length));
    let (wanted, found) = (u64::from(stated) + 8, bytes.len() as u64);
    if found + 1 < wanted {
        return Err(Error::corrupt(format!("the WebP states {stated} bytes and ends before them")));
    }
    if found >= wanted {
        return Ok(None);
    }
    if !lacks_padding(bytes) {
        return Err(Error::corrupt(format!("the WebP states {stated} bytes and ends before them")));
    }
    let mut file = limits::with_capacity(bytes.len() + 1)?;
    file.extend_from_slice(bytes);
    file.push(0);
    Ok(Some(file))
}

/// Whether the file ends where the padding of its last chunk should be.
fn lacks_padding(bytes: &[u8]) -> bool {
    let mut at = RIFF_HEADER;
    while let Some(length) = bytes.get(at + 4..).and_then(|rest| rest.first_chunk::<4>()) {
        let length = u32::from_le_bytes(*length) as usize;
        at = at.saturating_add(8).saturating_add(length).saturating_add(length & 1);
        if at == bytes.len() + 1 {
            return length & 1 == 1;
        }
    }
    false
}

/// The first frame, of which the size is as allowed as that of its canvas.
fn first_frame<'a>(demuxer: &Demuxer<'a>, limits: &Limits) -> Result<Frame<'a>> {
    let frame = demuxer.first_frame()?;
    limits.check_pixels(frame.width, frame.height)?;
    Ok(frame)
}

/// Holds the canvas that a file states, if it does, against the limits: the demuxer would call one that no frame fits
/// damaged.
fn check_canvas(bytes: &[u8], limits: &Limits) -> Result<()> {
    let Some((b"VP8X", rest)) = bytes.get(RIFF_HEADER..).and_then(|chunks| chunks.split_first_chunk::<4>()) else {
        return Ok(());
    };
    if let &[_, _, _, _, _, _, _, _, w0, w1, w2, h0, h1, h2, ..] = rest {
        let side = |low, middle, high| u32::from_le_bytes([low, middle, high, 0]) + 1;
        limits.check_pixels(side(w0, w1, w2), side(h0, h1, h2))?;
    }
    Ok(())
}

pub(super) fn header(bytes: &[u8], limits: &Limits) -> Result<Header> {
    check_canvas(bytes, limits)?;
    let padded = padded(bytes)?;
    let demuxer = Demuxer::new(padded.as_deref().unwrap_or(bytes))?;
    let (width, height) = demuxer.canvas();
    // What contradicts its own headers is damaged, even if nobody asks for pixels.
    limits.check_pixels(width, height)?;
    let frame = first_frame(&demuxer, limits)?;
    let has_alpha = demuxer.has_alpha() || (!demuxer.is_animation() && frame.has_alpha);
    let orientation = demuxer.exif().map_or(Orientation::NoTransforms, exif::orientation);
    Ok(Header { width, height, orientation, has_alpha })
}

pub(super) fn pixels(bytes: &[u8], header: &Header, limits: &Limits) -> Result<Raster> {
    // Planes or an ARGB canvas besides the output.
    limits::probe(sample_count(header, 4 + 4) as u64)?;
    let padded = padded(bytes)?;
    let demuxer = Demuxer::new(padded.as_deref().unwrap_or(bytes))?;
    let frame = first_frame(&demuxer, limits)?;
    let alpha = header.has_alpha;
    let channels = if alpha { 4 } else { 3 };
    let mut pixels = limits::zeroed(frame.width as usize * frame.height as usize * channels)?;
    frame.decode(&mut pixels, alpha)?;
    let raster = |data| Raster { width: header.width, height: header.height, alpha, data };
    if (frame.width, frame.height) == (header.width, header.height) {
        return Ok(raster(pixels));
    }
    // What no frame covers is transparent, or black where nothing may be.
    let mut data = limits::zeroed(sample_count(header, channels))?;
    let row = frame.width as usize * channels;
    let canvas = data.chunks_exact_mut(header.width as usize * channels).skip(frame.top as usize);
    for (canvas, frame_row) in canvas.zip(pixels.chunks_exact(row)) {
        canvas[frame.left as usize * channels..][..row].copy_from_slice(frame_row);
    }
    Ok(raster(data))
}
