//! Reading and writing the protobuf wire format, as far as ONNX files need it.
//!
//! A protobuf message is a run of fields, each a key (field number and wire type) and a payload. [`Fields`] walks that
//! run over borrowed bytes, so that a model of gigabytes is taken apart without a copy, and every length is checked
//! against what is left before it is used.

use crate::error::{Error, Result};

/// The payload of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A string, a nested message or a packed list (wire type 2).
    Bytes(&'a [u8]),
    /// A variable-length integer (wire type 0).
    Varint(u64),
    /// A fixed-size value (wire types 1 and 5), which no field read here has.
    Fixed,
}

impl<'a> Value<'a> {
    /// The payload of a length-delimited field; empty for the other wire types, which protobuf parsers skip as unknown.
    pub(super) fn bytes(self) -> &'a [u8] {
        if let Value::Bytes(bytes) = self { bytes } else { &[] }
    }

    /// The payload as UTF-8 text.
    pub(super) fn text(self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()).map_err(|_| damaged("a name is not UTF-8"))
    }
}

/// One field: its number, its payload, and the bytes it takes, key included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) value: Value<'a>,
    pub(super) raw: &'a [u8],
}

/// Iterates over the fields of a message; ends after the first error.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Fields { rest: message }
    }

    fn read(&mut self) -> Result<Field<'a>> {
        let start = self.rest;
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(usize::try_from(len).map_err(|_| damaged("a length is out of range"))?)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            other => return Err(damaged(&format!("wire type {other} is unknown"))),
        };
        Ok(Field { number: key >> 3, value, raw: &start[..start.len() - self.rest.len()] })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(|| damaged("a field runs past the end"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged("an integer is longer than 64 bits"))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// The error for bytes that are no protobuf message.
pub(super) fn damaged(reason: &str) -> Error {
    Error::invalid(format!("not an ONNX file, or a damaged one: {reason}"))
}

/// Appends a variable-length integer.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the key and length of a length-delimited field whose payload the caller appends next.
pub(super) fn put_header(out: &mut Vec<u8>, number: u64, len: usize) {
    put_varint(out, number << 3 | 2);
    put_varint(out, len as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_header(&mut out, number, payload.len());
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut message = field(7, b"abc");
        put_varint(&mut message, 14 << 3);
        put_varint(&mut message, u64::MAX);
        message.extend_from_slice(&field(300, &[9; 200]));
        let fields: Vec<_> = Fields::of(&message).collect::<Result<_>>().expect("well-formed");
        assert_eq!(fields.iter().map(|f| f.number).collect::<Vec<_>>(), [7, 14, 300]);
        assert_eq!(fields[0].value.text().expect("text"), "abc");
        assert_eq!(fields[1].value, Value::Varint(u64::MAX));
        assert_eq!(fields[2].value.bytes(), [9; 200]);
        assert_eq!(fields.iter().flat_map(|f| f.raw.to_vec()).collect::<Vec<_>>(), message);
    }

    #[test]
    fn every_truncation_ends_in_an_error_or_at_a_field_boundary() {
        let first = field(1, b"hello");
        let message = [first.clone(), field(2, b"world")].concat();
        for len in 0..message.len() {
            let whole = len == 0 || len == first.len();
            assert_eq!(Fields::of(&message[..len]).all(|f| f.is_ok()), whole, "at {len}");
        }
    }

    #[test]
    fn lengths_beyond_the_end_are_refused() {
        let mut message = vec![1 << 3 | 2];
        put_varint(&mut message, u64::MAX);
        assert!(Fields::of(&message).any(|f| f.is_err()));
        assert!(Fields::of(&[0xff; 11]).any(|f| f.is_err()));
        assert!(Fields::of(&[0x0f]).any(|f| f.is_err()));
    }
}
