//! The code that runs for every sample, compiled a second time for AVX2 and chosen where the processor has it. It is the
//! same code, without intrinsics: wider registers are all that AVX2 brings, and results are the same to the bit.

use crate::tables::Block;
use crate::{color, idct, upsample};

/// For each kernel: its plain form, and the choice between that and the one for AVX2.
macro_rules! kernels {
    ($($(#[$doc:meta])* $name:ident = $plain:path, ($($argument:ident: $type:ty),*);)*) => {$(
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name($($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn with_avx2($($argument: $type),*) {
                    $plain($($argument),*);
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has the instructions that the function was compiled for, and there is no
                    // other condition: its body is safe code.
                    #[allow(unsafe_code)]
                    unsafe { with_avx2($($argument),*) };
                    return;
                }
            }
            $plain($($argument),*);
        }
    )*};
}

kernels! {
    /// See [`idct::block`].
    inverse_transform = idct::block, (coefficients: &Block, steps: &Block, out: &mut [u8], stride: usize);
    /// See [`idct::sparse_block`].
    sparse_inverse_transform = idct::sparse_block, (coefficients: &Block, steps: &Block, out: &mut [u8], stride: usize);
    /// See [`upsample::across`].
    upsample_across = upsample::across, (row: &[u8], out: &mut [u8]);
    /// See [`upsample::down`].
    upsample_down = upsample::down, (near: &[u8], far: &[u8], lower: bool, out: &mut [u8]);
    /// See [`upsample::both`].
    upsample_both = upsample::both, (near: &[u8], far: &[u8], sums: &mut [u16], out: &mut [u8]);
    /// See [`color::ycbcr_row`].
    ycbcr_row = color::ycbcr_row, (y: &[u8], cb: &[u8], cr: &[u8], out: &mut [u8]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a processor with AVX2 this compares two compilations, elsewhere one with itself.
    #[test]
    fn both_compilations_give_the_same() {
        let mut random = 7u32;
        let mut next = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random >> 16
        };
        for length in (3..80).chain([255, 256, 257, 600]) {
            let mut row = || (0..length).map(|_| next() as u8).collect::<Vec<u8>>();
            let (a, b, c) = (row(), row(), row());
            let (mut one, mut two) = (vec![0; 3 * length], vec![1; 3 * length]);
            ycbcr_row(&a, &b, &c, &mut one);
            color::ycbcr_row(&a, &b, &c, &mut two);
            assert_eq!(one, two);
            let mut sums = vec![0; length];
            let (mut one, mut two) = (vec![0; 2 * length], vec![1; 2 * length]);
            upsample_both(&a, &b, &mut sums, &mut one);
            upsample::both(&a, &b, &mut sums, &mut two);
            assert_eq!(one, two);
            upsample_across(&a, &mut one);
            upsample::across(&a, &mut two);
            assert_eq!(one, two);
            for lower in [false, true] {
                upsample_down(&a, &b, lower, &mut one[..length]);
                upsample::down(&a, &b, lower, &mut two[..length]);
                assert_eq!(one, two);
            }
        }
        for _ in 0..2_000 {
            // Every kind of value, those of damaged files included.
            let scale = next() % 16;
            let coefficients: Block = std::array::from_fn(|_| (next() as i16) >> scale);
            let steps: Block = std::array::from_fn(|_| next() as i16 & 0xFF);
            let (mut one, mut two) = ([0; 64], [1; 64]);
            inverse_transform(&coefficients, &steps, &mut one, 8);
            idct::block(&coefficients, &steps, &mut two, 8);
            assert_eq!(one, two);
            sparse_inverse_transform(&coefficients, &steps, &mut one, 8);
            idct::sparse_block(&coefficients, &steps, &mut two, 8);
            assert_eq!(one, two);
        }
    }
}
