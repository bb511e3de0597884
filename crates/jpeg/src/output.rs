//! From blocks to pixels: a stripe of samples, and the rows of the picture that it completes.
//!
//! The stripe of a component holds two rows of MCUs, the one that was decoded last and the one before it. A row of pixels
//! needs, of each component, the rows of samples at its place and one above or below it. So when a row of MCUs has been
//! decoded, all its rows of pixels can be written but the lowest group, which waits for the samples below it.

use crate::color::{self, Space};
use crate::frame::SIDE;
use crate::headers::Headers;
use crate::tables::Block;
use crate::upsample::{Upsampling, repeat};
use crate::{Result, allocate, idct, kernels};

/// Two rows of MCUs of one component.
struct Stripe {
    samples: Vec<u8>,
    stride: usize,
    /// Rows of samples in a row of MCUs.
    rows: usize,
    /// The component's size; rows and columns beyond are padding.
    width: usize,
    height: usize,
    /// Its vertical sampling factor.
    v: usize,
    upsampling: Upsampling,
    /// One row of the component, enlarged.
    enlarged: Vec<u8>,
}

impl Stripe {
    fn row(&self, y: usize) -> &[u8] {
        let start = y % (2 * self.rows) * self.stride;
        &self.samples[start..start + self.width]
    }

    /// Makes the samples of a row of pixels; [`Self::pixels`] returns them.
    fn enlarge(&mut self, y: usize, max_v: usize, sums: &mut [u16]) {
        let mut enlarged = std::mem::take(&mut self.enlarged);
        // A row of samples and its nearer neighbour; at the edge, itself.
        let own = y * self.v / max_v;
        let lower = y % 2 == 1;
        let other = if lower { (own + 1).min(self.height - 1) } else { own.saturating_sub(1) };
        match self.upsampling {
            Upsampling::None => {}
            Upsampling::Across => kernels::upsample_across(self.row(own), &mut enlarged),
            Upsampling::Down => kernels::upsample_down(self.row(own), self.row(other), lower, &mut enlarged),
            Upsampling::Both => {
                kernels::upsample_both(self.row(own), self.row(other), &mut sums[..self.width], &mut enlarged);
            }
            Upsampling::Repeat(times, _) => repeat(self.row(own), times, &mut enlarged),
        }
        self.enlarged = enlarged;
    }

    fn pixels(&self, y: usize) -> &[u8] {
        if self.upsampling == Upsampling::None { self.row(y) } else { &self.enlarged }
    }
}

/// Takes blocks, row of MCUs by row of MCUs, and writes pixels.
pub(crate) struct Output<'a> {
    stripes: Vec<Stripe>,
    sums: Vec<u16>,
    space: Space,
    max_v: usize,
    width: usize,
    height: usize,
    /// Rows of pixels written so far.
    written: usize,
    rgb: &'a mut [u8],
}

impl<'a> Output<'a> {
    pub fn new(headers: &Headers, rgb: &'a mut [u8]) -> Result<Self> {
        let frame = &headers.frame;
        let mut stripes = Vec::with_capacity(4);
        for component in &frame.components {
            let upsampling = Upsampling::of(component, frame);
            let (stride, rows) = (frame.mcus_x * component.h * SIDE, component.v * SIDE);
            let enlarged = if upsampling == Upsampling::None { 0 } else { frame.mcus_x * frame.max_h * SIDE };
            stripes.push(Stripe {
                samples: allocate(2 * rows * stride)?,
                stride,
                rows,
                width: component.width,
                height: component.height,
                v: component.v,
                upsampling,
                enlarged: allocate(enlarged)?,
            });
        }
        Ok(Self {
            sums: allocate(usize::from(frame.width))?,
            stripes,
            space: Space::of(headers),
            max_v: frame.max_v,
            width: frame.width.into(),
            height: frame.height.into(),
            written: 0,
            rgb,
        })
    }

    /// Puts a block where it belongs: block `x` of row `y` of the component's blocks. `last` is the place, in the order of
    /// coding, of the last coefficient that is not zero.
    pub fn put(&mut self, component: usize, (x, y): (usize, usize), block: &Block, steps: &Block, last: usize) {
        let stripe = &mut self.stripes[component];
        let start = y * SIDE % (2 * stripe.rows) * stripe.stride + x * SIDE;
        let out = &mut stripe.samples[start..];
        match last {
            0 => idct::flat_block(block[0], steps[0], out, stripe.stride),
            // The first ten lie within the first four rows and columns.
            1..10 => kernels::sparse_inverse_transform(block, steps, out, stripe.stride),
            _ => kernels::inverse_transform(block, steps, out, stripe.stride),
        }
    }

    /// Writes the rows of pixels that are complete now that the row `y` of MCUs is.
    pub fn mcu_row_done(&mut self, y: usize) {
        let end = (y + 1) * SIDE * self.max_v;
        let end = if end >= self.height { self.height } else { end - self.max_v };
        for y in self.written..end {
            for stripe in &mut self.stripes {
                stripe.enlarge(y, self.max_v, &mut self.sums);
            }
            let out = &mut self.rgb[3 * y * self.width..3 * (y + 1) * self.width];
            match (self.space, &*self.stripes) {
                (Space::Grey, [grey]) => color::grey_row(grey.pixels(y), out),
                (Space::YCbCr, [a, b, c]) => kernels::ycbcr_row(a.pixels(y), b.pixels(y), c.pixels(y), out),
                (Space::Rgb, [a, b, c]) => color::rgb_row([a, b, c].map(|stripe| stripe.pixels(y)), out),
                (Space::Cmyk, [a, b, c, d]) => color::cmyk_row([a, b, c, d].map(|stripe| stripe.pixels(y)), out),
                (Space::Ycck, [a, b, c, d]) => color::ycck_row([a, b, c, d].map(|stripe| stripe.pixels(y)), out),
                _ => unreachable!("a colour space has its number of components"),
            }
        }
        self.written = end;
    }
}
