//! Words for values.
//!
//! Images of one kind compare as their values do: `a < b` if and only if `image(a) < image(b)`.

/// The image of a signed number.
#[inline]
#[must_use]
pub fn of_i64(value: i64) -> u64 {
    value as u64 ^ 1 << 63
}

/// The image of a floating-point number in PostgreSQL's order: both zeros are equal, and NaN is equal to itself and
/// above everything else.
#[inline]
#[must_use]
pub fn of_f64(value: f64) -> u64 {
    if value.is_nan() {
        return u64::MAX;
    }
    // Adding zero makes one of both zeros.
    let bits = (value + 0.0).to_bits();
    if bits >> 63 != 0 { !bits } else { bits | 1 << 63 }
}

/// The image of bytes that are ordered as text in the C locale is: of those that begin alike it is the same.
#[inline]
#[must_use]
pub fn of_prefix(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_be_bytes(word)
}

/// The bits that an element with this hash sets in the image of an array that has it.
///
/// Two bits of 64: with ten elements, an array that lacks an element seems to have it one time in fourteen.
#[inline]
#[must_use]
pub fn of_element(hash: u64) -> u64 {
    1 << (hash & 63) | 1 << (hash >> 6 & 63)
}

/// Spreads a word over all bits of another (the finaliser of MurmurHash3).
#[inline]
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ x >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}
