//! Seeds, mutations and measurements for the hostile-input tests.

pub mod bombs;
pub mod memory;
pub mod random;

use std::fs;

use random::Random;

/// Seeds that are refused by name.
pub const REFUSED: [&str; 2] = ["float.tif", "palette.tif"];

fn folder() -> String {
    format!("{}/tests/fixtures/decode", env!("CARGO_MANIFEST_DIR"))
}

/// One small good picture.
pub fn seed(name: &str) -> Vec<u8> {
    fs::read(format!("{}/{name}", folder())).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Small good pictures of every kind, by name.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let names = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.ends_with(".rgb") && !name.ends_with(".json")).collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), seed(&name))).collect()
}

/// A file with one to four things wrong with it.
pub fn mutate(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut file = seed.to_vec();
    for _ in 0..1 + random.below(4) {
        if file.len() < 16 {
            return file;
        }
        // Headers decide more than pixels do, so half of the mutations go there.
        let reach = if random.below(2) == 0 { file.len().min(120) } else { file.len() };
        let at = random.below(reach - 8);
        match random.below(9) {
            0 | 1 => file[at] ^= 1 << random.below(8),
            2 => file[at] = random.byte(),
            3 => file.truncate(at + 8),
            4 => {
                // A length or a dimension that lies.
                let lies = [0, 1, 0x7F, 0xFF, 60_000, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, random.next() as u32];
                let lie = lies[random.below(lies.len())];
                let bytes = if random.below(2) == 0 { lie.to_be_bytes() } else { lie.to_le_bytes() };
                let width = [1, 2, 4][random.below(3)];
                let from = if random.below(2) == 0 { 0 } else { 4 - width };
                file[at..at + width].copy_from_slice(&bytes[from..from + width]);
            }
            5 => {
                let length = 1 + random.below(40.min(file.len() - at));
                file.drain(at..at + length);
            }
            6 => {
                let length = 1 + random.below(40.min(file.len() - at));
                let piece = file[at..at + length].to_vec();
                let to = random.below(file.len());
                file.splice(to..to, piece);
            }
            7 => {
                let end = (at + 1 + random.below(40)).min(file.len());
                file[at..end].fill([0, 0xFF][random.below(2)]);
            }
            _ => {
                let other = random.below(file.len() - 8);
                for i in 0..8 {
                    file.swap(at + i, other + i);
                }
            }
        }
    }
    // Half of the PNGs get their checksums repaired, or no mutation would get past them.
    if random.below(2) == 0 {
        bombs::repair_png(&mut file)
    }
    file
}
