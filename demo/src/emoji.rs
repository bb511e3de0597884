//! The default gallery: the pictures of the system's emoji font, with their Unicode names and groups.
//!
//! Noto Color Emoji keeps every emoji as a small PNG, filed under a glyph number. Which glyph that is for
//! a given emoji is the font's own business: most emoji are sequences of characters (skin tones, flags,
//! families joined by U+200D) that its substitution tables turn into one glyph. So each sequence that
//! Unicode lists is shaped exactly as a text engine would, and where a single glyph with a picture comes
//! out, that is the picture. Sequences that are newer than the font give several glyphs, and are left out.

use std::fs;

use anyhow::{Context, Result, ensure};
use harfrust::font::Font;
use harfrust::font::glyph::bitmap::Pixels;
use harfrust::{Buffer, GlyphId, ShapeOptions, ShaperFont};

/// Where Debian's package `fonts-noto-color-emoji` puts the font.
const FONT: &str = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf";
/// Where Debian's package `unicode-data` puts the list of emoji.
const NAMES: &str = "/usr/share/unicode/emoji/emoji-test.txt";

/// The glyph that stands for a character that the font does not have.
const NOTDEF: u32 = 0;

/// A picture of the font.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emoji {
    /// Unicode's short name, as in "red apple".
    pub name: String,
    /// Unicode's group, as in "Food & Drink".
    pub group: String,
    /// The picture, a PNG with transparency.
    pub png: Vec<u8>,
}

/// The pictures of the installed font, in Unicode's order.
///
/// # Errors
/// The font or the list of names is missing or damaged, or they have not one emoji in common.
pub fn pictures() -> Result<Vec<Emoji>> {
    let names = fs::read_to_string(NAMES).with_context(|| format!("{NAMES} (Debian package unicode-data)"))?;
    let font = fs::read(FONT).with_context(|| format!("{FONT} (Debian package fonts-noto-color-emoji)"))?;
    let font = Font::new(font, 0).with_context(|| format!("{FONT} is not a font"))?;
    let shaper = ShaperFont::new(&font);
    let emoji: Vec<Emoji> = entries(&names)
        .filter_map(|entry| {
            let png = picture(&font, &shaper, &entry.text)?.to_vec();
            Some(Emoji { name: entry.name.to_owned(), group: entry.group.to_owned(), png })
        })
        .collect();
    ensure!(!emoji.is_empty(), "{FONT} has none of the emoji in {NAMES}");
    Ok(emoji)
}

/// The PNG that the font shows for `text`, if it is one glyph's.
fn picture<'a>(font: &'a Font, shaper: &ShaperFont<'_, '_>, text: &str) -> Option<&'a [u8]> {
    let mut buffer = Buffer::new();
    buffer.push_str(text);
    buffer.guess_segment_properties();
    harfrust::shape(shaper, &mut buffer, ShapeOptions::new()).ok()?;
    let [glyph] = buffer.glyph_infos() else { return None };
    if glyph.glyph_id == NOTDEF {
        return None;
    }
    match font.bitmap_strikes().select_bitmap(GlyphId::new(glyph.glyph_id), None)?.pixels() {
        Pixels::Png(png) => Some(png),
        Pixels::Bgra(_) | Pixels::Mask(_) => None,
    }
}

/// One emoji of Unicode's list.
#[derive(Debug, PartialEq, Eq)]
struct Entry<'a> {
    text: String,
    name: &'a str,
    group: &'a str,
}

/// The emoji in the text of `emoji-test.txt` (UTS #51) that a keyboard would offer.
///
/// The interesting lines are `# group: NAME` and `CODE POINTS ; fully-qualified # EMOJI VERSION NAME`.
fn entries(list: &str) -> impl Iterator<Item = Entry<'_>> {
    let mut group = "";
    list.lines().filter_map(move |line| {
        if let Some(name) = line.strip_prefix("# group: ") {
            group = name.trim();
            return None;
        }
        let (code_points, rest) = line.split_once(';')?;
        let (status, comment) = rest.split_once('#')?;
        if status.trim() != "fully-qualified" {
            return None;
        }
        let text = code_points.split_whitespace().map(character).collect::<Option<String>>()?;
        let [_emoji, _version, name] = comment.trim().splitn(3, ' ').collect::<Vec<_>>().try_into().ok()?;
        Some(Entry { text, name, group })
    })
}

/// The character with a code point in hexadecimal.
fn character(code_point: &str) -> Option<char> {
    char::from_u32(u32::from_str_radix(code_point, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn reads_names_and_groups() {
        let list = "\
# emoji-test.txt
# group: Smileys & Emotion
# subgroup: face-smiling
1F600      ; fully-qualified     # 😀 E1.0 grinning face
263A       ; unqualified         # ☺ E0.6 smiling face
# group: Flags
1F3F4 200D 2620 FE0F ; fully-qualified # 🏴‍☠️ E11.0 pirate flag
1F1F3 1F1F4 ; fully-qualified # 🇳🇴 E2.0 flag: Norway
# group: Component
1F3FB ; component # 🏻 E1.0 light skin tone

FFFFFFFF ; fully-qualified # x E1.0 no character
1F600 ; fully-qualified # 😀
#EOF";
        let found: Vec<_> = entries(list).map(|entry| (entry.text, entry.name, entry.group)).collect();
        let expected = [
            ("\u{1F600}", "grinning face", "Smileys & Emotion"),
            ("\u{1F3F4}\u{200D}\u{2620}\u{FE0F}", "pirate flag", "Flags"),
            ("\u{1F1F3}\u{1F1F4}", "flag: Norway", "Flags"),
        ];
        assert_eq!(found, expected.map(|(text, name, group)| (text.to_owned(), name, group)));
    }

    #[test]
    fn the_installed_font_shows_nearly_all_of_them() {
        let emoji = pictures().unwrap();
        let listed = entries(&fs::read_to_string(NAMES).unwrap()).count();
        assert!(emoji.len() * 10 > listed * 9, "{} of {listed}", emoji.len());

        let groups: HashSet<_> = emoji.iter().map(|emoji| emoji.group.as_str()).collect();
        assert!(groups.contains("Food & Drink") && groups.contains("Flags"));
        assert!(emoji.iter().all(|emoji| emoji.png.starts_with(b"\x89PNG\r\n\x1a\n")));

        let png = |name: &str| &emoji.iter().find(|emoji| emoji.name == name).unwrap().png;
        // A single character, a variation sequence, a flag and a joined sequence are four different pictures.
        let distinct: HashSet<_> =
            ["red apple", "red heart", "flag: Norway", "family: man, woman, girl"].map(png).into();
        assert_eq!(distinct.len(), 4);
    }
}
