//! Every half-precision kernel, on every instruction set that this machine has: `cargo bench -p vs_distance`.
//!
//! Both vectors lie in the first-level cache, so the numbers are of arithmetic alone; throughput counts elements.
//! `scalar` is the portable reference. To see one kernel: `cargo bench -p vs_distance --bench f16 -- l2_squared/512`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use half::f16;
use std::hint::black_box;
use vs_distance::{Kernels, available_kernels};

const DIMENSIONS: [usize; 4] = [128, 512, 768, 4096];

/// Numbers between −1 and 1, different for each seed.
fn numbers(length: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn halves(numbers: &[f32]) -> Vec<f16> {
    numbers.iter().map(|&x| f16::from_f32(x)).collect()
}

/// One group for a kernel at one length; `run` calls it on the given instruction set.
fn group<R>(c: &mut Criterion, name: &str, dimensions: usize, mut run: impl FnMut(&Kernels) -> R) {
    let mut group = c.benchmark_group(format!("{name}/{dimensions}"));
    group.throughput(Throughput::Elements(dimensions as u64));
    for kernels in available_kernels().filter_map(Kernels::for_isa) {
        group.bench_function(BenchmarkId::from_parameter(kernels.isa()), |b| b.iter(|| run(black_box(kernels))));
    }
    group.finish();
}

fn distances(c: &mut Criterion) {
    for n in DIMENSIONS {
        let query = numbers(n, 2);
        let (a, b, q) = (&halves(&numbers(n, 1))[..], &halves(&query)[..], &query[..]);
        group(c, "l2_squared", n, |k| k.l2_squared(black_box(a), black_box(b)));
        group(c, "dot", n, |k| k.dot(black_box(a), black_box(b)));
        group(c, "l1", n, |k| k.l1(black_box(a), black_box(b)));
        group(c, "norm_squared", n, |k| k.norm_squared(black_box(a)));
        group(c, "cosine_parts", n, |k| k.cosine_parts(black_box(a), black_box(b)));
        group(c, "l2_squared_f32", n, |k| k.l2_squared_f32(black_box(a), black_box(q)));
        group(c, "dot_f32", n, |k| k.dot_f32(black_box(a), black_box(q)));
        group(c, "l1_f32", n, |k| k.l1_f32(black_box(a), black_box(q)));
    }
}

fn conversions(c: &mut Criterion) {
    for n in DIMENSIONS {
        let single = numbers(n, 1);
        let double: Vec<f64> = single.iter().map(|&x| f64::from(x) / 3.0).collect();
        let half = halves(&single);
        let (mut wide, mut narrow) = (vec![0f32; n], vec![f16::ZERO; n]);
        group(c, "to_f32", n, |k| k.to_f32(black_box(&half), black_box(&mut wide)));
        group(c, "from_f32", n, |k| k.from_f32(black_box(&single), black_box(&mut narrow)));
        group(c, "from_f64", n, |k| k.from_f64(black_box(&double), black_box(&mut narrow)));
    }
}

fn arithmetic(c: &mut Criterion) {
    for n in DIMENSIONS {
        let (a, b) = (halves(&numbers(n, 1)), halves(&numbers(n, 2)));
        let mut out = vec![f16::ZERO; n];
        group(c, "add", n, |k| k.add(black_box(&a), black_box(&b), black_box(&mut out)));
        group(c, "mul", n, |k| k.mul(black_box(&a), black_box(&b), black_box(&mut out)));
        group(c, "scale", n, |k| k.scale(black_box(&a), black_box(0.3), black_box(&mut out)));
    }
}

criterion_group!(benches, distances, conversions, arithmetic);
criterion_main!(benches);
