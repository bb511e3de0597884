//! libjpeg-turbo, called through `libjpeg.c`.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_long, c_uchar, c_uint};

// Nothing of it is called from Rust: it builds the library that `libjpeg.c` calls.
use turbojpeg_sys as _;

use crate::error::{Error, Result};
use crate::stop;

/// Most scans of a file. Encoders write ten.
const MAX_SCANS: c_int = 100;

/// `JMSG_LENGTH_MAX` of jpeglib.h.
const REASON_LENGTH: usize = 200;

unsafe extern "C" {
    fn vs_jpeg_decode(
        file: *const c_uchar,
        length: usize,
        pixels: *mut c_uchar,
        width: c_uint,
        height: c_uint,
        channels: c_int,
        max_memory: c_long,
        max_scans: c_int,
        stop: extern "C" fn() -> c_int,
        reason: *mut c_char,
    ) -> c_int;
}

/// Decodes `file` to `pixels`: RGB if a pixel has three `channels`, CMYK as it is stored if it has four.
///
/// # Panics
/// If `pixels` is not as long as the dimensions say.
pub(super) fn decode(file: &[u8], pixels: &mut [u8], width: u16, height: u16, channels: u8) -> Result<()> {
    let (columns, rows, samples) = (usize::from(width), usize::from(height), usize::from(channels));
    assert!(matches!(channels, 3 | 4) && pixels.len() == columns * rows * samples);
    // What a file of several scans needs: two bytes for each coefficient of four components, padded to whole MCUs. The
    // rest, some rows of each component, is small.
    let max_memory = 2 * 4 * (columns + 32) * (rows + 32) + (16 << 20);
    let mut reason = [0; REASON_LENGTH];
    // SAFETY: both slices outlive the call, which reads `length` bytes of the one and writes at most `height` rows of
    // `width * channels` bytes to the other, whose length was checked above: it compares the size in the file with
    // the one that it is given before it writes. `reason` has the length that it formats messages for. It keeps no
    // pointer, shares no state between calls (each has a decoder of its own), calls no Rust but `stop_wanted`, which
    // returns, and comes back by returning: its longjmps stay inside and pass no frame of Rust.
    let outcome = unsafe {
        vs_jpeg_decode(
            file.as_ptr(),
            file.len(),
            pixels.as_mut_ptr(),
            width.into(),
            height.into(),
            channels.into(),
            max_memory.try_into().unwrap_or(c_long::MAX),
            MAX_SCANS,
            stop_wanted,
            reason.as_mut_ptr(),
        )
    };
    // The numbers are those of `enum outcome`.
    match outcome {
        0 => Ok(()),
        2 => Err(Error::unsupported("JPEG with components sampled at a fraction of each other")),
        3 => Err(Error::OutOfMemory { bytes: max_memory }),
        _ => Err(Error::corrupt(text(&reason))),
    }
}

extern "C" fn stop_wanted() -> c_int {
    stop::wanted().into()
}

fn text(reason: &[c_char; REASON_LENGTH]) -> String {
    let bytes = reason.map(|character| character as u8);
    CStr::from_bytes_until_nul(&bytes).map(CStr::to_string_lossy).unwrap_or_default().into_owned()
}
