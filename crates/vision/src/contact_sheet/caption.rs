//! Captions: wrapping, and drawing with the pre-rasterised Noto Sans Mono of `noto-sans-mono-bitmap`.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, RasterizedChar, get_raster, get_raster_width};

use super::canvas::{Canvas, Color};

const WEIGHT: FontWeight = FontWeight::Regular;
const HEIGHT: RasterHeight = RasterHeight::Size16;

/// Distance from one line to the next, in pixels.
pub const LINE_HEIGHT: u32 = 17;

/// Marks a caption that was cut.
const ELLIPSIS: &str = "...";

/// Longest caption looked at, in characters; what follows could not be shown.
const MAX_CHARACTERS: usize = 1_000;

fn advance() -> u32 {
    get_raster_width(WEIGHT, HEIGHT) as u32
}

fn glyph(character: char) -> Option<RasterizedChar> {
    get_raster(character, WEIGHT, HEIGHT)
}

/// Width of a line in pixels.
pub fn width(line: &str) -> u32 {
    line.chars().count() as u32 * advance()
}

/// Breaks `text` into at most `max_lines` lines no wider than `max_width` pixels, between words where it can.
///
/// White space and control characters separate words; what the font lacks becomes `?`; what does not fit is cut and
/// marked with an ellipsis.
pub fn wrap(text: &str, max_width: u32, max_lines: usize) -> Vec<String> {
    let room = (max_width / advance()) as usize;
    let clean: String = text
        .chars()
        .take(MAX_CHARACTERS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .map(|c| if c.is_whitespace() || glyph(c).is_some() { c } else { '?' })
        .collect();

    let (mut lines, mut line) = (Vec::new(), Vec::new());
    for word in clean.split_whitespace() {
        let mut word: &[char] = &word.chars().collect::<Vec<_>>();
        if !line.is_empty() && line.len() + 1 + word.len() <= room {
            line.push(' ');
        } else if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        // A word wider than a line is broken.
        while word.len() > room {
            lines.push(word[..room].to_vec());
            word = &word[room..];
        }
        line.extend_from_slice(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    if lines.len() > max_lines {
        lines.truncate(max_lines);
        if let Some(last) = lines.last_mut() {
            last.truncate(room - ELLIPSIS.len());
            while last.last() == Some(&' ') {
                last.pop();
            }
            last.extend(ELLIPSIS.chars());
        }
    }
    lines.into_iter().map(String::from_iter).collect()
}

/// Draws one line with its top left corner at `x`, `y`.
pub fn draw(canvas: &mut Canvas, x: u32, y: u32, line: &str, color: Color) {
    for (left, character) in (x..).step_by(advance() as usize).zip(line.chars()) {
        let Some(glyph) = glyph(character) else { continue };
        for (row, coverages) in (y..).zip(glyph.rows()) {
            for (column, coverage) in (left..).zip(coverages) {
                canvas.blend(column, row, color, *coverage);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ten(text: &str) -> Vec<String> {
        wrap(text, 10 * advance() + 1, 2)
    }

    #[test]
    fn captions_wrap_between_words_and_are_cut() {
        assert_eq!(ten(""), [""; 0]);
        assert_eq!(ten(" \n\t "), [""; 0]);
        assert_eq!(ten("ten chars!"), ["ten chars!"]);
        assert_eq!(ten("two\nlines\tof text"), ["two lines", "of text"]);
        assert_eq!(ten("unbreakableword"), ["unbreakabl", "eword"]);
        assert_eq!(ten("a unbreakableword"), ["a", "unbreak..."]);
        assert_eq!(ten("one two three four five"), ["one two", "three f..."]);
        assert_eq!(ten(&"x".repeat(100_000)), ["xxxxxxxxxx", "xxxxxxx..."]);
    }

    #[test]
    fn what_the_font_lacks_is_a_question_mark() {
        assert_eq!(ten("Größe ñ Ł"), ["Größe ñ Ł"]);
        assert_eq!(ten("靴 \u{1F45F}"), ["? ?"]);
        assert!(glyph('?').is_some());
    }
}
