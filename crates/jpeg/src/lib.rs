//! JPEG to pixels, sample for sample as libjpeg-turbo.
//!
//! Nearly every published network was trained on pictures that libjpeg-turbo decoded (Pillow, torchvision, OpenCV and
//! TensorFlow use it), and the standard leaves a decoder free in how it rounds. Decoders that round otherwise are up to
//! three levels off where halved colour planes are enlarged, which is enough to move an embedding. This one follows the
//! reference in everything that decides a sample:
//!
//! * [`idct`]: the accurate integer transform ("islow"), 13 bits of fraction and two bits kept between its passes;
//! * [`upsample`]: "fancy" upsampling, a triangle filter whose rounding alternates from sample to sample;
//! * [`color`]: YCbCr to RGB in 16 bits of fraction, and which colour space a file without a word about it is taken for.
//!
//! Sequential and progressive files with Huffman codes and 8 bits a sample are read, with one, three or four components
//! and any whole-numbered subsampling. Anything else is refused by name.
//!
//! # How a file is read
//!
//! [`headers`] walks the markers up to the first scan. A sequential file with one scan, the common kind, is then decoded
//! row of blocks by row of blocks: [`sequential`] reads coefficients, [`idct`] turns them into samples of a stripe that
//! holds two such rows for each component, and [`output`] enlarges, converts and writes the rows that are complete.
//! Files of several scans ([`progressive`] ones above all) collect their coefficients first and go the same way then.
//!
//! # Hostile files
//!
//! The crate is safe Rust but for the calls into the same code compiled for AVX2 ([`kernels`]). Nothing is allocated
//! before the caller has seen the dimensions; what is allocated is reserved fallibly. Data that end early are an error at
//! the end of the row of blocks at the latest, where other decoders go on with zeros; so are codes outside of their
//! table, runs beyond a block, and restart markers out of order. The number of
//! scans is limited, and the scans of a progressive file must follow on each other, which bounds the work for a
//! coefficient.

#![deny(unsafe_code)]

mod bits;
mod color;
mod decode;
mod frame;
mod headers;
mod huffman;
mod idct;
mod kernels;
mod output;
mod progressive;
mod scan;
mod sequential;
mod tables;
mod upsample;

pub use headers::Headers;

/// A JPEG that cannot be decoded, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A kind of JPEG that is not read; named so that "… is not supported" makes a sentence.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// The file contradicts the format or ends too early.
    #[error("{0}")]
    Corrupt(String),
    /// Memory for samples or coefficients could not be had.
    #[error("out of memory for {bytes} bytes")]
    OutOfMemory {
        /// Size of the allocation that failed.
        bytes: usize,
    },
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn corrupt<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::Corrupt(reason.into()))
}

fn unsupported<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Unsupported(what.into()))
}

/// A buffer of `len` times the default value.
fn allocate<T: Clone + Default>(len: usize) -> Result<Vec<T>> {
    let mut buffer = Vec::new();
    buffer
        .try_reserve_exact(len)
        .map_err(|_| Error::OutOfMemory { bytes: len.saturating_mul(std::mem::size_of::<T>()) })?;
    buffer.resize(len, T::default());
    Ok(buffer)
}

impl Headers<'_> {
    /// Decodes to interleaved RGB. CMYK is taken for inverted, as Adobe's programs write it, and converted by the plain
    /// formula, as Pillow does.
    ///
    /// # Errors
    /// For image data that are damaged or end too early, and where memory cannot be had.
    ///
    /// # Panics
    /// If `rgb` is not three times as long as the picture has pixels.
    pub fn decode_rgb(&self, rgb: &mut [u8]) -> Result<()> {
        assert_eq!(rgb.len(), 3 * usize::from(self.width()) * usize::from(self.height()));
        decode::decode(self, rgb)
    }
}
