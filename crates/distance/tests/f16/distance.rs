//! The sums.

use crate::common::*;
use half::f16;
use proptest::prelude::*;
use std::io::Write;
use vs_distance::{Isa, Kernels, SUM_ERROR, active_kernel, available_kernels};

/// A kernel over two half-precision vectors.
type Halves = (&'static str, fn(&Kernels, &[f16], &[f16]) -> f64, fn(f64, f64) -> f64);
/// A kernel over a half-precision and a single-precision vector.
type Mixed = (&'static str, fn(&Kernels, &[f16], &[f32]) -> f64, fn(f64, f64) -> f64);

const HALVES: [Halves; 3] = [
    ("l2_squared", Kernels::l2_squared, |x, y| (x - y).powi(2)),
    ("dot", Kernels::dot, |x, y| x * y),
    ("l1", Kernels::l1, |x, y| (x - y).abs()),
];

const MIXED: [Mixed; 3] = [
    ("l2_squared_f32", Kernels::l2_squared_f32, |x, y| (x - y).powi(2)),
    ("dot_f32", Kernels::dot_f32, |x, y| x * y),
    ("l1_f32", Kernels::l1_f32, |x, y| (x - y).abs()),
];

/// Σ term(aᵢ, bᵢ) and Σ |term(aᵢ, bᵢ)| in `f64`.
fn reference(a: &[f16], b: impl IntoIterator<Item = f64>, term: fn(f64, f64) -> f64) -> (f64, f64) {
    let terms = a.iter().zip(b).map(|(x, y)| term(x.to_f64(), y));
    terms.fold((0.0, 0.0), |(sum, magnitude), term| (sum + term, magnitude + term.abs()))
}

fn widened(a: &[f16]) -> impl Iterator<Item = f64> + '_ {
    a.iter().map(|x| x.to_f64())
}

/// What a term below the range of `f32` can lose.
const UNDERFLOW: f64 = 1.0 / (1u128 << 127) as f64 / (1u64 << 22) as f64;

#[test]
fn says_which_kernels_run() {
    let available: Vec<Isa> = available_kernels().collect();
    let missing: Vec<&str> = Isa::ALL.iter().filter(|isa| !available.contains(isa)).map(|isa| isa.name()).collect();
    let names: Vec<&str> = available.iter().map(|isa| isa.name()).collect();
    // Straight to the stream, past the test harness, which would hide it on success.
    let line = format!("kernels tested: {}; not on this processor: {}\n", names.join(", "), missing.join(", "));
    std::io::stderr().write_all(line.as_bytes()).expect("stderr");
    assert_eq!(available.first(), Some(&active_kernel()));
    assert_eq!(available.last(), Some(&Isa::Scalar));
    for kernels in every_kernel() {
        assert!(kernels.isa().is_supported());
    }
}

#[test]
fn every_short_length_has_the_same_bits_everywhere() {
    let half = |i: usize| f16::from_f32(((i * 7919) % 2003) as f32 / 1001.0 - 1.0);
    let a: Vec<f16> = (0..400).map(half).collect();
    let b: Vec<f16> = (0..400).map(|i| half(i + 1234)).collect();
    let q: Vec<f32> = b.iter().map(|x| x.to_f32() * 1.000_01).collect();
    for length in 0..=300 {
        for offset in [0, 1, 3, 8, 15] {
            let range = offset..offset + length;
            let (a, b, q) = (&a[range.clone()], &b[range.clone()], &q[range]);
            for kernels in every_kernel() {
                let isa = kernels.isa();
                for (name, run, _) in HALVES {
                    assert_eq!(run(kernels, a, b).to_bits(), run(scalar(), a, b).to_bits(), "{name} {isa} {length}");
                }
                for (name, run, _) in MIXED {
                    assert_eq!(run(kernels, a, q).to_bits(), run(scalar(), a, q).to_bits(), "{name} {isa} {length}");
                }
                assert_eq!(kernels.norm_squared(a).to_bits(), scalar().norm_squared(a).to_bits(), "{isa} {length}");
                assert_eq!(kernels.cosine_parts(a, b), scalar().cosine_parts(a, b), "{isa} {length}");
            }
        }
    }
}

#[test]
fn the_largest_sums_stay_finite_and_accurate() {
    let (a, b) = (vec![f16::MAX; LONGEST], vec![f16::MIN; LONGEST]);
    let square = 65_504f64 * 65_504.0 * LONGEST as f64;
    let within = |found: f64, expected: f64| (found - expected).abs() <= SUM_ERROR * expected.abs();
    for kernels in every_kernel() {
        assert!(within(kernels.l2_squared(&a, &b), 4.0 * square));
        assert!(within(kernels.dot(&a, &b), -square));
        assert!(within(kernels.norm_squared(&a), square));
        assert!(within(kernels.l1(&a, &b), 2.0 * 65_504.0 * LONGEST as f64));
        let q = vec![f32::MAX; LONGEST];
        let expected = f64::from(f32::MAX);
        assert!(within(kernels.l2_squared_f32(&a, &q), expected * expected * LONGEST as f64));
        assert!(within(kernels.dot_f32(&a, &q), 65_504.0 * expected * LONGEST as f64));
        assert!(within(kernels.l1_f32(&a, &q), expected * LONGEST as f64));
    }
}

#[test]
fn a_large_sum_does_not_lose_its_small_terms() {
    // One large term and many that an f32 accumulator would drop one by one.
    let mut a = vec![f16::from_f32(0.01); LONGEST];
    a[0] = f16::from_f32(60_000.0);
    let zero = vec![f16::ZERO; LONGEST];
    let (expected, _) = reference(&a, widened(&zero), |x, y| (x - y).powi(2));
    for kernels in every_kernel() {
        let found = kernels.l2_squared(&a, &zero);
        assert!((found - expected).abs() <= SUM_ERROR * expected, "{found} against {expected}");
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    for length in [1, 7, 32, 300] {
        for bad in [f16::NAN, f16::INFINITY, f16::NEG_INFINITY] {
            let ones = vec![f16::ONE; length];
            let mut a = ones.clone();
            a[length / 2] = bad;
            let q = vec![1f32; length];
            for kernels in every_kernel() {
                for (name, run, _) in HALVES {
                    assert!(!run(kernels, &a, &ones).is_finite(), "{name}");
                    assert!(!run(kernels, &ones, &a).is_finite(), "{name}");
                }
                for (name, run, _) in MIXED {
                    assert!(!run(kernels, &a, &q).is_finite(), "{name}");
                }
                assert!(!kernels.norm_squared(&a).is_finite());
            }
        }
    }
}

#[test]
#[cfg_attr(debug_assertions, should_panic(expected = "left == right"))]
fn the_shorter_length_counts_and_debug_builds_object() {
    let (a, b) = (vec![f16::ONE; 40], vec![f16::ZERO; 33]);
    for kernels in every_kernel() {
        assert_eq!(kernels.l2_squared(&a, &b), 33.0);
        assert_eq!(kernels.l2_squared(&b, &a), 33.0);
        assert_eq!(kernels.cosine_parts(&a, &b), (0.0, 33.0, 0.0));
        assert_eq!(kernels.dot_f32(&a, &[1.0; 7]), 7.0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn halves_agree_bit_for_bit_and_with_f64(pair in pair()) {
        let (a, b) = (pair.a(), pair.b());
        for (name, run, term) in HALVES {
            let found = run(scalar(), a, b);
            let (expected, magnitude) = reference(a, widened(b), term);
            prop_assert!((found - expected).abs() <= SUM_ERROR * magnitude, "{} {} {}", name, found, expected);
            for kernels in every_kernel() {
                prop_assert_eq!(run(kernels, a, b).to_bits(), found.to_bits(), "{} {}", name, kernels.isa());
                prop_assert_eq!(run(kernels, b, a).to_bits(), found.to_bits(), "{} {}", name, kernels.isa());
            }
        }
    }

    #[test]
    fn a_vector_is_at_no_distance_from_itself(pair in pair()) {
        let a = pair.a();
        for kernels in every_kernel() {
            prop_assert_eq!(kernels.l2_squared(a, a), 0.0);
            prop_assert_eq!(kernels.l1(a, a), 0.0);
            let norm = kernels.norm_squared(a);
            prop_assert_eq!(kernels.cosine_parts(a, a), (norm, norm, norm));
        }
    }

    #[test]
    fn cosine_parts_are_the_separate_sums(pair in pair()) {
        let (a, b) = (pair.a(), pair.b());
        let (expected, magnitude) = reference(a, widened(a), |x, y| x * y);
        prop_assert!((scalar().norm_squared(a) - expected).abs() <= SUM_ERROR * magnitude);
        for kernels in every_kernel() {
            prop_assert_eq!(kernels.norm_squared(a), scalar().norm_squared(a));
            let parts = (scalar().dot(a, b), scalar().norm_squared(a), scalar().norm_squared(b));
            prop_assert_eq!(kernels.cosine_parts(a, b), parts);
            prop_assert_eq!(kernels.cosine_parts(b, a), (parts.0, parts.2, parts.1));
        }
    }

    #[test]
    fn a_widened_query_changes_nothing(pair in pair()) {
        let (a, b) = (pair.a(), pair.b());
        let q: Vec<f32> = b.iter().map(|x| x.to_f32()).collect();
        for kernels in every_kernel() {
            for ((name, halves, _), (_, mixed, _)) in HALVES.into_iter().zip(MIXED) {
                prop_assert_eq!(mixed(kernels, a, &q).to_bits(), halves(kernels, a, b).to_bits(), "{}", name);
            }
        }
    }

    #[test]
    fn queries_agree_bit_for_bit_and_with_f64(
        pairs in kind().prop_flat_map(|kind| drawn(move |e| (e.half(kind), e.single(), e.unit() as f32))),
        exponent in prop_oneof![1 => Just(None), 3 => (-149i32..=127).prop_map(Some)],
    ) {
        // Either queries of all magnitudes at once, where the largest rules, or of about one magnitude.
        let a: Vec<f16> = pairs.iter().map(|&(x, ..)| x).collect();
        let query = |&(_, any, unit)| exponent.map_or(any, |e| unit * 2f32.powi(e));
        let q: Vec<f32> = pairs.iter().map(query).collect();
        for (name, run, term) in MIXED {
            let found = run(scalar(), &a, &q);
            let (expected, magnitude) = reference(&a, q.iter().map(|&x| f64::from(x)), term);
            let bound = SUM_ERROR * magnitude + UNDERFLOW * a.len() as f64;
            prop_assert!((found - expected).abs() <= bound, "{} {} {}", name, found, expected);
            for kernels in every_kernel() {
                prop_assert_eq!(run(kernels, &a, &q).to_bits(), found.to_bits(), "{} {}", name, kernels.isa());
            }
        }
    }
}
