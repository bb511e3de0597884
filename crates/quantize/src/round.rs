//! Rounding rows of `f32` to integers, eight lanes at a time.

/// 1.5 · 2²³. Adding it moves the binary point of |x| < 2²² to the end of the significand, which rounds to the nearest
/// integer, ties to even; subtracting it again is exact. Unlike a call of `round` this vectorises on every machine.
const MAGIC: f32 = 12_582_912.0;

/// The multiple of `1/inverse` nearest to `x`, as its integer factor, at most `limit` in magnitude.
#[inline(always)]
fn nearest(x: f32, inverse: f32, limit: f32) -> f32 {
    (x * inverse).max(-limit).min(limit) + MAGIC - MAGIC
}

/// max |xᵢ|.
pub(crate) fn largest(row: &[f32]) -> f32 {
    let (runs, rest) = row.as_chunks::<8>();
    let mut lanes = [0f32; 8];
    for run in runs {
        for (lane, x) in lanes.iter_mut().zip(run) {
            *lane = lane.max(x.abs());
        }
    }
    lanes.iter().chain(rest).fold(0f32, |most, x| most.max(x.abs()))
}

/// Roughly Σ(xᵢ − scale · round(xᵢ / scale))², for choosing between scales.
pub(crate) fn rough_error(row: &[f32], scale: f32, limit: f32) -> f32 {
    let inverse = 1.0 / scale;
    let (runs, rest) = row.as_chunks::<8>();
    let mut lanes = [0f32; 8];
    for run in runs {
        for (lane, &x) in lanes.iter_mut().zip(run) {
            let residual = x - scale * nearest(x, inverse, limit);
            *lane += residual * residual;
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        let residual = x - scale * nearest(x, inverse, limit);
        *lane += residual * residual;
    }
    lanes.iter().sum()
}

/// cᵢ = round(xᵢ / scale), clamped to ±127.
pub(crate) fn to_bytes(row: &[f32], scale: f32, codes: &mut [i8]) {
    let inverse = 1.0 / scale;
    for (code, &x) in codes.iter_mut().zip(row) {
        *code = nearest(x, inverse, 127.0) as i32 as i8;
    }
}

/// qᵢ = round(xᵢ / scale), clamped to ±32,767.
pub(crate) fn to_words(row: &[f32], scale: f32, words: &mut [i16]) {
    let inverse = 1.0 / scale;
    for (word, &x) in words.iter_mut().zip(row) {
        *word = nearest(x, inverse, 32_767.0) as i32 as i16;
    }
}

/// Σ xᵢ·cᵢ and Σ (xᵢ − scale·cᵢ)², both in `f64`.
///
/// A product of `f32` and a 16-bit integer and one of two `f32` are exact in `f64`; what remains is the rounding of the
/// difference, the square and D additions, a relative error below (D + 4) · 2⁻⁵³ in the second sum.
pub(crate) fn residual<C: Copy + Into<f32>>(row: &[f32], scale: f32, codes: &[C]) -> (f64, f64) {
    let scale = f64::from(scale);
    let mut dot = [0f64; 8];
    let mut square = [0f64; 8];
    for (xs, cs) in row.chunks(8).zip(codes.chunks(8)) {
        for (((&x, &c), dot), square) in xs.iter().zip(cs).zip(&mut dot).zip(&mut square) {
            let (x, c) = (f64::from(x), f64::from(c.into()));
            let difference = x - scale * c;
            *dot += x * c;
            *square += difference * difference;
        }
    }
    (dot.iter().sum(), square.iter().sum())
}

/// The smallest `f32` not below `x`; infinite where `f32` ends.
#[inline]
pub(crate) fn up(x: f64) -> f32 {
    let nearest = x as f32;
    if f64::from(nearest) < x { nearest.next_up() } else { nearest }
}
