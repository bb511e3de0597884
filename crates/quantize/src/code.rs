//! What is kept of a vector, and what a query becomes.

use crate::Measure;

/// The numbers that go with the bytes of a code: 12 bytes of an index entry.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Header {
    /// s: the distance between neighbouring values of a coordinate. Finite, not negative; 0 for the zero vector.
    pub scale: f32,
    /// ‖c‖² = Σcᵢ², exactly.
    pub norm: u32,
    /// e ≥ ‖P x − s·c‖ with P the rotation in exact arithmetic: the rounding to bytes, the rounding of the computed
    /// rotation and, for the cosine, that of the normalisation.
    pub error: f32,
}

impl Header {
    /// The size of [`to_bytes`](Self::to_bytes).
    pub const SIZE: usize = 12;

    /// Little endian: scale, norm, error.
    #[inline]
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[0..4].copy_from_slice(&self.scale.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.norm.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.error.to_le_bytes());
        bytes
    }

    /// The reverse of [`to_bytes`](Self::to_bytes). Any bytes give a header; a damaged one gives meaningless scores.
    #[inline]
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        Self {
            scale: f32::from_le_bytes(word(0)),
            norm: u32::from_le_bytes(word(4)),
            error: f32::from_le_bytes(word(8)),
        }
    }

    /// The header together with its bytes.
    #[inline]
    #[must_use]
    pub fn with(self, values: &[i8]) -> CodeRef<'_> {
        CodeRef { header: self, values }
    }

    /// ‖s·c‖² with one rounding.
    #[inline]
    pub(crate) fn square(&self) -> f64 {
        let scale = f64::from(self.scale);
        scale * scale * f64::from(self.norm)
    }
}

/// A code as it lies in memory or on a page.
#[derive(Debug, Clone, Copy)]
pub struct CodeRef<'a> {
    /// s, ‖c‖² and e.
    pub header: Header,
    /// c, one byte for each dimension, each in −127 ..= 127.
    pub values: &'a [i8],
}

impl CodeRef<'_> {
    /// Whether the header can be that of these bytes. A byte that was changed is noticed, as is a change of the norm; of
    /// the scale and the error only what they can never be.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let Header { scale, norm, error } = self.header;
        let square = |&value: &i8| u32::from(value.unsigned_abs()).pow(2);
        // At most 16,000 dimensions, so that the sum fits.
        self.values.iter().map(square).fold(0u32, u32::wrapping_add) == norm
            && (0.0..f32::INFINITY).contains(&scale)
            && (0.0..f32::INFINITY).contains(&error)
    }

    /// Whether the two stand for the same point: everything but the error bound agrees.
    ///
    /// Entries for which this holds may share one node if the node's error is the larger of the two.
    #[must_use]
    pub fn same_point(&self, other: &CodeRef<'_>) -> bool {
        self.header.norm == other.header.norm
            && self.header.scale.to_bits() == other.header.scale.to_bits()
            && self.values == other.values
    }
}

/// Something to measure distances from: a vector rounded to 16 bits a coordinate, or a code.
///
/// Reusable; [`Space::prepare`](crate::Space::prepare) and [`Space::probe`](crate::Space::probe) fill it.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// q̃, each in ±32,767.
    pub(crate) values: Vec<i16>,
    /// t: P q ≈ t·q̃.
    pub(crate) scale: f64,
    /// ‖t·q̃‖², correct to one rounding.
    pub(crate) square: f64,
    /// An upper bound of ‖t·q̃‖.
    pub(crate) magnitude: f64,
    /// An upper bound of ‖P q − t·q̃‖.
    pub(crate) error: f64,
    /// `error` rounded up, for the inner loop.
    pub(crate) error_up: f32,
    /// What keys are.
    pub(crate) measure: Measure,
}

impl Query {
    /// The key that a code has which stands for the very point of a query made by
    /// [`Space::probe`](crate::Space::probe): a cheap test to go before [`stands_for`](Self::stands_for).
    #[inline]
    #[must_use]
    pub fn own_key(&self) -> f32 {
        match self.measure {
            Measure::Distance => 0.0,
            Measure::Product => -self.square as f32,
        }
    }

    /// What the keys of this query are.
    #[inline]
    #[must_use]
    pub fn measure(&self) -> Measure {
        self.measure
    }

    /// Makes `other` the same query with keys of another kind.
    pub fn measured_by(&self, measure: Measure, other: &mut Query) {
        other.values.clone_from(&self.values);
        let Query { scale, square, magnitude, error, error_up, .. } = *self;
        *other =
            Query { values: std::mem::take(&mut other.values), scale, square, magnitude, error, error_up, measure };
    }

    /// Whether `code` is the [same point](CodeRef::same_point) as the code this query was made from by
    /// [`Space::probe`](crate::Space::probe).
    #[must_use]
    pub fn stands_for(&self, code: &CodeRef<'_>) -> bool {
        self.scale == f64::from(code.header.scale)
            && self.values.len() == code.values.len()
            && self.values.iter().zip(code.values).all(|(&q, &c)| q == i16::from(c))
    }
}
