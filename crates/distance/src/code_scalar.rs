//! The code kernels in plain Rust: short runs summed in 32 bits, which compilers vectorise, folded into 64.

/// Products of ±32,767 · ±127 that fit an `i32` sum with room for the one value outside the contract.
const RUN: usize = 256;

pub(super) fn dot_i16_i8(query: &[i16], code: &[i8]) -> i64 {
    let n = query.len().min(code.len());
    let runs = query[..n].chunks(RUN).zip(code[..n].chunks(RUN));
    runs.map(|(q, c)| i64::from(q.iter().zip(c).map(|(&q, &c)| i32::from(q) * i32::from(c)).sum::<i32>())).sum()
}

pub(super) fn dot_i8_i8(a: &[i8], b: &[i8]) -> i64 {
    let n = a.len().min(b.len());
    let runs = a[..n].chunks(super::BLOCK).zip(b[..n].chunks(super::BLOCK));
    runs.map(|(a, b)| i64::from(a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum::<i32>())).sum()
}
