//! The formats read, told apart by their first bytes and never by a name.

use crate::error::{Error, Result};

/// A picture file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// JPEG: baseline, extended and progressive, 8 bits, Huffman coded.
    Jpeg,
    /// PNG, of an animated one the default image.
    Png,
    /// WebP, lossy and lossless, of an animated one the first frame.
    WebP,
    /// GIF, the first frame.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// TIFF, the first directory.
    Tiff,
}

impl Format {
    /// Every format, in the order in which documentation lists them.
    pub const ALL: [Self; 6] = [Self::Jpeg, Self::Png, Self::WebP, Self::Gif, Self::Bmp, Self::Tiff];

    /// The format of these bytes.
    ///
    /// # Errors
    /// [`Error::Empty`] without bytes; [`Error::Unsupported`] if no format begins so, with the name of the format where
    /// it is a well-known one that is not read.
    pub fn sniff(bytes: &[u8]) -> Result<Self> {
        match bytes {
            [] => Err(Error::Empty),
            [0xFF, 0xD8, 0xFF, ..] => Ok(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Ok(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Self::Gif),
            [b'B', b'M', ..] => Ok(Self::Bmp),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Ok(Self::Tiff),
            _ => Err(Error::unsupported(foreign_name(bytes))),
        }
    }

    /// Short lower-case name: `jpeg`, `png`, `webp`, `gif`, `bmp`, `tiff`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
            Self::Tiff => "tiff",
        }
    }

    /// Media type as registered with IANA.
    #[must_use]
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
            Self::Tiff => "image/tiff",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of what this is, for an error message a person can act on.
fn foreign_name(bytes: &[u8]) -> &'static str {
    match bytes {
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', b'f' | b's', ..] => "AVIF",
        [_, _, _, _, b'f', b't', b'y', b'p', b'h' | b'm', b'e' | b'i', _, _, ..] => "HEIF/HEIC",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "a video container",
        [0xFF, 0x0A, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => "JPEG XL",
        [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] | [0xFF, 0x4F, 0xFF, 0x51, ..] => "JPEG 2000",
        [0x76, 0x2F, 0x31, 0x01, ..] => "OpenEXR",
        [b'I', b'I', 43, 0, ..] | [b'M', b'M', 0, 43, ..] => "BigTIFF",
        [0, 0, 1, 0, ..] => "ICO",
        [b'8', b'B', b'P', b'S', ..] => "Photoshop PSD",
        [b'%', b'P', b'D', b'F', ..] => "PDF",
        [b'P', b'1'..=b'7', b' ' | b'\n' | b'\r' | b'\t', ..] => "PNM",
        [b'<', b's', b'v', b'g', ..] | [b'<', b'?', b'x', b'm', b'l', ..] => "SVG or other XML",
        _ => "this file format (JPEG, PNG, WebP, GIF, BMP and TIFF are read)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_bytes_decide() {
        assert_eq!(Format::sniff(b"\xFF\xD8\xFF\xE0"), Ok(Format::Jpeg));
        assert_eq!(Format::sniff(b"\x89PNG\r\n\x1a\n"), Ok(Format::Png));
        assert_eq!(Format::sniff(b"RIFF\0\0\0\0WEBPVP8 "), Ok(Format::WebP));
        assert_eq!(Format::sniff(b"GIF89a"), Ok(Format::Gif));
        assert_eq!(Format::sniff(b"BM\0\0"), Ok(Format::Bmp));
        assert_eq!(Format::sniff(b"II*\0"), Ok(Format::Tiff));
        assert_eq!(Format::sniff(b"MM\0*"), Ok(Format::Tiff));
        assert_eq!(Format::sniff(b""), Err(Error::Empty));
    }

    #[test]
    fn other_formats_are_refused_by_name() {
        let name = |bytes: &[u8]| Format::sniff(bytes).unwrap_err().to_string();
        assert_eq!(name(b"\0\0\0\x20ftypavif"), "AVIF is not supported");
        assert_eq!(name(b"\0\0\0\x20ftypheic"), "HEIF/HEIC is not supported");
        assert_eq!(name(b"%PDF-1.7"), "PDF is not supported");
        assert!(name(b"hello").starts_with("this file format"));
        assert!(name(b"RIFF\0\0\0\0WAVE").starts_with("this file format"));
        assert!(name(b"\x89PNG").starts_with("this file format"));
    }
}
