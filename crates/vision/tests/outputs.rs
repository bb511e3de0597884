//! Thumbnails, data URIs and tensors as a caller gets them.

use half::f16;
use vs_vision::{
    ChannelOrder, Crop, CropAlign, Error, Format, Layout, Limits, PadAlign, Preprocess, Resize, Rgb, Rounding,
    ThumbFormat, data_uri, decode, inspect, preprocess_into, thumbnail,
};

const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_pixels: 1 << 20 };

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/decode/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn thumbnails_fit_and_keep_what_they_can() {
    let rgba = fixture("rgba.png");
    for (format, sniffed, alpha) in [
        (ThumbFormat::Jpeg, Format::Jpeg, false),
        (ThumbFormat::Png, Format::Png, true),
        (ThumbFormat::WebP, Format::WebP, true),
    ] {
        let small = thumbnail(&rgba, 10, format, &LIMITS).unwrap();
        let info = inspect(&small, &LIMITS).unwrap();
        assert_eq!((info.format, info.has_alpha), (sniffed, alpha));
        assert_eq!((info.width, info.height), (10, 7), "29 x 19 reduced to a long side of 10");
        assert!(decode(&small, &LIMITS).is_ok());
    }
}

#[test]
fn thumbnails_are_upright_and_never_enlarged() {
    let upright = decode(&fixture("orientation-6.jpg"), &LIMITS).unwrap();
    let same = thumbnail(&fixture("orientation-6.jpg"), 4096, ThumbFormat::Png, &LIMITS).unwrap();
    assert_eq!(decode(&same, &LIMITS).unwrap(), upright);
    assert_eq!(inspect(&same, &LIMITS).unwrap().orientation, 1);
    // A lossless thumbnail of full size keeps colours that are hidden by transparency from changing what is seen.
    let whole = decode(&fixture("rgba.png"), &LIMITS).unwrap();
    let same = thumbnail(&fixture("rgba.png"), 29, ThumbFormat::Png, &LIMITS).unwrap();
    assert_eq!(decode(&same, &LIMITS).unwrap(), whole);
    let alike = thumbnail(&fixture("rgba.png"), 29, ThumbFormat::WebP, &LIMITS).unwrap();
    let alike = decode(&alike, &LIMITS).unwrap();
    assert_eq!((alike.width(), alike.height()), (29, 19));
    let off: u64 = alike.data().iter().zip(whole.data()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    let mean = off as f64 / whole.data().len() as f64;
    assert!(0.0 < mean && mean < 12.0, "off by {mean} levels on average");
}

#[test]
fn thumbnails_check_their_arguments() {
    for side in [0, 4097] {
        let result = thumbnail(&fixture("rgb.png"), side, ThumbFormat::Png, &LIMITS);
        assert!(matches!(result, Err(Error::InvalidArgument(_))), "{result:?}");
    }
    assert_eq!(thumbnail(b"", 10, ThumbFormat::Png, &LIMITS), Err(Error::Empty));
    let tiny = Limits { max_bytes: 1 << 20, max_pixels: 10 };
    let result = thumbnail(&fixture("rgb.png"), 10, ThumbFormat::Png, &tiny);
    assert_eq!(result, Err(Error::TooManyPixels { width: 29, height: 19, limit: 10 }));
}

#[test]
fn data_uris_carry_the_bytes_unchanged() {
    use base64::Engine;
    for (file, prefix) in [
        ("420.jpg", "data:image/jpeg;base64,"),
        ("rgb.png", "data:image/png;base64,"),
        ("lossy.webp", "data:image/webp;base64,"),
        ("key.gif", "data:image/gif;base64,"),
        ("rgb.bmp", "data:image/bmp;base64,"),
        ("rgb.tif", "data:image/tiff;base64,"),
    ] {
        let uri = data_uri(&fixture(file), &LIMITS).unwrap();
        let encoded = uri.strip_prefix(prefix).unwrap();
        assert_eq!(base64::engine::general_purpose::STANDARD.decode(encoded).unwrap(), fixture(file));
    }
    for no_picture in [&b"<script>alert(1)</script>"[..], b"\xFF\xD8\xFF\xE0", b"\x89PNG\r\n\x1a\n", b"BM"] {
        assert!(data_uri(no_picture, &LIMITS).is_err());
    }
}

/// A 2 × 1 picture: one pixel (10, 20, 30), one (40, 50, 60).
fn two_pixels() -> Rgb {
    Rgb::new(2, 1, vec![10, 20, 30, 40, 50, 60]).unwrap()
}

fn raw(resize: Resize) -> Preprocess {
    Preprocess { resize, scale: 1.0, ..Preprocess::default() }
}

#[test]
fn layouts_channel_orders_and_padding() {
    let square = Resize::LongestEdge { size: 2, rounding: Rounding::Floor, align: PadAlign::TopLeft };
    let mut spec = Preprocess { pad_color: [1, 2, 3], ..raw(square) };
    let mut out = [0u8; 12];
    preprocess_into(&two_pixels(), &spec, &mut out).unwrap();
    assert_eq!(out, [10, 40, 1, 1, 20, 50, 2, 2, 30, 60, 3, 3]);
    spec.layout = Layout::Nhwc;
    preprocess_into(&two_pixels(), &spec, &mut out).unwrap();
    assert_eq!(out, [10, 20, 30, 40, 50, 60, 1, 2, 3, 1, 2, 3]);
    spec.channels = ChannelOrder::Bgr;
    preprocess_into(&two_pixels(), &spec, &mut out).unwrap();
    assert_eq!(out, [30, 20, 10, 60, 50, 40, 3, 2, 1, 3, 2, 1]);
    spec.layout = Layout::Nchw;
    preprocess_into(&two_pixels(), &spec, &mut out).unwrap();
    assert_eq!(out, [30, 60, 3, 3, 20, 50, 2, 2, 10, 40, 1, 1]);
}

#[test]
fn normalisation_in_every_element_type() {
    let spec = Preprocess {
        scale: 2.0,
        mean: [104.0, 117.0, 123.0],
        std: [0.5, 1.0, 3.0],
        channels: ChannelOrder::Bgr,
        ..raw(Resize::Exact { width: 2, height: 1 })
    };
    // Mean and std belong to the tensor's channels: blue first here.
    let expected = [-88.0, 32.0, -77.0, -17.0, -103.0 / 3.0, -43.0 / 3.0];
    let mut floats = [0f32; 6];
    preprocess_into(&two_pixels(), &spec, &mut floats).unwrap();
    assert_eq!(floats, expected);
    let mut halves = [f16::ZERO; 6];
    preprocess_into(&two_pixels(), &spec, &mut halves).unwrap();
    assert_eq!(halves, expected.map(f16::from_f32));
    let mut bytes = [0u8; 6];
    preprocess_into(&two_pixels(), &spec, &mut bytes).unwrap();
    assert_eq!(bytes, [0, 32, 0, 0, 0, 0], "bytes saturate");
}

#[test]
fn bad_specifications_are_refused() {
    let good = Preprocess::default();
    assert_eq!(good.validate(), Ok(()));
    let edge = |size| Resize::ShortestEdge { size, rounding: Rounding::Floor };
    let crop = |width, height| Some(Crop { width, height, align: CropAlign::Floor });
    for (what, bad) in [
        ("no fixed size", raw(edge(224))),
        ("no fixed size", raw(Resize::None)),
        ("resize.size", Preprocess { crop: crop(1, 1), ..raw(edge(0)) }),
        ("resize.size", Preprocess { crop: crop(1, 1), ..raw(edge(4097)) }),
        ("resize.width", raw(Resize::Exact { width: 0, height: 1 })),
        ("resize.height", raw(Resize::Exact { width: 1, height: u32::MAX })),
        ("crop.width", Preprocess { crop: crop(0, 1), ..good.clone() }),
        ("crop.height", Preprocess { crop: crop(1, 5000), ..good.clone() }),
        ("scale", Preprocess { scale: f32::NAN, ..good.clone() }),
        ("mean", Preprocess { mean: [0.0, f32::INFINITY, 0.0], ..good.clone() }),
        ("std", Preprocess { std: [1.0, 0.0, 1.0], ..good.clone() }),
        ("std", Preprocess { std: [1.0, f32::NAN, 1.0], ..good.clone() }),
    ] {
        let error = bad.validate().unwrap_err().to_string();
        assert!(error.contains(what), "{error} should name {what}");
        let mut out = vec![0f32; bad.output_len().min(1 << 20)];
        assert!(preprocess_into(&two_pixels(), &bad, &mut out).is_err());
    }
    let mut short = [0f32; 6];
    assert!(matches!(preprocess_into(&two_pixels(), &good, &mut short), Err(Error::InvalidArgument(_))));
}

#[test]
fn elongated_pictures_take_the_memory_of_what_is_seen_of_them() {
    let ramp = |at: u32| (at / 300 % 256) as u8;
    let strip = Rgb::new(1, 60_000, (0..60_000).flat_map(|at| [ramp(at); 3]).collect()).unwrap();
    let crop = Some(Crop { width: 224, height: 224, align: CropAlign::Floor });
    let spec = Preprocess { crop, ..raw(Resize::ShortestEdge { size: 224, rounding: Rounding::Floor }) };
    let mut out = vec![0u8; spec.output_len()];
    // Whole it would be 224 x 13,440,000 pixels; the window shows one pixel of the source.
    assert_eq!(preprocess_into(&strip, &spec, &mut out), Ok(()));
    assert!(out.iter().all(|sample| sample.abs_diff(ramp(30_000)) <= 1), "{:?}", &out[..9]);
    let wide = Rgb::new(60_000, 1, strip.data().to_vec()).unwrap();
    assert_eq!(preprocess_into(&wide, &spec, &mut out), Ok(()));
    assert!(out.iter().all(|sample| sample.abs_diff(ramp(30_000)) <= 1), "{:?}", &out[..9]);
    // Where even that passes through a picture that is enormous, it is refused before memory is taken.
    let longer = Rgb::new(1, 2_000_000, vec![0; 6_000_000]).unwrap();
    assert!(matches!(preprocess_into(&longer, &spec, &mut out), Err(Error::Unsupported(_))));
    // Squashed, cropped or padded it is fine.
    for resize in [
        Resize::Exact { width: 224, height: 224 },
        Resize::None,
        Resize::LongestEdge { size: 224, rounding: Rounding::Nearest, align: PadAlign::Center },
    ] {
        let spec = Preprocess { crop, ..raw(resize) };
        assert_eq!(preprocess_into(&strip, &spec, &mut out), Ok(()), "{resize:?}");
    }
}

#[test]
fn a_manifest_reads_as_json() {
    let spec: Preprocess = serde_json::from_str(
        r#"{
            "resize": {"mode": "shortest_edge", "size": 256},
            "filter": "bicubic",
            "crop": {"width": 224, "height": 224, "align": "half_even"},
            "channels": "bgr",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "layout": "nhwc"
        }"#,
    )
    .unwrap();
    assert_eq!((spec.output_size(), spec.output_len()), ((224, 224), 224 * 224 * 3));
    assert_eq!(spec.resize, Resize::ShortestEdge { size: 256, rounding: Rounding::Floor });
    assert_eq!(serde_json::from_str::<Preprocess>(&serde_json::to_string(&spec).unwrap()).unwrap(), spec);
    assert!(serde_json::from_str::<Preprocess>(r#"{"filtre": "bicubic"}"#).is_err(), "misspelt keys are refused");
    assert!(serde_json::from_str::<Preprocess>(r#"{"resize": {"mode": "exact", "width": 224}}"#).is_err());
}
