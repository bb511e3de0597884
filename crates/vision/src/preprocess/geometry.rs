//! Sizes and offsets in whole pixels.

use std::ops::Range;

use crate::resize::Part;

use super::spec::{Crop, CropAlign, PadAlign, Preprocess, Resize, Rounding};

/// What happens to one picture of a known size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// Width and height after resizing.
    pub resized: (u32, u32),
    /// Width and height of the tensor.
    pub window: (u32, u32),
    /// Column and row of the resized picture at the window's top left; negative where the window reaches beyond it.
    pub offset: (i64, i64),
}

impl Plan {
    pub fn new(spec: &Preprocess, width: u32, height: u32) -> Self {
        let (short, long) = (width.min(height), width.max(height));
        let by_edges =
            |new_short, new_long| if width <= height { (new_short, new_long) } else { (new_long, new_short) };
        let resized = match spec.resize {
            Resize::None => (width, height),
            Resize::Exact { width, height } => (width, height),
            Resize::ShortestEdge { size, rounding } => by_edges(size, scaled(size, long, short, rounding)),
            Resize::LongestEdge { size, rounding, .. } => by_edges(scaled(size, short, long, rounding), size),
        };
        let (mut window, mut offset) = (resized, (0, 0));
        if let Resize::LongestEdge { size, align, .. } = spec.resize {
            window = (size, size);
            if align == PadAlign::Center {
                offset = (-i64::from((size - resized.0) / 2), -i64::from((size - resized.1) / 2));
            }
        }
        if let Some(Crop { width, height, align }) = spec.crop {
            offset.0 += centred(window.0, width, align);
            offset.1 += centred(window.1, height, align);
            window = (width, height);
        }
        Self { resized, window, offset }
    }

    /// Columns of the window that the resized picture covers.
    pub fn columns(&self) -> Range<usize> {
        covered(self.resized.0, self.window.0, self.offset.0)
    }

    /// Rows of the window that the resized picture covers.
    pub fn rows(&self) -> Range<usize> {
        covered(self.resized.1, self.window.1, self.offset.1)
    }

    /// What of the resized picture lies in the window.
    pub fn seen(&self) -> Part {
        let (columns, rows) = (self.columns(), self.rows());
        let start = |range: &Range<usize>, offset: i64| (range.start as i64 + offset) as u32;
        Part {
            left: start(&columns, self.offset.0),
            top: start(&rows, self.offset.1),
            width: columns.len() as u32,
            height: rows.len() as u32,
        }
    }

    /// The same plan where nothing but `part` of the resized picture is there.
    pub fn of(self, part: Part) -> Self {
        Self {
            resized: (part.width, part.height),
            offset: (self.offset.0 - i64::from(part.left), self.offset.1 - i64::from(part.top)),
            ..self
        }
    }
}

fn covered(picture: u32, window: u32, offset: i64) -> Range<usize> {
    let start = (-offset).clamp(0, i64::from(window));
    let end = (i64::from(picture) - offset).clamp(start, i64::from(window));
    start as usize..end as usize
}

/// `size * numerator / denominator`, at least 1; in f64 and in this order, so that it rounds as it does in Python.
fn scaled(size: u32, numerator: u32, denominator: u32, rounding: Rounding) -> u32 {
    let exact = f64::from(size) * f64::from(numerator) / f64::from(denominator);
    let whole = match rounding {
        Rounding::Floor => exact.floor(),
        Rounding::Nearest => exact.round_ties_even(),
    };
    (whole as u32).max(1)
}

/// Where a window of `window` pixels starts, centred over `picture` pixels.
fn centred(picture: u32, window: u32, align: CropAlign) -> i64 {
    let excess = i64::from(picture) - i64::from(window);
    if excess < 0 {
        return match align {
            CropAlign::Floor | CropAlign::HalfEven => -(-excess / 2),
            CropAlign::PadCeil => -((1 - excess) / 2),
        };
    }
    match align {
        CropAlign::Floor | CropAlign::PadCeil => excess / 2,
        CropAlign::HalfEven => (excess as f64 / 2.0).round_ties_even() as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_follow_the_three_libraries() {
        use CropAlign::{Floor, HalfEven, PadCeil};
        // (picture, window) -> start; values from transformers and torchvision themselves.
        for (picture, window, floor, half_even, pad_ceil) in [
            (10, 4, 3, 3, 3),
            (9, 4, 2, 2, 2),
            (11, 4, 3, 4, 3),
            (7, 6, 0, 0, 0),
            (4, 10, -3, -3, -3),
            (5, 8, -1, -1, -2),
        ] {
            let starts = [Floor, HalfEven, PadCeil].map(|align| centred(picture, window, align));
            assert_eq!(starts, [floor, half_even, pad_ceil], "{picture} under {window}");
        }
    }

    #[test]
    fn sides_round_as_in_python() {
        assert_eq!(scaled(224, 533, 400, Rounding::Floor), 298);
        assert_eq!(scaled(224, 534, 400, Rounding::Nearest), 299);
        assert_eq!(scaled(256, 50, 100, Rounding::Floor), 128);
        assert_eq!(scaled(1, 1, 3, Rounding::Floor), 1);
        assert_eq!(scaled(4096, u32::MAX, 1, Rounding::Floor), u32::MAX);
    }

    #[test]
    fn shortest_edge_and_crop() {
        let spec = Preprocess {
            resize: Resize::ShortestEdge { size: 224, rounding: Rounding::Floor },
            crop: Some(Crop { width: 224, height: 224, align: CropAlign::Floor }),
            ..Preprocess::default()
        };
        assert_eq!(Plan::new(&spec, 400, 533), Plan { resized: (224, 298), window: (224, 224), offset: (0, 37) });
        assert_eq!(Plan::new(&spec, 533, 400).offset, (37, 0));
    }

    #[test]
    fn padding_to_a_square() {
        let spec = |align| Preprocess {
            resize: Resize::LongestEdge { size: 10, rounding: Rounding::Floor, align },
            ..Preprocess::default()
        };
        let plan = Plan::new(&spec(PadAlign::Center), 20, 11);
        assert_eq!((plan.resized, plan.window, plan.offset), ((10, 5), (10, 10), (0, -2)));
        assert_eq!((plan.rows(), plan.columns()), (2..7, 0..10));
        assert_eq!(Plan::new(&spec(PadAlign::TopLeft), 20, 11).rows(), 0..5);
    }
}
