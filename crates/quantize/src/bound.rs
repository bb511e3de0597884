//! Scores and the bounds that follow from them.
//!
//! Notation: q, x the half-precision vectors (for the cosine: divided by their norms); P the rotation in exact
//! arithmetic; t·q̃ the query's 16-bit form and s·c the stored code, both exactly as written down; a = ‖Pq − t·q̃‖ and
//! e ≥ ‖Px − s·c‖ the bounds kept with them; u = 2⁻²⁴ and ε = 2⁻⁵³ the unit roundoffs of `f32` and `f64`;
//! σ = [`vs_distance::SUM_ERROR`], the relative error of the operators' sums.
//!
//! The bounds a and e already contain every rounding that happened while q̃ and c were made: the rotation's
//! ([`Rotation::relative_error`](crate::Rotation::relative_error)), the normalisation's and the residual's. What is left
//! is the arithmetic below. The inner product ⟨q̃, c⟩ is an exact integer, and so are ‖q̃‖² and ‖c‖².
//!
//! # Euclidean distance
//!
//! Let D = ‖t·q̃ − s·c‖. P keeps distances, so ‖q − x‖ ≥ D − a − e. The key is D² computed as A + B − C with A = t²‖q̃‖²,
//! B = s²‖c‖², C = 2ts⟨q̃, c⟩. t and s are `f32`, so t², s² and ts are exact in `f64` and each of the three terms carries
//! at most two roundings; with two more for the sums, and |C| ≤ A + B,
//!
//! |computed − D²| ≤ 8ε(A + B) ≤ 8ε(Q + H)², Q ≥ ‖t·q̃‖, H = ‖s·c‖ ≤ Q + D.
//!
//! *This* is where a distance that is small against the norms cancels; 8ε(2Q + D)² is its whole effect, 6e-8 · Q in D if
//! q = x. The key is then rounded to `f32`, a relative error of u. Hence
//!
//! D ≥ sqrt(max(0, key(1 − 2u) − 9ε(2Q + √|key|)²)),
//!
//! with 9 for 8 because √|key| may fall short of D. The operator adds up f32 squares, relative error σ on the square; its
//! root is at least (1 − σ) times the true distance. So the bound is **(D − a − e)(1 − σ)**, or 0.
//!
//! # Cosine distance
//!
//! For unit vectors 1 − cos = ‖q − x‖²/2, so (D − a − e)²/2 from above. The operator computes 1 − d/√(n·m) from three sums:
//! |d| ≤ ‖q‖‖x‖ is off by at most σ‖q‖‖x‖, each norm by a factor 1 ± σ, the root thus by 1 ± σ as well, so that the
//! quotient is off by at most 2σ + O(σ²) + a few ε: **(D − a − e)²/2 − 2.1σ**, or 0, to which the operator clamps as well.
//!
//! # Negative inner product
//!
//! ⟨q, x⟩ = ⟨Pq, Px⟩ ≤ ts⟨q̃, c⟩ + a·H + (Q + a)·e by Cauchy and Schwarz, and the operator's own sum is off by at most
//! σ‖q‖‖x‖ ≤ σ(Q + a)(H + e). The key is −ts⟨q̃, c⟩, rounded to `f32`.
//! Bound: **key − 2u|key| − (aH + (Q + a)e + σ(Q + a)(H + e))**.
//!
//! None of the bounds is ever NaN, whatever the numbers on a damaged page are.

use crate::{CodeRef, Measure, Metric, Query, Space};
use vs_distance::SUM_ERROR;

/// How a code compares with a query.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Score {
    /// What to rank by, ascending: about ‖q − x‖² (for the cosine of the normalised vectors), or about −⟨q, x⟩.
    pub key: f32,
    /// How far the distance (for the inner product: the key) may be below what `key` says because of the rounding of
    /// query and code.
    pub slack: f32,
}

/// ε, the unit roundoff of `f64`.
const EPSILON: f64 = f64::EPSILON / 2.0;

/// 1 − 2u.
const ROUNDED: f64 = 1.0 - f32::EPSILON as f64;

impl Space {
    /// Compares `code` with `query`.
    #[inline]
    #[must_use]
    pub fn score(&self, query: &Query, code: CodeRef<'_>) -> Score {
        let header = code.header;
        let dot = self.kernels.dot_i16_i8(&query.values, code.values) as f64;
        let product = query.scale * f64::from(header.scale) * dot;
        if query.measure == Measure::Product {
            let (norm, error) = (header.square().sqrt(), f64::from(header.error));
            let reach = query.magnitude + query.error;
            let slack = query.error * norm + reach * error + SUM_ERROR * reach * (norm + error);
            return Score { key: -product as f32, slack: crate::round::up(slack * (1.0 + 1e-12)) };
        }
        let key = (query.square + header.square() - 2.0 * product) as f32;
        // The sum is rounded once and the product once: 2u, which the factor makes good.
        Score { key, slack: (header.error + query.error_up) * (1.0 + 2.0 * f32::EPSILON) }
    }

    /// The key between two codes: what [`score`](Self::score) gives for a query made by [`probe`](Self::probe), or by
    /// [`measured_by`](Query::measured_by) from one.
    #[inline]
    #[must_use]
    pub fn between(&self, measure: Measure, a: CodeRef<'_>, b: CodeRef<'_>) -> f32 {
        let dot = self.kernels.dot_i8_i8(a.values, b.values) as f64;
        let product = f64::from(a.header.scale) * f64::from(b.header.scale) * dot;
        match measure {
            Measure::Distance => (a.header.square() + b.header.square() - 2.0 * product) as f32,
            Measure::Product => -product as f32,
        }
    }

    /// A number that is not above the operator's value for the vectors behind `query` and `score`, in the operator's
    /// unit: ‖q − x‖, 1 − cos, or −⟨q, x⟩. Where a query measures distances under the inner product, it is not above
    /// ‖q − x‖. Never NaN.
    #[must_use]
    pub fn lower_bound(&self, query: &Query, score: Score) -> f64 {
        let (key, slack) = (f64::from(score.key), f64::from(score.slack));
        if query.measure == Measure::Product {
            let bound = key - key.abs() * (1.0 - ROUNDED) - slack;
            return if bound.is_nan() { f64::NEG_INFINITY } else { bound };
        }
        let reach = 2.0 * query.magnitude + key.abs().sqrt();
        let square = key * ROUNDED - 9.0 * EPSILON * reach * reach;
        // `max` of a NaN and 0 is 0.
        let distance = (square.max(0.0).sqrt() - slack).max(0.0);
        match self.metric() {
            Metric::Cosine => (distance * distance / 2.0 - 2.1 * SUM_ERROR).max(0.0),
            Metric::L2 | Metric::InnerProduct => distance * (1.0 - SUM_ERROR),
        }
    }
}
