//! GIF, by the `gif` crate: the first frame, on a transparent screen.

use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, Decoder, Frame, MemoryLimit};
use image::metadata::Orientation;

use super::{Header, sample_count};
use crate::error::{Error, Result};
use crate::limits::{self, Limits};
use crate::picture::Raster;
use crate::stop::Stoppable;

fn open(bytes: &[u8]) -> Result<Decoder<Stoppable<'_>>> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    // What extension blocks add up to is at most the file itself; pixels go to a buffer of ours.
    options.set_memory_limit(MemoryLimit::Bytes(NonZeroU64::MIN.saturating_add(bytes.len() as u64)));
    options.read_info(Stoppable::new(bytes)).map_err(Error::corrupt)
}

fn first_frame<'a>(decoder: &'a mut Decoder<Stoppable<'_>>) -> Result<&'a Frame<'static>> {
    decoder.next_frame_info().map_err(Error::corrupt)?.ok_or_else(|| Error::corrupt("the GIF has no frame"))
}

pub(super) fn header(bytes: &[u8]) -> Result<Header> {
    let mut decoder = open(bytes)?;
    let (width, height) = (decoder.width(), decoder.height());
    let frame = first_frame(&mut decoder)?;
    let covers = frame.left == 0 && frame.top == 0 && frame.width >= width && frame.height >= height;
    Ok(Header {
        width: width.into(),
        height: height.into(),
        orientation: Orientation::NoTransforms,
        has_alpha: frame.transparent.is_some() || !covers,
    })
}

pub(super) fn pixels(bytes: &[u8], header: &Header, limits: &Limits) -> Result<Raster> {
    let mut decoder = open(bytes)?;
    let frame = first_frame(&mut decoder)?;
    limits.check_pixels(frame.width.into(), frame.height.into())?;
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let (frame_width, frame_height) = (usize::from(frame.width), usize::from(frame.height));
    // The decoder has the colours' indices besides.
    limits::probe((frame_width * frame_height * (4 + 1)) as u64)?;
    let mut pixels = limits::zeroed(frame_width * frame_height * 4)?;
    decoder.read_into_buffer(&mut pixels).map_err(Error::corrupt)?;

    let (width, height) = (header.width as usize, header.height as usize);
    if (left, top, frame_width, frame_height) == (0, 0, width, height) {
        return Ok(Raster { width: header.width, height: header.height, alpha: true, data: pixels });
    }
    // A frame may cover part of the screen, or reach beyond it: copy the rows and columns they share.
    let mut data = limits::zeroed(sample_count(header, 4))?;
    let columns = frame_width.min(width.saturating_sub(left));
    if columns > 0 {
        let rows = data.chunks_exact_mut(width * 4).skip(top).zip(pixels.chunks_exact(frame_width * 4));
        for (screen, frame) in rows {
            screen[left * 4..][..columns * 4].copy_from_slice(&frame[..columns * 4]);
        }
    }
    Ok(Raster { width: header.width, height: header.height, alpha: true, data })
}
