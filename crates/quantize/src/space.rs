//! Vectors of one length under one metric: encoding, queries, scores.

use crate::round::{largest, residual, rough_error, to_bytes, to_words, up};
use crate::{CodeRef, Error, Header, MAX_DIMS, Measure, Metric, Query, Rotation};
use half::f16;
use vs_distance::code::CodeKernels;

/// Fractions of max|xᵢ| / 127 tried as scale. Below 1 the largest coordinates are clipped so that all others are
/// rounded more finely, which pays when one coordinate stands out.
const FRACTIONS: [f32; 5] = [1.0, 0.9, 0.8, 0.7, 0.6];

/// Half the relative spacing of `f32`.
const U: f64 = f32::EPSILON as f64 / 2.0;

/// The vectors of one length under one metric.
#[derive(Debug, Clone)]
pub struct Space {
    metric: Metric,
    rotation: Rotation,
    pub(crate) kernels: &'static CodeKernels,
}

/// Memory that encoding reuses from vector to vector.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    row: Vec<f32>,
}

impl Space {
    /// The space of vectors of `dims` dimensions, with the best kernels of this processor.
    ///
    /// # Errors
    /// [`Error::Dims`] unless `dims` is in 1 ..= [`MAX_DIMS`].
    pub fn new(dims: usize, metric: Metric) -> Result<Self, Error> {
        Self::with_kernels(dims, metric, CodeKernels::active())
    }

    /// As [`new`](Self::new) with given kernels. All give the same scores; this is for tests and benchmarks.
    ///
    /// # Errors
    /// [`Error::Dims`] unless `dims` is in 1 ..= [`MAX_DIMS`].
    pub fn with_kernels(dims: usize, metric: Metric, kernels: &'static CodeKernels) -> Result<Self, Error> {
        if !(1..=MAX_DIMS).contains(&dims) {
            return Err(Error::Dims(dims));
        }
        Ok(Self { metric, rotation: Rotation::new(dims), kernels })
    }

    /// The length of the vectors and of their codes.
    #[inline]
    #[must_use]
    pub fn dims(&self) -> usize {
        self.rotation.dims()
    }

    /// The metric.
    #[inline]
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Writes the code of `vector` to `code` and returns what goes with it.
    ///
    /// # Errors
    /// [`Error::Length`] if `vector` or `code` is not [`dims`](Self::dims) long, [`Error::NotFinite`], and for the
    /// cosine [`Error::Zero`].
    pub fn encode(&self, vector: &[f16], scratch: &mut Scratch, code: &mut [i8]) -> Result<Header, Error> {
        if code.len() != self.dims() {
            return Err(Error::Length { expected: self.dims(), found: code.len() });
        }
        let rotated = self.rotate(vector, &mut scratch.row)?;
        let row = &scratch.row[..];
        let largest = largest(row);
        if largest == 0.0 {
            code.fill(0);
            return Ok(Header::default());
        }
        let mut scale = largest / 127.0;
        let mut least = f32::INFINITY;
        for fraction in FRACTIONS {
            let candidate = largest * (fraction / 127.0);
            let error = rough_error(row, candidate, 127.0);
            if error < least {
                (scale, least) = (candidate, error);
            }
        }
        to_bytes(row, scale, code);
        let norm: u32 = code.iter().map(|&c| u32::from(c.unsigned_abs()) * u32::from(c.unsigned_abs())).sum();
        // The best scale for these bytes is the least-squares one, ⟨x, c⟩ / ‖c‖²; it is near the one they were made by.
        let (dot, _) = residual(row, scale, code);
        let scale = (dot / f64::from(norm)) as f32;
        let (_, square) = residual(row, scale, code);
        Ok(Header { scale, norm, error: up((square.sqrt() + rotated.error) * (1.0 + 1e-11)) })
    }

    /// Makes `query` measure distances from `vector`.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::NotFinite`], and for the cosine [`Error::Zero`].
    pub fn prepare(&self, vector: &[f16], scratch: &mut Scratch, query: &mut Query) -> Result<(), Error> {
        let rotated = self.rotate(vector, &mut scratch.row)?;
        let row = &scratch.row[..];
        query.values.clear();
        query.values.resize(row.len(), 0);
        let scale = largest(row) / 32_767.0;
        let mut square = 0.0;
        if scale > 0.0 {
            to_words(row, scale, &mut query.values);
            square = residual(row, scale, &query.values).1;
        }
        let norm: i64 = query.values.iter().map(|&q| i64::from(q) * i64::from(q)).sum();
        query.measure = self.metric.measure();
        self.finish(query, scale, norm as f64, (square.sqrt() + rotated.error) * (1.0 + 1e-11));
        Ok(())
    }

    /// Makes `query` measure distances from the point that `code` stands for, as inserting and repairing need it: Euclidean
    /// ones under every metric ([`Query::measured_by`] makes it measure products).
    pub fn probe(&self, code: CodeRef<'_>, query: &mut Query) {
        query.values.clear();
        query.values.extend(code.values.iter().map(|&c| i16::from(c)));
        query.measure = Measure::Distance;
        self.finish(query, code.header.scale, f64::from(code.header.norm), f64::from(code.header.error));
    }

    fn finish(&self, query: &mut Query, scale: f32, norm: f64, error: f64) {
        query.scale = f64::from(scale);
        query.square = query.scale * query.scale * norm;
        query.magnitude = query.square.sqrt() * (1.0 + 1e-15);
        query.error = error;
        query.error_up = up(error);
    }

    /// Rotates `vector` (normalised first for the cosine) into `row`.
    fn rotate(&self, vector: &[f16], row: &mut Vec<f32>) -> Result<Rotated, Error> {
        if vector.len() != self.dims() {
            return Err(Error::Length { expected: self.dims(), found: vector.len() });
        }
        let square = vs_distance::norm_squared(vector);
        if !square.is_finite() {
            return Err(Error::NotFinite);
        }
        row.clear();
        row.resize(vector.len(), 0.0);
        vs_distance::to_f32(vector, row);
        let norm = square.sqrt();
        let error = if self.metric == Metric::Cosine {
            if square == 0.0 {
                return Err(Error::Zero);
            }
            let inverse = 1.0 / norm;
            row.iter_mut().for_each(|x| *x = (f64::from(*x) * inverse) as f32);
            // Of the unit vector: half of the norm's own relative error, one rounding for each element, and the rotation.
            1.01 * (vs_distance::SUM_ERROR / 2.0 + U + self.rotation.relative_error())
        } else {
            norm * (1.0 + vs_distance::SUM_ERROR) * self.rotation.relative_error()
        };
        self.rotation.apply(row);
        Ok(Rotated { error })
    }
}

/// What [`Space::rotate`] knows of the row it leaves.
struct Rotated {
    /// An upper bound of the distance between the row and the rotated vector in exact arithmetic.
    error: f64,
}
