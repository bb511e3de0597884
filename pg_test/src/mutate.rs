//! Damaged and lying picture files, generated.
//!
//! A decoder is attacked where it believes the file: the declared size, the lengths of its parts, the order of the
//! parts, and the entropy-coded data. [`mutate`] draws one attack, or several on top of each other, so that some files
//! are wrecked at once and others fail deep inside.

use fastrand::Rng;
use image::ImageFormat;

use crate::pictures;

/// A side of 60,000 pixels: 3.6 thousand million in all, from a file of a few hundred bytes.
const BOMB_SIDE: u16 = 60_000;

/// The good files that damaged ones are made from: every format, plain, grey, with alpha, oriented.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, format) in pictures::FORMATS.into_iter().enumerate() {
        let picture = image::DynamicImage::from(pictures::draw(number as u64, 40, 30));
        seeds.push(pictures::encode(&picture, format));
        if !matches!(format, ImageFormat::Gif) {
            seeds.push(pictures::encode(&picture.to_luma8().into(), format));
        }
        if !matches!(format, ImageFormat::Jpeg) {
            seeds.push(pictures::encode(&picture.to_rgba8().into(), format));
        }
        if matches!(format, ImageFormat::Png | ImageFormat::Tiff) {
            seeds.push(pictures::encode(&picture.to_rgb16().into(), format));
        }
    }
    seeds.push(pictures::with_orientation(&pictures::photo(1), 6));
    seeds
}

/// One damaged file, made from one or two of the `seeds`.
pub fn mutate(seeds: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut file = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..random.usize(1..=3) {
        attack(&mut file, seeds, random);
    }
    file
}

fn attack(file: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Rng) {
    if file.len() < 4 {
        file.extend_from_slice(&seeds[random.usize(..seeds.len())]);
    }
    let len = file.len();
    match random.u8(0..10) {
        // Bits, anywhere or in the header, where most of the lies are told.
        0 | 1 => {
            let end = if random.bool() { len.min(64) } else { len };
            for _ in 0..random.usize(1..=8) {
                file[random.usize(..end)] ^= 1 << random.u8(0..8);
            }
        }
        2 => file.truncate(random.usize(0..len)),
        // Extreme numbers where a length or a count may be.
        3 => {
            let extreme = [0u32, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff][random.usize(..5)];
            let at = random.usize(..len - 3);
            let bytes = if random.bool() { extreme.to_be_bytes() } else { extreme.to_le_bytes() };
            file[at..at + 4].copy_from_slice(&bytes);
        }
        // A part cut out, doubled, or filled with noise.
        4 => {
            let range = part(len, random);
            file.drain(range);
        }
        5 => {
            let copy = file[part(len, random)].to_vec();
            let at = random.usize(..=len);
            file.splice(at..at, copy);
        }
        6 => {
            let range = part(len, random);
            file[range].fill_with(|| random.u8(..));
        }
        // The head of one file on the tail of another, of the same format or not.
        7 => {
            let other = &seeds[random.usize(..seeds.len())];
            file.truncate(random.usize(0..len));
            file.extend_from_slice(&other[random.usize(..other.len())..]);
        }
        8 => {
            let width = if random.bool() { BOMB_SIDE } else { random.u16(..) };
            let height = if random.bool() { BOMB_SIDE } else { random.u16(..) };
            declare_size(file, width, height);
        }
        _ => file.extend((0..random.usize(1..200)).map(|_| random.u8(..))),
    }
    if random.bool() {
        repair_png_checksums(file);
    }
}

fn part(len: usize, random: &mut Rng) -> std::ops::Range<usize> {
    let start = random.usize(..len);
    start..random.usize(start..=len.min(start + 300))
}

/// The file with another size in its header, and nothing else changed but the checksum over it.
pub fn with_declared_size(file: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut file = file.to_vec();
    declare_size(&mut file, width, height);
    repair_png_checksums(&mut file);
    file
}

fn declare_size(file: &mut Vec<u8>, width: u16, height: u16) {
    let (wide, high) = (u32::from(width), u32::from(height));
    match file.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => put(file, 16, &[wide.to_be_bytes(), high.to_be_bytes()].concat()),
        [b'B', b'M', ..] => put(file, 18, &[wide.to_le_bytes(), high.to_le_bytes()].concat()),
        [b'G', b'I', b'F', ..] => {
            let size = [width.to_le_bytes(), height.to_le_bytes()].concat();
            put(file, 6, &size);
            // The first frame's descriptor: its mark, then its place, which is the origin.
            if let Some(frame) = file.windows(5).skip(13).position(|part| part == [0x2c, 0, 0, 0, 0]) {
                put(file, 13 + frame + 5, &size);
            }
        }
        [0xff, 0xd8, ..] => {
            if let Some(frame) = jpeg_frame_header(file) {
                put(file, frame + 5, &[height.to_be_bytes(), width.to_be_bytes()].concat());
            }
        }
        [b'I', b'I', ..] => {
            // Width, height, and rows per strip: with one strip the file agrees with itself.
            for (tag, value) in [(256u16, wide), (257, high), (278, high)] {
                if let Some(entry) = tiff_entry(file, tag) {
                    // Field type 4, LONG, count 1, value.
                    let field = [&4u16.to_le_bytes()[..], &1u32.to_le_bytes(), &value.to_le_bytes()].concat();
                    put(file, entry + 2, &field);
                }
            }
        }
        [b'R', b'I', b'F', b'F', ..] => {
            // A simple file's header has only 14 bits for a side, so an extended header is put in front.
            let mut extended = b"VP8X\x0a\0\0\0\0\0\0\0".to_vec();
            extended.extend(&wide.saturating_sub(1).to_le_bytes()[..3]);
            extended.extend(&high.saturating_sub(1).to_le_bytes()[..3]);
            let at = file.len().min(12);
            file.splice(at..at, extended);
            let length = u32::try_from(file.len() - 8).unwrap_or(u32::MAX);
            put(file, 4, &length.to_le_bytes());
        }
        _ => {}
    }
}

/// Overwrites bytes, if the file is long enough to hold them.
fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = file.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())) {
        place.copy_from_slice(bytes);
    }
}

/// Where the frame header's marker is: segments follow each other by their lengths from offset 2 on.
fn jpeg_frame_header(file: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        let [0xff, marker, high, low] = *file.get(at..at + 4)? else { return None };
        if matches!(marker, 0xc0..=0xc2) {
            return Some(at);
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
}

/// Where a little-endian TIFF's first directory has its entry for `tag`.
fn tiff_entry(file: &[u8], tag: u16) -> Option<usize> {
    let directory = u32::from_le_bytes(file.get(4..8)?.try_into().ok()?) as usize;
    let count = u16::from_le_bytes(file.get(directory..directory.checked_add(2)?)?.try_into().ok()?);
    (0..usize::from(count))
        .map(|entry| directory + 2 + 12 * entry)
        .find(|&entry| file.get(entry..entry + 2).is_some_and(|bytes| bytes == tag.to_le_bytes()))
}

/// Makes the checksums of a PNG's chunks right again, so that a decoder looks at what is in them.
fn repair_png_checksums(file: &mut [u8]) {
    if !file.starts_with(b"\x89PNG") {
        return;
    }
    let mut at = 8;
    while let Some(length) = file.get(at..at + 4) {
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let end = at + 8 + length;
        let Some(covered) = file.get(at + 4..end) else { return };
        let checksum = crc32fast::hash(covered);
        put(file, end, &checksum.to_be_bytes());
        at = end + 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::ImageReader;
    use std::io::Cursor;

    fn declared(file: &[u8]) -> Option<(u32, u32)> {
        ImageReader::new(Cursor::new(file)).with_guessed_format().ok()?.into_dimensions().ok()
    }

    #[test]
    fn every_format_can_be_made_to_lie_about_its_size() {
        for seed in seeds() {
            let lie = with_declared_size(&seed, BOMB_SIDE, BOMB_SIDE);
            let side = u32::from(BOMB_SIDE);
            assert_eq!(declared(&lie), Some((side, side)), "{:?}", image::guess_format(&seed));
        }
    }

    #[test]
    fn the_seeds_are_good_and_the_mutants_are_many() {
        let seeds = seeds();
        for seed in &seeds {
            image::load_from_memory(seed).unwrap_or_else(|e| panic!("{:?}: {e}", image::guess_format(seed)));
        }
        let mut random = Rng::with_seed(7);
        let mutants: std::collections::HashSet<_> = (0..1000).map(|_| mutate(&seeds, &mut random)).collect();
        assert!(mutants.len() > 950, "only {} of 1000 mutants differ", mutants.len());
    }
}
