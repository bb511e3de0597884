//! A block of nodes: codes, levels, payloads, and the lists as atomic words.

use crate::Params;
use crate::storage::{NONE, NodeId};
use std::collections::TryReserveError;
use std::sync::atomic::{AtomicU32, Ordering};
use vs_quantize::{CodeRef, Header};

/// Nodes in a block.
pub const BLOCK: usize = 1 << 10;

/// Rows start at multiples of this, so that no code straddles more cache lines than it must.
const LINE: usize = 64;

/// The bytes of one row: the code, then its header, padded.
fn stride(dims: usize) -> usize {
    (dims + Header::SIZE).next_multiple_of(LINE)
}

/// An upper bound of the memory a block takes: all of layer 0, and twice the upper lists expected.
pub(super) fn bytes(dims: usize, params: &Params, keys: usize) -> usize {
    let node = stride(dims) + 4 * params.limit(0) + 8 + 8 + 4 + 1 + keys;
    let above = 2 * 4 * params.m / (params.m - 1).max(1) * params.m / params.m.max(1);
    BLOCK * (node + 4 * above) + LINE
}

/// A block being filled.
#[derive(Debug)]
pub struct BlockBuilder {
    dims: usize,
    params: Params,
    bytes: Vec<i8>,
    /// Where the first row starts in `bytes`.
    start: usize,
    levels: Vec<u8>,
    payloads: Vec<u64>,
    /// The bytes of a node's keys, and those of all nodes.
    key: usize,
    keys: Vec<u8>,
}

impl BlockBuilder {
    pub(super) fn new(dims: usize, params: Params, key: usize) -> Result<Self, TryReserveError> {
        let bytes: Vec<i8> = filled(BLOCK * stride(dims) + LINE, || 0)?;
        let start = bytes.as_ptr().align_offset(LINE).min(LINE);
        let (mut levels, mut payloads) = (Vec::new(), Vec::new());
        levels.try_reserve_exact(BLOCK)?;
        payloads.try_reserve_exact(BLOCK)?;
        let mut keys = Vec::new();
        keys.try_reserve_exact(BLOCK * key)?;
        Ok(Self { dims, params, bytes, start, levels, payloads, key, keys })
    }

    /// The number of codes in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.levels.len()
    }

    /// Whether it has no codes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Whether it takes no more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() == BLOCK
    }

    /// Adds the code that `encode` writes into the row it is given, with the highest layer the node shall be on and a
    /// number for the caller's use. Says whether there was room; an error of `encode` leaves the block as it was.
    ///
    /// # Errors
    /// Those of `encode`.
    pub fn push<E>(
        &mut self,
        level: u8,
        payload: u64,
        encode: impl FnOnce(&mut [i8]) -> Result<Header, E>,
    ) -> Result<bool, E> {
        self.push_keyed(level, payload, &[], encode)
    }

    /// As [`push`](Self::push), with the bytes of the node's keys: as many as the arena has for each node; zeros take the
    /// place of what is missing.
    ///
    /// # Errors
    /// Those of `encode`.
    pub fn push_keyed<E>(
        &mut self,
        level: u8,
        payload: u64,
        keys: &[u8],
        encode: impl FnOnce(&mut [i8]) -> Result<Header, E>,
    ) -> Result<bool, E> {
        if self.is_full() {
            return Ok(false);
        }
        let at = self.start + self.len() * stride(self.dims);
        let row = &mut self.bytes[at..at + stride(self.dims)];
        let header = encode(&mut row[..self.dims])?.to_bytes();
        for (byte, value) in row[self.dims..].iter_mut().zip(header) {
            *byte = value as i8;
        }
        self.levels.push(level.min(crate::MAX_LEVEL));
        self.payloads.push(payload);
        self.keys.extend(keys.iter().copied().chain(std::iter::repeat(0)).take(self.key));
        Ok(true)
    }

    pub(super) fn finish(self) -> Result<Block, TryReserveError> {
        let mut above = Vec::new();
        above.try_reserve_exact(self.levels.len())?;
        let mut words = 0u32;
        for &level in &self.levels {
            above.push(words);
            words += u32::from(level) * self.params.m as u32;
        }
        let empty = |len: usize| filled(len, || AtomicU32::new(NONE)).map(Vec::into_boxed_slice);
        Ok(Block {
            dims: self.dims,
            stride: stride(self.dims),
            start: self.start,
            limit: [self.params.limit(0), self.params.limit(1)],
            ground: empty(self.levels.len() * self.params.limit(0))?,
            upper: empty(words as usize)?,
            above,
            bytes: self.bytes,
            levels: self.levels,
            payloads: self.payloads,
            key: self.key,
            keys: self.keys,
        })
    }
}

/// `len` values made by `value`, or an error if there is no memory for them.
fn filled<T>(len: usize, value: impl FnMut() -> T) -> Result<Vec<T>, TryReserveError> {
    let mut all = Vec::new();
    all.try_reserve_exact(len)?;
    all.resize_with(len, value);
    Ok(all)
}

/// A published block.
#[derive(Debug)]
pub(super) struct Block {
    dims: usize,
    stride: usize,
    start: usize,
    bytes: Vec<i8>,
    levels: Vec<u8>,
    payloads: Vec<u64>,
    key: usize,
    keys: Vec<u8>,
    /// The longest list on layer 0 and above.
    limit: [usize; 2],
    /// The lists of layer 0. A list ends at the first [`NONE`] or at its limit.
    ground: Box<[AtomicU32]>,
    /// The lists above, node by node, layer 1 first.
    upper: Box<[AtomicU32]>,
    /// Where a node's lists start in `upper`.
    above: Vec<u32>,
}

impl Block {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.levels.len()
    }

    #[inline]
    pub(super) fn level(&self, at: usize) -> u8 {
        self.levels[at]
    }

    #[inline]
    pub(super) fn payload(&self, at: usize) -> u64 {
        self.payloads[at]
    }

    /// The bytes of the node's keys.
    #[inline]
    pub(super) fn keys(&self, at: usize) -> &[u8] {
        &self.keys[at * self.key..(at + 1) * self.key]
    }

    /// The row of node `at`: code, header, padding.
    #[inline]
    pub(super) fn row(&self, at: usize) -> &[i8] {
        let start = self.start + at * self.stride;
        &self.bytes[start..start + self.stride]
    }

    #[inline]
    pub(super) fn code(&self, at: usize) -> CodeRef<'_> {
        let (values, rest) = self.row(at).split_at(self.dims);
        // A copy of constant size: one of the size of `rest` would be a call.
        let header = rest.first_chunk::<{ Header::SIZE }>().map_or([0; Header::SIZE], |bytes| bytes.map(|b| b as u8));
        Header::from_bytes(&header).with(values)
    }

    /// Asks for a list from memory.
    #[inline]
    pub(super) fn prefetch_list(&self, at: usize, level: u8) {
        vs_distance::code::prefetch(self.list(at, level));
    }

    #[inline]
    fn list(&self, at: usize, level: u8) -> &[AtomicU32] {
        if level == 0 {
            let limit = self.limit[0];
            return &self.ground[at * limit..(at + 1) * limit];
        }
        if level > self.levels[at] {
            return &[];
        }
        let limit = self.limit[1];
        let start = self.above[at] as usize + usize::from(level - 1) * limit;
        &self.upper[start..start + limit]
    }

    /// Appends a list to `out`. While another thread replaces it, what is read may be part old, part new.
    #[inline]
    pub(super) fn read(&self, at: usize, level: u8, out: &mut Vec<NodeId>) {
        let list = self.list(at, level).iter().map(|word| word.load(Ordering::Acquire));
        out.extend(list.take_while(|&id| id != NONE));
    }

    /// Replaces a list if it is `old`. The caller holds the node's lock.
    pub(super) fn replace(&self, at: usize, level: u8, old: &[NodeId], new: &[NodeId]) -> bool {
        let list = self.list(at, level);
        let end = [NONE];
        if new.len() > list.len() || old.len() > list.len() {
            return false;
        }
        let present = list.iter().map(|word| word.load(Ordering::Relaxed));
        if !present.take(old.len() + 1).eq(old.iter().chain(&end).copied().take(list.len())) {
            return false;
        }
        let padded = new.iter().copied().chain(std::iter::repeat(NONE));
        for (word, id) in list.iter().zip(padded).take(old.len().max(new.len())) {
            word.store(id, Ordering::Release);
        }
        true
    }
}
