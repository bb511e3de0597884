//! Coefficients of sequential files: a block at a time.

use crate::bits::Bits;
use crate::huffman::{AcHuffman, Huffman};
use crate::tables::{Block, ZIGZAG};
use crate::{Error, Result, corrupt};

/// The tables of one component, and its last first coefficient, from which the next is counted.
pub(crate) struct Coder {
    pub dc: Huffman,
    pub ac: AcHuffman,
    pub last: i16,
}

/// [`ZIGZAG`], and beyond it as far as a run from within a block can lead. What is written there is never used.
static PLACES: [u8; 128] = {
    let mut places = [63; 128];
    let mut at = 0;
    while at < 64 {
        places[at] = ZIGZAG[at];
        at += 1;
    }
    places
};

impl Coder {
    /// Reads a block over zeros. Returns the place, in the order of coding, of its last coefficient that may not be zero.
    #[inline(always)]
    pub fn read(&mut self, bits: &mut Bits, block: &mut Block) -> Result<usize> {
        bits.refill();
        let size = self.dc.read(bits)?;
        self.last = self.last.wrapping_add(first_difference(bits, size)?);
        block[0] = self.last;
        let mut at = 0;
        while at < 63 {
            bits.refill();
            let value;
            if let Some((short, run)) = self.ac.read_whole(bits) {
                at += 1 + usize::from(run);
                value = short;
            } else {
                let symbol = self.ac.symbols.read(bits)?;
                let (run, size) = (symbol >> 4, symbol & 15);
                if size == 0 {
                    if run != 15 {
                        break;
                    }
                    at += 16;
                    continue;
                }
                at += 1 + usize::from(run);
                value = bits.take_signed(size.into()) as i16;
            }
            block[usize::from(PLACES[at & 127] & 63)] = value;
        }
        if at > 63 { Err(too_long()) } else { Ok(at) }
    }
}

/// What the first coefficient differs from the one before it.
#[inline(always)]
pub(crate) fn first_difference(bits: &mut Bits, size: u8) -> Result<i16> {
    if size > 15 {
        return corrupt("a JPEG Huffman table holds symbols that mean nothing");
    }
    Ok(bits.take_signed(size.into()) as i16)
}

#[cold]
pub(crate) fn too_long() -> Error {
    Error::Corrupt("a block of the JPEG has more coefficients than 64".into())
}
