//! The half-precision family: its table, one instance of it for each instruction set, and the functions over the
//! active one.

use crate::isa::{Dispatch, Isa};
use half::f16;

/// The kernels for half-precision vectors on one instruction set.
///
/// The free functions of this crate use the best set there is ([`active_kernel`]); this type is for tests and
/// benchmarks that want to name one.
pub struct Kernels {
    isa: Isa,
    l2_squared: unsafe fn(&[f16], &[f16]) -> f64,
    dot: unsafe fn(&[f16], &[f16]) -> f64,
    l1: unsafe fn(&[f16], &[f16]) -> f64,
    norm_squared: unsafe fn(&[f16]) -> f64,
    cosine_parts: unsafe fn(&[f16], &[f16]) -> [f64; 3],
    l2_squared_f32: unsafe fn(&[f16], &[f32]) -> f64,
    dot_f32: unsafe fn(&[f16], &[f32]) -> f64,
    l1_f32: unsafe fn(&[f16], &[f32]) -> f64,
    pub(crate) widen: unsafe fn(&[f16], &mut [f32]),
    pub(crate) narrow: unsafe fn(&[f32], &mut [f16]) -> usize,
}

static KERNELS: Dispatch<Kernels> = Dispatch::new(|isa| match isa {
    Isa::Scalar => Some(&scalar::TABLE),
    #[cfg(target_arch = "x86_64")]
    Isa::Avx2 => Some(&avx2::TABLE),
    #[cfg(target_arch = "x86_64")]
    Isa::Avx512 => Some(&avx512::TABLE),
    #[cfg(target_arch = "aarch64")]
    Isa::Neon => Some(&neon::TABLE),
    // The sets of other architectures.
    _ => None,
});

/// Instantiate every kernel for one [`crate::vector::Vector`], compiled with that instruction set's features.
macro_rules! table {
    ($isa:ident, $module:ident, $vector:ty, $(#[$features:meta])?) => {
        mod $module {
            use super::{Isa, Kernels};
            use crate::convert;
            use crate::reduce::{
                self, AbsoluteDifference, CosineParts, ExactProduct, Product, STEP, SquaredDifference,
            };
            use crate::vector::Vector;
            use half::f16;

            type V = $vector;
            const K: usize = STEP / V::LANES;

            pub(super) static TABLE: Kernels = Kernels {
                isa: Isa::$isa,
                l2_squared,
                dot,
                l1,
                norm_squared,
                cosine_parts,
                l2_squared_f32,
                dot_f32,
                l1_f32,
                widen,
                narrow,
            };

            table!(@sum $(#[$features])? l2_squared(f16), SquaredDifference);
            table!(@sum $(#[$features])? dot(f16), ExactProduct);
            table!(@sum $(#[$features])? l1(f16), AbsoluteDifference);
            table!(@sum $(#[$features])? l2_squared_f32(f32), SquaredDifference);
            table!(@sum $(#[$features])? dot_f32(f32), Product);
            table!(@sum $(#[$features])? l1_f32(f32), AbsoluteDifference);

            $(#[$features])?
            fn norm_squared(a: &[f16]) -> f64 {
                // SAFETY: this function is reached only where the instruction set is.
                unsafe { reduce::sum::<ExactProduct, V, 1, K, f16, f16>(a, a)[0] }
            }

            $(#[$features])?
            fn cosine_parts(a: &[f16], b: &[f16]) -> [f64; 3] {
                // SAFETY: this function is reached only where the instruction set is.
                unsafe { reduce::sum::<CosineParts, V, 3, K, f16, f16>(a, b) }
            }

            $(#[$features])?
            fn widen(from: &[f16], to: &mut [f32]) {
                // SAFETY: this function is reached only where the instruction set is.
                unsafe { convert::widen::<V>(from, to) }
            }

            $(#[$features])?
            fn narrow(from: &[f32], to: &mut [f16]) -> usize {
                // SAFETY: this function is reached only where the instruction set is.
                unsafe { convert::narrow::<V>(from, to) }
            }
        }
    };
    (@sum $(#[$features:meta])? $name:ident($element:ty), $terms:ty) => {
        $(#[$features])?
        fn $name(a: &[f16], b: &[$element]) -> f64 {
            // SAFETY: this function is reached only where the instruction set is.
            unsafe { reduce::sum::<$terms, V, 1, K, f16, $element>(a, b)[0] }
        }
    };
}

table!(Scalar, scalar, crate::scalar::Scalar,);
#[cfg(target_arch = "x86_64")]
table!(Avx2, avx2, crate::x86::Avx2, #[target_feature(enable = "avx2,f16c,fma")]);
#[cfg(target_arch = "x86_64")]
table!(Avx512, avx512, crate::x86::Avx512, #[target_feature(enable = "avx512f")]);
#[cfg(target_arch = "aarch64")]
table!(Neon, neon, crate::neon::Neon, #[target_feature(enable = "neon")]);

/// The instruction set that this crate's functions run on here.
pub fn active_kernel() -> Isa {
    Kernels::active().isa
}

/// Every instruction set this processor can run, best first; the last is always [`Isa::Scalar`].
pub fn available_kernels() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|&isa| Kernels::for_isa(isa).is_some())
}

impl Kernels {
    /// The kernels for `isa`, if this processor can run them.
    pub fn for_isa(isa: Isa) -> Option<&'static Kernels> {
        KERNELS.for_isa(isa)
    }

    /// The kernels for the best instruction set of this processor.
    #[inline]
    pub fn active() -> &'static Kernels {
        KERNELS.active()
    }

    /// The instruction set of these kernels.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// See [`crate::l2_squared`].
    #[inline]
    pub fn l2_squared(&self, a: &[f16], b: &[f16]) -> f64 {
        debug_assert_eq!(a.len(), b.len());
        // SAFETY: `Dispatch` hands out a table only where the processor has its instruction set.
        unsafe { (self.l2_squared)(a, b) }
    }

    /// See [`crate::dot`].
    #[inline]
    pub fn dot(&self, a: &[f16], b: &[f16]) -> f64 {
        debug_assert_eq!(a.len(), b.len());
        // SAFETY: `Dispatch` hands out a table only where the processor has its instruction set.
        unsafe { (self.dot)(a, b) }
    }

    /// See [`crate::l1`].
    #[inline]
    pub fn l1(&self, a: &[f16], b: &[f16]) -> f64 {
        debug_assert_eq!(a.len(), b.len());
        // SAFETY: `Dispatch` hands out a table only where the processor has its instruction set.
        unsafe { (self.l1)(a, b) }
    }

    /// See [`crate::norm_squared`].
    #[inline]
    pub fn norm_squared(&self, a: &[f16]) -> f64 {
        // SAFETY: `Dispatch` hands out a table only where the processor has its instruction set.
        unsafe { (self.norm_squared)(a) }
    }

    /// See [`crate::cosine_parts`].
    #[inline]
    pub fn cosine_parts(&self, a: &[f16], b: &[f16]) -> (f64, f64, f64) {
        debug_assert_eq!(a.len(), b.len());
        // SAFETY: `Dispatch` hands out a table only where the processor has its instruction set.
        let [dot, a, b] = unsafe { (self.cosine_parts)(a, b) };
        (dot, a, b)
    }

    /// See [`crate::l2_squared_f32`].
    #[inline]
    pub fn l2_squared_f32(&self, a: &[f16], q: &[f32]) -> f64 {
        debug_assert_eq!(a.len(), q.len());
        // SAFETY: `Dispatch` hands out a table only where the processor has its instruction set.
        unsafe { (self.l2_squared_f32)(a, q) }
    }

    /// See [`crate::dot_f32`].
    #[inline]
    pub fn dot_f32(&self, a: &[f16], q: &[f32]) -> f64 {
        debug_assert_eq!(a.len(), q.len());
        // SAFETY: `Dispatch` hands out a table only where the processor has its instruction set.
        unsafe { (self.dot_f32)(a, q) }
    }

    /// See [`crate::l1_f32`].
    #[inline]
    pub fn l1_f32(&self, a: &[f16], q: &[f32]) -> f64 {
        debug_assert_eq!(a.len(), q.len());
        // SAFETY: `Dispatch` hands out a table only where the processor has its instruction set.
        unsafe { (self.l1_f32)(a, q) }
    }
}
