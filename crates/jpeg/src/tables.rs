//! Quantisation and Huffman tables, as segments between the scans define them.

use crate::headers::marker::{DHT, DQT, DRI};
use crate::huffman::{Codes, STANDARD};
use crate::{Error, Result, corrupt};

/// Where the coefficients of a block stand, in the order in which they are coded: ITU-T T.81 figure A.6.
#[rustfmt::skip]
pub(crate) const ZIGZAG: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// 64 numbers of a block, row by row.
pub(crate) type Block = [i16; 64];

/// The tables that stand at some place of the file.
#[derive(Default)]
pub(crate) struct Tables {
    /// Steps, row by row. As in libjpeg-turbo's vector code, a product with a coefficient has 16 bits.
    pub quantization: [Option<Block>; 4],
    /// For first coefficients and for the others.
    codes: [[Option<Box<Codes>>; 4]; 2],
    /// MCUs between two restart markers, or 0.
    pub restart_interval: u32,
}

impl Tables {
    /// Takes in what a segment defines.
    pub fn read(&mut self, marker: u8, payload: &[u8]) -> Result<()> {
        match marker {
            DQT => self.read_quantization(payload),
            DHT => self.read_codes(payload),
            DRI => {
                let &[high, low, ..] = payload else { return Err(damaged("restart interval")) };
                self.restart_interval = u16::from_be_bytes([high, low]).into();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read_quantization(&mut self, mut payload: &[u8]) -> Result<()> {
        while let Some((&kind, rest)) = payload.split_first() {
            let (wide, number) = (kind >> 4 != 0, usize::from(kind & 15));
            let table = self.quantization.get_mut(number).ok_or_else(|| damaged("quantisation table"))?;
            let (steps, rest) =
                rest.split_at_checked(if wide { 128 } else { 64 }).ok_or_else(|| damaged("quantisation table"))?;
            let mut block = [0; 64];
            for (i, &at) in ZIGZAG.iter().enumerate() {
                let step = if wide { u16::from_be_bytes([steps[2 * i], steps[2 * i + 1]]) } else { steps[i].into() };
                block[usize::from(at)] = step as i16;
            }
            *table = Some(block);
            payload = rest;
        }
        Ok(())
    }

    fn read_codes(&mut self, mut payload: &[u8]) -> Result<()> {
        while let Some((&kind, rest)) = payload.split_first() {
            let slot = self
                .codes
                .get_mut(usize::from(kind >> 4))
                .and_then(|class| class.get_mut(usize::from(kind & 15)))
                .ok_or_else(|| damaged("Huffman table"))?;
            let (codes, rest) = Codes::parse(rest).ok_or_else(|| damaged("Huffman table"))?;
            *slot = Some(Box::new(codes));
            payload = rest;
        }
        Ok(())
    }

    /// The codes for first coefficients.
    pub fn dc(&self, number: u8) -> Result<&Codes> {
        self.code(0, number)
    }

    /// The codes for the other coefficients.
    pub fn ac(&self, number: u8) -> Result<&Codes> {
        self.code(1, number)
    }

    fn code(&self, class: usize, number: u8) -> Result<&Codes> {
        let number = usize::from(number);
        let given = self.codes[class].get(number).and_then(Option::as_deref);
        match given.or_else(|| STANDARD.get(number).map(|codes| &codes[class])) {
            Some(codes) => Ok(codes),
            None => corrupt("a JPEG scan names a Huffman table that is not there"),
        }
    }
}

fn damaged(what: &str) -> Error {
    Error::Corrupt(format!("a JPEG {what} is damaged"))
}
