//! Conversion between half precision and wider types, with the range checked.
//!
//! A value is in range if its magnitude is at most 65,504, the largest half-precision number; NaN and the infinities
//! are not. The check comes before the rounding, so nothing is silently pulled back to 65,504. Rounding is to nearest,
//! ties to even, and happens once: an `f64` goes through `f32` *rounded to odd*, which keeps what the second rounding
//! needs to know about the bits that were cut off (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums:
//! proved algorithms using rounding to odd", 2008). The `half` crate's own conversion from `f64` rounds twice.

use crate::kernels::Kernels;
use crate::reduce::STEP;
use crate::vector::Vector;
use half::f16;

/// A value that half precision cannot hold: beyond ±65,504, infinite or not a number.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("element {index} is {value}, which is not between -65504 and 65504")]
pub struct OutOfRange {
    /// The position of the first such value, counted from 0.
    pub index: usize,
    /// The value itself.
    pub value: f64,
}

/// How many elements are converted through a buffer at a time.
const CHUNK: usize = 256;

impl Kernels {
    /// See [`crate::to_f32`].
    pub fn to_f32(&self, from: &[f16], to: &mut [f32]) {
        debug_assert_eq!(from.len(), to.len());
        // SAFETY: `Dispatch` hands out a table only where the processor has its instruction set.
        unsafe { (self.widen)(from, to) }
    }

    /// See [`crate::from_f32`].
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] for the first value that half precision cannot hold.
    pub fn from_f32(&self, from: &[f32], to: &mut [f16]) -> Result<(), OutOfRange> {
        debug_assert_eq!(from.len(), to.len());
        // SAFETY: `Dispatch` hands out a table only where the processor has its instruction set.
        let converted = unsafe { (self.narrow)(from, to) };
        if converted == from.len().min(to.len()) {
            return Ok(());
        }
        // The kernel stopped at the register that holds the culprit.
        let rest = from[converted..].iter().position(|value| !in_range(*value)).unwrap_or(0);
        let index = converted + rest;
        Err(OutOfRange { index, value: f64::from(from[index]) })
    }

    /// See [`crate::from_f64`].
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] for the first value that half precision cannot hold.
    pub fn from_f64(&self, from: &[f64], to: &mut [f16]) -> Result<(), OutOfRange> {
        debug_assert_eq!(from.len(), to.len());
        let mut odd = [0f32; CHUNK];
        for (chunk, (from, to)) in from.chunks(CHUNK).zip(to.chunks_mut(CHUNK)).enumerate() {
            let length = from.len().min(to.len());
            for (odd, value) in odd.iter_mut().zip(from) {
                *odd = round_to_odd(*value);
            }
            self.from_f32(&odd[..length], &mut to[..length])
                .map_err(|e| OutOfRange { index: chunk * CHUNK + e.index, value: from[e.index] })?;
        }
        Ok(())
    }
}

/// The half-precision number nearest to `value`, rounded once; nothing for what half precision cannot hold. For many at
/// a time see [`crate::from_f64`].
pub fn nearest(value: f64) -> Option<f16> {
    (value.abs() <= f16::MAX.to_f64()).then(|| f16::from_f32(round_to_odd(value)))
}

fn in_range(value: f32) -> bool {
    value.abs() <= f16::MAX.to_f32_const()
}

/// The `f32` nearest to `value` if it is exact, else the one of its two neighbours whose last bit is 1.
///
/// Whatever is then rounded to at most 22 bits comes out as if it had been rounded from `value` itself.
pub(crate) fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let back = f64::from(nearest);
    let bits = nearest.to_bits();
    // Inexact and even: the odd neighbour lies on the other side of `value`, one bit pattern up or down in magnitude.
    // (A NaN moves to another NaN.) Written without branches, so that it runs on several lanes at a time.
    let off = u32::from(back != value) & !bits & 1;
    let down = off & u32::from(back.abs() > value.abs());
    f32::from_bits(bits + off - 2 * down)
}

/// Widen the shorter length's worth of elements.
///
/// # Safety
///
/// The processor has `V`'s instruction set.
#[inline(always)]
pub(crate) unsafe fn widen<V: Vector>(from: &[f16], to: &mut [f32]) {
    let length = from.len().min(to.len());
    let mut done = 0;
    while done + V::LANES <= length {
        // SAFETY: the caller vouches for the instruction set; both slices have LANES elements from `done` on.
        unsafe { V::load_f16(from.as_ptr().add(done)).store_f32(to.as_mut_ptr().add(done)) };
        done += V::LANES;
    }
    if done < length {
        let (mut last, mut wide) = ([f16::ZERO; STEP], [0f32; STEP]);
        last[..length - done].copy_from_slice(&from[done..length]);
        // SAFETY: the caller vouches for the instruction set; both buffers hold a whole register.
        unsafe { V::load_f16(last.as_ptr()).store_f32(wide.as_mut_ptr()) };
        to[done..length].copy_from_slice(&wide[..length - done]);
    }
}

/// Narrow the shorter length's worth of elements, stopping before the first register with a value out of range; gives
/// how many elements were converted.
///
/// # Safety
///
/// The processor has `V`'s instruction set.
#[inline(always)]
pub(crate) unsafe fn narrow<V: Vector>(from: &[f32], to: &mut [f16]) -> usize {
    let length = from.len().min(to.len());
    let mut done = 0;
    while done + V::LANES <= length {
        // SAFETY: the caller vouches for the instruction set; both slices have LANES elements from `done` on.
        unsafe {
            let lanes = V::load_f32(from.as_ptr().add(done));
            if !lanes.all_in_f16_range() {
                return done;
            }
            lanes.store_f16(to.as_mut_ptr().add(done));
        }
        done += V::LANES;
    }
    if done < length {
        let (mut last, mut half) = ([0f32; STEP], [f16::ZERO; STEP]);
        last[..length - done].copy_from_slice(&from[done..length]);
        // SAFETY: the caller vouches for the instruction set; both buffers hold a whole register.
        unsafe {
            let lanes = V::load_f32(last.as_ptr());
            if !lanes.all_in_f16_range() {
                return done;
            }
            lanes.store_f16(half.as_mut_ptr());
        }
        to[done..length].copy_from_slice(&half[..length - done]);
    }
    length
}
