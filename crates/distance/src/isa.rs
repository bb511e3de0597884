//! The one dispatch point: which instruction set a family of kernels runs on.
//!
//! A *family* is a struct of function pointers (for example [`crate::Kernels`]) with one static table of it for each
//! instruction set it was written for. [`Dispatch`] owns the choice: it asks the processor once, keeps the best table,
//! and from then on costs one load and one indirect call. A table is handed out only where the processor has the
//! instructions, which is what makes calling its pointers sound; nothing else in the crate detects features.
//!
//! To add a family, write a file with the struct, its tables, and `static KERNELS: Dispatch<TheStruct>`.

use std::fmt;
use std::sync::OnceLock;

/// An instruction set that kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isa {
    /// x86-64 with AVX-512 F, BW and VNNI: integer products summed by the multiplication itself.
    Avx512Vnni,
    /// x86-64 with AVX-512 F: sixteen lanes, half-precision conversion included.
    Avx512,
    /// x86-64 with AVX2, F16C and FMA: eight lanes.
    Avx2,
    /// AArch64 with its baseline vector unit: four lanes.
    Neon,
    /// Any processor: plain Rust, the reference that the others must agree with.
    Scalar,
}

impl Isa {
    /// Every instruction set, best first.
    pub const ALL: [Isa; 5] = [Isa::Avx512Vnni, Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Scalar];

    /// Whether this processor (and the operating system's register saving) supports it.
    pub fn is_supported(self) -> bool {
        match self {
            Isa::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => {
                is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vnni")
                    && Isa::Avx512.is_supported()
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => is_x86_feature_detected!("avx512f") && Isa::Avx2.is_supported(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c") && is_x86_feature_detected!("fma")
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            // The sets of other architectures.
            _ => false,
        }
    }

    /// The name used in logs, tests and benchmarks.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Avx512Vnni => "avx512vnni",
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Neon => "neon",
            Isa::Scalar => "scalar",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The tables of one kernel family and the choice between them.
pub(crate) struct Dispatch<T: 'static> {
    table: fn(Isa) -> Option<&'static T>,
    active: OnceLock<&'static T>,
}

impl<T> Dispatch<T> {
    /// `table` gives the family's table for an instruction set, or `None` where there is none on this architecture.
    /// It must answer for [`Isa::Scalar`].
    pub(crate) const fn new(table: fn(Isa) -> Option<&'static T>) -> Self {
        Dispatch { table, active: OnceLock::new() }
    }

    /// The table for `isa`, if the family has one and this processor can run it.
    pub(crate) fn for_isa(&self, isa: Isa) -> Option<&'static T> {
        if isa.is_supported() { (self.table)(isa) } else { None }
    }

    /// The best table that this processor can run; resolved at the first call.
    #[inline]
    pub(crate) fn active(&self) -> &'static T {
        self.active.get_or_init(|| {
            let best = Isa::ALL.into_iter().find_map(|isa| self.for_isa(isa));
            best.expect("every family has a scalar table")
        })
    }
}
