//! Decoding and preprocessing on one core, in microseconds of processor time a picture.
//!
//! `cargo bench -p vs_vision --bench pipeline -- [--pictures DIR] [--count N] [--side N] [--filter NAME] [--dump FILE]`
//!
//! `--dump` writes the tensors (f32, NCHW, little endian, one after the other, in the order of the sorted paths), so that
//! `pipeline.py` can compare them with those of Pillow and NumPy. Without `--pictures`, and where the default folder does
//! not exist, one generated photo-like JPEG stands in for all.

use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::{env, fs};

use image::codecs::jpeg::JpegEncoder;
use rustix::time::{ClockId, clock_gettime};
use vs_vision::{Filter, Limits, Preprocess, Resize, Rgb, decode, preprocess_into};

/// Product photos of 400 × 533 pixels and 30 KB, if they are there.
const PICTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/clothing");

/// Every stage is timed this often, and the fastest run counts.
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    let files = pictures(&options)?;
    let spec = Preprocess {
        resize: Resize::Exact { width: options.side, height: options.side },
        filter: options.filter,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        ..Preprocess::default()
    };
    let limits = Limits::default();
    let decoded = files.iter().map(|bytes| decode(bytes, &limits)).collect::<Result<Vec<Rgb>, _>>()?;
    let mut tensor = vec![0f32; spec.output_len()];

    let decoding = microseconds(&files, |bytes| {
        black_box(decode(bytes, &limits).expect("it decoded before"));
    });
    let preprocessing = microseconds(&decoded, |picture| {
        preprocess_into(picture, &spec, &mut tensor).expect("the specification is valid");
        black_box(&tensor);
    });
    let both = microseconds(&files, |bytes| {
        let picture = decode(bytes, &limits).expect("it decoded before");
        preprocess_into(&picture, &spec, &mut tensor).expect("the specification is valid");
        black_box(&tensor);
    });
    println!("pictures {} side {} filter {:?}", files.len(), options.side, options.filter);
    println!("decode {decoding:.1} us");
    println!("preprocess {preprocessing:.1} us");
    println!("both {both:.1} us");

    if let Some(path) = options.dump {
        let mut dump = Vec::with_capacity(files.len() * tensor.len() * 4);
        for picture in &decoded {
            preprocess_into(picture, &spec, &mut tensor)?;
            dump.extend(tensor.iter().flat_map(|element| element.to_le_bytes()));
        }
        fs::write(path, dump)?;
    }
    Ok(())
}

fn microseconds<T>(items: &[T], mut work: impl FnMut(&T)) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = processor_seconds();
        items.iter().for_each(&mut work);
        best = best.min(processor_seconds() - start);
    }
    best * 1e6 / items.len() as f64
}

/// Time on the processor, which other processes on a busy machine disturb less than the time of day.
fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

struct Options {
    pictures: Option<PathBuf>,
    count: usize,
    side: u32,
    filter: Filter,
    dump: Option<PathBuf>,
}

impl Options {
    fn parse() -> Result<Self, Box<dyn Error>> {
        let mut options = Self { pictures: None, count: 500, side: 224, filter: Filter::Bicubic, dump: None };
        let mut arguments = env::args().skip(1);
        while let Some(name) = arguments.next() {
            if name == "--bench" {
                continue; // cargo adds it
            }
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            match &*name {
                "--pictures" => options.pictures = Some(value.into()),
                "--count" => options.count = value.parse()?,
                "--side" => options.side = value.parse()?,
                "--filter" => options.filter = serde_json::from_value(value.into())?,
                "--dump" => options.dump = Some(value.into()),
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        Ok(options)
    }
}

/// The first JPEGs of the folder, by path.
fn pictures(options: &Options) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let folder = options.pictures.as_deref().unwrap_or(Path::new(PICTURES));
    if options.pictures.is_none() && !folder.exists() {
        return Ok(vec![generated()?; options.count]);
    }
    let (mut folders, mut paths) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "jpg") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let files = paths.iter().take(options.count).map(fs::read).collect::<Result<Vec<_>, _>>()?;
    if files.is_empty() { Err("no .jpg there".into()) } else { Ok(files) }
}

/// A JPEG of the size and weight of a product photo.
fn generated() -> Result<Vec<u8>, Box<dyn Error>> {
    let (width, height) = (400, 533);
    let wave = |x: u32, y: u32, f: f32| ((x as f32 * f).sin() * (y as f32 * f * 0.7).cos() * 60.0 + 150.0) as u8;
    let samples =
        (0..height).flat_map(|y| (0..width).flat_map(move |x| [wave(x, y, 0.05), wave(x, y, 0.4), wave(y, x, 0.02)]));
    let samples: Vec<u8> = samples.collect();
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, 85).encode(&samples, width, height, image::ExtendedColorType::Rgb8)?;
    Ok(file)
}
