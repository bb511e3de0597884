//! What the tests draw from and compare with.

use half::f16;
use proptest::prelude::*;
use vs_distance::{Isa, Kernels, available_kernels};

/// The most elements an embedding can have.
pub const LONGEST: usize = 16_000;

/// The kernels of every instruction set this machine has.
pub fn every_kernel() -> impl Iterator<Item = &'static Kernels> {
    available_kernels().map(|isa| Kernels::for_isa(isa).expect("available"))
}

/// The plain-Rust kernels.
pub fn scalar() -> &'static Kernels {
    Kernels::for_isa(Isa::Scalar).expect("always there")
}

/// What a vector's elements are like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Every finite bit pattern alike: all magnitudes at once, subnormals and extremes included.
    AnyBits,
    /// Between −1 and 1, as networks give them.
    Unit,
    /// Between 0 and the largest, as counts are.
    Large,
    /// Nothing but subnormal numbers.
    Subnormal,
    /// The largest, the smallest and both zeros.
    Extreme,
    /// Each element of any of the kinds above.
    Mixed,
}

/// A generator of elements, small enough to fill vectors of the longest length in every test case.
pub struct Elements(u64);

impl Elements {
    pub fn new(seed: u64) -> Self {
        Elements(seed)
    }

    /// 64 random bits (SplitMix64).
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly between −1 and 1.
    pub fn unit(&mut self) -> f64 {
        self.bits() as i64 as f64 / i64::MIN as f64
    }

    /// A finite half.
    pub fn half(&mut self, kind: Kind) -> f16 {
        use Kind::*;
        match kind {
            AnyBits => {
                let half = f16::from_bits(self.bits() as u16);
                // Infinities and NaNs lose the highest bit of their exponent.
                if half.is_finite() { half } else { f16::from_bits(half.to_bits() & !0x4000) }
            }
            Unit => f16::from_f64(self.unit()),
            Large => f16::from_f64(self.unit().abs() * 65_504.0),
            Subnormal => f16::from_bits(self.bits() as u16 & 0x83ff),
            Extreme => [f16::MAX, f16::MIN, f16::ZERO, f16::NEG_ZERO][self.bits() as usize % 4],
            Mixed => {
                let kind = [AnyBits, Unit, Large, Subnormal, Extreme][self.bits() as usize % 5];
                self.half(kind)
            }
        }
    }

    /// A finite single of any magnitude.
    pub fn single(&mut self) -> f32 {
        let single = f32::from_bits(self.bits() as u32);
        if single.is_finite() { single } else { f32::from_bits(single.to_bits() & !0x4000_0000) }
    }
}

/// Any kind of vector.
pub fn kind() -> impl Strategy<Value = Kind> {
    use Kind::*;
    prop_oneof![Just(AnyBits), Just(Unit), Just(Large), Just(Subnormal), Just(Extreme), Just(Mixed)]
}

/// A length: mostly short, where remainders matter, now and then up to the longest.
pub fn length() -> impl Strategy<Value = usize> {
    prop_oneof![12 => 0usize..=300, 1 => 301usize..=LONGEST, 1 => Just(LONGEST)]
}

/// `length` elements drawn one by one from a generator of any seed.
pub fn drawn<T: std::fmt::Debug>(draw: impl Fn(&mut Elements) -> T + Clone) -> impl Strategy<Value = Vec<T>> {
    (length(), any::<u64>()).prop_map(move |(n, seed)| {
        let mut elements = Elements::new(seed);
        (0..n).map(|_| draw(&mut elements)).collect()
    })
}

/// A pair of vectors of one length, each behind some elements that do not belong to it, so that the vectors are
/// aligned in every way there is.
#[derive(Debug, Clone)]
pub struct Pair {
    a: Vec<f16>,
    b: Vec<f16>,
    skip: (usize, usize),
}

impl Pair {
    pub fn a(&self) -> &[f16] {
        &self.a[self.skip.0..]
    }

    pub fn b(&self) -> &[f16] {
        &self.b[self.skip.1..]
    }
}

/// Pairs of vectors of any kinds and alignments.
pub fn pair() -> impl Strategy<Value = Pair> {
    (length(), (0usize..33, 0usize..33), (kind(), kind()), any::<u64>()).prop_map(|(n, skip, kinds, seed)| {
        let mut elements = Elements::new(seed);
        let a = (0..n + skip.0).map(|_| elements.half(kinds.0)).collect();
        let b = (0..n + skip.1).map(|_| elements.half(kinds.1)).collect();
        Pair { a, b, skip }
    })
}

/// The nearest half to `value`, ties to even, by search among all halves; `None` beyond ±65,504 and for NaN.
pub fn nearest_half(value: f64) -> Option<f16> {
    let magnitude = value.abs();
    if magnitude.is_nan() || magnitude > 65_504.0 {
        return None;
    }
    let (mut low, mut high) = (0u16, f16::MAX.to_bits());
    // Positive halves order as their bits do. Find the neighbours low <= magnitude <= high.
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if f16::from_bits(middle).to_f64() <= magnitude { low = middle } else { high = middle }
    }
    // The midpoint of two neighbours is exact in f64.
    let midpoint = (f16::from_bits(low).to_f64() + f16::from_bits(high).to_f64()) / 2.0;
    let even = if low % 2 == 0 { low } else { high };
    let nearest = match magnitude.partial_cmp(&midpoint)? {
        std::cmp::Ordering::Less => low,
        std::cmp::Ordering::Equal => even,
        std::cmp::Ordering::Greater => high,
    };
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    Some(f16::from_bits(nearest | sign))
}
