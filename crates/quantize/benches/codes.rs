//! What one vector costs: rotating, encoding, preparing a query, scoring.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use half::f16;
use std::hint::black_box;
use vs_distance::code::CodeKernels;
use vs_quantize::{Measure, Metric, Query, Rotation, Scratch, Space};

fn vector(dims: usize, seed: u32) -> Vec<f16> {
    let mut x = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        f16::from_f32((x as f32 / u32::MAX as f32 - 0.5).max(0.0))
    };
    (0..dims).map(|_| next()).collect()
}

fn codes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codes");
    for dims in [512, 784, 4096] {
        let rotation = Rotation::new(dims);
        let mut row: Vec<f32> = vector(dims, 1).iter().map(|x| x.to_f32()).collect();
        group.bench_function(BenchmarkId::new("rotate", dims), |b| b.iter(|| rotation.apply(black_box(&mut row))));
        let (mut scratch, mut query) = (Scratch::default(), Query::default());
        let (x, y) = (vector(dims, 2), vector(dims, 3));
        let (mut code, mut other) = (vec![0; dims], vec![0; dims]);
        for kernels in CodeKernels::available() {
            let Ok(space) = Space::with_kernels(dims, Metric::L2, kernels) else { return };
            let isa = kernels.isa();
            group.bench_function(BenchmarkId::new("encode", dims), |b| {
                b.iter(|| space.encode(black_box(&x), &mut scratch, &mut code));
            });
            group.bench_function(BenchmarkId::new("prepare", dims), |b| {
                b.iter(|| space.prepare(black_box(&y), &mut scratch, &mut query));
            });
            let (Ok(a), Ok(b)) =
                (space.encode(&x, &mut scratch, &mut code), space.encode(&y, &mut scratch, &mut other))
            else {
                return;
            };
            let (a, b) = (a.with(&code), b.with(&other));
            group.bench_function(BenchmarkId::new(format!("score {isa}"), dims), |bench| {
                bench.iter(|| space.score(black_box(&query), black_box(a)));
            });
            group.bench_function(BenchmarkId::new(format!("between {isa}"), dims), |bench| {
                bench.iter(|| space.between(Measure::Distance, black_box(a), black_box(b)));
            });
            let score = space.score(&query, a);
            group.bench_function(BenchmarkId::new("bound", dims), |b| {
                b.iter(|| space.lower_bound(&query, black_box(score)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, codes);
criterion_main!(benches);
