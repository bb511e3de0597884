//! The inverse transform: libjpeg's accurate integer one, after Loeffler, Ligtenberg and Moschytz (ICASSP 1989).
//!
//! Two passes of a one-dimensional transform of eight values with twelve multiplications, by constants of 13 bits. The
//! first pass, over columns, leaves two bits of fraction for the second, over rows. Where it rounds decides the samples,
//! so it rounds where libjpeg does. Values of a damaged file may leave their range: they wrap, and samples are clamped.

use crate::frame::SIDE;
use crate::tables::Block;

/// Bits of fraction of the constants.
const FRACTION: u32 = 13;
/// Bits of fraction kept between the passes.
const KEPT: u32 = 2;

/// A constant with [`FRACTION`] bits of fraction.
const fn fixed(value: f64) -> i32 {
    (value * (1 << FRACTION) as f64 + 0.5) as i32
}

/// Eight rows of eight values.
type Rows<T> = [[T; SIDE]; SIDE];

/// One pass: transforms every column, shifts the results down by `SHIFT` bits, rounding, and hands each to `finish`.
/// Rows from `ROWS` on are zero.
#[inline(always)]
fn columns<T: Copy, const SHIFT: u32, const ROWS: usize>(rows: &Rows<i16>, zero: T, finish: fn(i32) -> T) -> Rows<T> {
    let mut out = [[zero; SIDE]; SIDE];
    for lane in 0..SIDE {
        let value = |row: usize| if row < ROWS { i32::from(rows[row][lane]) } else { 0 };
        let times = |value: i32, constant: i32| value.wrapping_mul(constant);

        // Even part.
        let shared = times(value(2) + value(6), fixed(0.541_196_100));
        let two = shared.wrapping_add(times(value(6), -fixed(1.847_759_065)));
        let three = shared.wrapping_add(times(value(2), fixed(0.765_366_865)));
        let zero = (value(0) + value(4)) << FRACTION;
        let one = (value(0) - value(4)) << FRACTION;
        let even = [zero.wrapping_add(three), one.wrapping_add(two), one.wrapping_sub(two), zero.wrapping_sub(three)];

        // Odd part.
        let (a, b, c, d) = (value(7), value(5), value(3), value(1));
        let shared = times(a + c + b + d, fixed(1.175_875_602));
        let ad = times(a + d, -fixed(0.899_976_223));
        let bc = times(b + c, -fixed(2.562_915_447));
        let ac = times(a + c, -fixed(1.961_570_560)).wrapping_add(shared);
        let bd = times(b + d, -fixed(0.390_180_644)).wrapping_add(shared);
        let odd = [
            times(d, fixed(1.501_321_110)).wrapping_add(ad).wrapping_add(bd),
            times(c, fixed(3.072_711_026)).wrapping_add(bc).wrapping_add(ac),
            times(b, fixed(2.053_119_869)).wrapping_add(bc).wrapping_add(bd),
            times(a, fixed(0.298_631_336)).wrapping_add(ad).wrapping_add(ac),
        ];

        for i in 0..SIDE / 2 {
            let half = 1 << (SHIFT - 1);
            out[i][lane] = finish(even[i].wrapping_add(odd[i]).wrapping_add(half) >> SHIFT);
            out[SIDE - 1 - i][lane] = finish(even[i].wrapping_sub(odd[i]).wrapping_add(half) >> SHIFT);
        }
    }
    out
}

#[inline(always)]
fn transposed<T: Copy>(rows: &Rows<T>) -> Rows<T> {
    let mut out = *rows;
    for (i, row) in rows.iter().enumerate() {
        for (j, value) in row.iter().enumerate() {
            out[j][i] = *value;
        }
    }
    out
}

/// Turns coefficients into samples, eight rows of which lie `stride` apart in `out`.
#[inline(always)]
pub(crate) fn block(coefficients: &Block, steps: &Block, out: &mut [u8], stride: usize) {
    general::<SIDE>(coefficients, steps, out, stride);
}

/// The same for a block whose coefficients beyond the fourth row and the fourth column are zero, as they mostly are.
#[inline(always)]
pub(crate) fn sparse_block(coefficients: &Block, steps: &Block, out: &mut [u8], stride: usize) {
    general::<4>(coefficients, steps, out, stride);
}

#[inline(always)]
fn general<const USED: usize>(coefficients: &Block, steps: &Block, out: &mut [u8], stride: usize) {
    let mut rows = [[0; SIDE]; SIDE];
    for (i, row) in rows.iter_mut().enumerate().take(USED) {
        for (j, value) in row.iter_mut().enumerate() {
            *value = coefficients[i * SIDE + j].wrapping_mul(steps[i * SIDE + j]);
        }
    }
    // 16 bits between the passes, as in libjpeg-turbo's vector code; that also keeps sums from overflowing.
    let rows = columns::<i16, { FRACTION - KEPT }, USED>(&rows, 0, |value| {
        value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
    });
    let samples =
        columns::<u8, { FRACTION + KEPT + 3 }, USED>(&transposed(&rows), 0, |value| (value + 128).clamp(0, 255) as u8);
    for (row, out) in transposed(&samples).iter().zip(out.chunks_mut(stride)) {
        if let Some(out) = out.first_chunk_mut::<SIDE>() {
            *out = *row;
        }
    }
}

/// The same for a block whose only coefficient is the first: one value everywhere.
pub(crate) fn flat_block(coefficient: i16, step: i16, out: &mut [u8], stride: usize) {
    let value = i32::from(coefficient.wrapping_mul(step));
    let sample = (((value + 4) >> 3) + 128).clamp(0, 255) as u8;
    for out in out.chunks_mut(stride).take(SIDE) {
        if let Some(out) = out.first_chunk_mut::<SIDE>() {
            *out = [sample; SIDE];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    /// The definition, in floating point.
    fn reference(coefficients: &Block) -> [f64; 64] {
        std::array::from_fn(|at| {
            let (y, x) = (at / SIDE, at % SIDE);
            let mut sum = 0.0;
            for (i, &coefficient) in coefficients.iter().enumerate() {
                let (v, u) = (i / SIDE, i % SIDE);
                let scale = |k: usize| if k == 0 { 0.5f64.sqrt() } else { 1.0 };
                let wave = |x: usize, u: usize| ((2 * x + 1) as f64 * u as f64 * PI / 16.0).cos() * scale(u);
                sum += f64::from(coefficient) * wave(x, u) * wave(y, v) / 4.0;
            }
            (sum + 128.0).clamp(0.0, 255.0)
        })
    }

    #[test]
    fn samples_are_those_of_the_definition_rounded() {
        let mut random = 1u32;
        let mut next = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) as i32
        };
        let (mut off, mut total) = (0, 0);
        for round in 0..500 {
            let block_of =
                std::array::from_fn(|at| if at % 64 <= round % 20 { (next() % 200 - 100) as i16 } else { 0 });
            let mut samples = [0; 64];
            block(&block_of, &[1; 64], &mut samples, SIDE);
            if block_of.iter().enumerate().all(|(at, value)| *value == 0 || at / SIDE < 4 && at % SIDE < 4) {
                let mut sparse = [0; 64];
                sparse_block(&block_of, &[1; 64], &mut sparse, SIDE);
                assert_eq!(samples, sparse);
            }
            for (ours, exact) in samples.iter().zip(reference(&block_of)) {
                assert!((f64::from(*ours) - exact).abs() < 0.75, "{ours} for {exact}");
                off += usize::from(f64::from(*ours) != exact.round());
                total += 1;
            }
        }
        assert!(off * 50 < total, "{off} of {total} are rounded the other way");
    }

    #[test]
    fn flat_blocks_are_blocks() {
        for coefficient in (i16::MIN..=i16::MAX).step_by(37) {
            let mut block_of = [0; 64];
            block_of[0] = coefficient;
            let (mut general, mut flat) = ([0; 64], [1; 64]);
            for step in [1, 3, 16] {
                // Where nothing overflows.
                if (i32::from(coefficient) * i32::from(step)).abs() > 8_000 {
                    continue;
                }
                block(&block_of, &[step; 64], &mut general, SIDE);
                flat_block(coefficient, step, &mut flat, SIDE);
                assert_eq!(general, flat, "{coefficient} x {step}");
            }
        }
    }
}
