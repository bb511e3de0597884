//! Conversions and element-wise arithmetic.

use crate::common::*;
use half::f16;
use proptest::prelude::*;
use vs_distance::{Kernels, OutOfRange};

/// Every finite half.
fn all_halves() -> Vec<f16> {
    (0..=u16::MAX).map(f16::from_bits).filter(|half| half.is_finite()).collect()
}

fn bits(halves: &[f16]) -> Vec<u16> {
    halves.iter().map(|half| half.to_bits()).collect()
}

/// Elements that round one by one as `nearest_half` says, or the first that does not fit.
fn expected(values: &[f64]) -> Result<Vec<u16>, OutOfRange> {
    let round = |(index, &value)| nearest_half(value).map(f16::to_bits).ok_or(OutOfRange { index, value });
    values.iter().enumerate().map(round).collect()
}

/// `OutOfRange` with a NaN in it equals nothing; compare bits.
fn comparable(result: Result<Vec<u16>, OutOfRange>) -> Result<Vec<u16>, (usize, u64)> {
    result.map_err(|e| (e.index, if e.value.is_nan() { u64::MAX } else { e.value.to_bits() }))
}

fn from_f32(kernels: &Kernels, from: &[f32]) -> Result<Vec<u16>, OutOfRange> {
    let mut to = vec![f16::NAN; from.len()];
    kernels.from_f32(from, &mut to).map(|()| bits(&to))
}

fn from_f64(kernels: &Kernels, from: &[f64]) -> Result<Vec<u16>, OutOfRange> {
    let mut to = vec![f16::NAN; from.len()];
    kernels.from_f64(from, &mut to).map(|()| bits(&to))
}

/// An element-wise operation and what it computes.
type Operation =
    (&'static str, fn(&Kernels, &[f16], &[f16], &mut [f16]) -> Result<(), OutOfRange>, fn(f64, f64) -> f64);
const OPERATIONS: [Operation; 3] =
    [("add", Kernels::add, |x, y| x + y), ("sub", Kernels::sub, |x, y| x - y), ("mul", Kernels::mul, |x, y| x * y)];

#[test]
fn every_half_survives_the_round_trip() {
    let halves = all_halves();
    assert_eq!(halves.len(), 2 * 0x7c00);
    for kernels in every_kernel() {
        let mut wide = vec![f32::NAN; halves.len()];
        kernels.to_f32(&halves, &mut wide);
        for (half, wide) in halves.iter().zip(&wide) {
            assert_eq!(wide.to_bits(), half.to_f32_const().to_bits(), "{half:?}");
        }
        assert_eq!(from_f32(kernels, &wide), Ok(bits(&halves)), "{}", kernels.isa());
        let wider: Vec<f64> = wide.iter().map(|&x| f64::from(x)).collect();
        assert_eq!(from_f64(kernels, &wider), Ok(bits(&halves)), "{}", kernels.isa());
    }
}

#[test]
fn the_middle_between_two_halves_goes_to_the_even_one() {
    let halves: Vec<f16> = all_halves().into_iter().filter(|half| half.to_f64().abs() < 65_504.0).collect();
    let above = |half: &f16| f16::from_bits(half.to_bits() + 1).to_f64();
    let middles: Vec<f64> = halves.iter().map(|half| (half.to_f64() + above(half)) / 2.0).collect();
    // A middle is exact in f32; the numbers next to it in f64 differ from it by less than any f32 shows.
    let single: Vec<f32> = middles.iter().map(|&x| x as f32).collect();
    let below: Vec<f64> = middles.iter().map(|&x| f64::from_bits(x.to_bits() - 1)).collect();
    let beyond: Vec<f64> = middles.iter().map(|&x| f64::from_bits(x.to_bits() + 1)).collect();
    let even: Vec<u16> = halves.iter().map(|half| half.to_bits().next_multiple_of(2)).collect();
    let next: Vec<u16> = halves.iter().map(|half| half.to_bits() + 1).collect();
    for kernels in every_kernel() {
        assert_eq!(from_f32(kernels, &single).as_ref(), Ok(&even));
        assert_eq!(from_f64(kernels, &middles).as_ref(), Ok(&even));
        assert_eq!(from_f64(kernels, &below), Ok(bits(&halves)));
        assert_eq!(from_f64(kernels, &beyond).as_ref(), Ok(&next));
    }
}

#[test]
fn the_range_ends_at_65504() {
    for kernels in every_kernel() {
        for sign in [1.0, -1.0] {
            assert_eq!(from_f64(kernels, &[sign * 65_504.0]), Ok(vec![f16::from_f64(sign * 65_504.0).to_bits()]));
            let next = sign * f64::from_bits(65_504f64.to_bits() + 1);
            for value in [next, sign * 65_505.0, sign * 1e300, sign * f64::INFINITY] {
                let error = from_f64(kernels, &[0.0, value]).unwrap_err();
                assert_eq!(error, OutOfRange { index: 1, value });
            }
            let next = sign as f32 * f32::from_bits(65_504f32.to_bits() + 1);
            for value in [next, sign as f32 * f32::MAX, sign as f32 * f32::INFINITY] {
                let error = from_f32(kernels, &[0.0, value]).unwrap_err();
                assert_eq!(error, OutOfRange { index: 1, value: f64::from(value) });
            }
        }
        assert_eq!(from_f32(kernels, &[f32::NAN]).unwrap_err().index, 0);
        assert_eq!(from_f64(kernels, &[f64::NAN]).unwrap_err().index, 0);
    }
}

#[test]
fn the_message_names_the_place_and_the_value() {
    let error = vs_distance::from_f64(&[1.0, 70_000.5], &mut [f16::ZERO; 2]).unwrap_err();
    assert_eq!(error.to_string(), "element 1 is 70000.5, which is not between -65504 and 65504");
}

#[test]
fn the_first_culprit_is_named_wherever_it_stands() {
    for kernels in every_kernel() {
        for length in [1, 2, 8, 31, 64, 257, 300, 600] {
            for place in 0..length {
                let mut values = vec![1f32; length];
                values[place] = 65_536.0;
                values[length - 1] = 70_000.0;
                let expected = OutOfRange { index: place, value: f64::from(values[place]) };
                assert_eq!(from_f32(kernels, &values), Err(expected));
                let values: Vec<f64> = values.into_iter().map(f64::from).collect();
                assert_eq!(from_f64(kernels, &values), Err(expected));
            }
        }
    }
}

#[test]
fn a_scaled_vector_refuses_what_is_no_number() {
    for kernels in every_kernel() {
        let error = kernels.scale(&[f16::ONE, f16::ZERO], f64::INFINITY, &mut [f16::ZERO; 2]).unwrap_err();
        assert_eq!((error.index, error.value), (0, f64::INFINITY));
        let error = kernels.scale(&[f16::ZERO], f64::NAN, &mut [f16::ZERO]).unwrap_err();
        assert!(error.index == 0 && error.value.is_nan());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn singles_are_rounded_to_the_nearest(
        values in drawn(|e| match e.bits() % 1000 {
            0 => e.single(),
            1..=400 => e.unit() as f32 * 1e-4,
            _ => e.unit() as f32 * 65_504.0,
        }),
        skip in 0usize..17,
    ) {
        let values = &values[skip.min(values.len())..];
        let wide: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
        for kernels in every_kernel() {
            prop_assert_eq!(from_f32(kernels, values), expected(&wide), "{}", kernels.isa());
        }
    }

    #[test]
    fn doubles_are_rounded_once(
        values in drawn(|e| match e.bits() % 1000 {
            0 => f64::from_bits(e.bits()),
            1..=300 => e.unit() * 1e-4,
            301..=600 => e.unit() * 65_504.0,
            _ => {
                // A hair beside the middle between two halves, where rounding twice goes wrong.
                let half = e.half(Kind::AnyBits);
                let half = if half.to_f64().abs() < 65_504.0 { half } else { f16::ONE };
                let middle = (half.to_f64() + f16::from_bits(half.to_bits() + 1).to_f64()) / 2.0;
                f64::from_bits(middle.to_bits().wrapping_add_signed(e.bits() as i64 % 4))
            }
        }),
    ) {
        for kernels in every_kernel() {
            prop_assert_eq!(comparable(from_f64(kernels, &values)), comparable(expected(&values)), "{}", kernels.isa());
        }
    }

    #[test]
    fn arithmetic_is_correctly_rounded(pair in pair()) {
        for (name, run, exact) in OPERATIONS {
            // Sums, differences and products of halves are exact in f64; keep those that fit.
            let fits = |&(x, y): &(f16, f16)| nearest_half(exact(x.to_f64(), y.to_f64())).is_some();
            let pairs = pair.a().iter().copied().zip(pair.b().iter().copied());
            let (a, b): (Vec<f16>, Vec<f16>) = pairs.filter(fits).unzip();
            let values: Vec<f64> = a.iter().zip(&b).map(|(x, y)| exact(x.to_f64(), y.to_f64())).collect();
            for kernels in every_kernel() {
                let mut out = vec![f16::NAN; a.len()];
                let result = run(kernels, &a, &b, &mut out).map(|()| bits(&out));
                prop_assert_eq!(result, expected(&values), "{} {}", name, kernels.isa());
            }
        }
    }

    #[test]
    fn arithmetic_names_the_first_overflow(pair in pair()) {
        for (name, run, exact) in OPERATIONS {
            // The result is an f32: 65,504 and a little more comes back to 65,504.
            let values = pair.a().iter().zip(pair.b()).map(|(x, y)| f64::from(exact(x.to_f64(), y.to_f64()) as f32));
            let first = values.enumerate().find(|&(_, value)| nearest_half(value).is_none());
            for kernels in every_kernel() {
                let mut out = vec![f16::ZERO; pair.a().len()];
                let found = run(kernels, pair.a(), pair.b(), &mut out).err();
                let expected = first.map(|(index, value)| OutOfRange { index, value });
                prop_assert_eq!(found, expected, "{} {}", name, kernels.isa());
            }
        }
    }

    #[test]
    fn scaling_rounds_the_product(
        a in kind().prop_flat_map(|kind| drawn(move |e| e.half(kind))),
        factor in prop_oneof![-2f64..2.0, any::<f64>(), (-1f32..1.0).prop_map(f64::from)],
    ) {
        let values: Vec<f64> = a.iter().map(|x| x.to_f64() * factor).collect();
        for kernels in every_kernel() {
            let mut out = vec![f16::NAN; a.len()];
            let result = kernels.scale(&a, factor, &mut out).map(|()| bits(&out));
            prop_assert_eq!(comparable(result), comparable(expected(&values)), "{}", kernels.isa());
        }
    }
}
