//! Pictures to tensors.
//!
//! The path from the bytes of a picture file to the input of a network:
//!
//! 1. **[`decode`](decode())** — sniff the format by its magic bytes, check the limits against the header, decode the
//!    first frame, apply the EXIF orientation, composite transparency on white: an [`Rgb`] picture.
//! 2. **[`preprocess_into`]** — resize as Pillow does, crop or pad, look every sample up in a table that holds the
//!    normalised value, and write it in the order the model wants: a tensor. What is done is data, [`Preprocess`].
//!
//! Beside it live [`inspect`] (headers only), [`thumbnail`], [`data_uri`] and [`contact_sheet`].
//!
//! Input is hostile until proven otherwise: every function returns an [`Error`] with its reason for a file that is
//! damaged, cut short, oversized or of a kind we do not read. Nothing panics, nothing guesses missing pixels, and no
//! number in a file sizes an allocation before it has been held against [`Limits`].

// Two modules call C libraries.
#![deny(unsafe_code)]

mod contact_sheet;
mod data_uri;
mod decode;
mod error;
mod format;
mod guard;
mod limits;
mod picture;
mod preprocess;
mod resize;
mod stop;
mod thumbnail;

pub use contact_sheet::{check_contact_sheet, contact_sheet};
pub use data_uri::data_uri;
pub use decode::{ImageInfo, decode, inspect};
pub use error::{Error, Result};
pub use format::Format;
pub use limits::Limits;
pub use picture::Rgb;
pub use preprocess::{
    ChannelOrder, Crop, CropAlign, Element, Layout, PadAlign, Preprocess, Resize, Rounding, preprocess_into,
};
pub use resize::Filter;
pub use stop::stop_when;
pub use thumbnail::{ThumbFormat, thumbnail};
