//! Files that are small and declare, hide or contain something enormous.

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use std::io::Write;

use super::seed;

/// The side declared by the dimension bombs.
const HUGE: u32 = 60_000;

// --- PNG ---

fn png_chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut chunk = (body.len() as u32).to_be_bytes().to_vec();
    chunk.extend(kind);
    chunk.extend(body);
    let mut crc = Crc::new();
    crc.update(&chunk[4..]);
    chunk.extend(crc.sum().to_be_bytes());
    chunk
}

/// Corrects the checksum of every chunk, as far as the file holds together.
pub fn repair_png(file: &mut [u8]) {
    let mut at = 8;
    if !file.starts_with(b"\x89PNG") {
        return;
    }
    while let Some(length) = file.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let Some(end) = at.checked_add(8).and_then(|at| at.checked_add(length)).filter(|end| end + 4 <= file.len())
        else {
            return;
        };
        let mut crc = Crc::new();
        crc.update(&file[at + 4..end]);
        file[end..end + 4].copy_from_slice(&crc.sum().to_be_bytes());
        at = end + 4;
    }
}

fn png(width: u32, height: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    file.extend(png_chunk(b"IHDR", &header));
    file.extend(chunks.concat());
    file.extend(png_chunk(b"IEND", b""));
    file
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(bytes).unwrap();
    zlib.finish().unwrap()
}

/// A PNG of `channels` (1, 3 or 4) of nothing.
pub fn flat_png(width: u32, height: u32, channels: u8) -> Vec<u8> {
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, [0, 2, 6][usize::from(channels / 2)], 0, 0, 0]);
    let row = width as usize * usize::from(channels) + 1;
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    file.extend(png_chunk(b"IHDR", &header));
    file.extend(png_chunk(b"IDAT", &deflated(&vec![0; row * height as usize])));
    file.extend(png_chunk(b"IEND", b""));
    file
}

/// PNGs with `bomb`, zlib data that inflates to far more than any pixels need, wherever zlib data may stand.
pub fn png_with(bomb: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let pixel = || png_chunk(b"IDAT", &deflated(&[0, 1, 2, 3]));
    let text = |kind, head: &[u8]| png(1, 1, &[png_chunk(kind, &[head, bomb].concat()), pixel()]);
    vec![
        ("bomb in IDAT of 1 x 1", png(1, 1, &[png_chunk(b"IDAT", bomb)])),
        ("bomb in IDAT of 900 x 900", png(900, 900, &[png_chunk(b"IDAT", bomb)])),
        ("bomb in zTXt", text(b"zTXt", b"Comment\0\0")),
        ("bomb in iTXt", text(b"iTXt", b"Comment\0\x01\0\0\0")),
        ("bomb in iCCP", text(b"iCCP", b"profile\0\0")),
    ]
}

// --- RIFF ---

fn riff_chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut chunk = kind.to_vec();
    chunk.extend((body.len() as u32).to_le_bytes());
    chunk.extend(body);
    chunk.resize(chunk.len().next_multiple_of(2), 0);
    chunk
}

fn webp(chunks: &[Vec<u8>]) -> Vec<u8> {
    riff_chunk(b"RIFF", &[b"WEBP".to_vec(), chunks.concat()].concat())
}

fn vp8x(flags: u8, width: u32, height: u32) -> Vec<u8> {
    let sides = [&(width - 1).to_le_bytes()[..3], &(height - 1).to_le_bytes()[..3]].concat();
    riff_chunk(b"VP8X", &[vec![flags, 0, 0, 0], sides].concat())
}

/// A lossy bitstream that says it is `width` × `height`, and then has nothing much.
fn vp8(width: u16, height: u16) -> Vec<u8> {
    let mut body = vec![0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A];
    body.extend(width.to_le_bytes());
    body.extend(height.to_le_bytes());
    body.extend([0; 64]);
    riff_chunk(b"VP8 ", &body)
}

fn vp8l(width: u32, height: u32) -> Vec<u8> {
    let bits = (width - 1) | (height - 1) << 14;
    riff_chunk(b"VP8L", &[&[0x2F][..], &bits.to_le_bytes(), &[0; 32]].concat())
}

/// Bits, the lowest first, as the lossless bitstream has them.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn push(&mut self, value: u32, count: usize) {
        for bit in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= ((value >> bit & 1) as u8) << (self.used % 8);
            self.used += 1;
        }
    }

    /// A code with a single symbol of 8 bits, which then takes none.
    fn push_constant(&mut self, symbol: u32) {
        self.push(0b101, 3);
        self.push(symbol, 8);
    }

    /// A code of 2,048 symbols of 11 bits, for the alphabet of green, lengths and a colour cache of 2,048.
    fn push_wide_code(&mut self) {
        self.push(0, 1);
        // Lengths of the codes of lengths, in their order 17, 18, 0 to 5, 16, 6 to 11: the lengths 11, "as before" and
        // "many zeros" have the codes 10, 0 and 11.
        self.push(15 - 4, 4);
        for length in [0, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2] {
            self.push(length, 3);
        }
        self.push(0, 1);
        self.push(0b0101, 4);
        for _ in 0..341 {
            self.push(0b110, 3);
        }
        for zeros in [138, 131, 11] {
            self.push(0b11, 2);
            self.push(zeros - 11, 7);
        }
    }
}

/// A lossless WebP of 8 × 8 pixels with `groups` (at most 65,536) groups of codes, of which one is used.
pub fn webp_codes(groups: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.push(0x2F, 8);
    bits.push(7 | 7 << 14, 32);
    // No transform; a colour cache of 2 to the power of 11; groups of codes for blocks of 4 × 4.
    bits.push(0, 1);
    bits.push(1 | 11 << 1, 5);
    bits.push(1, 4);
    // The picture of the groups: no colour cache, and every pixel is the last group.
    bits.push(0, 1);
    for sample in [(groups - 1) & 0xFF, (groups - 1) >> 8, 0, 0, 0] {
        bits.push_constant(sample);
    }
    for _ in 0..groups {
        bits.push_wide_code();
        for _ in 0..4 {
            bits.push_constant(0);
        }
    }
    // Pixels: 64 times the first code.
    for _ in 0..64 {
        bits.push(0, 11);
    }
    webp(&[riff_chunk(b"VP8L", &bits.bytes)])
}

fn animation_frame(bitstream: Vec<u8>) -> Vec<u8> {
    // Offset 0, 0; 8 × 8 pixels; 100 ms.
    riff_chunk(b"ANMF", &[vec![0, 0, 0, 0, 0, 0, 7, 0, 0, 7, 0, 0, 100, 0, 0, 0], bitstream].concat())
}

fn animation_header() -> Vec<u8> {
    riff_chunk(b"ANIM", &[0; 6])
}

const ANIMATED: u8 = 0x02;

// --- TIFF ---

/// A little-endian TIFF whose directory holds LONG values only, followed by `next`.
fn tiff(entries: &[(u16, u32)], next: u32) -> Vec<u8> {
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend((entries.len() as u16).to_le_bytes());
    for (tag, value) in entries {
        file.extend(tag.to_le_bytes());
        file.extend(4u16.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend(next.to_le_bytes());
    file.extend([0; 64]);
    file
}

fn sorted(entries: &[(u16, u32)]) -> Vec<(u16, u32)> {
    let mut entries = entries.to_vec();
    entries.sort();
    entries
}

/// Makes the value of an entry an array of a field type at the end of the file.
fn array(file: &mut Vec<u8>, entry: usize, field_type: u16, values: &[u8]) {
    let (at, end) = (10 + 12 * entry, file.len() as u32);
    let count = values.len() as u32 / [1, 2, 4][usize::from(field_type / 2)];
    file[at + 2..at + 4].copy_from_slice(&field_type.to_le_bytes());
    file[at + 4..at + 8].copy_from_slice(&count.to_le_bytes());
    file[at + 8..at + 12].copy_from_slice(&end.to_le_bytes());
    file.extend(values);
}

fn grey_tiff(width: u32, height: u32, rest: &[(u16, u32)]) -> Vec<u8> {
    let mut entries = vec![(256, width), (257, height), (258, 8), (259, 1), (262, 1), (277, 1)];
    entries.extend(rest);
    entries.sort();
    tiff(&entries, 0)
}

// --- GIF ---

fn gif(screen: (u16, u16), frame: (u16, u16), frames: usize) -> Vec<u8> {
    let side = |(width, height): (u16, u16)| [width.to_le_bytes(), height.to_le_bytes()].concat();
    let mut file = b"GIF89a".to_vec();
    file.extend(side(screen));
    file.extend([0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    for _ in 0..frames {
        file.extend([0x2C, 0, 0, 0, 0]);
        file.extend(side(frame));
        // Minimum code size 2: clear, pixel 0, end.
        file.extend([0, 2, 2, 0b0100_0100, 0b0000_0001, 0]);
    }
    file.push(0x3B);
    file
}

// --- JPEG ---

/// A JPEG with its frame header's sides replaced.
fn jpeg_sides(mut file: Vec<u8>, width: u16, height: u16) -> Vec<u8> {
    let at = jpeg_marker(&file, |code| (0xC0..=0xC2).contains(&code));
    file[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    file[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    file
}

/// Position of the first segment of a kind before the entropy-coded data.
fn jpeg_marker(file: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    let mut at = 2;
    while !wanted(file[at + 1]) {
        at += 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
    }
    at
}

/// A JPEG with `segments` put before its frame header.
fn jpeg_with(name: &str, segments: &[u8]) -> Vec<u8> {
    let mut file = seed(name);
    let at = jpeg_marker(&file, |code| (0xC0..=0xC2).contains(&code));
    file.splice(at..at, segments.iter().copied());
    file
}

/// An APP1 segment with an EXIF block.
fn exif(block: &[u8]) -> Vec<u8> {
    let length = (2 + 6 + block.len()) as u16;
    [&[0xFF, 0xE1][..], &length.to_be_bytes(), b"Exif\0\0", block].concat()
}

// --- the collections ---

/// Every format, declaring more pixels than anybody has: name, file, declared width and height.
pub fn dimensions() -> Vec<(&'static str, Vec<u8>, u32, u32)> {
    let (huge, short) = (HUGE, HUGE as u16);
    let mut bmp = seed("rgb.bmp");
    bmp[18..22].copy_from_slice(&huge.to_le_bytes());
    bmp[22..26].copy_from_slice(&huge.to_le_bytes());
    let long_png = png(0x7FFF_FFFF, 1, &[png_chunk(b"IDAT", &deflated(&[0; 100]))]);
    vec![
        ("jpeg", jpeg_sides(seed("420.jpg"), short, short), huge, huge),
        ("progressive jpeg", jpeg_sides(seed("progressive.jpg"), short, short), huge, huge),
        ("png", png(huge, huge, &[png_chunk(b"IDAT", &deflated(&[0; 100]))]), huge, huge),
        ("png of one row", long_png, 0x7FFF_FFFF, 1),
        ("lossy webp", webp(&[vp8(16_383, 16_383)]), 16_383, 16_383),
        ("lossless webp", webp(&[vp8l(16_384, 16_384)]), 16_384, 16_384),
        ("webp canvas", webp(&[vp8x(0, huge, huge), vp8(8, 8)]), huge, huge),
        ("gif", gif((short, short), (short, short), 1), huge, huge),
        ("bmp", bmp, huge, huge),
        ("tiff", grey_tiff(huge, huge, &[(273, 8), (278, huge), (279, 100)]), huge, huge),
    ]
}

/// Files whose first header is modest and whose second is not.
pub fn hidden_dimensions() -> Vec<(&'static str, Vec<u8>)> {
    let mut two_frames = jpeg_with("420.jpg", b"");
    let frame = jpeg_marker(&two_frames, |code| (0xC0..=0xC2).contains(&code));
    let end = frame + 2 + usize::from(u16::from_be_bytes([two_frames[frame + 2], two_frames[frame + 3]]));
    let mut second = two_frames[frame..end].to_vec();
    second[5..9].fill(0xEA);
    two_frames.splice(end..end, second);
    let mut control = vec![0; 4];
    control.extend([60_000u32.to_be_bytes(), 60_000u32.to_be_bytes()].concat());
    control.resize(26, 0);
    let apng = png(
        4,
        4,
        &[
            png_chunk(b"acTL", &[0, 0, 0, 1, 0, 0, 0, 0]),
            png_chunk(b"fcTL", &control),
            png_chunk(b"IDAT", &deflated(&[0; 52])),
        ],
    );
    let tile = [(322, 0x7FFF_FFF0), (323, 0x7FFF_FFF0), (324, 8), (325, 64)];
    vec![
        ("webp bitstream", webp(&[vp8x(0, 8, 8), vp8(16_383, 16_383)])),
        ("webp lossless bitstream", webp(&[vp8x(0, 8, 8), vp8l(16_000, 16_000)])),
        ("webp frame", webp(&[vp8x(ANIMATED, 8, 8), animation_header(), animation_frame(vp8(16_383, 16_383))])),
        (
            "webp lossless frame",
            webp(&[vp8x(ANIMATED, 8, 8), animation_header(), animation_frame(vp8l(16_000, 16_000))]),
        ),
        (
            "webp frame behind a chunk of another name",
            webp(&[vp8x(ANIMATED, 8, 8), animation_header(), {
                let hidden = [&b"JUNK"[..], &vp8(16_383, 16_383)[4..]].concat();
                animation_frame([riff_chunk(b"ALPH", &[0; 65]), hidden].concat())
            }]),
        ),
        ("gif frame", gif((8, 8), (60_000, 60_000), 1)),
        ("jpeg with two frame headers", two_frames),
        ("apng frame", apng),
        ("tiff tile", grey_tiff(8, 8, &tile)),
        ("tiff strip of 4 GB", grey_tiff(8, 8, &[(273, 8), (278, 8), (279, u32::MAX)])),
        ("tiff tile of 4 billion columns for the floating point predictor", {
            let tile = [(317, 3), (322, u32::MAX), (323, 1), (324, 8), (325, 64), (339, 3)];
            tiff(&sorted(&[&[(256, 1), (257, 1), (258, 16), (259, 1), (262, 2), (277, 4)][..], &tile].concat()), 0)
        }),
        ("tiff tile of 4 billion columns", grey_tiff(1, 1, &[(322, u32::MAX), (323, 1), (324, 8), (325, 64)])),
        ("tiff tiles of padding", {
            // Each of 10,000 tiles is the same stream, which would inflate to a gigabyte.
            let zeros = deflated(&vec![0; 1 << 20]);
            let entries = [(256, 1), (257, 10_000), (258, 8), (259, 8), (262, 1), (277, 1)];
            let tile = [(322, 0x3FFF_FFFF), (323, 1), (324, 0), (325, 0)];
            let mut file = tiff(&[&entries[..], &tile].concat(), 0);
            let data = file.len() as u32;
            file.extend(&zeros);
            for (entry, value) in [(8, data), (9, zeros.len() as u32)] {
                array(&mut file, entry, 4, &value.to_le_bytes().repeat(10_000));
            }
            file
        }),
        ("tiff of 6,000 extra samples", {
            let entries = [(256, 1 << 20), (257, 1), (258, 8), (259, 1), (262, 2), (273, 8), (277, 6_003), (278, 1)];
            let mut file = tiff(&[&entries[..], &[(279, 64), (338, 0)]].concat(), 0);
            array(&mut file, 9, 3, &[0; 6_000 * 2]);
            file
        }),
        ("tiff of 2,000,000 strips", {
            let entries = [(256, 1), (257, 2_000_000), (258, 8), (259, 1), (262, 1), (273, 0), (277, 1), (278, 1)];
            let mut file = tiff(&[&entries[..], &[(279, 0)]].concat(), 0);
            for entry in [5, 8] {
                array(&mut file, entry, 1, &vec![8; 2_000_000]);
            }
            file
        }),
        ("tiff of tags that are longer than what is said of them", {
            let entries = [(256, 8), (257, 8), (258, 8), (259, 1), (262, 3), (273, 8), (277, 65_535), (278, 8)];
            let mut file = tiff(&[&entries[..], &[(279, 64), (339, 0)]].concat(), 0);
            array(&mut file, 9, 3, &[0, 9].repeat(10_000));
            file
        }),
        ("tiff of a sample that is no colour", {
            let entries = [(256, 8), (257, 1), (258, 8), (259, 1), (262, 2), (273, 8), (277, 4), (278, 1)];
            let mut file = tiff(&[&entries[..], &[(279, 32), (317, 2), (338, 0)]].concat(), 0);
            file[10 + 12 * 10 + 2] = 3;
            file
        }),
        ("tiff of 64-bit values beyond its end", {
            let mut file = grey_tiff(8, 8, &[(273, 8), (278, 8), (279, 64)]);
            let at = 10 + 12 * 5;
            file[at + 2..at + 8].copy_from_slice(&[16, 0, 0, 0, 0, 2]);
            file
        }),
        ("tiff of 65,535 samples", {
            let entries =
                [(256, 900), (257, 900), (258, 8), (259, 1), (262, 2), (273, 8), (277, 65_535), (278, 900), (279, 64)];
            tiff(&entries, 0)
        }),
    ]
}

/// Files that keep a decoder busy for a long time with nothing.
pub fn slow() -> Vec<(&'static str, Vec<u8>)> {
    // Ten thousand strips of one pixel are the same stream, of 700,000 empty blocks.
    let shared = {
        let entries = [(256, 1), (257, 10_000), (258, 8), (259, 8), (262, 1), (273, 0), (277, 1), (278, 1)];
        let mut file = tiff(&[&entries[..], &[(279, 0)]].concat(), 0);
        let data = file.len() as u32;
        file.extend([0x78, 0x01]);
        file.extend([0, 0, 0, 0xFF, 0xFF].repeat(700_000));
        file.extend([1, 1, 0, 0xFE, 0xFF, 7, 0, 8, 0, 8]);
        array(&mut file, 5, 4, &data.to_le_bytes().repeat(10_000));
        array(&mut file, 8, 4, &1u32.to_le_bytes().repeat(10_000));
        file
    };
    // One pixel, and codes of twelve bits that say "begin anew" each.
    let clear = {
        let mut file = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xFF\xFF\xFF\x2C\0\0\0\0\x01\0\x01\0\0\x0B".to_vec();
        let codes = [0x00, 0x08, 0x80].repeat(85);
        for _ in 0..16_000 {
            file.push(255);
            file.extend(&codes);
        }
        file.extend([0, 0x3B]);
        file
    };
    vec![("tiff of strips that are one stream", shared), ("gif of clear codes", clear)]
}

/// Files of up to 4 MB that are nothing but structure.
pub fn long() -> Vec<(&'static str, Vec<u8>)> {
    let comment = [0xFF, 0xFE, 0, 2];
    let progressive = seed("progressive.jpg");
    let last_scan = progressive.windows(2).rposition(|pair| pair == [0xFF, 0xDA]).unwrap();
    let mut scans = progressive[..progressive.len() - 2].to_vec();
    while scans.len() < 2 << 20 {
        scans.extend(&progressive[last_scan..progressive.len() - 2]);
    }
    scans.extend([0xFF, 0xD9]);

    let mut entries = b"II*\0\x08\0\0\0\xFF\xFF".to_vec();
    entries.extend([0x0F, 1, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0].repeat(5_000));

    let mut nested = vp8(8, 8);
    for _ in 0..20_000 {
        nested = [riff_chunk(b"JUNK", b""), riff_chunk(b"ANMF", &[0; 16]), nested].concat();
    }
    let mut deep = vec![0u8; 0];
    for depth in (0..50_000u32).rev() {
        // Each frame holds the next: lengths only have to reach the end.
        deep.splice(0..0, [&b"ANMF"[..], &((50_000 - depth) * 24).to_le_bytes(), &[0; 16]].concat());
        if deep.len() > 60_000 {
            break;
        }
    }
    let pixel = png_chunk(b"IDAT", &deflated(&[0, 1, 2, 3]));
    let empty_idat = [png_chunk(b"IDAT", b"").repeat(300_000), pixel.clone()];
    let frame = [png_chunk(b"fcTL", &[0; 26]), png_chunk(b"fdAT", &[0; 8])].concat().repeat(50_000);
    let mut comments = b"GIF89a\x08\0\x08\0\x80\0\0\0\0\0\xFF\xFF\xFF".to_vec();
    comments.extend([0x21, 0xFE, 1, 0, 0].repeat(600_000));
    comments.extend(&gif((8, 8), (8, 8), 1)[19..]);

    vec![
        ("gif of 200,000 frames", gif((4, 4), (4, 4), 200_000)),
        ("gif of 600,000 comments", comments),
        ("jpeg of 900,000 comments", jpeg_with("420.jpg", &comment.repeat(900_000))),
        ("jpeg of fill bytes", jpeg_with("420.jpg", &[0xFF; 3 << 20])),
        ("jpeg of 10,000 scans", scans),
        ("jpeg of 60 EXIF blocks", jpeg_with("420.jpg", &exif(&entries).repeat(60))),
        ("jpeg with an EXIF loop", jpeg_with("420.jpg", &exif(b"II*\0\x08\0\0\0\0\0\x08\0\0\0"))),
        (
            "png of 300,000 chunks",
            png(1, 1, &[png_chunk(b"tIME", b"").repeat(1), png_chunk(b"puNK", b"").repeat(300_000), pixel.clone()]),
        ),
        ("png of empty image data", png(1, 1, &empty_idat)),
        ("apng of 50,000 frames", png(1, 1, &[png_chunk(b"acTL", &[0, 0, 0xC3, 0x50, 0, 0, 0, 0]), pixel, frame])),
        ("webp of 400,000 chunks", webp(&[vp8x(0, 8, 8), riff_chunk(b"JUNK", b"").repeat(400_000), vp8(8, 8)])),
        ("webp of frames beside frames", webp(&[vp8x(ANIMATED, 8, 8), animation_header(), nested])),
        ("webp of frames in frames", webp(&[vp8x(ANIMATED, 8, 8), animation_header(), deep])),
        ("webp exif of 4 GB", {
            let mut file = webp(&[vp8x(0x08, 8, 8), vp8(8, 8), riff_chunk(b"EXIF", &[0; 16])]);
            let at = file.len() - 20;
            file[at..at + 4].fill(0xFF);
            file
        }),
        ("tiff whose directory is its own successor", {
            let entries = [(256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, 64)];
            tiff(&entries, 8)
        }),
        ("tiff of 5,000 entries", tiff(&(0..5_000).map(|tag| (tag + 1_000, 0)).collect::<Vec<_>>(), 0)),
        ("tiff of 300,000 strips", {
            // Strip offsets and byte counts as arrays that the file is long enough to hold.
            let mut file = tiff(
                &[(256, 1), (257, 300_000), (258, 8), (259, 1), (262, 1), (273, 0), (277, 1), (278, 1), (279, 0)],
                0,
            );
            let data = file.len() as u32;
            for entry in [5, 8] {
                let at = 10 + 12 * entry;
                file[at + 4..at + 8].copy_from_slice(&300_000u32.to_le_bytes());
                file[at + 8..at + 12].copy_from_slice(&data.to_le_bytes());
            }
            file.resize(file.len() + 1_200_000, 0);
            file
        }),
    ]
}
