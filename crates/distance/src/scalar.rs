//! The reference: eight lanes in plain Rust, for processors with none of the other instruction sets.
//!
//! The lanes are an array, which compilers turn into whatever vector registers the target always has (SSE2 on x86-64).

use crate::vector::Vector;
use half::f16;

/// Eight lanes as an array.
#[derive(Clone, Copy)]
pub(crate) struct Scalar([f32; 8]);

/// Widen a half-precision number with no branch that depends on its class.
///
/// The exponent and fraction, moved to where `f32` keeps them, read as the number times 2^(15 − 127); one
/// multiplication puts the bias right, normalising a subnormal on the way. Only infinities and NaNs, whose exponent is
/// all ones, need a correction.
#[inline(always)]
fn widen(half: f16) -> f32 {
    const REBIAS: f32 = f32::from_bits((127 + 127 - 15) << 23);
    const LARGEST_FINITE: u32 = 0x7bff;
    let bits = u32::from(half.to_bits());
    let magnitude = bits & 0x7fff;
    let scaled = (f32::from_bits(magnitude << 13) * REBIAS).to_bits();
    let special = if magnitude > LARGEST_FINITE { 0x7f80_0000 } else { 0 };
    f32::from_bits(scaled | special | (bits & 0x8000) << 16)
}

impl Scalar {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Scalar(std::array::from_fn(|lane| f(self.0[lane], other.0[lane])))
    }
}

impl Vector for Scalar {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Scalar([0.0; 8])
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: the caller vouches for eight elements.
        Scalar(unsafe { from.cast::<[f16; 8]>().read() }.map(widen))
    }

    #[inline(always)]
    unsafe fn load_f32(from: *const f32) -> Self {
        // SAFETY: the caller vouches for eight elements.
        Scalar(unsafe { from.cast::<[f32; 8]>().read() })
    }

    #[inline(always)]
    unsafe fn store_f32(self, to: *mut f32) {
        // SAFETY: the caller vouches for eight elements.
        unsafe { to.cast::<[f32; 8]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn fold_into(self, totals: *mut f64) {
        // SAFETY: the caller vouches for eight totals.
        let totals = unsafe { &mut *totals.cast::<[f64; 8]>() };
        for (total, lane) in totals.iter_mut().zip(self.0) {
            *total += f64::from(lane);
        }
    }

    #[inline(always)]
    unsafe fn store_f16(self, to: *mut f16) {
        // SAFETY: the caller vouches for eight elements.
        unsafe { to.cast::<[f16; 8]>().write(self.0.map(f16::from_f32_const)) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn add_exact_product(self, x: Self, y: Self) -> Self {
        let product = x.zip(y, |x, y| x * y);
        self.zip(product, |sum, product| sum + product)
    }

    #[inline(always)]
    unsafe fn abs(self) -> Self {
        Scalar(self.0.map(f32::abs))
    }

    #[inline(always)]
    unsafe fn all_in_f16_range(self) -> bool {
        self.0.iter().all(|lane| lane.abs() <= f16::MAX.to_f32_const())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_is_exact_for_every_half() {
        for bits in 0..=u16::MAX {
            let half = f16::from_bits(bits);
            let (ours, theirs) = (widen(half), half.to_f32_const());
            assert!(ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()), "{bits:#06x}");
        }
    }
}
