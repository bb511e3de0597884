//! From a picture to the input tensor of a network, by a description that is data.
//!
//! [`spec`] is the description, [`geometry`] turns it and a picture's size into whole numbers (where the libraries that
//! trained the models disagree by a pixel, the description says whom to follow), and this file does the work:
//!
//! 1. resize to 8-bit pixels, rounding as Pillow does, because models saw pixels that were rounded there;
//! 2. lay the resized picture under the crop window, with the pad colour where it does not reach;
//! 3. write `(sample * scale - mean) / std` in the order of the layout. A sample has 256 values, so the arithmetic is
//!    done 256 times per channel, in f64, and the pixels are a table look-up.

mod geometry;
mod spec;

use std::borrow::Cow;

use half::f16;

pub use spec::{ChannelOrder, Crop, CropAlign, Layout, PadAlign, Preprocess, Resize, Rounding};

use crate::error::{Error, Result};
use crate::picture::Rgb;
use crate::resize::{is_enormous, resize_part, resize_rgb};
use geometry::Plan;

/// An element type of tensors: `f32`, [`half::f16`] or `u8`.
pub trait Element: Copy + sealed::Sealed {
    /// The element nearest to `value`; `u8` saturates, `f16` overflows to infinity beyond 65,504.
    fn from_f64(value: f64) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::f16 {}
    impl Sealed for u8 {}
}

impl Element for f32 {
    fn from_f64(value: f64) -> Self {
        value as f32
    }
}

impl Element for f16 {
    fn from_f64(value: f64) -> Self {
        f16::from_f64(value)
    }
}

impl Element for u8 {
    fn from_f64(value: f64) -> Self {
        value.round_ties_even() as u8
    }
}

/// Writes the tensor of one picture into `out`, which holds exactly [`Preprocess::output_len`] elements.
///
/// The order is `[3][height][width]` for [`Layout::Nchw`] and `[height][width][3]` for [`Layout::Nhwc`]; a batch is one
/// such piece after the other.
///
/// # Errors
/// [`Error::InvalidArgument`] if `spec` is not valid ([`Preprocess::validate`]) or `out` has another length;
/// [`Error::Unsupported`] if the picture is so elongated that resizing what of it is seen would take many millions
/// of pixels;
/// [`Error::OutOfMemory`].
pub fn preprocess_into<T: Element>(picture: &Rgb, spec: &Preprocess, out: &mut [T]) -> Result<()> {
    spec.validate()?;
    if out.len() != spec.output_len() {
        return Err(Error::InvalidArgument(format!(
            "the tensor has {} elements, the preprocessing makes {}",
            out.len(),
            spec.output_len()
        )));
    }
    let mut plan = Plan::new(spec, picture.width(), picture.height());
    let size = (picture.width(), picture.height());
    let resized = if plan.resized == size {
        Cow::Borrowed(picture.data())
    } else if is_enormous(plan.resized) {
        let part = plan.seen();
        let resized = resize_part(picture.data(), size, plan.resized, part, spec.filter)?;
        plan = plan.of(part);
        Cow::Owned(resized)
    } else {
        Cow::Owned(resize_rgb(picture.data(), size, plan.resized, spec.filter)?)
    };
    write_tensor(&resized, &plan, spec, out);
    Ok(())
}

/// Steps 2 and 3: the window of the resized picture, normalised, into the tensor.
fn write_tensor<T: Element>(resized: &[u8], plan: &Plan, spec: &Preprocess, out: &mut [T]) {
    let tables = Tables::new(spec);
    let (out_width, out_height) = (plan.window.0 as usize, plan.window.1 as usize);
    let source_width = plan.resized.0 as usize;
    let (columns, rows) = (plan.columns(), plan.rows());
    if columns.len() < out_width || rows.len() < out_height {
        tables.fill(spec, out);
    }
    let plane = out_width * out_height;
    for y in rows {
        let source_y = (y as i64 + plan.offset.1) as usize;
        let source_x = (columns.start as i64 + plan.offset.0) as usize;
        let source = &resized[(source_y * source_width + source_x) * 3..][..columns.len() * 3];
        let (pixels, _) = source.as_chunks::<3>();
        let at = y * out_width + columns.start;
        match spec.layout {
            Layout::Nchw => {
                for (channel, table) in tables.0.iter().enumerate() {
                    let take = spec.channels.source(channel);
                    let target = &mut out[channel * plane + at..][..pixels.len()];
                    for (element, pixel) in target.iter_mut().zip(pixels) {
                        *element = table[usize::from(pixel[take])];
                    }
                }
            }
            Layout::Nhwc => {
                let (target, _) = out[at * 3..][..pixels.len() * 3].as_chunks_mut::<3>();
                let take = [0, 1, 2].map(|channel| spec.channels.source(channel));
                for (elements, pixel) in target.iter_mut().zip(pixels) {
                    *elements = std::array::from_fn(|c| tables.0[c][usize::from(pixel[take[c]])]);
                }
            }
        }
    }
}

/// For each output channel the element of each of the 256 sample values.
struct Tables<T>([[T; 256]; 3]);

impl<T: Element> Tables<T> {
    fn new(spec: &Preprocess) -> Self {
        Self(std::array::from_fn(|c| {
            let (scale, mean, std) = (f64::from(spec.scale), f64::from(spec.mean[c]), f64::from(spec.std[c]));
            std::array::from_fn(|sample| T::from_f64((sample as f64 * scale - mean) / std))
        }))
    }

    /// Fills the whole tensor with the pad colour.
    fn fill(&self, spec: &Preprocess, out: &mut [T]) {
        let color: [T; 3] = std::array::from_fn(|c| self.0[c][usize::from(spec.pad_color[spec.channels.source(c)])]);
        match spec.layout {
            Layout::Nchw => {
                let plane = out.len() / 3;
                out.chunks_exact_mut(plane).zip(color).for_each(|(plane, element)| plane.fill(element));
            }
            Layout::Nhwc => out.as_chunks_mut::<3>().0.fill(color),
        }
    }
}
