//! The code kernels in AVX-512 with VNNI, whose instructions multiply, add neighbouring products and accumulate at once.
//!
//! i16 × i8: 32 bytes are sign-extended to 16 bits; `vpdpwssd` adds two products to each 32-bit lane. i8 × i8:
//! `vpdpbusd` adds four products but needs one unsigned operand, so the sign of `a` moves over to `b`:
//! a·b = |a| · (sign(a)·b). What is left at the end is loaded under a mask: the lanes beyond are zero and add nothing.

use std::arch::x86_64::{
    __m512i, _mm512_abs_epi8, _mm512_add_epi64, _mm512_castsi512_si256, _mm512_cvtepi8_epi16, _mm512_cvtepi32_epi64,
    _mm512_dpbusd_epi32, _mm512_dpwssd_epi32, _mm512_extracti64x4_epi64, _mm512_mask_sub_epi8, _mm512_maskz_loadu_epi8,
    _mm512_maskz_loadu_epi16, _mm512_movepi8_mask, _mm512_reduce_add_epi64, _mm512_setzero_si512,
};

use super::BLOCK;

/// A lane of 32 bits takes one step for each 32 elements of its accumulator's share of a block.
const _: () = assert!((BLOCK as i64 / (32 * 4) + 1) * 2 * 32_767 * 127 <= i32::MAX as i64);

/// The first 64 bytes, or all there are and zeros.
#[target_feature(enable = "avx512f,avx512bw")]
fn load(values: &[i8]) -> __m512i {
    // SAFETY: only bytes under the mask are read, and it has as many bits as there are values.
    unsafe { _mm512_maskz_loadu_epi8(ones(values.len(), 64), values.as_ptr()) }
}

/// The first 32 bytes as 16-bit numbers, or all there are and zeros.
#[target_feature(enable = "avx512f,avx512bw")]
fn load_widened(values: &[i8]) -> __m512i {
    // SAFETY: only bytes under the mask are read, and it has at most as many bits as there are values.
    let bytes = unsafe { _mm512_maskz_loadu_epi8(ones(values.len(), 32), values.as_ptr()) };
    _mm512_cvtepi8_epi16(_mm512_castsi512_si256(bytes))
}

/// The first 32 words, or all there are and zeros.
#[target_feature(enable = "avx512f,avx512bw")]
fn load_words(values: &[i16]) -> __m512i {
    // SAFETY: only words under the mask are read, and it has at most as many bits as there are values.
    unsafe { _mm512_maskz_loadu_epi16(ones(values.len(), 32) as u32, values.as_ptr()) }
}

/// As many one-bits as there are values, at most `most`.
#[inline(always)]
fn ones(values: usize, most: usize) -> u64 {
    u64::MAX.checked_shr(64 - values.min(most) as u32).unwrap_or(0)
}

/// The sum of the sixteen 32-bit lanes of each of four accumulators, in 64 bits.
#[target_feature(enable = "avx512f")]
fn fold(accumulators: [__m512i; 4]) -> i64 {
    let mut sum = _mm512_setzero_si512();
    for lanes in accumulators {
        sum = _mm512_add_epi64(sum, _mm512_cvtepi32_epi64(_mm512_castsi512_si256(lanes)));
        sum = _mm512_add_epi64(sum, _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64::<1>(lanes)));
    }
    _mm512_reduce_add_epi64(sum)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn dot_i16_i8(query: &[i16], code: &[i8]) -> i64 {
    let n = query.len().min(code.len());
    let mut total = 0;
    for (query, code) in query[..n].chunks(BLOCK).zip(code[..n].chunks(BLOCK)) {
        let mut sums = [_mm512_setzero_si512(); 4];
        let (q4, q_rest) = query.as_chunks::<128>();
        let (c4, c_rest) = code.as_chunks::<128>();
        for (q, c) in q4.iter().zip(c4) {
            for (at, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_dpwssd_epi32(*sum, load_widened(&c[32 * at..][..32]), load_words(&q[32 * at..][..32]));
            }
        }
        // At most one more for each accumulator.
        for ((sum, q), c) in sums.iter_mut().zip(q_rest.chunks(32)).zip(c_rest.chunks(32)) {
            *sum = _mm512_dpwssd_epi32(*sum, load_widened(c), load_words(q));
        }
        total += fold(sums);
    }
    total
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn dot_i8_i8(a: &[i8], b: &[i8]) -> i64 {
    let n = a.len().min(b.len());
    let mut total = 0;
    for (a, b) in a[..n].chunks(BLOCK).zip(b[..n].chunks(BLOCK)) {
        let mut sums = [_mm512_setzero_si512(); 4];
        let step = |sum: __m512i, a: &[i8], b: &[i8]| {
            let (a, b) = (load(a), load(b));
            let signed = _mm512_mask_sub_epi8(b, _mm512_movepi8_mask(a), _mm512_setzero_si512(), b);
            _mm512_dpbusd_epi32(sum, _mm512_abs_epi8(a), signed)
        };
        let (a4, a_rest) = a.as_chunks::<256>();
        let (b4, b_rest) = b.as_chunks::<256>();
        for (a, b) in a4.iter().zip(b4) {
            for (at, sum) in sums.iter_mut().enumerate() {
                *sum = step(*sum, &a[64 * at..][..64], &b[64 * at..][..64]);
            }
        }
        for ((sum, a), b) in sums.iter_mut().zip(a_rest.chunks(64)).zip(b_rest.chunks(64)) {
            *sum = step(*sum, a, b);
        }
        total += fold(sums);
    }
    total
}
