//! `image_info`, `image_thumbnail`, `image_data_uri` and `image_contact_sheet`.

use image::{DynamicImage, GenericImageView, ImageFormat, Rgba, RgbaImage};
use pg_test::{Database, describe, pictures, server_error};
use postgres::Client;

fn info(session: &mut Client, picture: &[u8]) -> (String, i32, i32, i32, bool) {
    let row =
        session.query_one("SELECT * FROM image_info($1)", &[&picture]).unwrap_or_else(|e| panic!("{}", describe(&e)));
    (row.get("format"), row.get("width"), row.get("height"), row.get("orientation"), row.get("has_alpha"))
}

fn thumbnail(session: &mut Client, picture: &[u8], side: i32, format: &str) -> Vec<u8> {
    let row = session.query_one("SELECT image_thumbnail($1, $2, $3)", &[&picture, &side, &format]);
    row.unwrap_or_else(|e| panic!("{side} {format}: {}", describe(&e))).get(0)
}

/// Half red, half transparent.
fn half_clear() -> RgbaImage {
    RgbaImage::from_fn(60, 30, |x, _| if x < 30 { Rgba([200, 0, 0, 255]) } else { Rgba([0, 0, 0, 0]) })
}

#[test]
fn info_states_what_is_in_the_header() {
    let mut session = Database::shared("image_info").connect();
    let picture = DynamicImage::from(pictures::draw(1, 70, 50));
    for format in pictures::FORMATS {
        let name = format.extensions_str().iter().find(|name| **name != "jpg" && **name != "tif").unwrap();
        let (found, width, height, orientation, _) = info(&mut session, &pictures::encode(&picture, format));
        assert_eq!((found.as_str(), width, height, orientation), (*name, 70, 50, 1));
    }
    let clear = DynamicImage::from(half_clear());
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Tiff] {
        assert!(info(&mut session, &pictures::encode(&clear, format)).4, "{format:?} has alpha");
        assert!(!info(&mut session, &pictures::encode(&picture, format)).4, "{format:?} has none");
    }
    // The size is the stored one, the orientation says how to turn it.
    for orientation in 1..=8 {
        let turned = pictures::with_orientation(&pictures::photo(1), orientation);
        assert_eq!(info(&mut session, &turned), ("jpeg".into(), 96, 72, i32::from(orientation), false));
    }
    assert_eq!(info(&mut session, &pictures::with_orientation(&pictures::photo(1), 9)).3, 1, "no such orientation");
    // A header is enough; a picture cut short after it has a size, and no pixels.
    let cut = &pictures::photo(1)[..700];
    assert_eq!(info(&mut session, cut).1, 96);
}

#[test]
fn thumbnails_are_upright_and_fit() {
    let mut session = Database::shared("image_thumbnail").connect();
    let wide = pictures::encode(&pictures::draw(2, 300, 100).into(), ImageFormat::Png);
    for (name, format) in [
        ("jpeg", ImageFormat::Jpeg),
        ("png", ImageFormat::Png),
        ("webp", ImageFormat::WebP),
        ("JPG", ImageFormat::Jpeg),
    ] {
        let small = thumbnail(&mut session, &wide, 60, name);
        assert_eq!(image::guess_format(&small).unwrap(), format);
        assert_eq!(image::load_from_memory(&small).unwrap().dimensions(), (60, 20), "{name}");
    }
    assert_eq!(image::load_from_memory(&thumbnail(&mut session, &wide, 1, "png")).unwrap().dimensions(), (1, 1));
    assert_eq!(image::load_from_memory(&thumbnail(&mut session, &wide, 4096, "png")).unwrap().dimensions(), (300, 100));
    let unchanged = image::load_from_memory(&thumbnail(&mut session, &wide, 300, "png")).unwrap();
    assert!(unchanged.to_rgb8() == pictures::draw(2, 300, 100), "never enlarged, and not touched if it fits");

    let turned = pictures::with_orientation(&pictures::photo(3), 6);
    let upright = image::load_from_memory(&thumbnail(&mut session, &turned, 96, "png")).unwrap().to_rgb8();
    let expected = image::load_from_memory(&pictures::photo(3)).unwrap().rotate90().to_rgb8();
    assert_eq!(upright.dimensions(), expected.dimensions());
    let difference: u64 = upright.as_raw().iter().zip(expected.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    assert!(difference / (upright.as_raw().len() as u64) < 3, "turned by 90 degrees");

    let clear = pictures::encode(&half_clear().into(), ImageFormat::Png);
    let kept = image::load_from_memory(&thumbnail(&mut session, &clear, 20, "png")).unwrap().to_rgba8();
    assert_eq!(kept.get_pixel(19, 5).0[3], 0, "PNG keeps transparency");
    let on_white = image::load_from_memory(&thumbnail(&mut session, &clear, 20, "jpeg")).unwrap().to_rgb8();
    assert!(on_white.get_pixel(19, 5).0.iter().all(|sample| *sample > 245), "JPEG has none: white");

    let default: Vec<u8> = session.query_one("SELECT image_thumbnail($1)", &[&wide]).unwrap().get(0);
    assert_eq!(image::guess_format(&default).unwrap(), ImageFormat::Jpeg);
    assert_eq!(image::load_from_memory(&default).unwrap().dimensions(), (160, 53));
}

#[test]
fn bad_arguments_are_refused() {
    let mut session = Database::shared("image_arguments").connect();
    let picture = pictures::tiny(1);
    for (call, code) in [
        ("image_thumbnail($1, 0)", "22023"),
        ("image_thumbnail($1, -5)", "22023"),
        ("image_thumbnail($1, 2147483647)", "22023"),
        ("image_thumbnail($1, 10, 'gif')", "22023"),
        ("image_thumbnail($1, 10, '')", "22023"),
        ("image_contact_sheet(ARRAY[$1], 0)", "22023"),
        ("image_contact_sheet(ARRAY[$1], -1)", "22023"),
        ("image_contact_sheet(ARRAY[$1], 1000000)", "22023"),
        ("image_contact_sheet(array_fill($1, ARRAY[5000]), 10)", "22023"),
        // A NULL takes a bit of an array; whatever is made of each must be refused before it is made.
        ("image_contact_sheet(array_fill(nullif($1, $1), ARRAY[100000000]), 10)", "22023"),
        ("image_contact_sheet(ARRAY[$1], 1, array_fill(NULL::text, ARRAY[100000000]))", "22023"),
        ("embed_images(array_fill(nullif($1, $1), ARRAY[100000000]))", "54000"),
        ("image_info('\\x'::bytea || substr($1, 1, 0))", "22P03"),
        ("image_data_uri('<script>'::bytea || $1)", "0A000"),
    ] {
        let sql = format!("SELECT {}", call.replace("$1", "$1::bytea"));
        let error = server_error(session.query(&sql, &[&picture]).expect_err(call), call);
        assert_eq!(error.code().code(), code, "{call}: {}", error.message());
    }
    let nulls = "SELECT image_info(NULL) IS NULL AND image_thumbnail(NULL) IS NULL AND image_data_uri(NULL) IS NULL
                 AND image_contact_sheet(NULL) IS NULL";
    assert!(session.query_one(nulls, &[]).unwrap().get::<_, bool>(0));
}

#[test]
fn a_data_uri_holds_the_bytes() {
    let mut session = Database::shared("image_data_uri").connect();
    let picture = DynamicImage::from(pictures::draw(4, 20, 20));
    for (format, mime) in [
        (ImageFormat::Jpeg, "image/jpeg"),
        (ImageFormat::Png, "image/png"),
        (ImageFormat::WebP, "image/webp"),
        (ImageFormat::Gif, "image/gif"),
        (ImageFormat::Bmp, "image/bmp"),
        (ImageFormat::Tiff, "image/tiff"),
    ] {
        let bytes = pictures::encode(&picture, format);
        // PostgreSQL's own base64, without its line breaks.
        let sql = "SELECT image_data_uri($1), translate(encode($1, 'base64'), E'\\n', '')";
        let row = session.query_one(sql, &[&bytes]).unwrap();
        assert_eq!(row.get::<_, String>(0), format!("data:{mime};base64,{}", row.get::<_, String>(1)));
    }
}

#[test]
fn a_contact_sheet_shows_every_picture_in_its_place() {
    let mut session = Database::shared("image_contact_sheet").connect();
    let colours = [[220, 30, 30], [30, 180, 30], [30, 30, 220], [200, 200, 30]];
    let pictures: Vec<Vec<u8>> = colours
        .iter()
        .map(|colour| {
            pictures::encode(&image::RgbImage::from_pixel(50, 50, image::Rgb(*colour)).into(), ImageFormat::Png)
        })
        .collect();
    let sheet = |session: &mut Client, columns: i32, captions: Option<Vec<Option<&str>>>| -> image::RgbImage {
        let row = session.query_one("SELECT image_contact_sheet($1, $2, $3)", &[&pictures, &columns, &captions]);
        let bytes: Vec<u8> = row.unwrap_or_else(|e| panic!("{}", describe(&e))).get(0);
        assert_eq!(image::guess_format(&bytes).unwrap(), ImageFormat::Png);
        image::load_from_memory(&bytes).unwrap().to_rgb8()
    };
    for (columns, rows) in [(2, 2), (4, 1), (1, 4)] {
        let drawn = sheet(&mut session, columns, None);
        let (cell_width, cell_height) = (drawn.width() / columns as u32, drawn.height() / rows);
        for (place, colour) in colours.iter().enumerate() {
            let (column, row) = (place as u32 % columns as u32, place as u32 / columns as u32);
            let found = count_near(
                &drawn,
                colour,
                column * cell_width..(column + 1) * cell_width,
                row * cell_height..(row + 1) * cell_height,
            );
            let all = count_near(&drawn, colour, 0..drawn.width(), 0..drawn.height());
            assert!(
                all >= 1_000 && found * 10 >= all * 9,
                "{columns} columns: picture {place}: {found} of {all} pixels in its cell"
            );
        }
    }
    // Captions are drawn, and change nothing but what is around the pictures.
    let plain = sheet(&mut session, 2, None);
    let named = sheet(&mut session, 2, Some(vec![Some("red shoes"), None, Some("größer & ünïcode 日本 🙂"), Some("")]));
    assert!(plain != named, "captions are drawn");
    for colour in &colours {
        let count = |sheet: &image::RgbImage| count_near(sheet, colour, 0..sheet.width(), 0..sheet.height());
        let (without, with) = (count(&plain), count(&named));
        assert!(with * 10 >= without * 9, "captions lie on no picture");
    }
}

fn count_near(
    sheet: &image::RgbImage,
    colour: &[u8; 3],
    columns: std::ops::Range<u32>,
    rows: std::ops::Range<u32>,
) -> usize {
    rows.flat_map(|y| columns.clone().map(move |x| (x, y)))
        .filter(|&(x, y)| sheet.get_pixel(x, y).0.iter().zip(colour).all(|(a, b)| a.abs_diff(*b) < 12))
        .count()
}
