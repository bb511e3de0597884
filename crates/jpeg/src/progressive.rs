//! Coefficients of progressive files, ITU-T T.81 annex G: each scan brings some bits of some coefficients.

use crate::Result;
use crate::bits::Bits;
use crate::huffman::{AcHuffman, Huffman};
use crate::sequential::{first_difference, too_long};
use crate::tables::{Block, ZIGZAG};

/// Which coefficients a scan is about, and which of their bits: the `start` of the spectral selection to its `end`,
/// and the point transform, which says how many low bits are still missing.
#[derive(Clone, Copy)]
pub(crate) struct Selection {
    pub start: usize,
    pub end: usize,
    pub low: u32,
}

/// The first bits of first coefficients.
pub(crate) fn dc_first(bits: &mut Bits, table: &Huffman, last: &mut i16, low: u32, block: &mut Block) -> Result<()> {
    bits.refill();
    let size = table.read(bits)?;
    *last = last.wrapping_add(first_difference(bits, size)?);
    block[0] = ((i32::from(*last)) << low) as i16;
    Ok(())
}

/// One more bit of a first coefficient.
pub(crate) fn dc_refine(bits: &mut Bits, low: u32, block: &mut Block) {
    if bits.take_bit() {
        block[0] |= 1 << low;
    }
}

/// The first bits of other coefficients. `skip` counts blocks still to come that have none.
pub(crate) fn ac_first(
    bits: &mut Bits,
    table: &AcHuffman,
    selection: Selection,
    skip: &mut u32,
    block: &mut Block,
) -> Result<()> {
    if *skip > 0 {
        *skip -= 1;
        return Ok(());
    }
    let Selection { start, end, low } = selection;
    let mut at = start;
    while at <= end {
        bits.refill();
        if let Some((value, run)) = table.read_whole(bits) {
            at += usize::from(run);
            *place(block, at)? = (i32::from(value) << low) as i16;
            at += 1;
            continue;
        }
        let symbol = table.symbols.read(bits)?;
        let (run, size) = (symbol >> 4, symbol & 15);
        match (run, size) {
            (15, 0) => at += 16,
            (_, 0) => {
                *skip = (1 << run) - 1 + bits.take(run.into());
                break;
            }
            _ => {
                at += usize::from(run);
                *place(block, at)? = (bits.take_signed(size.into()) << low) as i16;
                at += 1;
            }
        }
    }
    Ok(())
}

/// One more bit of other coefficients: a bit for each that is no longer zero, and new ones of ±1 between them.
pub(crate) fn ac_refine(
    bits: &mut Bits,
    table: &AcHuffman,
    selection: Selection,
    skip: &mut u32,
    block: &mut Block,
) -> Result<()> {
    let Selection { start, end, low } = selection;
    let bit = 1i16 << low;
    let mut at = start;
    if *skip == 0 {
        while at <= end {
            bits.refill();
            let symbol = table.symbols.read(bits)?;
            let (mut run, size) = (symbol >> 4, symbol & 15);
            let mut value = 0;
            if size != 0 {
                // Whatever the size says: a new coefficient is ±1.
                value = if bits.take(1) == 1 { bit } else { -bit };
            } else if run != 15 {
                *skip = (1 << run) + bits.take(run.into());
                break;
            }
            // Passes over `run` coefficients that stay zero, refining the others on the way.
            while at <= end {
                let coefficient = place(block, at)?;
                if *coefficient != 0 {
                    refine(bits, bit, coefficient);
                } else if run == 0 {
                    *coefficient = value;
                    break;
                } else {
                    run -= 1;
                }
                at += 1;
            }
            at += 1;
        }
    }
    if *skip > 0 {
        *skip -= 1;
        while at <= end {
            let coefficient = place(block, at)?;
            if *coefficient != 0 {
                refine(bits, bit, coefficient);
            }
            at += 1;
        }
    }
    Ok(())
}

#[inline(always)]
fn refine(bits: &mut Bits, bit: i16, coefficient: &mut i16) {
    // A coefficient that has the bit already stands in a damaged file.
    if bits.take_bit() && *coefficient & bit == 0 {
        *coefficient = coefficient.wrapping_add(if *coefficient > 0 { bit } else { -bit });
    }
}

#[inline(always)]
fn place(block: &mut Block, at: usize) -> Result<&mut i16> {
    ZIGZAG.get(at).and_then(|&place| block.get_mut(usize::from(place))).ok_or_else(too_long)
}
