//! Distances between half-precision vectors, and the conversions and arithmetic around them.
//!
//! Embeddings are stored as IEEE half precision and compared millions of times; everything here reads them as they lie,
//! widens to `f32` in registers, and adds up in a fixed order that ends in `f64`. The result is accurate to about `f32`
//! ([`SUM_ERROR`]) at any length, and it is *the same bits* on AVX-512, AVX2, NEON and in plain Rust; the module
//! `reduce` tells how, and why that costs nothing. Swapping the arguments gives the same bits too, the distance of a
//! finite vector to itself is exactly 0, and `cosine_parts(a, b)` is exactly `(dot(a, b), norm_squared(a),
//! norm_squared(b))`.
//!
//! Vectors of unequal length are a caller's mistake: debug builds panic, release builds use the shorter length.
//! Elements are expected to be finite; infinities and NaNs give infinities and NaNs.
//!
//! # Why not a library
//!
//! Measured on an AMD Zen 3 core (AVX2), 512 elements of half precision, fastest of many batches, nanoseconds a call:
//!
//! | | this crate | NumKong 7.8.7 | SimSIMD 6.5.16 |
//! |---|---|---|---|
//! | squared Euclidean | 46 | 70 (1.5×) | 77 (1.7×) |
//! | inner product | 28 | 71 (2.5×) | 74 (2.6×) |
//! | cosine | 52 | 82 (1.6×) | 94 (1.8×) |
//!
//! Both are well kept, but add everything up in one register, whose latency then limits the loop. That also costs
//! accuracy: each `f32` lane takes 2,000 additions at 16,000 elements, where here it takes 8. Neither has a taxicab
//! distance or a half- against single-precision kernel, and both round differently from one instruction set to the
//! next. They would bring a C compiler into the build besides.

#![deny(unsafe_op_in_unsafe_fn)]

mod arithmetic;
pub mod code;
mod convert;
mod isa;
mod kernels;
#[cfg(target_arch = "aarch64")]
mod neon;
mod reduce;
mod scalar;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use convert::{OutOfRange, nearest};
pub use isa::Isa;
pub use kernels::{Kernels, active_kernel, available_kernels};
pub use reduce::SUM_ERROR;

use half::f16;

/// Σ(aᵢ − bᵢ)², the square of the Euclidean distance.
#[inline]
pub fn l2_squared(a: &[f16], b: &[f16]) -> f64 {
    Kernels::active().l2_squared(a, b)
}

/// Σ aᵢ·bᵢ, the inner product.
#[inline]
pub fn dot(a: &[f16], b: &[f16]) -> f64 {
    Kernels::active().dot(a, b)
}

/// Σ|aᵢ − bᵢ|, the taxicab distance.
#[inline]
pub fn l1(a: &[f16], b: &[f16]) -> f64 {
    Kernels::active().l1(a, b)
}

/// Σ aᵢ², the square of the Euclidean norm.
#[inline]
pub fn norm_squared(a: &[f16]) -> f64 {
    Kernels::active().norm_squared(a)
}

/// (Σ aᵢ·bᵢ, Σ aᵢ², Σ bᵢ²) in one pass: the cosine is the first over the square root of the product of the others.
#[inline]
pub fn cosine_parts(a: &[f16], b: &[f16]) -> (f64, f64, f64) {
    Kernels::active().cosine_parts(a, b)
}

/// Σ(aᵢ − qᵢ)² with a single-precision query. Finite for every finite query, however large.
#[inline]
pub fn l2_squared_f32(a: &[f16], q: &[f32]) -> f64 {
    Kernels::active().l2_squared_f32(a, q)
}

/// Σ aᵢ·qᵢ with a single-precision query. Finite for every finite query, however large.
#[inline]
pub fn dot_f32(a: &[f16], q: &[f32]) -> f64 {
    Kernels::active().dot_f32(a, q)
}

/// Σ|aᵢ − qᵢ| with a single-precision query. Finite for every finite query, however large.
#[inline]
pub fn l1_f32(a: &[f16], q: &[f32]) -> f64 {
    Kernels::active().l1_f32(a, q)
}

/// Widen every element; exact.
#[inline]
pub fn to_f32(from: &[f16], to: &mut [f32]) {
    Kernels::active().to_f32(from, to);
}

/// Round every element to the nearest half-precision number, ties to even.
///
/// # Errors
///
/// [`OutOfRange`] for the first value beyond ±65,504 or NaN; what `to` then holds is unspecified.
#[inline]
pub fn from_f32(from: &[f32], to: &mut [f16]) -> Result<(), OutOfRange> {
    Kernels::active().from_f32(from, to)
}

/// Round every element, once, to the nearest half-precision number, ties to even.
///
/// # Errors
///
/// [`OutOfRange`] for the first value beyond ±65,504 or NaN; what `to` then holds is unspecified.
#[inline]
pub fn from_f64(from: &[f64], to: &mut [f16]) -> Result<(), OutOfRange> {
    Kernels::active().from_f64(from, to)
}

/// `out[i] = a[i] + b[i]`, correctly rounded.
///
/// # Errors
///
/// [`OutOfRange`] for the first sum beyond ±65,504; what `out` then holds is unspecified.
#[inline]
pub fn add(a: &[f16], b: &[f16], out: &mut [f16]) -> Result<(), OutOfRange> {
    Kernels::active().add(a, b, out)
}

/// `out[i] = a[i] - b[i]`, correctly rounded.
///
/// # Errors
///
/// [`OutOfRange`] for the first difference beyond ±65,504; what `out` then holds is unspecified.
#[inline]
pub fn sub(a: &[f16], b: &[f16], out: &mut [f16]) -> Result<(), OutOfRange> {
    Kernels::active().sub(a, b, out)
}

/// `out[i] = a[i] · b[i]`, correctly rounded.
///
/// # Errors
///
/// [`OutOfRange`] for the first product beyond ±65,504; what `out` then holds is unspecified.
#[inline]
pub fn mul(a: &[f16], b: &[f16], out: &mut [f16]) -> Result<(), OutOfRange> {
    Kernels::active().mul(a, b, out)
}

/// `out[i] = a[i] · factor`: the `f64` product, rounded. An `f32` factor makes that product exact.
///
/// # Errors
///
/// [`OutOfRange`] for the first product beyond ±65,504 or NaN; what `out` then holds is unspecified.
#[inline]
pub fn scale(a: &[f16], factor: f64, out: &mut [f16]) -> Result<(), OutOfRange> {
    Kernels::active().scale(a, factor, out)
}
