//! Integer kernels for 8-bit codes.
//!
//! A stored vector is a row of signed bytes, a query a row of signed 16-bit integers. Both kinds of inner product are
//! computed **exactly**: products are widened before they are added, partial sums stay below the range of their 32-bit
//! lanes, and lanes are folded into 64 bits before they could leave it. Exactness is what the error bounds of
//! `vs_quantize` rest on: an inner product that cancels to nearly nothing is as right as a large one, on every machine,
//! in every order of summation. So all kernels agree to the last bit and an index may be built on one processor and
//! read on another.
//!
//! Each kernel exists as plain Rust, which compilers turn into SSE2 or NEON code, in AVX2, and in AVX-512 with VNNI.

use crate::isa::{Dispatch, Isa};

#[cfg(target_arch = "x86_64")]
#[path = "code_avx2.rs"]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[path = "code_avx512.rs"]
mod avx512;
#[path = "code_scalar.rs"]
mod scalar;

/// Elements after which 32-bit lanes are folded into 64 bits.
///
/// The widest lane sum is the AVX2 one: of a block, each of the 64 lanes of pairs (4 accumulators of 8 lanes, every
/// lane adding two products at a time) takes `BLOCK / 64` sums of two products of at most 32,767 · 127.
const BLOCK: usize = 255 * 64;
const _: () = assert!((BLOCK as i64 / 64) * 2 * 32_767 * 127 <= i32::MAX as i64);

/// The kernels for 8-bit codes on one instruction set; all sets give the same numbers.
#[derive(Debug)]
pub struct CodeKernels {
    isa: Isa,
    dot_i16_i8: unsafe fn(&[i16], &[i8]) -> i64,
    dot_i8_i8: unsafe fn(&[i8], &[i8]) -> i64,
}

static KERNELS: Dispatch<CodeKernels> = Dispatch::new(|isa| match isa {
    Isa::Scalar => Some(&SCALAR),
    #[cfg(target_arch = "x86_64")]
    Isa::Avx512Vnni => Some(&AVX512),
    #[cfg(target_arch = "x86_64")]
    Isa::Avx2 => Some(&AVX2),
    _ => None,
});

static SCALAR: CodeKernels =
    CodeKernels { isa: Isa::Scalar, dot_i16_i8: scalar::dot_i16_i8, dot_i8_i8: scalar::dot_i8_i8 };

#[cfg(target_arch = "x86_64")]
static AVX2: CodeKernels = CodeKernels { isa: Isa::Avx2, dot_i16_i8: avx2::dot_i16_i8, dot_i8_i8: avx2::dot_i8_i8 };

#[cfg(target_arch = "x86_64")]
static AVX512: CodeKernels =
    CodeKernels { isa: Isa::Avx512Vnni, dot_i16_i8: avx512::dot_i16_i8, dot_i8_i8: avx512::dot_i8_i8 };

impl CodeKernels {
    /// The kernels for `isa`, if there are any and this processor can run them.
    #[must_use]
    pub fn for_isa(isa: Isa) -> Option<&'static CodeKernels> {
        KERNELS.for_isa(isa)
    }

    /// The kernels for the best instruction set of this processor.
    #[inline]
    #[must_use]
    pub fn active() -> &'static CodeKernels {
        KERNELS.active()
    }

    /// Every set this processor can run, best first; the last is always the scalar one.
    pub fn available() -> impl Iterator<Item = &'static CodeKernels> {
        Isa::ALL.into_iter().filter_map(Self::for_isa)
    }

    /// The instruction set of these kernels.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// `Σ query[i] · code[i]` over the shorter of the two lengths, exactly.
    ///
    /// `query` may hold −32,767 ..= 32,767 and `code` −127 ..= 127. With the two values outside those ranges (−32,768
    /// and −128, which the quantiser never writes) the result is some number, and nothing worse.
    #[inline]
    #[must_use]
    pub fn dot_i16_i8(&self, query: &[i16], code: &[i8]) -> i64 {
        // SAFETY: `Dispatch` hands out a table only where the processor has its instruction set.
        unsafe { (self.dot_i16_i8)(query, code) }
    }

    /// `Σ a[i] · b[i]` over the shorter of the two lengths, exactly for elements in −127 ..= 127; an element of −128
    /// makes the result some number, and nothing worse.
    #[inline]
    #[must_use]
    pub fn dot_i8_i8(&self, a: &[i8], b: &[i8]) -> i64 {
        // SAFETY: `Dispatch` hands out a table only where the processor has its instruction set.
        unsafe { (self.dot_i8_i8)(a, b) }
    }
}

/// Asks the processor to bring `values` into its caches; a hint without any other effect.
#[inline(always)]
pub fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..size_of_val(values)).step_by(64) {
        let line = values.as_ptr().cast::<i8>().wrapping_add(offset);
        // SAFETY: a prefetch neither reads nor writes as far as the program can tell and never faults, wherever it
        // points; SSE is part of every x86-64 processor.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator: tests need many numbers, not good ones.
    struct Rng(u64);

    impl Rng {
        fn below(&mut self, n: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % n
        }
    }

    fn exact<A: Copy + Into<i64>, B: Copy + Into<i64>>(a: &[A], b: &[B]) -> i64 {
        a.iter().zip(b).map(|(&x, &y)| x.into() * y.into()).sum()
    }

    /// Lengths around every vector width, around the folding block, and the largest an embedding can have.
    fn lengths() -> Vec<usize> {
        let mut all: Vec<usize> = (0..200).collect();
        all.extend([784, 1001, 4096, 8000, 15_999, 16_000]);
        all.extend([BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 17, 70_000]);
        all
    }

    #[test]
    fn every_kernel_is_exact_on_random_rows() {
        let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
        for n in lengths() {
            let query: Vec<i16> = (0..n).map(|_| rng.below(65_535) as i32 - 32_767).map(|v| v as i16).collect();
            let a: Vec<i8> = (0..n).map(|_| (rng.below(255) as i32 - 127) as i8).collect();
            let b: Vec<i8> = (0..n).map(|_| (rng.below(255) as i32 - 127) as i8).collect();
            for kernels in CodeKernels::available() {
                assert_eq!(kernels.dot_i16_i8(&query, &a), exact(&query, &a), "{} i16 {n}", kernels.isa());
                assert_eq!(kernels.dot_i8_i8(&a, &b), exact(&a, &b), "{} i8 {n}", kernels.isa());
            }
        }
    }

    #[test]
    fn no_lane_overflows_at_the_extremes() {
        for n in lengths() {
            for (q, a, b) in
                [(32_767i16, 127i8, 127i8), (-32_767, 127, -127), (-32_767, -127, -127), (32_767, -127, 127)]
            {
                let (query, a, b) = (vec![q; n], vec![a; n], vec![b; n]);
                for kernels in CodeKernels::available() {
                    assert_eq!(kernels.dot_i16_i8(&query, &a), exact(&query, &a), "{} i16 {n}", kernels.isa());
                    assert_eq!(kernels.dot_i8_i8(&a, &b), exact(&a, &b), "{} i8 {n}", kernels.isa());
                }
            }
        }
    }

    #[test]
    fn unequal_lengths_stop_at_the_shorter_and_strange_values_do_no_harm() {
        for kernels in CodeKernels::available() {
            assert_eq!(kernels.dot_i16_i8(&[1; 100], &[1; 70]), 70);
            assert_eq!(kernels.dot_i8_i8(&[1; 33], &[1; 70]), 33);
            // Outside the contract: any number will do, but there must be one.
            let _ = kernels.dot_i8_i8(&[i8::MIN; 999], &[i8::MIN; 999]);
            let _ = kernels.dot_i16_i8(&[i16::MIN; 40_000], &[i8::MIN; 40_000]);
        }
    }
}
