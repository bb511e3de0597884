//! The text form: `[0.5,0.25]`, or `[0.5,0.25]@9f3c21aa` with the tag of the model in eight hexadecimal digits.
//!
//! Output is the shortest decimal that reads back as the same half-precision number, so a value survives a text dump
//! bit for bit. Input takes any decimal or scientific notation and white space around numbers, rounds to nearest, and
//! says where it stopped understanding.

use super::MAX_DIMS;
use crate::error::{SqlError, SqlResult};
use half::f16;
use pgrx::PgSqlErrorCode;
use std::fmt::Write;

/// Reads the text form.
///
/// # Errors
/// `invalid_text_representation` with the 1-based position of the offending character;
/// `numeric_value_out_of_range` for a number beyond half precision, and for a vector that it would make zero though it is
/// not; `program_limit_exceeded` past [`MAX_DIMS`].
pub fn parse(text: &str) -> SqlResult<(Vec<f16>, u32)> {
    let mut cursor = Cursor { text, at: 0 };
    let mut elements = Vec::new();
    let mut vanished = None;
    cursor.skip_space();
    cursor.expect('[', "Embeddings must start with \"[\".")?;
    loop {
        cursor.skip_space();
        if elements.is_empty() && cursor.peek() == Some(']') {
            return Err(SqlError::new(
                PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
                "image_embedding must have at least 1 dimension",
            ));
        }
        if elements.len() == MAX_DIMS {
            return Err(super::io::dims_out_of_range(MAX_DIMS + 1));
        }
        let start = cursor.at;
        let (element, is_zero) = cursor.number()?;
        elements.push(element);
        if !is_zero && vanished.is_none() {
            vanished = Some(start..cursor.at);
        }
        cursor.skip_space();
        match cursor.peek() {
            Some(',') => cursor.at += 1,
            Some(']') => break,
            Some(_) => return Err(cursor.unexpected("Elements must be separated by \",\".")),
            None => return Err(cursor.unexpected("Embeddings must end with \"]\" or \"]@\" and a model tag.")),
        }
    }
    cursor.at += 1;
    let tag = if cursor.peek() == Some('@') { cursor.tag()? } else { 0 };
    cursor.skip_space();
    if cursor.peek().is_some() {
        return Err(cursor.unexpected("Junk after the closing bracket."));
    }
    super::io::check_vanished(&elements, vanished.map(|token| clip(&text[token])))?;
    Ok((elements, tag))
}

/// Writes the text form.
pub fn format(elements: &[f16], tag: u32) -> String {
    let mut text = String::with_capacity(elements.len() * 10 + 12);
    for (i, &element) in elements.iter().enumerate() {
        text.push(if i == 0 { '[' } else { ',' });
        push_shortest(&mut text, element);
    }
    text.push(']');
    if tag != 0 {
        push_tag(&mut text, tag);
    }
    text
}

/// A model tag as users see it: eight hexadecimal digits.
pub fn tag_text(tag: u32) -> String {
    format!("{tag:08x}")
}

fn push_tag(text: &mut String, tag: u32) {
    text.push('@');
    text.push_str(&tag_text(tag));
}

/// Appends the shortest decimal that reads back as `value`.
///
/// Five significant digits always identify a binary16 number, and if a number of digits does, so do more; so start at
/// four, where most numbers end, and go whichever way is needed. Plain notation: its exponents span only 10^-8..10^5.
fn push_shortest(text: &mut String, value: f16) {
    let wide = value.to_f64();
    if wide == wide.trunc() && wide.abs() < 2048.0 {
        // Whole numbers up to 2^11 are exact, and their digits are the shortest form; the sign of zero is kept.
        let _ = write!(text, "{wide}");
        return;
    }
    let mut digits = [0u8; 24];
    let reads_back = |precision: usize, buffer: &mut [u8; 24]| {
        let mut writer = Fixed { buffer, length: 0 };
        write!(writer, "{wide:.*e}", precision - 1).ok()?;
        let length = writer.length;
        let decimal = std::str::from_utf8(&buffer[..length]).ok()?.parse::<f64>().ok()?;
        vs_distance::nearest(decimal).is_some_and(|read| read.to_bits() == value.to_bits()).then_some(decimal)
    };
    let mut shortest = wide;
    match reads_back(4, &mut digits) {
        Some(decimal) => {
            shortest = decimal;
            for precision in (1..4).rev() {
                match reads_back(precision, &mut digits) {
                    Some(decimal) => shortest = decimal,
                    None => break,
                }
            }
        }
        None => {
            if let Some(decimal) = reads_back(5, &mut digits) {
                shortest = decimal;
            }
        }
    }
    // `shortest` is a decimal of at most five digits, and Display prints an f64's shortest form: those digits.
    let _ = write!(text, "{shortest}");
}

/// A fixed buffer to format into without allocating.
struct Fixed<'a> {
    buffer: &'a mut [u8; 24],
    length: usize,
}

impl Write for Fixed<'_> {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        let end = self.length + part.len();
        self.buffer.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(part.as_bytes());
        self.length = end;
        Ok(())
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']).len();
    }

    fn expect(&mut self, wanted: char, detail: &str) -> SqlResult<()> {
        if self.peek() != Some(wanted) {
            return Err(self.unexpected(detail));
        }
        self.at += wanted.len_utf8();
        Ok(())
    }

    /// A run of characters that can belong to a number or a word, for parsing and for error messages.
    fn token(&self) -> &str {
        let rest = &self.text[self.at..];
        let end = rest.find([',', ']', '[', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
        &rest[..end]
    }

    /// A number, and whether it is zero as it is written.
    fn number(&mut self) -> SqlResult<(f16, bool)> {
        let token = self.token();
        let plain = token.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
        let Some(number) = token.parse::<f64>().ok().filter(|_| plain) else {
            let word = token.trim_start_matches(['+', '-']);
            let names = [("nan", "NaN"), ("inf", "infinity"), ("infinity", "infinity")];
            if let Some((_, name)) = names.iter().find(|(known, _)| word.eq_ignore_ascii_case(known)) {
                return Err(SqlError::new(
                    PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
                    format!("{name} is not allowed in image_embedding"),
                )
                .detail(format!("It stands at position {}.", self.position())));
            }
            return Err(self.unexpected("Expected a number."));
        };
        let Some(rounded) = vs_distance::nearest(number) else {
            return Err(SqlError::new(
                PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
                format!("\"{}\" is out of range for type image_embedding", clip(token)),
            )
            .detail(format!("It stands at position {}; elements reach from -65504 to 65504.", self.position())));
        };
        // Also what double precision makes zero is written with a digit that is not.
        let mantissa = token.split(['e', 'E']).next().unwrap_or_default();
        let is_zero = rounded == f16::ZERO && !mantissa.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
        self.at += token.len();
        Ok((rounded, is_zero))
    }

    fn tag(&mut self) -> SqlResult<u32> {
        self.at += 1;
        let token = self.token();
        let digits = token.len() == 8 && token.bytes().all(|b| b.is_ascii_hexdigit());
        match u32::from_str_radix(token, 16) {
            Ok(tag) if digits && tag != 0 => {
                self.at += token.len();
                Ok(tag)
            }
            _ => Err(self.unexpected("A model tag is eight hexadecimal digits, not all zero.")),
        }
    }

    /// 1-based position in characters, as in PostgreSQL's error messages.
    fn position(&self) -> usize {
        self.text[..self.at].chars().count() + 1
    }

    fn unexpected(&self, detail: &str) -> SqlError {
        let found = match self.peek() {
            None => "found the end".to_owned(),
            Some(_) if !self.token().is_empty() => format!("found \"{}\"", clip(self.token())),
            Some(character) => format!("found \"{character}\""),
        };
        SqlError::new(
            PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
            format!("invalid input syntax for type image_embedding: \"{}\"", clip(self.text)),
        )
        .detail(format!("{} At position {}, {found}.", detail, self.position()))
    }
}

/// At most 40 characters of user input for a message.
fn clip(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
