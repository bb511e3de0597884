//! One byte for a key, to lie beside a node's number in its neighbours' lists.
//!
//! A search that filters would have to visit a neighbour to find out that it fails. With a byte of its key beside its
//! number most of those that fail are known before. What a byte can say depends on the kind of the key:
//!
//! * **ordered** values: the number of the bucket between [`Cuts`], quantiles of the values there were when the index was
//!   built. Conditions on ranges and on single values become ranges of buckets;
//! * without cuts (an index made empty) and for hashes: eight bits of a hash, for conditions on single values;
//! * arrays: their Bloom word folded to seven bits.
//!
//! Byte 0 is that of no node. A byte promises nothing but that what fails by it fails by the key, too.

use crate::filter::{Filter, Test};
use crate::image::mix;
use crate::keys::Keys;
use crate::ranges::Ranges;

/// Key columns that have signatures: the first ones of an index.
pub const SIGNED: usize = 4;

/// The bytes of a node's first keys.
pub type Signature = [u8; SIGNED];

/// The signature of a node with these keys, of whose columns these make the bytes.
#[must_use]
pub fn signature(coarse: &[Coarse], keys: Keys<'_>) -> Signature {
    let mut bytes = [0; SIGNED];
    for (column, (byte, coarse)) in bytes.iter_mut().zip(coarse).enumerate() {
        *byte = coarse.signature(keys.get(column));
    }
    bytes
}

/// Cuts of a key at most: with buckets at both ends and NULL a byte is full, and those of four keys fit on a page.
pub const MAX_CUTS: usize = 252;

/// Where the buckets of an ordered key begin: ascending, without duplicates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cuts(Vec<u64>);

impl Cuts {
    /// Cuts at the quantiles of `words`, which are reordered. If there are few different words, each has a bucket.
    #[must_use]
    pub fn quantiles(words: &mut [u64]) -> Self {
        words.sort_unstable();
        let mut distinct: Vec<u64> = Vec::new();
        for &word in words.iter() {
            if distinct.last() != Some(&word) {
                distinct.push(word);
                if distinct.len() > MAX_CUTS {
                    break;
                }
            }
        }
        if distinct.len() > MAX_CUTS {
            distinct = (1..=MAX_CUTS).map(|at| words[at * words.len() / (MAX_CUTS + 1)]).collect();
            distinct.dedup();
        }
        Self(distinct)
    }

    /// Cuts as they were stored; `None` if they cannot be.
    #[must_use]
    pub fn stored(cuts: Vec<u64>) -> Option<Self> {
        (cuts.len() <= MAX_CUTS && cuts.is_sorted_by(|a, b| a < b)).then_some(Self(cuts))
    }

    /// The cuts.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.0
    }

    fn bucket(&self, word: u64) -> u8 {
        // At most 252.
        self.0.partition_point(|&cut| cut <= word) as u8
    }
}

/// How the bytes of a key column are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Coarse {
    /// The number of a bucket.
    Buckets(Cuts),
    /// A hash.
    Hash,
    /// A folded Bloom word.
    Bloom,
}

/// The byte of NULL, but for arrays, where it is that of an empty one.
const NULL: u8 = u8::MAX;

/// The bit that all bytes of arrays have.
const ARRAY: u8 = 0x80;

fn fold(word: u64) -> u8 {
    (0..9).fold(ARRAY, |folded, at| folded | (word >> (7 * at)) as u8)
}

fn hashed(word: u64) -> u8 {
    1 + (mix(word) % 254) as u8
}

/// Words of a condition that are worth hashing one by one.
const FEW: u64 = 1024;

impl Coarse {
    /// The byte of a key.
    #[must_use]
    pub fn signature(&self, key: Option<u64>) -> u8 {
        match (self, key) {
            (Self::Bloom, key) => fold(key.unwrap_or(0)),
            (_, None) => NULL,
            (Self::Buckets(cuts), Some(word)) => 1 + cuts.bucket(word),
            (Self::Hash, Some(word)) => hashed(word),
        }
    }

    /// The bytes that a key can have if it meets `test`.
    #[must_use]
    pub fn mask(&self, test: &Test) -> Mask {
        let mut mask = Mask::default();
        match (self, test) {
            (Self::Buckets(cuts), Test::Within(ranges)) => {
                for (first, last) in ranges.iter() {
                    (cuts.bucket(first)..=cuts.bucket(last)).for_each(|bucket| mask.insert(1 + bucket));
                }
            }
            (Self::Hash, Test::Within(ranges)) if count(ranges).is_some_and(|count| count <= FEW) => {
                ranges.iter().flat_map(|(first, last)| first..=last).for_each(|word| mask.insert(hashed(word)));
            }
            (Self::Bloom, Test::Covers(masks)) => {
                let covers = |byte: &u8| masks.iter().any(|&bits| byte & fold(bits) == fold(bits));
                (ARRAY..=u8::MAX).filter(covers).for_each(|byte| mask.insert(byte));
            }
            (Self::Bloom, Test::Null) => mask.insert(ARRAY),
            (Self::Bloom, _) => (ARRAY..=u8::MAX).for_each(|byte| mask.insert(byte)),
            (_, Test::Null) => mask.insert(NULL),
            _ => (1..NULL).for_each(|byte| mask.insert(byte)),
        }
        mask
    }
}

/// The number of words in a set.
fn count(ranges: &Ranges) -> Option<u64> {
    ranges.iter().try_fold(0u64, |sum, (first, last)| sum.checked_add((last - first).checked_add(1)?))
}

/// A set of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mask([u64; 4]);

impl Mask {
    /// All bytes.
    #[must_use]
    pub fn all() -> Self {
        Self([u64::MAX; 4])
    }

    fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    /// Whether `byte` is in it.
    #[inline]
    #[must_use]
    pub fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 != 0
    }

    /// How many bytes are in it.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether there is none in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that the key of `column` can have in a node that passes `filter`.
    #[must_use]
    pub fn of(filter: &Filter, column: usize, coarse: &Coarse) -> Self {
        let masks = filter.tests().filter(|(of, _)| *of == column).map(|(_, test)| coarse.mask(test));
        masks.fold(Self::all(), |all, mask| Self(std::array::from_fn(|at| all.0[at] & mask.0[at])))
    }
}
