//! Pictures in memory: [`Rgb`] for callers, and the raster with optional transparency behind it.

use image::metadata::Orientation;

use crate::error::{Error, Result};
use crate::limits;

/// A picture as 8-bit RGB, upright, without transparency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

impl Rgb {
    /// A picture from its samples, row by row from the top left, three bytes a pixel.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if a side is zero or `data` is not `width * height * 3` bytes long.
    pub fn new(width: u32, height: u32, data: Vec<u8>) -> Result<Self> {
        let expected = u64::from(width) * u64::from(height) * 3;
        if expected == 0 || data.len() as u64 != expected {
            return Err(Error::InvalidArgument(format!("{} bytes are no {width} x {height} RGB picture", data.len())));
        }
        Ok(Self { width, height, data })
    }

    /// Width in pixels, at least 1.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The samples: `height * width * 3` bytes, row by row from the top left, R, G, B.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

/// A decoded frame: interleaved 8-bit samples, RGB or RGBA with straight alpha.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raster {
    pub width: u32,
    pub height: u32,
    pub alpha: bool,
    pub data: Vec<u8>,
}

impl Raster {
    pub fn channels(&self) -> usize {
        if self.alpha { 4 } else { 3 }
    }

    /// The same picture turned upright.
    ///
    /// `orientation` is the EXIF value 1..=8; 5 to 8 swap the sides.
    pub fn upright(self, orientation: Orientation) -> Result<Self> {
        if orientation == Orientation::NoTransforms {
            return Ok(self);
        }
        if self.alpha { self.turned::<4>(orientation) } else { self.turned::<3>(orientation) }
    }

    /// Gathers: for each output pixel the input pixel the orientation puts there.
    fn turned<const N: usize>(self, orientation: Orientation) -> Result<Self> {
        let (source, _) = self.data.as_chunks::<N>();
        let (w, h) = (self.width as usize, self.height as usize);
        // Index of the input pixel shown at column x, row y of the output, as start + x * step_x + y * step_y.
        let (start, step_x, step_y) = match orientation {
            Orientation::NoTransforms => (0, 1, w as isize),
            Orientation::FlipHorizontal => (w - 1, -1, w as isize),
            Orientation::Rotate180 => (w * h - 1, -1, -(w as isize)),
            Orientation::FlipVertical => (w * (h - 1), 1, -(w as isize)),
            Orientation::Rotate90FlipH => (0, w as isize, 1),
            Orientation::Rotate90 => (w * (h - 1), -(w as isize), 1),
            Orientation::Rotate270FlipH => (w * h - 1, -(w as isize), -1),
            Orientation::Rotate270 => (w - 1, w as isize, -1),
        };
        let swapped = orientation.to_exif() >= 5;
        let (width, height) = if swapped { (self.height, self.width) } else { (self.width, self.height) };
        let mut data = limits::with_capacity(self.data.len())?;
        for y in 0..height as isize {
            let mut index = start as isize + y * step_y;
            for _ in 0..width {
                data.extend_from_slice(&source[index as usize]);
                index += step_x;
            }
        }
        Ok(Self { width, height, data, alpha: self.alpha })
    }

    /// Composites on white and drops the alpha channel.
    pub fn into_rgb(mut self) -> Rgb {
        if self.alpha {
            // In place: the three bytes of pixel i are written at 3i, at or before the four read at 4i.
            let pixels = self.data.len() / 4;
            for i in 0..pixels {
                let alpha = self.data[4 * i + 3];
                for c in 0..3 {
                    self.data[3 * i + c] = over_white(self.data[4 * i + c], alpha);
                }
            }
            self.data.truncate(3 * pixels);
        }
        Rgb { width: self.width, height: self.height, data: self.data }
    }
}

/// `sample` at opacity `alpha` over white, rounded to nearest.
fn over_white(sample: u8, alpha: u8) -> u8 {
    let (sample, alpha) = (u32::from(sample), u32::from(alpha));
    ((sample * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compositing_on_white() {
        assert_eq!(over_white(0, 255), 0);
        assert_eq!(over_white(0, 0), 255);
        assert_eq!(over_white(255, 77), 255);
        assert_eq!(over_white(100, 128), 177);
        let raster = Raster { width: 2, height: 1, alpha: true, data: vec![10, 20, 30, 255, 1, 2, 3, 0] };
        assert_eq!(raster.into_rgb().data, [10, 20, 30, 255, 255, 255]);
    }

    #[test]
    fn every_orientation() {
        // a b
        // c d
        // e f
        let raster = || Raster { width: 2, height: 3, alpha: false, data: (0..6).flat_map(|p| [p; 3]).collect() };
        let turned = |exif| {
            let r = raster().upright(Orientation::from_exif(exif).unwrap()).unwrap();
            (r.width, r.data.chunks(3).map(|p| (b'a' + p[0]) as char).collect::<String>())
        };
        assert_eq!(turned(1), (2, "abcdef".into()));
        assert_eq!(turned(2), (2, "badcfe".into()));
        assert_eq!(turned(3), (2, "fedcba".into()));
        assert_eq!(turned(4), (2, "efcdab".into()));
        assert_eq!(turned(5), (3, "acebdf".into()));
        assert_eq!(turned(6), (3, "ecafdb".into()));
        assert_eq!(turned(7), (3, "fdbeca".into()));
        assert_eq!(turned(8), (3, "bdface".into()));
    }
}
