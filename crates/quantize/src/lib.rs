//! Vectors as rows of signed bytes, distances estimated from them, and error bounds that hold.
//!
//! An index that stores half-precision vectors spends its time moving them. This crate replaces a vector x by a
//! **code**: x is rotated by a fixed random rotation ([`Rotation`]) and every coordinate is rounded to a multiple of one
//! scale, c = round(Px / s), a signed byte. Next to the bytes stand s, ‖c‖² (exactly, an integer) and an upper bound e of
//! ‖Px − s·c‖, which is about 0.75 % of ‖x‖. A **query** is rotated likewise and rounded to 16 bits per coordinate, so
//! that every inner product of a query and a code is one exact integer ([`vs_distance::code`]).
//!
//! From these follow, for each [`Metric`],
//!
//! * a **key** by which a search ranks candidates (off by about 1 %, in either direction), and
//! * a **lower bound** of the value that the SQL operator will compute from the half-precision vectors, in the
//!   operator's unit and *including the operator's own rounding*. It is never above that value; a scan that returns rows
//!   in the order of this bound may therefore stop as soon as the bound passes the k-th exact distance, and the result is
//!   exact. The derivation, rounding error by rounding error, is in [`bound`].
//!
//! Nothing here is trained: codes depend on the vector and its length only, so they neither drift nor need a sample, and
//! equal vectors have equal codes.
//!
//! ```
//! use half::f16;
//! use vs_quantize::{Metric, Query, Scratch, Space};
//!
//! let space = Space::new(3, Metric::L2)?;
//! let mut scratch = Scratch::default();
//! let stored = [1.0, 2.0, 3.0].map(f16::from_f32);
//! let mut code = [0i8; 3];
//! let header = space.encode(&stored, &mut scratch, &mut code)?;
//!
//! let mut query = Query::default();
//! space.prepare(&[1.0, 2.0, 5.0].map(f16::from_f32), &mut scratch, &mut query)?;
//! let score = space.score(&query, header.with(&code));
//! let bound = space.lower_bound(&query, score);
//! assert!(bound <= 2.0 && bound > 1.9);
//! # Ok::<(), vs_quantize::Error>(())
//! ```

#![forbid(unsafe_code)]

pub mod bound;
mod code;
mod rotation;
mod round;
mod space;

pub use bound::Score;
pub use code::{CodeRef, Header, Query};
pub use rotation::Rotation;
pub use space::{Scratch, Space};

/// The longest vector that can be coded.
pub const MAX_DIMS: usize = 16_000;

/// What a code is ranked and bounded by; one for each operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// `<->`: ‖q − x‖.
    L2,
    /// `<=>`: 1 − ⟨q, x⟩ / (‖q‖ ‖x‖). Vectors are normalised before they are coded.
    Cosine,
    /// `<#>`: −⟨q, x⟩.
    InnerProduct,
}

/// What a query's keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Measure {
    /// The squared Euclidean distance of the points that the codes stand for, whatever the metric.
    #[default]
    Distance,
    /// The negative inner product.
    Product,
}

impl Metric {
    /// What candidates for a query are ranked by under this metric.
    #[must_use]
    pub fn measure(self) -> Measure {
        match self {
            Self::L2 | Self::Cosine => Measure::Distance,
            Self::InnerProduct => Measure::Product,
        }
    }
}

/// Why a vector has no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The length a [`Space`] was asked for is 0 or above [`MAX_DIMS`].
    #[error("vectors of {0} dimensions cannot be coded, only those of 1 to {MAX_DIMS}")]
    Dims(usize),
    /// The vector is not as long as the space's.
    #[error("expected {expected} dimensions, not {found}")]
    Length {
        /// The length of the space's vectors.
        expected: usize,
        /// The length of this one.
        found: usize,
    },
    /// An element is infinite or NaN.
    #[error("the vector has an element that is not finite")]
    NotFinite,
    /// The zero vector has no direction, hence no cosine distance.
    #[error("the zero vector has no direction")]
    Zero,
}
