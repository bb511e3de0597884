//! Sums over pairs of elements: one algorithm for every distance and every instruction set.
//!
//! # The same bits everywhere
//!
//! A sum of floating-point numbers depends on the order of its additions, so the order is fixed here rather than by the
//! width of a register. Elements go to [`STEP`] = 32 virtual `f32` lanes, element i to lane i mod 32; a register holds
//! 4, 8 or 16 of them. After [`BLOCK`] = 256 elements the 32 lanes are folded to 8, those are added to 8 `f64` totals,
//! and the lanes start again from zero. The 8 totals are added up by halves at the end. A short last step is filled up
//! with zeros, which adds nothing.
//!
//! The other freedom is fusing a multiplication with the addition after it, which skips a rounding. A product of two
//! half-precision numbers has 22 bits and fits `f32` exactly, so there it makes no difference and is done where the
//! processor can. All other products are rounded before they are added, everywhere; that costs nothing measurable,
//! because converting from half precision is what limits these loops. So a standby on another kind of processor
//! computes the very same distance as its primary, and tests may compare kernels bit for bit.
//!
//! # Error
//!
//! With u = 2⁻²⁴, the unit roundoff of `f32`: a lane receives at most 8 terms in a block, the first one onto zero, and
//! two more additions fold it: 9 u. A term itself is rounded at most three times (a difference, twice in its square,
//! and the multiplication). Everything after is `f64`. Hence every result is within [`SUM_ERROR`] = 13 u of the exact
//! sum, relative to the sum of the terms' magnitudes, at any length. The number of elements does not enter.
//!
//! Half-precision elements cannot overflow: 8 · 4 · (2 · 65,504)² < 10¹². Single-precision ones can; a sum that is not
//! finite is computed again in `f64`, so a finite query gives a finite result. A product below the `f32` range loses at
//! most 2⁻¹⁵⁰ a term to underflow, which again takes a single-precision element to happen.

use crate::vector::{Element, Vector};

/// How many virtual lanes, and thus elements, one step covers.
pub(crate) const STEP: usize = 32;

/// How many elements are summed in `f32` before they are folded into `f64`.
pub(crate) const BLOCK: usize = 256;

/// How many `f64` totals the lanes are folded into.
const TOTALS: usize = 8;

/// The bound on the error of every sum in this crate, relative to the sum of the magnitudes of its terms: 13 · 2⁻²⁴.
///
/// For squares and absolute values that is the relative error. For a dot product it is relative to Σ|aᵢ·bᵢ|, at most
/// ‖a‖·‖b‖.
pub const SUM_ERROR: f64 = 13.0 / (1u64 << 24) as f64;

/// What a distance sums: N terms for each pair of elements.
pub(crate) trait Terms<const N: usize> {
    /// Add the terms of one register of pairs to the sums.
    ///
    /// # Safety
    ///
    /// As [`Vector`] says.
    unsafe fn add<V: Vector>(sums: [V; N], x: V, y: V) -> [V; N];

    /// The terms of one pair in `f64`.
    fn wide(x: f64, y: f64) -> [f64; N];
}

/// (x − y)²
pub(crate) struct SquaredDifference;

impl Terms<1> for SquaredDifference {
    #[inline(always)]
    unsafe fn add<V: Vector>([sum]: [V; 1], x: V, y: V) -> [V; 1] {
        // SAFETY: the caller's.
        unsafe {
            let difference = x.sub(y);
            [sum.add(difference.mul(difference))]
        }
    }

    fn wide(x: f64, y: f64) -> [f64; 1] {
        [(x - y) * (x - y)]
    }
}

/// |x − y|
pub(crate) struct AbsoluteDifference;

impl Terms<1> for AbsoluteDifference {
    #[inline(always)]
    unsafe fn add<V: Vector>([sum]: [V; 1], x: V, y: V) -> [V; 1] {
        // SAFETY: the caller's.
        unsafe { [sum.add(x.sub(y).abs())] }
    }

    fn wide(x: f64, y: f64) -> [f64; 1] {
        [(x - y).abs()]
    }
}

/// x·y
pub(crate) struct Product;

impl Terms<1> for Product {
    #[inline(always)]
    unsafe fn add<V: Vector>([sum]: [V; 1], x: V, y: V) -> [V; 1] {
        // SAFETY: the caller's.
        unsafe { [sum.add(x.mul(y))] }
    }

    fn wide(x: f64, y: f64) -> [f64; 1] {
        [x * y]
    }
}

/// x·y of half-precision elements
pub(crate) struct ExactProduct;

impl Terms<1> for ExactProduct {
    #[inline(always)]
    unsafe fn add<V: Vector>([sum]: [V; 1], x: V, y: V) -> [V; 1] {
        // SAFETY: the caller's.
        unsafe { [sum.add_exact_product(x, y)] }
    }

    fn wide(x: f64, y: f64) -> [f64; 1] {
        [x * y]
    }
}

/// x·y, x² and y² of half-precision elements: what a cosine is made of.
pub(crate) struct CosineParts;

impl Terms<3> for CosineParts {
    #[inline(always)]
    unsafe fn add<V: Vector>([xy, xx, yy]: [V; 3], x: V, y: V) -> [V; 3] {
        // SAFETY: the caller's.
        unsafe { [xy.add_exact_product(x, y), xx.add_exact_product(x, x), yy.add_exact_product(y, y)] }
    }

    fn wide(x: f64, y: f64) -> [f64; 3] {
        [x * y, x * x, y * y]
    }
}

/// Sum the terms `T` over the pairs (a₀, b₀), (a₁, b₁), … of the shorter length. `K` registers of `V` make one step.
///
/// # Safety
///
/// The processor has `V`'s instruction set.
#[inline(always)]
pub(crate) unsafe fn sum<T, V, const N: usize, const K: usize, A, B>(a: &[A], b: &[B]) -> [f64; N]
where
    T: Terms<N>,
    V: Vector,
    A: Element,
    B: Element,
{
    const { assert!(K * V::LANES == STEP) }
    let length = a.len().min(b.len());
    let mut totals = [[0.0; TOTALS]; N];
    let mut start = 0;
    while start < length {
        let end = length.min(start + BLOCK);
        // SAFETY: the caller vouches for the instruction set; `start..end` is within both slices, and the last, partial
        // step reads from buffers of a whole step.
        unsafe {
            let mut lanes = [[V::zero(); N]; K];
            while start + STEP <= end {
                step::<T, V, N, K, A, B>(&mut lanes, a.as_ptr().add(start), b.as_ptr().add(start));
                start += STEP;
            }
            if start < end {
                let (mut a_end, mut b_end) = ([A::ZERO; STEP], [B::ZERO; STEP]);
                a_end[..end - start].copy_from_slice(&a[start..end]);
                b_end[..end - start].copy_from_slice(&b[start..end]);
                step::<T, V, N, K, A, B>(&mut lanes, a_end.as_ptr(), b_end.as_ptr());
                start = end;
            }
            for (n, totals) in totals.iter_mut().enumerate() {
                fold(totals, lanes.map(|sums| sums[n]));
            }
        }
    }
    let sums = totals.map(|t| ((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7])));
    let may_overflow = A::CAN_OVERFLOW || B::CAN_OVERFLOW;
    if may_overflow && !sums.iter().all(|sum| sum.is_finite()) { sum_wide::<T, N, A, B>(a, b) } else { sums }
}

/// Add the terms of [`STEP`] pairs to the lanes.
///
/// # Safety
///
/// The processor has `V`'s instruction set; `a` and `b` are valid for reads of [`STEP`] elements.
#[inline(always)]
unsafe fn step<T, V, const N: usize, const K: usize, A, B>(lanes: &mut [[V; N]; K], a: *const A, b: *const B)
where
    T: Terms<N>,
    V: Vector,
    A: Element,
    B: Element,
{
    for (k, sums) in lanes.iter_mut().enumerate() {
        // SAFETY: the caller's; K · LANES = STEP.
        unsafe {
            let (x, y) = (A::load::<V>(a.add(k * V::LANES)), B::load::<V>(b.add(k * V::LANES)));
            *sums = T::add(*sums, x, y);
        }
    }
}

/// Fold 32 lanes to 8 by halves and add those to the totals.
///
/// # Safety
///
/// The processor has `V`'s instruction set.
#[inline(always)]
unsafe fn fold<V: Vector, const K: usize>(totals: &mut [f64; TOTALS], mut lanes: [V; K]) {
    let mut registers = K;
    while registers * V::LANES > TOTALS && registers > 1 {
        registers /= 2;
        for k in 0..registers {
            // SAFETY: the caller's.
            lanes[k] = unsafe { lanes[k].add(lanes[k + registers]) };
        }
    }
    for (k, lanes) in lanes[..registers].iter().enumerate() {
        // SAFETY: the caller vouches for the instruction set; either one register is left, which folds itself to eight
        // lanes, or several with eight lanes between them.
        unsafe { lanes.fold_into(totals.as_mut_ptr().add(k * V::LANES)) };
    }
}

/// The same sum in `f64` throughout, for elements whose terms overflow `f32`.
#[cold]
#[inline(never)]
fn sum_wide<T: Terms<N>, const N: usize, A: Element, B: Element>(a: &[A], b: &[B]) -> [f64; N] {
    let mut sums = [0.0; N];
    for (x, y) in a.iter().zip(b) {
        for (sum, term) in sums.iter_mut().zip(T::wide(x.widen(), y.widen())) {
            *sum += term;
        }
    }
    sums
}
