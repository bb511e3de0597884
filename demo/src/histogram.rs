//! Colour histograms: what one would compare pictures by without a network, and the baseline for it.

use anyhow::Result;
use vs_vision::{Limits, Rgb};

/// Levels that each of red, green and blue is divided into.
const LEVELS: usize = 8;
/// Number of bins, one for each combination of levels.
pub const BINS: usize = LEVELS * LEVELS * LEVELS;

/// The share of each of [`BINS`] colours in a picture.
///
/// # Errors
/// The bytes are no picture that the extension reads.
pub fn of(picture: &[u8]) -> Result<Vec<f32>> {
    Ok(shares(&vs_vision::decode(picture, &Limits::default())?))
}

fn shares(picture: &Rgb) -> Vec<f32> {
    let level = |sample: u8| usize::from(sample) * LEVELS / 256;
    let mut counts = vec![0_u32; BINS];
    for pixel in picture.data().chunks_exact(3) {
        counts[(level(pixel[0]) * LEVELS + level(pixel[1])) * LEVELS + level(pixel[2])] += 1;
    }
    let pixels = picture.data().len() as f32 / 3.0;
    counts.into_iter().map(|count| count as f32 / pixels).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_shares_of_colours() {
        let pixels = [[255, 0, 0], [250, 31, 3], [0, 0, 255], [0, 0, 255]].concat();
        let shares = shares(&Rgb::new(2, 2, pixels).unwrap());
        assert_eq!(shares.len(), BINS);
        assert_eq!(shares[7 * 64], 0.5);
        assert_eq!(shares[7], 0.5);
        assert_eq!(shares.iter().sum::<f32>(), 1.0);
    }

    #[test]
    fn refuses_what_is_no_picture() {
        assert!(of(b"no picture").is_err());
    }
}
