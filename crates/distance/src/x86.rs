//! AVX2 with F16C and FMA, and AVX-512: eight and sixteen lanes.

use crate::vector::Vector;
use half::f16;
use std::arch::x86_64::*;

/// Eight lanes. Needs `avx2`, `f16c` and `fma`.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256);

impl Vector for Avx2 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Avx2(unsafe { _mm256_setzero_ps() })
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: the caller vouches for the instruction set and for eight elements; the load needs no alignment.
        Avx2(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) })
    }

    #[inline(always)]
    unsafe fn load_f32(from: *const f32) -> Self {
        // SAFETY: the caller vouches for the instruction set and for eight elements; the load needs no alignment.
        Avx2(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store_f32(self, to: *mut f32) {
        // SAFETY: the caller vouches for the instruction set and for eight elements; the store needs no alignment.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn fold_into(self, totals: *mut f64) {
        // SAFETY: the caller vouches for the instruction set and for eight totals.
        unsafe {
            let low = _mm256_cvtps_pd(_mm256_castps256_ps128(self.0));
            let high = _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(self.0));
            _mm256_storeu_pd(totals, _mm256_add_pd(_mm256_loadu_pd(totals), low));
            _mm256_storeu_pd(totals.add(4), _mm256_add_pd(_mm256_loadu_pd(totals.add(4)), high));
        }
    }

    #[inline(always)]
    unsafe fn store_f16(self, to: *mut f16) {
        // SAFETY: the caller vouches for the instruction set and for eight elements; the store needs no alignment.
        unsafe { _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0)) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Avx2(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Avx2(unsafe { _mm256_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Avx2(unsafe { _mm256_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn add_exact_product(self, x: Self, y: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Avx2(unsafe { _mm256_fmadd_ps(x.0, y.0, self.0) })
    }

    #[inline(always)]
    unsafe fn abs(self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Avx2(unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0) })
    }

    #[inline(always)]
    unsafe fn all_in_f16_range(self) -> bool {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let limit = _mm256_set1_ps(f16::MAX.to_f32_const());
            // An ordered comparison: false for NaN.
            _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(self.abs().0, limit)) == 0xff
        }
    }
}

/// Sixteen lanes. Needs `avx512f`.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512);

impl Vector for Avx512 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Avx512(unsafe { _mm512_setzero_ps() })
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: the caller vouches for the instruction set and for sixteen elements; the load needs no alignment.
        Avx512(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) })
    }

    #[inline(always)]
    unsafe fn load_f32(from: *const f32) -> Self {
        // SAFETY: the caller vouches for the instruction set and for sixteen elements; the load needs no alignment.
        Avx512(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store_f32(self, to: *mut f32) {
        // SAFETY: the caller vouches for the instruction set and for sixteen elements; the store needs no alignment.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn fold_into(self, totals: *mut f64) {
        // SAFETY: the caller vouches for the instruction set and for eight totals.
        unsafe {
            let low = _mm512_castps512_ps256(self.0);
            // AVX-512 F extracts 256 bits as doubles only; the bits are the same.
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self.0)));
            let lanes = _mm512_cvtps_pd(_mm256_add_ps(low, high));
            _mm512_storeu_pd(totals, _mm512_add_pd(_mm512_loadu_pd(totals), lanes));
        }
    }

    #[inline(always)]
    unsafe fn store_f16(self, to: *mut f16) {
        // SAFETY: the caller vouches for the instruction set and for sixteen elements; the store needs no alignment.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0)) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Avx512(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Avx512(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Avx512(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn add_exact_product(self, x: Self, y: Self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Avx512(unsafe { _mm512_fmadd_ps(x.0, y.0, self.0) })
    }

    #[inline(always)]
    unsafe fn abs(self) -> Self {
        // SAFETY: the caller vouches for the instruction set.
        Avx512(unsafe { _mm512_abs_ps(self.0) })
    }

    #[inline(always)]
    unsafe fn all_in_f16_range(self) -> bool {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let limit = _mm512_set1_ps(f16::MAX.to_f32_const());
            // An ordered comparison: false for NaN.
            _mm512_cmp_ps_mask::<_CMP_LE_OQ>(self.abs().0, limit) == 0xffff
        }
    }
}
