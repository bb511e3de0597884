//! libwebp, from the sources in `libwebp-sys`: what this crate wants of it, behind safe functions.
//!
//! It allocates as a C library does: where there is no memory it says so. It makes no threads unless it is asked to.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use libwebp_sys as webp;
use webp::VP8StatusCode as Status;

use crate::error::{Error, Result};
use crate::limits;
use crate::stop;

/// The structure of a file: its canvas, frames and metadata.
pub(super) struct Demuxer<'a> {
    raw: NonNull<webp::WebPDemuxer>,
    /// The demuxer points into the file.
    file: PhantomData<&'a [u8]>,
}

/// One frame: the rectangle of the canvas that it covers, and its bitstream.
pub(super) struct Frame<'a> {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) has_alpha: bool,
    bitstream: &'a [u8],
}

impl<'a> Demuxer<'a> {
    /// Reads the structure of `file`, and no pixels. Refused is what is not whole or not valid.
    pub(super) fn new(file: &'a [u8]) -> Result<Self> {
        let data = webp::WebPData { bytes: file.as_ptr(), size: file.len() };
        // SAFETY: `data` describes `file`, which outlives the demuxer by the lifetime of `Self`; no state is asked for.
        let raw = unsafe { webp::WebPDemuxInternal(&data, 0, ptr::null_mut(), webp::WebPGetDemuxABIVersion()) };
        let raw = NonNull::new(raw)
            .ok_or_else(|| Error::corrupt("the WebP's chunks are cut short or contradict each other"))?;
        Ok(Self { raw, file: PhantomData })
    }

    fn number(&self, feature: webp::WebPFormatFeature) -> u32 {
        // SAFETY: the demuxer is alive; the call only reads it.
        unsafe { webp::WebPDemuxGetI(self.raw.as_ptr(), feature) }
    }

    /// Width and height.
    pub(super) fn canvas(&self) -> (u32, u32) {
        use webp::WebPFormatFeature::{WEBP_FF_CANVAS_HEIGHT, WEBP_FF_CANVAS_WIDTH};
        (self.number(WEBP_FF_CANVAS_WIDTH), self.number(WEBP_FF_CANVAS_HEIGHT))
    }

    fn has_flag(&self, flag: webp::WebPFeatureFlags) -> bool {
        self.number(webp::WebPFormatFeature::WEBP_FF_FORMAT_FLAGS) & flag as u32 != 0
    }

    /// Whether pixels may be transparent, as the file says.
    pub(super) fn has_alpha(&self) -> bool {
        self.has_flag(webp::WebPFeatureFlags::ALPHA_FLAG)
    }

    /// Whether there may be several frames.
    pub(super) fn is_animation(&self) -> bool {
        self.has_flag(webp::WebPFeatureFlags::ANIMATION_FLAG)
    }

    /// The EXIF block.
    pub(super) fn exif(&self) -> Option<&'a [u8]> {
        const NAME: &CStr = c"EXIF";
        let mut found = MaybeUninit::<webp::WebPChunkIterator>::zeroed();
        // SAFETY: the demuxer is alive and the name has four characters. Zeros are a valid iterator, which the call fills
        // if it finds a chunk. The chunk lies in the file, which lives for `'a`; releasing the iterator leaves it there.
        unsafe {
            let there = webp::WebPDemuxGetChunk(self.raw.as_ptr(), NAME.as_ptr(), 1, found.as_mut_ptr()) != 0;
            let chunk = slice(&found.assume_init_ref().chunk);
            webp::WebPDemuxReleaseChunkIterator(found.as_mut_ptr());
            if there { chunk } else { None }
        }
    }

    /// The first frame; a picture that is no animation has one.
    pub(super) fn first_frame(&self) -> Result<Frame<'a>> {
        let mut found = MaybeUninit::<webp::WebPIterator>::zeroed();
        // SAFETY: the demuxer is alive. Zeros are a valid iterator (of its enums 0 is a variant), which the call fills if
        // it finds a frame. The bitstream lies in the file, which lives for `'a`.
        let (there, found) = unsafe {
            let there = webp::WebPDemuxGetFrame(self.raw.as_ptr(), 1, found.as_mut_ptr()) != 0;
            webp::WebPDemuxReleaseIterator(found.as_mut_ptr());
            (there, found.assume_init())
        };
        // SAFETY: as above.
        let bitstream = unsafe { slice(&found.fragment) }.filter(|_| there && found.complete != 0);
        let side = |value: c_int| u32::try_from(value).map_err(Error::corrupt);
        let frame = Frame {
            left: side(found.x_offset)?,
            top: side(found.y_offset)?,
            width: side(found.width)?,
            height: side(found.height)?,
            has_alpha: found.has_alpha != 0,
            bitstream: bitstream.ok_or_else(|| Error::corrupt("the WebP has no whole frame"))?,
        };
        let (width, height) = self.canvas();
        let within = |start: u32, length: u32, all: u32| start.checked_add(length).is_some_and(|end| end <= all);
        if !within(frame.left, frame.width, width) || !within(frame.top, frame.height, height) {
            return Err(Error::corrupt("the WebP's frame does not lie on its canvas"));
        }
        if frame.size()? != (frame.width, frame.height) {
            return Err(Error::corrupt("the WebP's bitstream has another size than its frame"));
        }
        Ok(frame)
    }
}

impl Drop for Demuxer<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once; nothing borrows from it but the file does.
        unsafe { webp::WebPDemuxDelete(self.raw.as_ptr()) }
    }
}

/// What `data` describes.
///
/// # Safety
/// It must be empty, or bytes that live for `'a`.
unsafe fn slice<'a>(data: &webp::WebPData) -> Option<&'a [u8]> {
    // SAFETY: by the contract.
    (!data.bytes.is_null()).then(|| unsafe { std::slice::from_raw_parts(data.bytes, data.size) })
}

impl Frame<'_> {
    /// The size that the bitstream states.
    fn size(&self) -> Result<(u32, u32)> {
        let mut features = MaybeUninit::<webp::WebPBitstreamFeatures>::zeroed();
        // SAFETY: the slice is readable for the call, which fills the features, plain numbers of which zeros are valid.
        let (status, features) = unsafe {
            let data = self.bitstream;
            let status = webp::WebPGetFeatures(data.as_ptr(), data.len(), features.as_mut_ptr());
            (status, features.assume_init())
        };
        explain(status, self.bitstream.len())?;
        let side = |value: c_int| u32::try_from(value).map_err(Error::corrupt);
        Ok((side(features.width)?, side(features.height)?))
    }

    /// Decodes to RGB, or RGBA if `alpha`.
    ///
    /// # Panics
    /// If `pixels` is not as long as the dimensions say.
    pub(super) fn decode(&self, pixels: &mut [u8], alpha: bool) -> Result<()> {
        let channels = if alpha { 4 } else { 3 };
        let stride = self.width as usize * channels;
        assert!(pixels.len() == stride * self.height as usize && self.size()? == (self.width, self.height));
        let mut config =
            webp::WebPDecoderConfig::new().map_err(|()| Error::unsupported("libwebp of another version"))?;
        config.output.colorspace = if alpha { webp::WEBP_CSP_MODE::MODE_RGBA } else { webp::WEBP_CSP_MODE::MODE_RGB };
        config.output.is_external_memory = 1;
        config.output.u.RGBA = webp::WebPRGBABuffer {
            rgba: pixels.as_mut_ptr(),
            stride: c_int::try_from(stride).map_err(Error::corrupt)?,
            size: pixels.len(),
        };
        /// Frees what the decoder has allocated.
        struct Incremental(NonNull<webp::WebPIDecoder>);
        impl Drop for Incremental {
            fn drop(&mut self) {
                // SAFETY: made below, deleted once.
                unsafe { webp::WebPIDelete(self.0.as_ptr()) }
            }
        }
        // SAFETY: no data yet; the configuration outlives the decoder, which keeps a pointer to it. The output is writable
        // for as many bytes as `size` says, for as long; it compares that with what the bitstream needs before it writes.
        let decoder = unsafe { webp::WebPIDecode(ptr::null(), 0, &mut config) };
        let decoder = Incremental(NonNull::new(decoder).ok_or(Error::OutOfMemory { bytes: pixels.len() })?);
        let mut status = Status::VP8_STATUS_SUSPENDED;
        let mut end = 0;
        while status == Status::VP8_STATUS_SUSPENDED && end < self.bitstream.len() {
            if stop::wanted() {
                return Err(Error::Stopped);
            }
            end = self.bitstream.len().min(end + STEP);
            // SAFETY: the decoder is alive; the slice is readable and the same each time, as it wants it, but for its
            // length, which grows. It keeps pointers into it until it is deleted, which is before the slice goes.
            status = unsafe { webp::WebPIUpdate(decoder.0.as_ptr(), self.bitstream.as_ptr(), end) };
        }
        match explain(status, pixels.len()) {
            // It also says so of a damaged alpha channel.
            Err(Error::OutOfMemory { .. })
                if self.bitstream.starts_with(b"ALPH") && limits::probe(pixels.len() as u64 * 2).is_ok() =>
            {
                Err(Error::corrupt("the WebP's transparency is invalid"))
            }
            result => result,
        }
    }
}

/// Bytes of a bitstream that are decoded between two looks at whether to stop.
const STEP: usize = 1 << 18;

/// The result that a status means, for a call that wanted about so many `bytes`.
fn explain(status: Status, bytes: usize) -> Result<()> {
    Err(match status {
        Status::VP8_STATUS_OK => return Ok(()),
        Status::VP8_STATUS_OUT_OF_MEMORY => Error::OutOfMemory { bytes },
        Status::VP8_STATUS_UNSUPPORTED_FEATURE => Error::unsupported("WebP with a feature that libwebp lacks"),
        Status::VP8_STATUS_NOT_ENOUGH_DATA | Status::VP8_STATUS_SUSPENDED => {
            Error::corrupt("the WebP's pixels end too early")
        }
        _ => Error::corrupt("the WebP's pixels are invalid"),
    })
}

/// A WebP file of RGB samples, or RGBA if `alpha`, lossy with that quality of 0 to 100.
///
/// # Panics
/// If `pixels` is not as long as the dimensions say.
pub(crate) fn encode(pixels: &[u8], width: u32, height: u32, alpha: bool, quality: f32) -> Result<Vec<u8>> {
    /// Frees what libwebp has allocated.
    struct Output(*mut u8);
    impl Drop for Output {
        fn drop(&mut self) {
            // SAFETY: null, or allocated by libwebp and freed once.
            unsafe { webp::WebPFree(self.0.cast()) }
        }
    }
    let stride = width as usize * if alpha { 4 } else { 3 };
    assert_eq!(pixels.len(), stride * height as usize);
    let number = |value: usize| c_int::try_from(value).map_err(Error::corrupt);
    let (columns, rows, bytes) = (number(width as usize)?, number(height as usize)?, number(stride)?);
    let mut output = Output(ptr::null_mut());
    let call = if alpha { webp::WebPEncodeRGBA } else { webp::WebPEncodeRGB };
    // SAFETY: the pixels are readable for `rows` rows of `bytes` bytes, for the call. It sets the output to null or to
    // memory of the length that it returns.
    let length = unsafe { call(pixels.as_ptr(), columns, rows, bytes, quality, &mut output.0) };
    if length == 0 || output.0.is_null() {
        return Err(Error::OutOfMemory { bytes: pixels.len() });
    }
    let mut file = limits::with_capacity(length)?;
    // SAFETY: as above, and not yet freed.
    file.extend_from_slice(unsafe { std::slice::from_raw_parts(output.0, length) });
    Ok(file)
}
