//! The code kernels in AVX2.
//!
//! i16 × i8: sixteen bytes are sign-extended to 16 bits and `vpmaddwd` multiplies them with the query and adds pairs
//! in 32 bits. i8 × i8: `vpmaddubsw` needs one unsigned operand, so the sign of `a` moves over to `b`:
//! a·b = |a| · (sign(a)·b). With elements in ±127 its pair sum is at most 2 · 127² = 32,258 and cannot saturate.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_add_epi64, _mm_cvtsi128_si64, _mm_loadu_si128, _mm_unpackhi_epi64, _mm256_abs_epi8,
    _mm256_add_epi32, _mm256_add_epi64, _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_cvtepi32_epi64,
    _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi16,
    _mm256_setzero_si256, _mm256_sign_epi8,
};

use super::{BLOCK, scalar};

#[target_feature(enable = "avx2")]
fn load(values: &[i8; 32]) -> __m256i {
    // SAFETY: the array is 32 readable bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast::<__m256i>()) }
}

#[target_feature(enable = "avx2")]
fn load_words(values: &[i16; 16]) -> __m256i {
    // SAFETY: the array is 32 readable bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast::<__m256i>()) }
}

#[target_feature(enable = "avx2")]
fn load_widened(values: &[i8; 16]) -> __m256i {
    // SAFETY: the array is 16 readable bytes; the load needs no alignment.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(values.as_ptr().cast::<__m128i>()) })
}

/// The sum of the eight 32-bit lanes of each of four accumulators, in 64 bits.
#[target_feature(enable = "avx2")]
fn fold(accumulators: [__m256i; 4]) -> i64 {
    let mut sum = _mm256_setzero_si256();
    for lanes in accumulators {
        sum = _mm256_add_epi64(sum, _mm256_cvtepi32_epi64(_mm256_castsi256_si128(lanes)));
        sum = _mm256_add_epi64(sum, _mm256_cvtepi32_epi64(_mm256_extracti128_si256::<1>(lanes)));
    }
    let half = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    _mm_cvtsi128_si64(_mm_add_epi64(half, _mm_unpackhi_epi64(half, half)))
}

#[target_feature(enable = "avx2")]
pub(super) fn dot_i16_i8(query: &[i16], code: &[i8]) -> i64 {
    let n = query.len().min(code.len());
    let mut total = 0;
    for (query, code) in query[..n].chunks(BLOCK).zip(code[..n].chunks(BLOCK)) {
        let (q, q_rest) = query.as_chunks::<16>();
        let (c, c_rest) = code.as_chunks::<16>();
        let mut sums = [_mm256_setzero_si256(); 4];
        let (q4, q_few) = q.as_chunks::<4>();
        let (c4, c_few) = c.as_chunks::<4>();
        for (q, c) in q4.iter().zip(c4) {
            for ((sum, q), c) in sums.iter_mut().zip(q).zip(c) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(load_widened(c), load_words(q)));
            }
        }
        // Fewer than four are left, so each accumulator takes at most one more: the last of its block.
        for ((sum, q), c) in sums.iter_mut().zip(q_few).zip(c_few) {
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(load_widened(c), load_words(q)));
        }
        total += fold(sums) + scalar::dot_i16_i8(q_rest, c_rest);
    }
    total
}

#[target_feature(enable = "avx2")]
pub(super) fn dot_i8_i8(a: &[i8], b: &[i8]) -> i64 {
    let n = a.len().min(b.len());
    let ones = _mm256_set1_epi16(1);
    let mut total = 0;
    for (a, b) in a[..n].chunks(BLOCK).zip(b[..n].chunks(BLOCK)) {
        let (a, a_rest) = a.as_chunks::<32>();
        let (b, b_rest) = b.as_chunks::<32>();
        let mut sums = [_mm256_setzero_si256(); 4];
        let (a2, a_last) = a.as_chunks::<2>();
        let (b2, b_last) = b.as_chunks::<2>();
        let step = |sum: __m256i, a: &[i8; 32], b: &[i8; 32]| {
            let (a, b) = (load(a), load(b));
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones))
        };
        for (a, b) in a2.iter().zip(b2) {
            sums[0] = step(sums[0], &a[0], &b[0]);
            sums[1] = step(sums[1], &a[1], &b[1]);
        }
        for (a, b) in a_last.iter().zip(b_last) {
            sums[2] = step(sums[2], a, b);
        }
        total += fold(sums) + scalar::dot_i8_i8(a_rest, b_rest);
    }
    total
}
