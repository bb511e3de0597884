//! Enlarging the planes of components that were sampled more coarsely: libjpeg's "fancy upsampling".
//!
//! A plane of half the width is enlarged by a triangle filter: each new sample lies at a quarter of the distance between
//! two old ones, and is three quarters of the nearer and one quarter of the farther. The sum is rounded up by one half in
//! every second sample and by a little less in the others, so that no plane grows brighter on average; which of them it
//! is decides the last bit. Planes of half the height are enlarged in the same way from row to row, and planes of both
//! by both filters at once, with one rounding. All other ratios repeat samples.

use crate::frame::{Component, Frame};

/// How a component gets to the size of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upsampling {
    /// It is that size.
    None,
    /// Triangle filter along rows.
    Across,
    /// Triangle filter along columns.
    Down,
    /// Both.
    Both,
    /// Samples are repeated so often across and down.
    Repeat(usize, usize),
}

impl Upsampling {
    pub fn of(component: &Component, frame: &Frame) -> Self {
        // Planes of one or two columns are not filtered along rows.
        let filtered = component.width > 2;
        match (frame.max_h / component.h, frame.max_v / component.v) {
            (1, 1) => Self::None,
            (2, 1) if filtered => Self::Across,
            (1, 2) => Self::Down,
            (2, 2) if filtered => Self::Both,
            (h, v) => Self::Repeat(h, v),
        }
    }
}

/// Enlarges a row to twice its length.
#[inline(always)]
pub(crate) fn across(row: &[u8], out: &mut [u8]) {
    let (pairs, _) = out.as_chunks_mut::<2>();
    let ([first, second, ..], [.., before_last, last]) = (row, row) else { return };
    for (pair, near) in pairs[1..].iter_mut().zip(row.windows(3)) {
        let [before, here, after] = [near[0], near[1], near[2]].map(u16::from);
        *pair = [((3 * here + before + 1) >> 2) as u8, ((3 * here + after + 2) >> 2) as u8];
    }
    let mix = |near: u8, far: u8, half: u16| ((3 * u16::from(near) + u16::from(far) + half) >> 2) as u8;
    pairs[0] = [*first, mix(*first, *second, 2)];
    pairs[row.len() - 1] = [mix(*last, *before_last, 1), *last];
}

/// A row between two rows, nearer to one of them; `lower` if it lies below the nearer one.
#[inline(always)]
pub(crate) fn down(near: &[u8], far: &[u8], lower: bool, out: &mut [u8]) {
    let half = if lower { 2 } else { 1 };
    for ((out, near), far) in out.iter_mut().zip(near).zip(far) {
        *out = ((3 * u16::from(*near) + u16::from(*far) + half) >> 2) as u8;
    }
}

/// A row between two rows, nearer to one of them, enlarged to twice its length. `sums` is as long as they are.
#[inline(always)]
pub(crate) fn both(near: &[u8], far: &[u8], sums: &mut [u16], out: &mut [u8]) {
    for ((sum, near), far) in sums.iter_mut().zip(near).zip(far) {
        *sum = 3 * u16::from(*near) + u16::from(*far);
    }
    let sums = &*sums;
    let (pairs, _) = out.as_chunks_mut::<2>();
    for (pair, near) in pairs[1..].iter_mut().zip(sums.windows(3)) {
        let here = 3 * near[1];
        *pair = [((here + near[0] + 8) >> 4) as u8, ((here + near[2] + 7) >> 4) as u8];
    }
    let ([first, second, ..], [.., before_last, last]) = (sums, sums) else { return };
    pairs[0] = [((4 * first + 8) >> 4) as u8, ((3 * first + second + 7) >> 4) as u8];
    pairs[sums.len() - 1] = [((3 * last + before_last + 8) >> 4) as u8, ((4 * last + 7) >> 4) as u8];
}

/// Repeats each sample.
pub(crate) fn repeat(row: &[u8], times: usize, out: &mut [u8]) {
    for (out, sample) in out.chunks_exact_mut(times).zip(row) {
        out.fill(*sample);
    }
}
