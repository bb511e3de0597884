//! Files as they come: without tables, with too many scans, cut short. That samples are right is tested in `vs_vision`,
//! whose fixtures are used here, too.

use std::fs;

use vs_jpeg::{Error, Headers};

const DHT: u8 = 0xC4;
const RST0: u8 = 0xD0;
const RST5: u8 = 0xD5;
const SOS: u8 = 0xDA;

fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/../vision/tests/fixtures/jpeg/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn decode(file: &[u8]) -> Result<Vec<u8>, Error> {
    let headers = Headers::read(file)?;
    let mut rgb = vec![0; 3 * usize::from(headers.width()) * usize::from(headers.height())];
    headers.decode_rgb(&mut rgb).map(|()| rgb)
}

/// Why a file is refused.
fn reason(file: &[u8]) -> String {
    decode(file).expect_err("it is damaged").to_string()
}

/// Where markers of a kind stand.
fn markers(file: &[u8], code: u8) -> Vec<usize> {
    (0..file.len() - 1).filter(|&at| file[at..at + 2] == [0xFF, code]).collect()
}

#[test]
fn the_standard_tables_are_meant_where_there_are_none() {
    let whole = file("420-33x18.jpg");
    let mut bare = whole.clone();
    for at in markers(&whole, DHT).into_iter().rev() {
        let length = usize::from(u16::from_be_bytes([whole[at + 2], whole[at + 3]]));
        bare.drain(at..at + 2 + length);
    }
    assert!(bare.len() + 400 < whole.len(), "there were tables");
    assert_eq!(decode(&bare), decode(&whole));
    assert!(decode(&whole).is_ok());
}

#[test]
fn restart_markers_are_in_order() {
    let mut damaged = file("444-33x18-restart.jpg");
    let first = markers(&damaged, RST0)[0];
    damaged[first + 1] = RST5;
    assert_eq!(reason(&damaged), "a restart marker of the JPEG is missing");
}

#[test]
fn no_scan_comes_twice() {
    for (name, expected) in [
        ("420-33x18-progressive.jpg", "a JPEG scan brings bits of coefficients out of turn"),
        ("420-33x18.jpg", "a JPEG component is coded twice"),
        ("scans-33x18.jpg", "a JPEG component is coded twice"),
    ] {
        let mut file = file(name);
        let last = *markers(&file, SOS).last().unwrap();
        let scan = file[last..file.len() - 2].to_vec();
        let end = file.len() - 2;
        file.splice(end..end, scan);
        assert_eq!(reason(&file), expected, "{name}");
    }
}

#[test]
fn what_is_cut_short_is_no_picture() {
    for name in ["420-33x18.jpg", "grey-33x18.jpg", "scans-33x18.jpg"] {
        let file = file(name);
        let (body, end) = file.split_at(file.len() - 2);
        assert_eq!(reason(body), "the JPEG ends before its end-of-image marker", "{name}");
        let closed = [&body[..body.len() - 20], end].concat();
        assert_eq!(reason(&closed), "the JPEG's image data end too early", "{name}");
    }
    // A component's only scan is missing.
    let file = file("scans-33x18.jpg");
    let last = *markers(&file, SOS).last().unwrap();
    assert_eq!(reason(&[&file[..last], &[0xFF, 0xD9]].concat()), "a JPEG component is never coded");
}
