//! Pictures drawn from a number, so that every test run sees the same ones and no two numbers give the same.

use std::io::Cursor;

use fastrand::Rng;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

/// Every format that the extension reads.
pub const FORMATS: [ImageFormat; 6] =
    [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Tiff];

/// A gradient between two colours with a few discs and bars on it.
pub fn draw(seed: u64, width: u32, height: u32) -> RgbImage {
    let mut random = Rng::with_seed(seed);
    let mut colour = || Rgb([random.u8(..), random.u8(..), random.u8(..)]);
    let (from, to) = (colour(), colour());
    let steps = (width + height).max(1);
    let mix = |a: u8, b: u8, t: u32| ((u32::from(a) * (steps - t) + u32::from(b) * t) / steps) as u8;
    let mut picture = RgbImage::from_fn(width, height, |x, y| {
        Rgb([0, 1, 2].map(|channel| mix(from.0[channel], to.0[channel], x + y)))
    });
    for shape in 0..4 {
        let colour = Rgb([random.u8(..), random.u8(..), random.u8(..)]);
        let (cx, cy) = (random.u32(0..width.max(1)), random.u32(0..height.max(1)));
        let size = random.u32(1..=(width.min(height) / 3).max(1));
        for (x, y, pixel) in picture.enumerate_pixels_mut() {
            let (dx, dy) = (x.abs_diff(cx), y.abs_diff(cy));
            let inside = if shape % 2 == 0 { dx * dx + dy * dy <= size * size } else { dx <= size && dy <= size / 2 };
            if inside {
                *pixel = colour;
            }
        }
    }
    picture
}

/// The bytes of a picture file.
pub fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).unwrap_or_else(|e| panic!("encoding {format:?}: {e}"));
    file.into_inner()
}

/// A photograph as far as the tests care: a JPEG of 96 × 72 pixels.
pub fn photo(seed: u64) -> Vec<u8> {
    encode(&draw(seed, 96, 72).into(), ImageFormat::Jpeg)
}

/// A picture that takes as little as possible to store and decode: a PNG of 12 × 12 pixels.
pub fn tiny(seed: u64) -> Vec<u8> {
    encode(&draw(seed, 12, 12).into(), ImageFormat::Png)
}

/// A picture whose file does not compress, so that a table keeps it out of line: a PNG of noise.
pub fn noise(seed: u64, width: u32, height: u32) -> Vec<u8> {
    let mut random = Rng::with_seed(seed);
    let picture = RgbImage::from_fn(width, height, |_, _| Rgb([random.u8(..), random.u8(..), random.u8(..)]));
    encode(&picture.into(), ImageFormat::Png)
}

/// The JPEG with an EXIF block that states the orientation (1 to 8), right after the start-of-image marker.
///
/// # Panics
/// If the bytes are no JPEG.
pub fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    assert!(jpeg.starts_with(&[0xff, 0xd8]), "no JPEG");
    // A big-endian TIFF header, one directory at offset 8 with one entry: tag 0x0112, SHORT, count 1.
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.push(orientation);
    exif.extend([0; 6]);
    let length = u16::try_from(exif.len() + 2).expect("the block is small").to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}
