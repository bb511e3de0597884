//! Hostile files: mutated, cut short, and built to explode.
//!
//! Every call must return, with an error or with a picture that is what its header says, within bounds of time and
//! memory. Memory is counted by the allocator of this test binary, so these tests take turns. What libjpeg-turbo
//! and libwebp take by themselves is not counted: it is bounded by the pixels that were allowed.

mod common;

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::random::Random;
use common::{bombs, memory};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use vs_vision::{
    Crop, CropAlign, Error, Filter, Limits, Preprocess, Resize, Rounding, ThumbFormat, contact_sheet, data_uri, decode,
    inspect, preprocess_into, thumbnail,
};

/// What the server would set, but small, so that an allocation beyond it stands out.
const LIMITS: Limits = Limits { max_bytes: 4 << 20, max_pixels: 1 << 20 };

/// Most a call may hold: the output, the decoder's planes or coefficients, and as much again for turning it upright.
/// 16-bit RGBA with its 8-bit copy is the dearest kind.
const MAX_MEMORY: usize = (LIMITS.max_pixels as usize) * 24 + 2 * LIMITS.max_bytes;

/// Most a call may take. Real ones take milliseconds: this only tells a hang from a busy machine.
const MAX_TIME: Duration = Duration::from_secs(60);

/// Whether to stop decoding.
static STOP: AtomicBool = AtomicBool::new(false);

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` and holds its time and memory against the bounds.
fn bounded<T>(what: &dyn Fn() -> String, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let (result, peak) = memory::peak_of(work);
    assert!(start.elapsed() < MAX_TIME, "{} took {:?}", what(), start.elapsed());
    assert!(peak < MAX_MEMORY, "{} took {peak} bytes", what());
    result
}

/// Decodes and checks what comes of it. Returns whether there was a picture.
fn survives(bytes: &[u8], what: &dyn Fn() -> String) -> bool {
    let info = bounded(what, || inspect(bytes, &LIMITS));
    let result = bounded(what, || decode(bytes, &LIMITS));
    match result {
        Ok(picture) => {
            let info = info.unwrap_or_else(|error| panic!("{}: decoded, but its header says {error}", what()));
            assert_eq!((picture.width(), picture.height()), info.display_size(), "{}", what());
            assert_eq!(picture.data().len(), picture.width() as usize * picture.height() as usize * 3, "{}", what());
            true
        }
        Err(Error::Corrupt(reason)) if reason.contains("gave up") => {
            panic!("{}: a decoder panicked, it needs a check in front of it: {reason}", what())
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

#[test]
fn mutated_files() {
    let _turn = turn();
    let mut random = Random::new(0x5EED);
    let (mut cases, mut pictures) = (0, 0);
    for (name, seed) in common::seeds() {
        assert!(survives(&seed, &|| name.clone()) || common::REFUSED.contains(&&*name), "{name} is good to begin with");
        for round in 0..32 {
            let mutant = common::mutate(&seed, &mut random);
            pictures += usize::from(survives(&mutant, &|| format!("{name}, mutation {round}: {mutant:02X?}")));
            cases += 1;
        }
    }
    assert!(cases >= 2_000, "{cases} cases");
    // The mutations must neither be harmless nor all die at the first byte.
    assert!((cases / 50..cases * 9 / 10).contains(&pictures), "{pictures} of {cases} decode");
}

#[test]
fn files_cut_short_are_errors() {
    let _turn = turn();
    for (name, seed) in common::seeds() {
        let Ok(whole) = decode(&seed, &LIMITS) else { continue };
        for length in (0..seed.len()).step_by(1 + seed.len() / 150).chain(seed.len().saturating_sub(12)..seed.len()) {
            let what = || format!("{name} cut to {length} of {} bytes", seed.len());
            if let Ok(picture) = bounded(&what, || decode(&seed[..length], &LIMITS)) {
                // Some formats end in bytes that carry no pixels.
                assert!(picture == whole, "{} decodes to another picture", what());
            }
        }
    }
}

#[test]
fn jpegs_cut_short_and_closed_are_errors() {
    let _turn = turn();
    for name in ["420.jpg", "444.jpg", "422.jpg", "grey.jpg", "cmyk.jpg", "optimized.jpg"] {
        let file = common::seed(name);
        let whole = decode(&file, &LIMITS).unwrap();
        let scan = file.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap() + 16;
        for length in scan..file.len() - 2 {
            let mut closed = file[..length].to_vec();
            closed.extend([0xFF, 0xD9]);
            let result = decode(&closed, &LIMITS);
            // The very last bytes may hold padding, or the tail of a value of the last block.
            if length + 4 < file.len() {
                assert!(result.is_err(), "{name} cut to {length} of {} bytes decodes", file.len());
            } else if let Ok(picture) = result {
                let changed = picture.data().iter().zip(whole.data()).filter(|(a, b)| a != b).count();
                assert!(changed <= 16 * 16 * 3, "{name} cut to {length} bytes: {changed} samples differ");
            }
        }
    }
}

#[test]
fn declared_dimensions_are_refused_before_memory_is_taken() {
    let _turn = turn();
    for (name, file, width, height) in bombs::dimensions() {
        let (result, peak) = memory::peak_of(|| decode(&file, &LIMITS));
        assert_eq!(result, Err(Error::TooManyPixels { width, height, limit: LIMITS.max_pixels }), "{name}");
        assert!(peak < 1 << 20, "{name} took {peak} bytes");
        assert!(matches!(inspect(&file, &LIMITS), Err(Error::TooManyPixels { .. })), "{name}");
    }
}

#[test]
fn hidden_dimensions_are_refused_before_memory_is_taken() {
    let _turn = turn();
    for (name, file) in bombs::hidden_dimensions() {
        let (result, peak) = memory::peak_of(|| decode(&file, &LIMITS));
        assert!(result.is_err(), "{name}");
        assert!(peak < 1 << 20, "{name} took {peak} bytes");
    }
}

#[test]
fn compressed_bombs_stay_compressed() {
    let _turn = turn();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    for _ in 0..1 << 10 {
        zlib.write_all(&[0; 1 << 18]).unwrap();
    }
    // 256 MB of zeros in 260 KB.
    let bomb = zlib.finish().unwrap();
    for (name, file) in bombs::png_with(&bomb) {
        let what = || name.to_owned();
        bounded(&what, || inspect(&file, &LIMITS)).ok();
        let (_, peak) = memory::peak_of(|| survives(&file, &what));
        assert!(peak < 4 << 20, "{name} took {peak} bytes");
    }
}

/// A picture may be as long as there are pixels, and one pixel high: a filter that reaches over the whole of it has more
/// weights than it has pixels.
#[test]
fn strips_are_resized_within_bounds() {
    let _turn = turn();
    for (width, height) in [(1 << 20, 1), (1, 1 << 20), (1 << 16, 16), (300_000, 2)] {
        for channels in [1, 4] {
            let file = bombs::flat_png(width, height, channels);
            let what = || format!("{width} x {height} of {channels} channels");
            for format in [ThumbFormat::Jpeg, ThumbFormat::Png] {
                let made = bounded(&what, || thumbnail(&file, 160, format, &LIMITS));
                assert!(made.is_ok() || u64::from(width.max(height)) > 300_000, "{}: {made:?}", what());
            }
            let picture = decode(&file, &LIMITS).unwrap();
            for filter in [Filter::Nearest, Filter::Box, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
                let exact = Resize::Exact { width: 192, height: 192 };
                let shortest = Resize::ShortestEdge { size: 224, rounding: Rounding::default() };
                for resize in [exact, shortest] {
                    let crop = Some(Crop { width: 192, height: 192, align: CropAlign::default() });
                    let spec = Preprocess { resize, filter, crop, ..Preprocess::default() };
                    let mut tensor = vec![0f32; spec.output_len()];
                    let (_, peak) = memory::peak_of(|| preprocess_into(&picture, &spec, &mut tensor).ok());
                    assert!(peak < 256 << 20, "{} by {filter:?} to {resize:?} took {peak} bytes", what());
                }
            }
        }
    }
}

#[test]
fn codes_that_no_pixel_uses_take_no_memory() {
    let _turn = turn();
    let file = bombs::webp_codes(1 << 14);
    assert!(file.len() < LIMITS.max_bytes);
    // The decoder's memory is not the allocator's above.
    let before = memory::peak_resident();
    let picture = bounded(&|| "webp of 16,384 codes".to_owned(), || decode(&file, &LIMITS)).unwrap();
    assert_eq!((picture.width(), picture.height()), (8, 8));
    let taken = memory::peak_resident() - before;
    assert!(taken < 64 << 20, "it took {taken} bytes");
}

#[test]
fn long_structures_are_walked_in_time() {
    let _turn = turn();
    for (name, file) in bombs::long() {
        assert!(file.len() <= LIMITS.max_bytes, "{name} has {} bytes", file.len());
        survives(&file, &|| name.to_owned());
    }
}

#[test]
fn decoding_ends_when_the_host_wants_it_to() {
    let _turn = turn();
    vs_vision::stop_when(|| STOP.load(Ordering::Relaxed));
    for (name, file) in bombs::slow() {
        STOP.store(false, Ordering::Relaxed);
        let decoding = std::thread::spawn(move || decode(&file, &LIMITS));
        // Long enough for it to be in the middle.
        std::thread::sleep(Duration::from_millis(100));
        assert!(!decoding.is_finished(), "{name} is not slow: {:?}", decoding.join());
        STOP.store(true, Ordering::Relaxed);
        let asked = Instant::now();
        let result = decoding.join().unwrap();
        STOP.store(false, Ordering::Relaxed);
        assert_eq!(result, Err(Error::Stopped), "{name}");
        assert!(asked.elapsed() < MAX_TIME / 10, "{name} went on for {:?}", asked.elapsed());
    }
    // Whatever the format.
    STOP.store(true, Ordering::Relaxed);
    let results: Vec<_> = common::seeds().into_iter().map(|(name, seed)| (name, decode(&seed, &LIMITS))).collect();
    STOP.store(false, Ordering::Relaxed);
    for (name, result) in results {
        assert!(!matches!(result, Err(Error::Corrupt(_))), "{name}: {result:?}");
    }
}

#[test]
fn reasons_are_short() {
    let _turn = turn();
    for (_, file) in bombs::hidden_dimensions() {
        let reason = decode(&file, &LIMITS).unwrap_err().to_string();
        assert!(reason.len() < 400, "{} bytes: {reason}", reason.len());
    }
}

#[test]
fn limits_on_bytes() {
    let _turn = turn();
    let file = common::seed("rgb.png");
    let limits = Limits { max_bytes: file.len() - 1, ..LIMITS };
    let too_large = Error::TooLarge { bytes: file.len(), limit: file.len() - 1 };
    assert_eq!(decode(&file, &limits), Err(too_large.clone()));
    assert_eq!(data_uri(&file, &limits), Err(too_large));
    assert!(decode(&file, &Limits { max_bytes: file.len(), ..LIMITS }).is_ok());
}

#[test]
fn everything_else_survives_too() {
    let _turn = turn();
    let mut random = Random::new(7);
    let mut sheet = Vec::new();
    for (name, seed) in common::seeds() {
        let mutant = common::mutate(&seed, &mut random);
        for format in [ThumbFormat::Jpeg, ThumbFormat::Png, ThumbFormat::WebP] {
            bounded(&|| format!("thumbnail of {name}"), || thumbnail(&mutant, 16, format, &LIMITS)).ok();
        }
        data_uri(&mutant, &LIMITS).ok();
        sheet.push(mutant);
    }
    let limits = Limits { max_pixels: 1 << 23, ..LIMITS };
    let pictures: Vec<_> = sheet.iter().map(|file| Some(&file[..])).collect();
    let captions = vec![Some("\u{0}\u{202E}\u{1F600}caption\n"); pictures.len()];
    let drawn = contact_sheet(&pictures, 9, &captions, &limits, &mut || ()).unwrap();
    assert!(decode(&drawn, &limits).is_ok());
}

#[test]
fn noise_is_refused() {
    let _turn = turn();
    let mut random = Random::new(99);
    let heads: [&[u8]; 7] = [
        b"\xFF\xD8\xFF",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x00\x10\x00\x00WEBPVP8X",
        b"GIF89a",
        b"BM",
        b"II*\0\x08\0\0\0",
        b"",
    ];
    for round in 0..1_400 {
        let head = heads[round % heads.len()];
        let mut file = head.to_vec();
        file.extend((0..random.below(600)).map(|_| random.byte()));
        survives(&file, &|| format!("noise: {file:02X?}"));
    }
}
