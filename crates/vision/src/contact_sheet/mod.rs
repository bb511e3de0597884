//! Contact sheets: many pictures on one, with captions.
//!
//! The sheet is a grid of equal cells. A cell is a square box with a hairline frame, the picture centred in it and never
//! enlarged, and below it up to two centred lines of caption. A picture that is missing or cannot be decoded leaves a
//! crossed-out box, so that the position of every other picture stays what the caller expects.

mod canvas;
mod caption;

use crate::decode::decode_raster;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::picture::Rgb;
use crate::thumbnail::{encode_png, fit};
use canvas::{Canvas, Color};

/// Side of the square a picture is fitted into, in pixels.
const BOX: u32 = 160;
/// Space between boxes and around the grid, in pixels.
const GAP: u32 = 16;
/// Space between a box and its caption, in pixels.
const CAPTION_GAP: u32 = 5;
/// Most lines of a caption.
const CAPTION_LINES: usize = 2;
/// Most pictures on one sheet.
const MAX_PICTURES: usize = 1_000;
/// Most columns of one sheet.
const MAX_COLUMNS: u32 = 50;

/// Whether [`contact_sheet`] takes so many pictures, columns and captions: for callers that would have to collect them
/// first.
///
/// # Errors
/// [`Error::InvalidArgument`] for less than 1 or more than 1,000 pictures, less than 1 or more than 50 columns, or more
/// captions than pictures.
pub fn check_contact_sheet(pictures: usize, columns: u32, captions: usize) -> Result<()> {
    let invalid = |what| Err(Error::InvalidArgument(what));
    if !(1..=MAX_COLUMNS).contains(&columns) {
        return invalid(format!("a contact sheet has 1 to {MAX_COLUMNS} columns, not {columns}"));
    }
    if !(1..=MAX_PICTURES).contains(&pictures) {
        return invalid(format!("a contact sheet has 1 to {MAX_PICTURES} pictures, not {pictures}"));
    }
    if captions > pictures {
        return invalid(format!("{captions} captions for {pictures} pictures"));
    }
    Ok(())
}

const PAPER: Color = [255, 255, 255];
const FRAME: Color = [222, 222, 226];
const INK: Color = [45, 45, 50];
const EMPTY: Color = [246, 246, 248];
const CROSS: Color = [205, 92, 92];

/// Draws `pictures` (at most 1,000 files of any readable format) in a grid of `columns` (1..=50) and returns it as PNG.
///
/// Caption *i* goes with picture *i*; captions may be fewer than pictures. Characters without a glyph (the font covers
/// Latin scripts) are drawn as `?`, long captions are wrapped and cut. `between` is called before each picture and may
/// unwind.
///
/// # Errors
/// [`Error::InvalidArgument`] as [`check_contact_sheet`] says;
/// [`Error::TooManyPixels`] if the sheet itself would exceed `limits`; [`Error::OutOfMemory`]. What is wrong with a single
/// picture is no error: its box is crossed out.
pub fn contact_sheet(
    pictures: &[Option<&[u8]>],
    columns: u32,
    captions: &[Option<&str>],
    limits: &Limits,
    between: &mut dyn FnMut(),
) -> Result<Vec<u8>> {
    check_contact_sheet(pictures.len(), columns, captions.len())?;
    let captions: Vec<Vec<String>> =
        captions.iter().map(|text| caption::wrap(text.unwrap_or_default(), BOX, CAPTION_LINES)).collect();
    let grid = Grid::new(pictures.len(), columns, &captions);
    limits.check_pixels(grid.width, grid.height)?;
    let mut canvas = Canvas::new(grid.width, grid.height, PAPER)?;
    for (i, picture) in pictures.iter().enumerate() {
        between();
        let (x, y) = grid.cell(i as u32);
        match thumbnail_of(*picture, limits)? {
            Some(thumbnail) => draw_picture(&mut canvas, x, y, &thumbnail),
            None => draw_missing(&mut canvas, x, y),
        }
        for (line, text) in captions.get(i).into_iter().flatten().enumerate() {
            let left = x + (BOX - caption::width(text)) / 2;
            caption::draw(&mut canvas, left, y + BOX + CAPTION_GAP + line as u32 * caption::LINE_HEIGHT, text, INK);
        }
    }
    encode_png(&canvas.into_raster())
}

/// The picture in a size that fits a box; `None` if there is none or it cannot be used.
fn thumbnail_of(picture: Option<&[u8]>, limits: &Limits) -> Result<Option<Rgb>> {
    let Some(bytes) = picture else { return Ok(None) };
    match decode_raster(bytes, limits).and_then(|raster| fit(raster, BOX)) {
        Ok(raster) => Ok(Some(raster.into_rgb())),
        Err(error @ (Error::OutOfMemory { .. } | Error::Stopped)) => Err(error),
        Err(_) => Ok(None),
    }
}

fn draw_picture(canvas: &mut Canvas, x: u32, y: u32, picture: &Rgb) {
    let (left, top) = (x + (BOX - picture.width()) / 2, y + (BOX - picture.height()) / 2);
    canvas.picture(left, top, picture);
    canvas.frame(x - 1, y - 1, BOX + 2, BOX + 2, FRAME);
}

fn draw_missing(canvas: &mut Canvas, x: u32, y: u32) {
    canvas.fill(x, y, BOX, BOX, EMPTY);
    canvas.frame(x - 1, y - 1, BOX + 2, BOX + 2, FRAME);
    let inset = BOX * 3 / 8;
    canvas.cross(x + inset, y + inset, BOX - 2 * inset, CROSS);
}

/// Where the cells lie.
struct Grid {
    columns: u32,
    row_height: u32,
    width: u32,
    height: u32,
}

impl Grid {
    fn new(pictures: usize, columns: u32, captions: &[Vec<String>]) -> Self {
        let pictures = pictures as u32;
        let columns = columns.min(pictures);
        let lines = captions.iter().map(Vec::len).max().unwrap_or(0) as u32;
        let caption_height = if lines == 0 { 0 } else { CAPTION_GAP + lines * caption::LINE_HEIGHT };
        let row_height = BOX + caption_height + GAP;
        let width = columns * (BOX + GAP) + GAP;
        let height = pictures.div_ceil(columns) * row_height + GAP;
        Self { columns, row_height, width, height }
    }

    /// Top left corner of a picture's box.
    fn cell(&self, index: u32) -> (u32, u32) {
        let (column, row) = (index % self.columns, index / self.columns);
        (GAP + column * (BOX + GAP), GAP + row * self.row_height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode;

    const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_pixels: 1 << 24 };

    fn png(width: u32, height: u32, color: Color) -> Vec<u8> {
        let mut canvas = Canvas::new(width, height, PAPER).unwrap();
        canvas.fill(0, 0, width, height, color);
        encode_png(&canvas.into_raster()).unwrap()
    }

    fn pixel(sheet: &Rgb, x: u32, y: u32) -> Color {
        let at = (y as usize * sheet.width() as usize + x as usize) * 3;
        [sheet.data()[at], sheet.data()[at + 1], sheet.data()[at + 2]]
    }

    #[test]
    fn pictures_stand_in_their_cells() {
        let (wide, small) = (png(320, 160, [200, 30, 30]), png(40, 40, [30, 30, 200]));
        let pictures = [Some(&wide[..]), None, Some(&small[..]), Some(b"no picture".as_slice())];
        let sheet = contact_sheet(&pictures, 3, &[Some("a caption"), None], &LIMITS, &mut || ()).unwrap();
        let sheet = decode(&sheet, &LIMITS).unwrap();
        let row_height = BOX + CAPTION_GAP + caption::LINE_HEIGHT + GAP;
        assert_eq!((sheet.width(), sheet.height()), (3 * (BOX + GAP) + GAP, 2 * row_height + GAP));
        let centre = |column: u32, row: u32| (GAP + column * (BOX + GAP) + BOX / 2, GAP + row * row_height + BOX / 2);
        let at = |(x, y): (u32, u32)| pixel(&sheet, x, y);
        assert_eq!(at(centre(0, 0)), [200, 30, 30]);
        assert_eq!(pixel(&sheet, GAP + BOX / 2, GAP + BOX / 4 - 4), PAPER, "a wide picture leaves a margin above");
        assert_eq!(at(centre(2, 0)), [30, 30, 200]);
        assert_eq!(pixel(&sheet, centre(2, 0).0 + 21, centre(2, 0).1), PAPER, "a small picture is not enlarged");
        for missing in [centre(1, 0), centre(0, 1)] {
            assert_eq!(at(missing), CROSS);
            assert_eq!(at((missing.0, missing.1 + 20)), EMPTY);
        }
        let caption =
            (GAP..GAP + BOX).flat_map(|x| (0..caption::LINE_HEIGHT).map(move |y| (x, GAP + BOX + CAPTION_GAP + y)));
        assert!(caption.clone().any(|p| at(p) != PAPER), "the caption is drawn");
        assert!(caption.into_iter().all(|(x, y)| at((x + BOX + GAP, y)) == PAPER), "no caption, no ink");
    }

    #[test]
    fn arguments_are_checked() {
        let picture = png(1, 1, PAPER);
        let one = [Some(&picture[..])];
        for (pictures, columns, captions) in
            [(&one[..], 0, 0), (&one[..], 51, 0), (&[][..], 1, 0), (&[None; 1001][..], 10, 0), (&one[..], 1, 2)]
        {
            let result = contact_sheet(pictures, columns, &vec![None; captions], &LIMITS, &mut || ());
            assert!(matches!(result, Err(Error::InvalidArgument(_))), "{} {columns} {captions}", pictures.len());
        }
        let tight = Limits { max_bytes: 1000, max_pixels: 1000 };
        assert!(matches!(contact_sheet(&one, 1, &[], &tight, &mut || ()), Err(Error::TooManyPixels { .. })));
    }
}
