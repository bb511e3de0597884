//! The one EXIF tag that matters here: the orientation.

use image::metadata::Orientation;

/// The orientation stated by an EXIF block (a TIFF structure, with or without the `Exif\0\0` prefix).
///
/// Absent, unreadable and invalid values all mean upright, as in every viewer.
pub(super) fn orientation(block: &[u8]) -> Orientation {
    let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    Orientation::from_exif_chunk(block).unwrap_or(Orientation::NoTransforms)
}
