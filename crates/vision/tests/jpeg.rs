//! JPEGs that are odd: those that every viewer shows decode, and those whose pixels would have to be made up do not.

use std::fs;
use std::path::Path;

use vs_vision::{Error, Limits, Rgb, decode, inspect};

const SOF0: u8 = 0xC0;
const DHT: u8 = 0xC4;
const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const APP0: u8 = 0xE0;
const APP2: u8 = 0xE2;
const APP14: u8 = 0xEE;

fn read(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/decode").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn decoded(file: &[u8]) -> Result<Rgb, Error> {
    decode(file, &Limits::default())
}

/// Where each segment before the first scan's data begins, by marker; the last is the start of scan.
fn segments(file: &[u8]) -> Vec<(u8, usize)> {
    let (mut found, mut at) = (Vec::new(), 2);
    loop {
        assert_eq!(file[at], 0xFF);
        found.push((file[at + 1], at));
        if file[at + 1] == SOS {
            return found;
        }
        at += 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
    }
}

fn place(file: &[u8], marker: u8) -> usize {
    segments(file).into_iter().find(|(found, _)| *found == marker).unwrap().1
}

fn with(file: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    [&file[..at], bytes, &file[at..]].concat()
}

#[test]
fn what_harms_no_pixel_is_passed_over() {
    let file = read("420.jpg");
    let picture = decoded(&file).unwrap();
    let end = file.len() - 2;
    let mut cases = Vec::new();
    for (marker, at) in segments(&file) {
        if at > 2 {
            cases.push((format!("junk before {marker:02X}"), with(&file, at, &[0, 1, 2, 3])));
            cases.push((format!("fill bytes before {marker:02X}"), with(&file, at, &[0xFF; 9])));
        }
    }
    let scan = place(&file, SOS);
    let mut other_jfif = file.clone();
    other_jfif[place(&file, APP0) + 9] = 7;
    let mut zeroed_scan = file.clone();
    zeroed_scan[scan + 11..scan + 14].fill(0);
    let adobe = [&[0xFF, APP14, 0, 14][..], b"Adobe\0\x64\0\0\0\0\x09"].concat();
    let profile = [&[0xFF, APP2, 0, 20][..], b"ICC_PROFILE\0\x05\x02wxyz"].concat();
    cases.extend([
        ("bytes after the end".into(), with(&file, file.len(), b"\0\0tail")),
        ("another picture after the end".into(), file.repeat(2)),
        ("bytes after the coefficients".into(), with(&file, end, &[0; 7])),
        ("a later version of JFIF".into(), other_jfif),
        ("a scan of no coefficients".into(), zeroed_scan),
        ("a transform unknown to Adobe".into(), with(&file, scan, &adobe)),
        ("a colour profile in pieces out of order".into(), with(&file, scan, &profile)),
        ("an empty segment".into(), with(&file, 2, &[0xFF, APP2, 0, 2])),
    ]);
    for (what, file) in cases {
        assert!(decoded(&file).as_ref() == Ok(&picture), "{what}: {:?}", decoded(&file).map(drop));
    }
}

#[test]
fn bytes_between_scans_are_passed_over() {
    let file = read("progressive.jpg");
    let picture = decoded(&file).unwrap();
    let first = place(&file, SOS) + 2;
    let next = (first..file.len() - 1).find(|&at| file[at] == 0xFF && matches!(file[at + 1], DHT | SOS)).unwrap();
    assert!(decoded(&with(&file, next, &[0; 5])).as_ref() == Ok(&picture));
}

#[test]
fn pictures_without_their_end_are_errors() {
    for name in ["420.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg"] {
        let file = read(name);
        assert_eq!(file[file.len() - 2..], [0xFF, EOI]);
        assert!(decoded(&file).is_ok(), "{name}");
        let mut damaged = vec![file[..file.len() - 2].to_vec(), file[..file.len() - 1].to_vec()];
        // Nothing but the headers and the marker that says that all is there.
        let scan = place(&file, SOS);
        let data = scan + 2 + usize::from(u16::from_be_bytes([file[scan + 2], file[scan + 3]]));
        damaged.push([&file[..data], &[0xFF, EOI]].concat());
        damaged.push([&file[..data + (file.len() - data) / 2], &[0xFF, EOI]].concat());
        for (i, file) in damaged.iter().enumerate() {
            // A progressive file may end after a scan: that is a coarse picture, and a complete one.
            if (name, i) != ("progressive.jpg", 3) {
                assert!(matches!(decoded(file), Err(Error::Corrupt(_))), "{name}, {i}");
            }
        }
    }
}

#[test]
fn a_component_that_is_never_coded_is_an_error() {
    let file = read("420.jpg");
    // One scan, which is made to be about the first component alone.
    let scan = place(&file, SOS);
    let mut alone = file[..scan].to_vec();
    alone.extend([0xFF, SOS, 0, 8, 1, file[scan + 5], file[scan + 6], 0, 63, 0]);
    // Every code of zeros is one that the usual tables have; what is too much is passed over.
    alone.extend([0; 100_000]);
    alone.extend([0xFF, EOI]);
    assert!(matches!(decoded(&alone), Err(Error::Corrupt(reason)) if reason.contains("never coded")));
}

#[test]
fn what_is_not_read_is_named() {
    let file = read("420.jpg");
    let frame = place(&file, SOF0);
    let changed = |at: usize, byte: u8| {
        let mut file = file.clone();
        file[at] = byte;
        decoded(&file)
    };
    let named = |result: Result<Rgb, Error>, name: &str| {
        assert!(matches!(&result, Err(Error::Unsupported(what)) if what.contains(name)), "{name}: {result:?}");
    };
    named(changed(frame + 1, 0xC3), "lossless");
    named(changed(frame + 1, 0xC9), "arithmetic");
    named(changed(frame + 4, 12), "12 bits");
    named(changed(frame + 9, 2), "2 colour components");
    // Three samples across for the first component, two for the second.
    let mut fraction = file.clone();
    (fraction[frame + 11], fraction[frame + 14]) = (0x31, 0x21);
    named(decoded(&fraction), "fraction");
    assert!(inspect(&fraction, &Limits::default()).is_ok());
    assert_eq!(file[1], SOI);
}
