//! NEON, the baseline vector unit of AArch64: four lanes.
//!
//! Conversion between half and single precision is part of that baseline (FCVTL and FCVTN); the intrinsics for it are
//! younger than the oldest compiler this workspace supports, so these two instructions are written as assembly.

use crate::vector::Vector;
use half::f16;
use std::arch::aarch64::*;
use std::arch::asm;

/// Four lanes. Needs `neon`.
#[derive(Clone, Copy)]
pub(crate) struct Neon(float32x4_t);

impl Vector for Neon {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Neon(unsafe { vdupq_n_f32(0.0) })
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: the caller vouches for the instruction set and for four elements, aligned as `u16`; FCVTL reads and
        // writes only the named registers.
        unsafe {
            let halves = vld1_u16(from.cast());
            let lanes: float32x4_t;
            asm!(
                "fcvtl {0:v}.4s, {1:v}.4h",
                out(vreg) lanes,
                in(vreg) halves,
                options(pure, nomem, nostack, preserves_flags)
            );
            Neon(lanes)
        }
    }

    #[inline(always)]
    unsafe fn load_f32(from: *const f32) -> Self {
        // SAFETY: the caller vouches for the instruction set and for four elements.
        Neon(unsafe { vld1q_f32(from) })
    }

    #[inline(always)]
    unsafe fn store_f32(self, to: *mut f32) {
        // SAFETY: the caller vouches for the instruction set and for four elements.
        unsafe { vst1q_f32(to, self.0) }
    }

    #[inline(always)]
    unsafe fn fold_into(self, totals: *mut f64) {
        // SAFETY: the caller vouches for the instruction set and for four totals.
        unsafe {
            let low = vcvt_f64_f32(vget_low_f32(self.0));
            let high = vcvt_high_f64_f32(self.0);
            vst1q_f64(totals, vaddq_f64(vld1q_f64(totals), low));
            vst1q_f64(totals.add(2), vaddq_f64(vld1q_f64(totals.add(2)), high));
        }
    }

    #[inline(always)]
    unsafe fn store_f16(self, to: *mut f16) {
        // SAFETY: the caller vouches for the instruction set and for four elements, aligned as `u16`; FCVTN reads and
        // writes only the named registers, and rounds as the default control register says: to nearest, ties to even.
        unsafe {
            let halves: uint16x4_t;
            asm!(
                "fcvtn {0:v}.4h, {1:v}.4s",
                out(vreg) halves,
                in(vreg) self.0,
                options(pure, nomem, nostack, preserves_flags)
            );
            vst1_u16(to.cast(), halves);
        }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Neon(unsafe { vaddq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Neon(unsafe { vsubq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Neon(unsafe { vmulq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn add_exact_product(self, x: Self, y: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Neon(unsafe { vfmaq_f32(self.0, x.0, y.0) })
    }

    #[inline(always)]
    unsafe fn abs(self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Neon(unsafe { vabsq_f32(self.0) })
    }

    #[inline(always)]
    unsafe fn all_in_f16_range(self) -> bool {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let limit = vdupq_n_f32(f16::MAX.to_f32_const());
            // A comparison with NaN gives zero.
            vminvq_u32(vcleq_f32(vabsq_f32(self.0), limit)) != 0
        }
    }
}
