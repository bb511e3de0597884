//! A fixed random rotation of `D` coordinates in O(D log D).
//!
//! Eight bits per coordinate are enough only if no coordinate is much larger than the others, and embeddings are not
//! like that: a few features dominate, many are exactly zero. An orthonormal transform that mixes all coordinates
//! keeps every distance and makes the coordinates look alike. Four rounds of
//!
//! 1. random sign flips,
//! 2. a fast Walsh–Hadamard transform of the first (even rounds) or last (odd rounds) 2^k coordinates, k = ⌊log₂ D⌋,
//!    scaled by 2^(−k/2),
//! 3. unless `D` is a power of two, the butterfly (a, b) → (a + b, a − b)/√2 over the two halves of the row (of odd `D`
//!    the last coordinate sits it out)
//!
//! are as good as a dense random rotation. The signs come from a generator with a constant seed: every index uses the
//! same rotation for the same `D`, so there is nothing to train, to store or to go stale.
//!
//! # Rounding
//!
//! Let P be the transform in exact arithmetic, u = 2⁻²⁴. Each step computes every output as one correctly rounded sum
//! or product, so it adds an error of at most u times the norm of its output (for an irrational scale factor 2u:
//! the factor's own rounding and the product's). A round has k + 1 additions and two scalings, hence
//!
//! ‖computed(x) − P x‖ ≤ ((1 + u)^(4(k + 5)) − 1) ‖x‖ ≤ 4(k + 6) u ‖x‖,
//!
//! which [`Rotation::relative_error`] returns. Results below the normal range add at most D · 2⁻¹⁴⁹ a step; rows of
//! half-precision numbers have ‖x‖ ≥ 2⁻²⁴ or are zero (and normalised rows ‖x‖ ≈ 1), so the difference between k + 5
//! and k + 6 covers that many times over.

use std::f32::consts::FRAC_1_SQRT_2;

const ROUNDS: usize = 4;

/// The rotation of rows of one length.
#[derive(Debug, Clone)]
pub struct Rotation {
    dims: usize,
    /// Base-2 logarithm of the transformed part's length.
    log2: u32,
    /// `ROUNDS` rows of `dims` words that are 0 or the sign bit.
    signs: Vec<u32>,
}

impl Rotation {
    /// The rotation of `dims` coordinates. O(`dims`) memory: the caller bounds `dims`.
    #[must_use]
    pub fn new(dims: usize) -> Self {
        let mut state = 0x6a09_e667_f3bc_c908_u64;
        let signs = (0..ROUNDS * dims).map(|_| (split_mix(&mut state) >> 32) as u32 & (1 << 31)).collect();
        Self { dims, log2: dims.checked_ilog2().unwrap_or(0), signs }
    }

    /// The number of coordinates.
    #[must_use]
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// An upper bound of ‖computed(x) − P x‖ / ‖x‖; see the module's documentation.
    #[must_use]
    pub fn relative_error(&self) -> f64 {
        (ROUNDS as u32 * (self.log2 + 6)) as f64 * f64::from(f32::EPSILON) / 2.0
    }

    /// Rotates `row` in place. Rows that are not `dims` long are left alone.
    pub fn apply(&self, row: &mut [f32]) {
        if row.len() != self.dims || self.dims < 2 {
            return;
        }
        let part = 1 << self.log2;
        let odd = if self.log2 % 2 == 1 { FRAC_1_SQRT_2 } else { 1.0 };
        let scale = odd / (1 << (self.log2 / 2)) as f32;
        for (round, signs) in self.signs.chunks_exact(self.dims).enumerate() {
            for (x, &sign) in row.iter_mut().zip(signs) {
                *x = f32::from_bits(x.to_bits() ^ sign);
            }
            let start = if round % 2 == 0 { 0 } else { self.dims - part };
            let part = &mut row[start..start + part];
            hadamard(part);
            part.iter_mut().for_each(|x| *x *= scale);
            if !self.dims.is_power_of_two() {
                let (low, high) = row.split_at_mut(self.dims / 2);
                for (a, b) in low.iter_mut().zip(high) {
                    (*a, *b) = ((*a + *b) * FRAC_1_SQRT_2, (*a - *b) * FRAC_1_SQRT_2);
                }
            }
        }
    }
}

/// The unscaled fast Walsh–Hadamard transform of a row whose length is a power of two.
///
/// Strides 1, 2 and 4 are done together on runs of eight, the others two at a time, so that a row is read and written
/// half as often as by the textbook loop. The sums are those of the textbook loop, one rounding each.
fn hadamard(row: &mut [f32]) {
    let n = row.len();
    let mut stride = 1;
    if n >= 8 {
        for run in row.as_chunks_mut::<8>().0 {
            *run = hadamard8(*run);
        }
        stride = 8;
    }
    while 4 * stride <= n {
        for block in row.chunks_exact_mut(4 * stride) {
            let (ab, cd) = block.split_at_mut(2 * stride);
            let (a, b) = ab.split_at_mut(stride);
            let (c, d) = cd.split_at_mut(stride);
            for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
                let (p, q, r, s) = (*a + *b, *a - *b, *c + *d, *c - *d);
                (*a, *b, *c, *d) = (p + r, q + s, p - r, q - s);
            }
        }
        stride *= 4;
    }
    while 2 * stride <= n {
        for block in row.chunks_exact_mut(2 * stride) {
            let (a, b) = block.split_at_mut(stride);
            for (a, b) in a.iter_mut().zip(b) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        stride *= 2;
    }
}

#[inline(always)]
fn hadamard8(v: [f32; 8]) -> [f32; 8] {
    let [a, b, c, d, e, f, g, h] = v;
    let [a, b, c, d, e, f, g, h] = [a + b, a - b, c + d, c - d, e + f, e - f, g + h, g - h];
    let [a, b, c, d, e, f, g, h] = [a + c, b + d, a - c, b - d, e + g, f + h, e - g, f - h];
    [a + e, b + f, c + g, d + h, a - e, b - f, c - g, d - h]
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norm(row: &[f32]) -> f64 {
        row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
    }

    /// P in `f64`, written from the definition.
    fn reference(rotation: &Rotation, row: &[f32]) -> Vec<f64> {
        let n = row.len();
        let mut x: Vec<f64> = row.iter().map(|&v| f64::from(v)).collect();
        if n < 2 {
            return x;
        }
        let part = 1usize << rotation.log2;
        for round in 0..ROUNDS {
            for (x, &sign) in x.iter_mut().zip(&rotation.signs[round * n..]) {
                if sign != 0 {
                    *x = -*x;
                }
            }
            let start = if round % 2 == 0 { 0 } else { n - part };
            let mut stride = 1;
            while stride < part {
                for i in (0..part).filter(|i| i & stride == 0) {
                    let (a, b) = (x[start + i], x[start + i + stride]);
                    (x[start + i], x[start + i + stride]) = (a + b, a - b);
                }
                stride *= 2;
            }
            x[start..start + part].iter_mut().for_each(|v| *v /= (part as f64).sqrt());
            if part != n {
                let half = n / 2;
                for i in 0..half {
                    let (a, b) = (x[i], x[half + i]);
                    (x[i], x[half + i]) = ((a + b) / 2f64.sqrt(), (a - b) / 2f64.sqrt());
                }
            }
        }
        x
    }

    #[test]
    fn it_is_the_documented_transform_within_the_documented_error() {
        let mut state = 7;
        for dims in (1..70).chain([127, 128, 255, 257, 512, 768, 784, 1001, 4096, 8000, 16_000]) {
            let rotation = Rotation::new(dims);
            for scale in [1e-7, 1.0, 65_504.0] {
                let row: Vec<f32> = (0..dims).map(|_| (split_mix(&mut state) as i64 as f32) / 9.3e18 * scale).collect();
                let mut rotated = row.clone();
                rotation.apply(&mut rotated);
                let expected = reference(&rotation, &row);
                let error: f64 = rotated.iter().zip(&expected).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
                assert!(error.sqrt() <= rotation.relative_error() * norm(&row), "dims {dims}");
                let exact: f64 = expected.iter().map(|v| v * v).sum();
                assert!((exact.sqrt() / norm(&row) - 1.0).abs() < 1e-13, "dims {dims}: not orthonormal");
            }
        }
    }

    #[test]
    fn one_hot_and_constant_rows_are_spread_evenly() {
        for dims in [512, 784, 1001] {
            let rotation = Rotation::new(dims);
            let mut rows = vec![vec![1.0; dims]];
            rows.extend([0, dims / 2, dims - 1].map(|at| (0..dims).map(|i| f32::from(u8::from(i == at))).collect()));
            for mut row in rows {
                let largest_even = norm(&row) / (dims as f64).sqrt();
                rotation.apply(&mut row);
                let largest = row.iter().fold(0f32, |m, v| m.max(v.abs()));
                assert!(f64::from(largest) < 5.5 * largest_even, "dims {dims}: {largest} against {largest_even}");
            }
        }
    }

    #[test]
    fn it_is_always_the_same_rotation() {
        // Codes on disk depend on it: these numbers must never change.
        let mut row = [1.0, 2.0, 3.0, 4.0, 5.0];
        Rotation::new(5).apply(&mut row);
        let bits: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
        assert_eq!(bits, FIXED, "{row:?}");
    }

    const FIXED: [u32; 5] = [3_233_087_156, 1_080_107_799, 3_224_839_598, 1_067_673_927, 3_211_204_914];
}
