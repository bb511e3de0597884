//! A register of `f32` lanes, as far as the kernels need one.
//!
//! Each instruction set implements [`Vector`] in its own file; `reduce` and `convert` are written once over it. Every
//! method is `#[inline(always)]`, so that it compiles into the `#[target_feature]` function that called it, where its
//! intrinsics are single instructions. Every method gives the same lanes on every instruction set: see `reduce`.

use half::f16;

/// Several `f32` lanes in one register.
///
/// # Safety
///
/// Every method may be called only on a processor that has the implementor's instruction set; pointers must be valid
/// for reads or writes of `LANES` elements and need no alignment beyond that of their element type.
pub(crate) trait Vector: Copy {
    /// How many lanes; a divisor of [`crate::reduce::STEP`].
    const LANES: usize;

    /// All lanes +0.
    unsafe fn zero() -> Self;
    /// Widen `LANES` half-precision numbers; exact.
    unsafe fn load_f16(from: *const f16) -> Self;
    /// Load `LANES` single-precision numbers.
    unsafe fn load_f32(from: *const f32) -> Self;
    /// Store all lanes.
    unsafe fn store_f32(self, to: *mut f32);
    /// Fold the lanes by halves until at most eight are left, and add lane j to `totals[j]`.
    ///
    /// `totals` must be valid for reads and writes of as many elements as there are lanes then.
    unsafe fn fold_into(self, totals: *mut f64);
    /// Round each lane to the nearest half-precision number, ties to even, and store it.
    unsafe fn store_f16(self, to: *mut f16);
    /// Lane-wise sum.
    unsafe fn add(self, other: Self) -> Self;
    /// Lane-wise difference.
    unsafe fn sub(self, other: Self) -> Self;
    /// Lane-wise product.
    unsafe fn mul(self, other: Self) -> Self;
    /// Lane-wise `self + x · y`, for products that need no rounding: whether the two operations are fused then makes
    /// no difference.
    unsafe fn add_exact_product(self, x: Self, y: Self) -> Self;
    /// Lane-wise absolute value.
    unsafe fn abs(self) -> Self;
    /// Whether every lane is at most 65,504 in magnitude; a NaN is not.
    unsafe fn all_in_f16_range(self) -> bool;
}

/// An element type that a kernel can read into a [`Vector`].
pub(crate) trait Element: Copy {
    /// +0.
    const ZERO: Self;
    /// Whether finite elements can make an intermediate `f32` overflow.
    const CAN_OVERFLOW: bool;

    /// Read `V::LANES` elements.
    ///
    /// # Safety
    ///
    /// As [`Vector`] says.
    unsafe fn load<V: Vector>(from: *const Self) -> V;

    /// The element as an `f64`; exact.
    fn widen(self) -> f64;
}

impl Element for f16 {
    const ZERO: Self = f16::ZERO;
    const CAN_OVERFLOW: bool = false;

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's.
        unsafe { V::load_f16(from) }
    }

    fn widen(self) -> f64 {
        f64::from(self.to_f32_const())
    }
}

impl Element for f32 {
    const ZERO: Self = 0.0;
    const CAN_OVERFLOW: bool = true;

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's.
        unsafe { V::load_f32(from) }
    }

    fn widen(self) -> f64 {
        f64::from(self)
    }
}
