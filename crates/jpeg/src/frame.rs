//! The frame header: dimensions, components and the grids they are coded in.

use crate::{Error, Result, corrupt, unsupported};

/// Samples along the side of a block.
pub(crate) const SIDE: usize = 8;

/// A start-of-frame segment, and what follows from it.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub width: u16,
    pub height: u16,
    pub progressive: bool,
    pub components: Vec<Component>,
    /// Largest sampling factors: an MCU covers `8·max_h` by `8·max_v` pixels.
    pub max_h: usize,
    pub max_v: usize,
    /// MCUs along a row and a column, where a scan holds more than one component.
    pub mcus_x: usize,
    pub mcus_y: usize,
}

/// One colour component.
#[derive(Debug, Clone)]
pub(crate) struct Component {
    pub id: u8,
    /// Sampling factors: blocks in an MCU, across and down.
    pub h: usize,
    pub v: usize,
    /// Which quantisation table.
    pub quantization: u8,
    /// Samples that belong to the picture. The blocks reach beyond.
    pub width: usize,
    pub height: usize,
}

impl Component {
    /// Blocks that hold samples of the picture, across and down: what a scan of this component alone codes.
    pub fn blocks(&self) -> (usize, usize) {
        (self.width.div_ceil(SIDE), self.height.div_ceil(SIDE))
    }
}

impl Frame {
    pub fn parse(payload: &[u8], progressive: bool) -> Result<Self> {
        let &[precision, h1, h0, w1, w0, count, ref rest @ ..] = payload else { return Err(cut_short()) };
        if precision != 8 {
            return unsupported(format!("JPEG with {precision} bits a sample"));
        }
        if !matches!(count, 1 | 3 | 4) {
            return unsupported(format!("JPEG with {count} colour components"));
        }
        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        if height == 0 {
            return unsupported("JPEG that states its height after the image data");
        }
        let (described, _) = rest.as_chunks::<3>();
        let described = described.get(..usize::from(count)).ok_or_else(cut_short)?;
        let mut components = Vec::with_capacity(4);
        for &[id, sampling, quantization] in described {
            let (mut h, mut v) = (usize::from(sampling >> 4), usize::from(sampling & 15));
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) {
                return corrupt(format!("a JPEG component has sampling factors of {h} x {v}"));
            }
            if quantization > 3 {
                return corrupt(format!("a JPEG component names quantisation table {quantization}"));
            }
            // The factors of an only component relate to nothing.
            if count == 1 {
                (h, v) = (1, 1);
            }
            components.push(Component { id, h, v, quantization, width: 0, height: 0 });
        }
        let max_h = components.iter().map(|component| component.h).max().unwrap_or(1);
        let max_v = components.iter().map(|component| component.v).max().unwrap_or(1);
        for component in &mut components {
            if max_h % component.h != 0 || max_v % component.v != 0 {
                return unsupported("JPEG with components sampled at a fraction of each other");
            }
            component.width = (usize::from(width) * component.h).div_ceil(max_h);
            component.height = (usize::from(height) * component.v).div_ceil(max_v);
        }
        Ok(Self {
            width,
            height,
            progressive,
            components,
            max_h,
            max_v,
            mcus_x: usize::from(width).div_ceil(SIDE * max_h),
            mcus_y: usize::from(height).div_ceil(SIDE * max_v),
        })
    }
}

fn cut_short() -> Error {
    Error::Corrupt("the JPEG's frame header is too short".into())
}
