//! An RGB surface with the few things a contact sheet needs drawn on it.
//!
//! Coordinates are pixels from the top left. Whatever falls outside is clipped.

use crate::error::Result;
use crate::limits;
use crate::picture::{Raster, Rgb};

/// R, G, B.
pub type Color = [u8; 3];

pub struct Canvas {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

impl Canvas {
    pub fn new(width: u32, height: u32, paper: Color) -> Result<Self> {
        let mut data = limits::zeroed(width as usize * height as usize * 3)?;
        data.as_chunks_mut::<3>().0.fill(paper);
        Ok(Self { width, height, data })
    }

    pub fn into_raster(self) -> Raster {
        Raster { width: self.width, height: self.height, alpha: false, data: self.data }
    }

    fn pixel(&mut self, x: u32, y: u32) -> Option<&mut Color> {
        if x >= self.width {
            return None;
        }
        let at = y as usize * self.width as usize + x as usize;
        self.data.as_chunks_mut::<3>().0.get_mut(at)
    }

    /// Lays `color` over a pixel, `coverage` / 255 opaque.
    pub fn blend(&mut self, x: u32, y: u32, color: Color, coverage: u8) {
        if let Some(pixel) = self.pixel(x, y) {
            let coverage = u32::from(coverage);
            for (sample, color) in pixel.iter_mut().zip(color) {
                *sample = ((u32::from(*sample) * (255 - coverage) + u32::from(color) * coverage + 127) / 255) as u8;
            }
        }
    }

    /// A filled rectangle.
    pub fn fill(&mut self, x: u32, y: u32, width: u32, height: u32, color: Color) {
        for row in y..y + height {
            for column in x..x + width {
                if let Some(pixel) = self.pixel(column, row) {
                    *pixel = color;
                }
            }
        }
    }

    /// The outline of a rectangle, one pixel wide.
    pub fn frame(&mut self, x: u32, y: u32, width: u32, height: u32, color: Color) {
        self.fill(x, y, width, 1, color);
        self.fill(x, y + height - 1, width, 1, color);
        self.fill(x, y, 1, height, color);
        self.fill(x + width - 1, y, 1, height, color);
    }

    /// The two diagonals of a square, about three pixels wide, with soft edges.
    pub fn cross(&mut self, x: u32, y: u32, side: u32, color: Color) {
        let last = side as f32 - 1.0;
        for row in 0..side {
            for column in 0..side {
                let (u, v) = (column as f32, row as f32);
                let distance = (u - v).abs().min((u + v - last).abs()) * std::f32::consts::FRAC_1_SQRT_2;
                let coverage = (2.0 - distance).clamp(0.0, 1.0);
                self.blend(x + column, y + row, color, (coverage * 255.0) as u8);
            }
        }
    }

    /// A picture with its top left corner at `x`, `y`.
    pub fn picture(&mut self, x: u32, y: u32, picture: &Rgb) {
        let (pixels, _) = picture.data().as_chunks::<3>();
        for (row, line) in (y..).zip(pixels.chunks_exact(picture.width() as usize)) {
            for (column, color) in (x..).zip(line) {
                if let Some(pixel) = self.pixel(column, row) {
                    *pixel = *color;
                }
            }
        }
    }
}
