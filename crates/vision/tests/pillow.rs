//! Decoding, resampling and preprocessing against the libraries they follow.
//!
//! The references under `fixtures/` were computed by Pillow, torchvision and transformers; `fixtures/make.py` tells how.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use vs_vision::{
    Crop, CropAlign, Error, Filter, Limits, Preprocess, Resize, Rgb, Rounding, decode, inspect, preprocess_into,
};

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)
}

fn read(path: &str) -> Vec<u8> {
    fs::read(fixture(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn index<T: DeserializeOwned>(path: &str) -> Vec<T> {
    let cases: Vec<T> = serde_json::from_slice(&read(path)).unwrap();
    assert!(!cases.is_empty());
    cases
}

/// Largest and mean difference of two pictures.
fn difference(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len());
    let differences = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    (differences().max().unwrap_or(0), differences().map(f64::from).sum::<f64>() / a.len() as f64)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecodeCase {
    file: String,
    max_error: u8,
    #[serde(default)]
    refused: bool,
    #[serde(default)]
    stored: [u32; 2],
    #[serde(default)]
    size: [u32; 2],
    #[serde(default)]
    expect: String,
}

#[test]
fn decoding_matches_pillow() {
    decodes_as_pillow("decode");
}

#[test]
fn jpegs_match_pillow_to_the_bit() {
    assert!(index::<DecodeCase>("jpeg/index.json").iter().all(|case| case.max_error == 0));
    decodes_as_pillow("jpeg");
}

fn decodes_as_pillow(folder: &str) {
    let mut report = String::new();
    for case in index::<DecodeCase>(&format!("{folder}/index.json")) {
        let bytes = read(&format!("{folder}/{}", case.file));
        let result = decode(&bytes, &Limits::default());
        if case.refused {
            assert!(matches!(result, Err(Error::Unsupported(_))), "{}: {result:?}", case.file);
            continue;
        }
        let (info, picture) = match (inspect(&bytes, &Limits::default()), result) {
            (Ok(info), Ok(picture)) => (info, picture),
            failed => {
                report += &format!("{}: {failed:?}\n", case.file);
                continue;
            }
        };
        assert_eq!([info.width, info.height], case.stored, "{}", case.file);
        assert_eq!([picture.width(), picture.height()], case.size, "{}", case.file);
        assert_eq!(info.display_size(), (picture.width(), picture.height()), "{}", case.file);
        let (max, mean) = difference(picture.data(), &read(&format!("{folder}/{}", case.expect)));
        if max > case.max_error || mean > 0.6 {
            report += &format!("{}: off by up to {max}, {mean:.3} on average\n", case.file);
        }
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn headers_tell_alpha_and_orientation() {
    let info = |file: &str| inspect(&read(&format!("decode/{file}")), &Limits::default()).unwrap();
    for file in
        ["rgba.png", "grey-alpha.png", "palette-key.png", "rgb-key.png", "lossy-alpha.webp", "key.gif", "rgba.tif"]
    {
        assert!(info(file).has_alpha, "{file}");
    }
    for file in ["420.jpg", "rgb.png", "palette.png", "lossy.webp", "palette.gif", "rgb.bmp", "rgb.tif"] {
        assert!(!info(file).has_alpha, "{file}");
    }
    for orientation in 1..=8 {
        assert_eq!(info(&format!("orientation-{orientation}.jpg")).orientation, orientation);
    }
    let rest = ["orientation-6.png", "orientation-5.webp", "orientation-8.tif", "rgb.bmp"];
    assert_eq!(rest.map(|file| info(file).orientation), [6, 5, 8, 1]);
}

/// The EXIF block of a PNG may stand on either side of the image data.
#[test]
fn a_png_may_end_in_its_orientation() {
    let file = read("decode/orientation-6.png");
    let find = |kind: &[u8; 4]| file.windows(4).position(|name| name == kind).expect("a chunk") - 4;
    let (start, end) = (find(b"eXIf"), find(b"IEND"));
    let length = 12 + u32::from_be_bytes(file[start..start + 4].try_into().unwrap()) as usize;
    let moved = [&file[..start], &file[start + length..end], &file[start..start + length], &file[end..]].concat();
    assert_ne!(moved, file);
    assert_eq!(inspect(&moved, &Limits::default()).unwrap().orientation, 6);
    assert_eq!(decode(&moved, &Limits::default()).unwrap(), decode(&file, &Limits::default()).unwrap());
}

/// A TIFF may have samples that are no colour; Pillow leaves them out, too.
#[test]
fn what_is_no_colour_is_left_out() {
    let file = |samples: u32, predictor: u32, pixels: &[u8]| {
        let entries = [
            (256, 3),
            (257, 2),
            (258, 8),
            (259, 1),
            (262, 2),
            (273, 150),
            (277, samples),
            (278, 2),
            (279, 6 * samples),
        ];
        let more = [(317, predictor), (338, 0)];
        let mut file = b"II*\0\x08\0\0\0".to_vec();
        file.extend(((entries.len() + more.len()) as u16).to_le_bytes());
        for (tag, value) in entries.iter().chain(&more) {
            file.extend([tag & 0xFF, tag >> 8].map(|byte| byte as u8));
            file.extend([3, 0, 1, 0, 0, 0]);
            file.extend(u32::to_le_bytes(*value));
        }
        file.resize(150, 0);
        file.extend(pixels);
        file
    };
    let extra: Vec<u8> = (0..24).collect();
    let colours: Vec<u8> = (0..24).filter(|at| at % 4 < 3).collect();
    let picture = decode(&file(4, 1, &extra), &Limits::default()).unwrap();
    assert_eq!(picture.data(), colours);
    // The decoder would undo the differences of the wrong samples.
    assert!(matches!(decode(&file(4, 2, &extra), &Limits::default()), Err(vs_vision::Error::Unsupported(_))));
}

/// The padding of the last chunk may be missing; a byte of the picture may not.
#[test]
fn a_webp_may_lack_its_padding_and_nothing_else() {
    for name in ["lossy.webp", "lossless.webp", "lossy-alpha.webp", "lossless-alpha.webp", "animated.webp"] {
        let file = read(&format!("decode/{name}"));
        let whole = decode(&file, &Limits::default()).unwrap();
        match decode(&file[..file.len() - 1], &Limits::default()) {
            Ok(picture) => assert!(file.ends_with(&[0]) && picture == whole, "{name}"),
            Err(error) => assert!(error.to_string().contains("ends before"), "{name}: {error}"),
        }
        let mut odd = file.clone();
        odd.extend(b"JUNK\x01\0\0\0\x07");
        let length = (odd.len() as u32 + 1 - 8).to_le_bytes();
        odd[4..8].copy_from_slice(&length);
        if file.starts_with(b"RIFF") && &file[12..16] == b"VP8X" {
            assert_eq!(decode(&odd, &Limits::default()).unwrap(), whole, "{name} without padding");
        }
    }
}

/// A specification that does nothing to the values.
fn raw(resize: Resize, filter: Filter) -> Preprocess {
    Preprocess { resize, filter, scale: 1.0, ..Preprocess::default() }
}

fn source(folder: &str) -> Rgb {
    decode(&read(&format!("{folder}/source.png")), &Limits::default()).unwrap()
}

#[test]
fn resampling_matches_pillow() {
    let source = source("resize");
    let filters = [Filter::Nearest, Filter::Box, Filter::Bilinear, Filter::Hamming, Filter::Bicubic, Filter::Lanczos];
    for filter in filters {
        let name = serde_json::to_value(filter).unwrap();
        for (width, height) in [(24, 17), (7, 60), (70, 30), (64, 20)] {
            let path = format!("resize/{}-{width}x{height}.rgb", name.as_str().unwrap());
            let mut spec = raw(Resize::Exact { width, height }, filter);
            spec.layout = vs_vision::Layout::Nhwc;
            let mut out = vec![0u8; spec.output_len()];
            preprocess_into(&source, &spec, &mut out).unwrap();
            let (max, mean) = difference(&out, &read(&path));
            println!("{path}: off by up to {max}, {mean:.4} on average");
            // Enlarging with a filter that overshoots differs from Pillow by up to 20 levels in a few samples; networks
            // see reduced pictures.
            let overshoots = matches!(filter, Filter::Bicubic | Filter::Lanczos) && (width, height) == (70, 30);
            let (max_allowed, mean_allowed) = if overshoots { (24, 0.3) } else { (1, 0.1) };
            assert!(max <= max_allowed && mean < mean_allowed, "{path}: off by up to {max}, {mean:.3} on average");
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CropCase {
    file: String,
    align: CropAlign,
    shortest_edge: u32,
    width: u32,
    height: u32,
}

#[test]
fn crops_and_padding_match_torchvision_and_transformers() {
    let source = source("preprocess");
    for case in index::<CropCase>("preprocess/index.json") {
        let resize = Resize::ShortestEdge { size: case.shortest_edge, rounding: Rounding::Floor };
        let crop = Crop { width: case.width, height: case.height, align: case.align };
        let spec = Preprocess { crop: Some(crop), ..raw(resize, Filter::Bicubic) };
        let mut out = vec![0u8; spec.output_len()];
        preprocess_into(&source, &spec, &mut out).unwrap();
        let (max, mean) = difference(&out, &read(&format!("preprocess/{}", case.file)));
        assert!(max <= 1 && mean < 0.05, "{}: off by up to {max}, {mean:.3} on average", case.file);
    }
}

#[test]
fn a_whole_tensor_matches_torchvision() {
    let spec = Preprocess {
        resize: Resize::ShortestEdge { size: 16, rounding: Rounding::Floor },
        filter: Filter::Bicubic,
        crop: Some(Crop { width: 16, height: 16, align: CropAlign::HalfEven }),
        mean: [0.48145466, 0.4578275, 0.40821073],
        std: [0.26862954, 0.261_302_6, 0.275_777_1],
        ..Preprocess::default()
    };
    let mut out = vec![0f32; spec.output_len()];
    preprocess_into(&source("preprocess"), &spec, &mut out).unwrap();
    let bytes = read("preprocess/clip-16x16.f32");
    let expected: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    assert_eq!(out.len(), expected.len());
    // One level of a sample is 1/255/std = 0.015; a rounding apart in the resampler may make that difference.
    for (at, (ours, theirs)) in out.iter().zip(&expected).enumerate() {
        assert!((ours - theirs).abs() < 0.0151, "element {at}: {ours} and {theirs}");
    }
    let exact = out.iter().zip(&expected).filter(|(ours, theirs)| (*ours - *theirs).abs() < 1e-6).count();
    assert!(exact * 100 >= out.len() * 97, "only {exact} of {} elements agree", out.len());
}
