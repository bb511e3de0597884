//! The promise of this crate: a lower bound is never above what the operator computes.
//!
//! The operators are restated here from the distance kernels, as the extension computes them. Every family of vectors
//! that ever broke such a bound is generated; proptest adds rows of arbitrary finite bit patterns.

use half::f16;
use proptest::prelude::*;
use vs_distance::code::CodeKernels;
use vs_distance::{SUM_ERROR, cosine_parts, dot, l2_squared};
use vs_quantize::{Metric, Query, Scratch, Space};

const METRICS: [Metric; 3] = [Metric::L2, Metric::Cosine, Metric::InnerProduct];

fn operator(metric: Metric, a: &[f16], b: &[f16]) -> f64 {
    match metric {
        Metric::L2 => l2_squared(a, b).sqrt(),
        Metric::Cosine => {
            let (dot, na, nb) = cosine_parts(a, b);
            (1.0 - dot / (na * nb).sqrt()).clamp(0.0, 2.0)
        }
        Metric::InnerProduct => -dot(a, b),
    }
}

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// In 0 .. 1.
    fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// About normal, from −6 to 6.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }
}

/// One row of each family.
fn families(dims: usize, rng: &mut Rng) -> Vec<(&'static str, Vec<f16>)> {
    let mut row = |f: &mut dyn FnMut(&mut Rng, usize) -> f32| -> Vec<f16> {
        (0..dims).map(|i| f16::from_f32(f(rng, i))).collect()
    };
    let subnormal = f16::from_bits(1).to_f32();
    vec![
        ("normal", row(&mut |r, _| r.normal())),
        ("sparse", row(&mut |r, _| if r.uniform() < 0.02 { r.normal() } else { 0.0 })),
        ("after ReLU", row(&mut |r, _| (r.normal() - 0.5).max(0.0) * 3.0)),
        ("common offset", row(&mut |r, _| 10.0 + r.normal())),
        ("outlier", row(&mut |r, i| if i == 0 { 1000.0 } else { r.normal() })),
        ("one hot", row(&mut |_, i| if i == dims / 2 { 7.0 } else { 0.0 })),
        ("constant", row(&mut |_, _| 0.1)),
        ("huge", row(&mut |r, _| if r.uniform() < 0.5 { 65_504.0 } else { -65_504.0 })),
        ("huge constant", row(&mut |_, _| 65_504.0)),
        ("wide range", row(&mut |r, _| r.normal() * (r.normal() * 2.5).exp2().min(5_000.0))),
        ("tiny", row(&mut |r, _| r.normal() * 1e-6)),
        ("subnormal", row(&mut |r, _| if r.uniform() < 0.5 { subnormal } else { -3.0 * subnormal })),
        ("one subnormal", row(&mut |_, i| if i == 0 { subnormal } else { 0.0 })),
        ("pixels", row(&mut |r, _| (r.uniform() * 400.0 - 145.0).max(0.0).floor())),
        ("zero", row(&mut |_, _| 0.0)),
    ]
}

/// `row` with one element moved to the next half-precision number towards zero (or off zero).
fn one_step_off(row: &[f16], at: usize) -> Vec<f16> {
    let mut other = row.to_vec();
    let bits = other[at].to_bits();
    other[at] = f16::from_bits(if bits & 0x7fff == 0 { 1 } else { bits - 1 });
    other
}

/// The most that rounding to bytes may move a vector, as a share of its length. The worst of the rows here are 1.3 % up to
/// 256 dimensions, 2.1 % up to 2,048, and 4.9 % beyond, where one or two values of a long row, all others being zero, keep
/// standing out after the rotation.
fn rounding(dims: usize) -> f64 {
    if dims <= 256 {
        0.015
    } else if dims <= 2048 {
        0.022
    } else {
        0.055
    }
}

/// The same for rounding a query to 16 bits.
const QUERY_ROUNDING: f64 = 1e-4;

fn check(space: &Space, stored: &[f16], query: &[f16], what: &str) {
    let (mut scratch, mut prepared) = (Scratch::default(), Query::default());
    let mut code = vec![0i8; stored.len()];
    let encoded = space.encode(stored, &mut scratch, &mut code);
    let (Ok(header), Ok(())) = (encoded, space.prepare(query, &mut scratch, &mut prepared)) else {
        assert!(space.metric() == Metric::Cosine, "{what}: only the cosine may refuse a finite vector");
        assert!([stored, query].iter().any(|v| v.iter().all(|x| x.to_f32() == 0.0)), "{what}: refused without reason");
        return;
    };
    assert!(code.iter().all(|&c| c != i8::MIN) && header.scale.is_finite() && header.error.is_finite());
    let actual = operator(space.metric(), stored, query);
    let score = space.score(&prepared, header.with(&code));
    let bound = space.lower_bound(&prepared, score);
    assert!(bound <= actual, "{what}, {:?}: bound {bound:e} above {actual:e}", space.metric());

    // A bound that is always 0 would pass the line above; this one has to be worth something too. The estimate is off by
    // the rounding of code and query at most, and the bound is as much below it.
    let (nq, nx) = (dot(query, query).sqrt(), dot(stored, stored).sqrt());
    let coded = if space.metric() == Metric::Cosine { 1.0 } else { nx };
    let off = f64::from(header.error);
    assert!(
        off <= rounding(stored.len()) * coded,
        "{what}, {:?}: a code is off by {off:e} of {coded:e}",
        space.metric()
    );
    let loss = match space.metric() {
        Metric::L2 => 2.0 * (off + QUERY_ROUNDING * nq),
        // d(D²/2) = D dD.
        Metric::Cosine => 2.0 * (off + QUERY_ROUNDING) * (2.0 * actual).sqrt() + 3.0 * SUM_ERROR,
        Metric::InnerProduct => 2.0 * (off + QUERY_ROUNDING * nx) * nq,
    };
    assert!(bound >= actual - loss, "{what}, {:?}: bound {bound:e} far below {actual:e}", space.metric());
}

fn check_all(dims: usize, rows: &[(&'static str, Vec<f16>)], all_pairs: bool, rng: &mut Rng) {
    for kernels in CodeKernels::available() {
        for metric in METRICS {
            let space = Space::with_kernels(dims, metric, kernels).unwrap();
            for (name, row) in rows {
                check(&space, row, row, &format!("{name} {dims}, the query is the stored vector"));
                let near = one_step_off(row, rng.next() as usize % dims);
                check(&space, row, &near, &format!("{name} {dims}, the query is one step off"));
                check(&space, &near, row, &format!("{name} {dims}, the stored vector is one step off"));
                if all_pairs {
                    for (other, query) in rows {
                        check(&space, row, query, &format!("{name} against {other}, {dims}"));
                    }
                }
            }
        }
    }
}

#[test]
fn the_bound_holds_for_every_family_at_every_small_length() {
    let mut rng = Rng(1);
    for dims in 1..=70 {
        let rows = families(dims, &mut rng);
        check_all(dims, &rows, dims % 8 == 1, &mut rng);
    }
}

#[test]
fn the_bound_holds_for_every_family_at_large_lengths() {
    let mut rng = Rng(2);
    for dims in [127, 128, 384, 512, 768, 784, 1001, 1536, 2048, 4096, 5000, 8000] {
        let rows = families(dims, &mut rng);
        check_all(dims, &rows, dims <= 1001, &mut rng);
    }
}

#[test]
fn the_bound_holds_for_many_near_pairs() {
    // Near pairs are where the subtraction cancels: perturb by 10^-1 .. 10^-4 of the element.
    let mut rng = Rng(3);
    for dims in [3, 64, 512, 784] {
        for metric in METRICS {
            let space = Space::new(dims, metric).unwrap();
            for round in 0..200 {
                let amount = 10f32.powi(-1 - round % 4);
                let row: Vec<f16> = (0..dims).map(|_| f16::from_f32(rng.normal().max(0.0) * 50.0 + 1.0)).collect();
                let near: Vec<f16> =
                    row.iter().map(|x| f16::from_f32(x.to_f32() * (1.0 + amount * rng.normal()))).collect();
                check(&space, &row, &near, "near pair");
            }
        }
    }
}

#[test]
fn rounding_moves_a_vector_by_three_quarters_of_a_percent() {
    let mut rng = Rng(6);
    for dims in [64, 384, 512, 784, 1536] {
        let space = Space::new(dims, Metric::L2).unwrap();
        let (mut scratch, mut code) = (Scratch::default(), vec![0i8; dims]);
        let (mut sum, mut rows) = (0.0, 0.0);
        for (_, row) in (0..20).flat_map(|_| families(dims, &mut rng)) {
            let header = space.encode(&row, &mut scratch, &mut code).unwrap();
            let length = dot(&row, &row).sqrt();
            if length > 0.0 {
                sum += f64::from(header.error) / length;
                rows += 1.0;
            }
        }
        let mean = sum / rows;
        assert!((0.005..0.009).contains(&mean), "{dims} dimensions: {mean}");
    }
}

#[test]
fn equal_vectors_have_equal_codes_and_the_same_point() {
    let mut rng = Rng(4);
    let space = Space::new(100, Metric::L2).unwrap();
    let mut scratch = Scratch::default();
    for (name, row) in families(100, &mut rng) {
        let (mut a, mut b) = ([0; 100], [0; 100]);
        let first = space.encode(&row, &mut scratch, &mut a).unwrap();
        let second = space.encode(&row, &mut scratch, &mut b).unwrap();
        assert!(first.with(&a).same_point(&second.with(&b)), "{name}");
        assert_eq!(first, vs_quantize::Header::from_bytes(&second.to_bytes()), "{name}");
    }
}

#[test]
fn scores_of_codes_agree_with_scores_of_probes() {
    let mut rng = Rng(5);
    for metric in METRICS {
        let space = Space::new(257, metric).unwrap();
        let (mut scratch, mut probe) = (Scratch::default(), Query::default());
        let rows = families(257, &mut rng);
        for (name, a) in &rows {
            for (other, b) in &rows {
                let (mut ca, mut cb) = ([0; 257], [0; 257]);
                let (Ok(ha), Ok(hb)) = (space.encode(a, &mut scratch, &mut ca), space.encode(b, &mut scratch, &mut cb))
                else {
                    continue;
                };
                space.probe(ha.with(&ca), &mut probe);
                let distances = if metric == Metric::InnerProduct { Metric::L2 } else { metric };
                let mut product = Query::default();
                probe.measured_by(metric.measure(), &mut product);
                for (query, measured) in [(&probe, distances), (&product, metric)] {
                    let score = space.score(query, hb.with(&cb));
                    let between = space.between(query.measure(), ha.with(&ca), hb.with(&cb));
                    assert_eq!(score.key, between, "{name} {other}");
                    assert!(name != other || score.key == query.own_key(), "{name} {metric:?}");
                    let (bound, actual) = (space.lower_bound(query, score), operator(measured, a, b));
                    assert!(bound <= actual, "{name} {other} {metric:?}: {bound:e} above {actual:e}");
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_coded_is_refused() {
    use vs_quantize::Error;
    assert_eq!(Space::new(0, Metric::L2).unwrap_err(), Error::Dims(0));
    assert_eq!(Space::new(16_001, Metric::L2).unwrap_err(), Error::Dims(16_001));
    let (mut scratch, mut query, mut code) = (Scratch::default(), Query::default(), [0; 3]);
    let space = Space::new(3, Metric::Cosine).unwrap();
    let zero = [f16::ZERO; 3];
    assert_eq!(space.encode(&zero, &mut scratch, &mut code), Err(Error::Zero));
    assert_eq!(space.prepare(&zero, &mut scratch, &mut query), Err(Error::Zero));
    for bad in [f16::NAN, f16::INFINITY, f16::NEG_INFINITY] {
        assert_eq!(space.encode(&[f16::ONE, bad, f16::ONE], &mut scratch, &mut code), Err(Error::NotFinite));
    }
    let length = Error::Length { expected: 3, found: 2 };
    assert_eq!(space.encode(&zero[..2], &mut scratch, &mut code), Err(length));
    assert_eq!(space.encode(&zero, &mut scratch, &mut code[..2]), Err(length));
    assert_eq!(space.prepare(&zero[..2], &mut scratch, &mut query), Err(length));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn the_bound_holds_for_arbitrary_finite_rows(pair in proptest::collection::vec((any::<u16>(), any::<u16>()), 1..90)) {
        let finite = |bits: u16| f16::from_bits(if bits & 0x7c00 == 0x7c00 { bits & 0xbfff } else { bits });
        let a: Vec<f16> = pair.iter().map(|p| finite(p.0)).collect();
        let b: Vec<f16> = pair.iter().map(|p| finite(p.1)).collect();
        for kernels in CodeKernels::available() {
            for metric in METRICS {
                let space = Space::with_kernels(a.len(), metric, kernels).unwrap();
                check(&space, &a, &b, "arbitrary");
                check(&space, &a, &a, "arbitrary, itself");
            }
        }
    }

    #[test]
    fn damaged_codes_never_give_nan_bounds(bytes in any::<[u8; 12]>(), values in any::<[i8; 20]>(), row in any::<[u8; 20]>()) {
        let row = row.map(|v| f16::from_f32(f32::from(v) + 1.0));
        for metric in METRICS {
            let space = Space::new(20, metric).unwrap();
            let (mut scratch, mut query) = (Scratch::default(), Query::default());
            space.prepare(&row, &mut scratch, &mut query).unwrap();
            let code = vs_quantize::Header::from_bytes(&bytes).with(&values);
            let bound = space.lower_bound(&query, space.score(&query, code));
            prop_assert!(!bound.is_nan());
            let mut probe = Query::default();
            space.probe(code, &mut probe);
            prop_assert!(!space.lower_bound(&probe, space.score(&probe, code)).is_nan());
        }
    }
}
