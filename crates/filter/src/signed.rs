//! A filter on signatures: which nodes may pass, without a look at them.

use crate::filter::Filter;
use crate::signature::{Coarse, Mask};

/// The bytes that a column may have.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Bytes {
    /// From the first on, so many more.
    Run(u8, u8),
    /// One for each byte that may be, zero for others.
    Table(Box<[u8; 256]>),
}

impl Bytes {
    fn new(mask: &Mask) -> Self {
        let mut table = [0; 256];
        for byte in 0..=u8::MAX {
            table[usize::from(byte)] = u8::from(mask.contains(byte));
        }
        let first = table.iter().position(|&may| may != 0);
        let last = table.iter().rposition(|&may| may != 0);
        match (first, last) {
            (Some(first), Some(last)) if table[first..=last].iter().all(|&may| may != 0) => {
                Self::Run(first as u8, (last - first) as u8)
            }
            _ => Self::Table(Box::new(table)),
        }
    }

    #[inline]
    fn may_be(&self, byte: u8) -> bool {
        match self {
            Self::Run(first, more) => byte.wrapping_sub(*first) <= *more,
            Self::Table(table) => table[usize::from(byte)] != 0,
        }
    }
}

/// Conditions on signatures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signed {
    columns: Vec<(usize, Bytes)>,
}

impl Signed {
    /// What the signatures of nodes that pass `filter` are like; the bytes are made by `coarse`.
    #[must_use]
    pub fn new(filter: &Filter, coarse: &[Coarse]) -> Self {
        let masks = coarse.iter().enumerate().map(|(column, coarse)| (column, Mask::of(filter, column, coarse)));
        let excluding = masks.filter(|(_, mask)| *mask != Mask::all());
        Self { columns: excluding.map(|(column, mask)| (column, Bytes::new(&mask))).collect() }
    }

    /// Whether signatures exclude nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Whether a node with this signature may pass.
    #[inline]
    #[must_use]
    pub fn may_pass(&self, signature: &[u8]) -> bool {
        self.columns.iter().all(|(column, bytes)| signature.get(*column).is_none_or(|&byte| bytes.may_be(byte)))
    }

    /// Of `count` nodes whose bytes lie column by column in `bytes`, the positions of those that may pass, to `out`.
    /// `marks` is memory to use.
    pub fn select(&self, bytes: &[u8], count: usize, marks: &mut Vec<u8>, out: &mut Vec<u32>) {
        marks.clear();
        marks.resize(count, 1);
        for (column, may) in &self.columns {
            let Some(of_column) = bytes.get(column * count..(column + 1) * count) else { continue };
            match may {
                Bytes::Run(first, more) => {
                    for (mark, &byte) in marks.iter_mut().zip(of_column) {
                        *mark &= u8::from(byte.wrapping_sub(*first) <= *more);
                    }
                }
                Bytes::Table(table) => {
                    for (mark, &byte) in marks.iter_mut().zip(of_column) {
                        *mark &= table[usize::from(byte)];
                    }
                }
            }
        }
        for (at, eight) in marks.chunks(8).enumerate() {
            if eight.iter().any(|&mark| mark != 0) {
                let marked = eight.iter().enumerate().filter(|(_, mark)| **mark != 0);
                out.extend(marked.map(|(more, _)| (8 * at + more) as u32));
            }
        }
    }
}
