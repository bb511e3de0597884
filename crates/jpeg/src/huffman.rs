//! Huffman codes.
//!
//! A code is looked up by the next [`FAST`] bits. Longer ones are found by their length: codes of one length are
//! consecutive numbers, and one of 16 bits shifted to its length is at most the largest of that length exactly if it is
//! one of them. For runs and coefficients, the usual case of a short code with a short value behind it is looked up
//! whole.

use crate::bits::Bits;
use crate::{Error, Result, corrupt};

/// Bits that are looked up at once.
const FAST: u32 = 10;

/// Codes as a file states them: how many of each length, and their symbols.
#[derive(Clone)]
pub(crate) struct Codes {
    counts: [u8; 16],
    symbols: [u8; 256],
}

impl Codes {
    /// Reads what a DHT segment holds after the table's number; returns what follows.
    pub fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (counts, rest) = bytes.split_first_chunk::<16>()?;
        let total = counts.iter().map(|&count| usize::from(count)).sum::<usize>();
        let (given, rest) = rest.split_at_checked(total)?;
        let mut symbols = [0; 256];
        symbols.get_mut(..total)?.copy_from_slice(given);
        Some((Self { counts: *counts, symbols }, rest))
    }

    pub const fn standard(counts: [u8; 16], given: &[u8]) -> Self {
        let mut symbols = [0; 256];
        let mut i = 0;
        while i < given.len() {
            symbols[i] = given[i];
            i += 1;
        }
        Self { counts, symbols }
    }
}

/// A table to decode with.
pub(crate) struct Huffman {
    /// By the next `FAST` bits: length of the code and its symbol, or 0 for a longer code.
    fast: [(u8, u8); 1 << FAST],
    /// For each length: one more than its largest code, shifted to 16 bits.
    limit: [u32; 18],
    /// For each length: what added to a code gives the place of its symbol.
    offset: [i32; 17],
    symbols: [u8; 256],
}

impl Huffman {
    pub fn new(codes: &Codes) -> Result<Self> {
        let mut table = Self { fast: [(0, 0); 1 << FAST], limit: [0; 18], offset: [0; 17], symbols: codes.symbols };
        let (mut code, mut place) = (0u32, 0usize);
        for length in 1..=16u32 {
            table.offset[length as usize] = place as i32 - code as i32;
            for _ in 0..codes.counts[length as usize - 1] {
                // The code of all ones is reserved.
                if code + 1 >= 1 << length {
                    return corrupt("a JPEG Huffman table has more codes than there can be");
                }
                if length <= FAST {
                    let first = (code << (FAST - length)) as usize;
                    table.fast[first..first + (1 << (FAST - length))].fill((length as u8, codes.symbols[place]));
                }
                code += 1;
                place += 1;
            }
            table.limit[length as usize] = code << (16 - length);
            code <<= 1;
        }
        table.limit[17] = u32::MAX;
        Ok(table)
    }

    /// Reads a symbol, after [`Bits::refill`].
    #[inline(always)]
    pub fn read(&self, bits: &mut Bits) -> Result<u8> {
        let (length, symbol) = self.fast[bits.peek(FAST)];
        if length != 0 {
            bits.skip(length.into());
            return Ok(symbol);
        }
        self.read_long(bits)
    }

    #[inline(never)]
    fn read_long(&self, bits: &mut Bits) -> Result<u8> {
        let next = bits.peek(16) as u32;
        let length = (FAST as usize + 1..=17).find(|&length| next < self.limit[length]).unwrap_or(17);
        if length > 16 {
            return Err(invalid_code());
        }
        bits.skip(length as u32);
        let place = (next >> (16 - length)) as i32 + self.offset[length];
        self.symbols.get(place as usize).copied().ok_or_else(invalid_code)
    }
}

/// A table for coefficients other than the first, with short codes and their values looked up together.
pub(crate) struct AcHuffman {
    /// By the next `FAST` bits: value, run of zeros before it, and bits of code and value together; or 0 bits where they
    /// do not fit or the symbol is none of a run and a value.
    whole: [(i16, u8, u8); 1 << FAST],
    pub symbols: Huffman,
}

impl AcHuffman {
    pub fn new(codes: &Codes) -> Result<Self> {
        let symbols = Huffman::new(codes)?;
        let mut whole = [(0, 0, 0); 1 << FAST];
        for (next, entry) in whole.iter_mut().enumerate() {
            let (length, symbol) = symbols.fast[next];
            let (run, size) = (symbol >> 4, symbol & 15);
            let total = length + size;
            if length == 0 || size == 0 || u32::from(total) > FAST {
                continue;
            }
            let value = (next >> (FAST as u8 - total)) as i32 & ((1 << size) - 1);
            let value = if value < 1 << (size - 1) { value - (1 << size) + 1 } else { value };
            *entry = (value as i16, run, total);
        }
        Ok(Self { whole, symbols })
    }

    /// A value and the run of zeros before it, if the next bits are the common kind. After [`Bits::refill`].
    #[inline(always)]
    pub fn read_whole(&self, bits: &mut Bits) -> Option<(i16, u8)> {
        let (value, run, total) = self.whole[bits.peek(FAST)];
        if total == 0 {
            return None;
        }
        bits.skip(total.into());
        Some((value, run))
    }
}

#[cold]
fn invalid_code() -> Error {
    Error::Corrupt("the JPEG's image data hold a code that its tables do not".into())
}

/// The tables of ITU-T T.81 annex K.3, which are meant where a file (a frame of motion JPEG) has none: for luminance and
/// for chrominance, first coefficients and others.
pub(crate) static STANDARD: [[Codes; 2]; 2] = [
    [
        Codes::standard([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        Codes::standard(
            [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125],
            b"\x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07\x22\x71\x14\x32\x81\x91\xa1\x08\
              \x23\x42\xb1\xc1\x15\x52\xd1\xf0\x24\x33\x62\x72\x82\x09\x0a\x16\x17\x18\x19\x1a\x25\x26\x27\x28\
              \x29\x2a\x34\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49\x4a\x53\x54\x55\x56\x57\x58\x59\
              \x5a\x63\x64\x65\x66\x67\x68\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x83\x84\x85\x86\x87\x88\x89\
              \x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\
              \xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe1\xe2\
              \xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa",
        ),
    ],
    [
        Codes::standard([0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        Codes::standard(
            [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119],
            b"\x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71\x13\x22\x32\x81\x08\x14\x42\x91\
              \xa1\xb1\xc1\x09\x23\x33\x52\xf0\x15\x62\x72\xd1\x0a\x16\x24\x34\xe1\x25\xf1\x17\x18\x19\x1a\x26\
              \x27\x28\x29\x2a\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49\x4a\x53\x54\x55\x56\x57\x58\
              \x59\x5a\x63\x64\x65\x66\x67\x68\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x82\x83\x84\x85\x86\x87\
              \x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\
              \xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\
              \xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa",
        ),
    ],
];
