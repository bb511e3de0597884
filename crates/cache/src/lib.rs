//! A small memory of recent embeddings, so that the same input is embedded once.
//!
//! A query such as `ORDER BY embedding <-> embed_image($1) LIMIT 9` calls the function for every row of a sequential
//! scan, and two or three times in an index scan, always with the same picture. Whether a function's argument is
//! constant cannot be learnt reliably from the executor, so the answer is remembered by its input instead.
//!
//! An entry is keyed by the model's digest, the side of the model, and the input's bytes:
//!
//! * The **latest** few inputs are kept whole and compared by length and then byte by byte, which costs a few
//!   microseconds and serves the case above, and that of an expression with a picture and words in it.
//! * **Earlier** inputs are known by their SHA-256 alone, which keeps entries small: least recently used ones go when
//!   the memory they take exceeds the capacity.
//!
//! The latest answer is remembered whatever the capacity; only its input is dropped where it does not fit, and known
//! by its SHA-256 like the others.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use lru::LruCache;
use sha2::{Digest, Sha256};
use std::rc::Rc;

/// What made an embedding, but for the input itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker {
    /// SHA-256 digest of the model's files.
    pub model: [u8; 32],
    /// Which side of the model; any number, by the caller's choice.
    pub side: u8,
}

/// Identifies an input for [`Cache::insert`] after [`Cache::get`] has missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// The outcome of a look-up.
#[derive(Debug)]
pub enum Lookup {
    /// The embedding of this very input.
    Hit(Rc<[f32]>),
    /// Not known; insert the answer under this key.
    Miss(Key),
}

struct Latest {
    maker: Maker,
    input: Vec<u8>,
    vector: Rc<[f32]>,
}

/// Recent embeddings, bounded in bytes.
pub struct Cache {
    capacity: usize,
    /// The latest first.
    latest: VecDeque<Latest>,
    earlier: LruCache<Key, Rc<[f32]>>,
    /// Bytes that `earlier` takes, as counted by [`entry_size`].
    earlier_bytes: usize,
}

/// Inputs that are kept whole, as many as one expression is likely to have.
const WHOLE: usize = 4;

/// What an entry is taken to cost: the vector, the key, and the bookkeeping of map and list.
fn entry_size(vector: &[f32]) -> usize {
    size_of_val(vector) + 128
}

impl Cache {
    /// An empty cache that keeps to `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, latest: VecDeque::new(), earlier: LruCache::unbounded(), earlier_bytes: 0 }
    }

    /// Changes the capacity, in bytes, and evicts down to it.
    pub fn set_capacity(&mut self, capacity: usize) {
        if self.capacity != capacity {
            self.capacity = capacity;
            while self.whole_bytes() > capacity {
                self.latest.pop_back();
            }
            self.evict();
        }
    }

    /// Looks an input up, and makes it the latest if it is known.
    pub fn get(&mut self, maker: Maker, input: &[u8]) -> Lookup {
        if let Some(at) = self.latest.iter().position(|latest| latest.maker == maker && latest.input == input) {
            self.latest.swap(0, at);
            return Lookup::Hit(Rc::clone(&self.latest[0].vector));
        }
        let key = key(maker, input);
        match self.earlier.get(&key).cloned() {
            Some(vector) => {
                self.remember_whole(maker, input, &vector);
                self.evict();
                Lookup::Hit(vector)
            }
            None => Lookup::Miss(key),
        }
    }

    /// Remembers the answer to an input that [`get`](Self::get) did not know.
    pub fn insert(&mut self, key: Key, maker: Maker, input: &[u8], vector: Rc<[f32]>) {
        self.remember_whole(maker, input, &vector);
        self.earlier_bytes += entry_size(&vector);
        if let Some(replaced) = self.earlier.put(key, vector) {
            self.earlier_bytes -= entry_size(&replaced);
        }
        self.evict();
    }

    /// Number of embeddings remembered.
    pub fn len(&self) -> usize {
        self.earlier.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.earlier.is_empty()
    }

    /// Memory taken, in bytes.
    pub fn bytes(&self) -> usize {
        self.earlier_bytes + self.whole_bytes()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }

    /// Keeps the input itself for byte-wise comparison, unless it does not fit.
    fn remember_whole(&mut self, maker: Maker, input: &[u8], vector: &Rc<[f32]>) {
        if input.len() > self.capacity {
            return;
        }
        // The buffer that goes serves the input that comes, unless it is much too large.
        let mut buffer = self.crowd_out(input.len()).unwrap_or_default();
        buffer.clear();
        buffer.shrink_to(input.len().saturating_mul(4));
        if buffer.try_reserve_exact(input.len()).is_err() {
            return;
        }
        buffer.extend_from_slice(input);
        self.latest.push_front(Latest { maker, input: buffer, vector: Rc::clone(vector) });
    }

    /// Makes room among the inputs kept whole for one more of `len` bytes, and gives the buffer of the last that had to
    /// go. Beside it the others take at most half of the capacity, so that they do not crowd out the earlier answers.
    fn crowd_out(&mut self, len: usize) -> Option<Vec<u8>> {
        let mut buffer = None;
        while !self.latest.is_empty()
            && (self.latest.len() >= WHOLE || self.whole_bytes().saturating_add(len) > self.capacity / 2)
        {
            buffer = self.latest.pop_back().map(|latest| latest.input);
        }
        buffer
    }

    fn whole_bytes(&self) -> usize {
        self.latest.iter().map(|latest| latest.input.len()).sum()
    }

    /// Drops the least recently used entries until the rest fits; the latest stays.
    fn evict(&mut self) {
        while self.earlier.len() > 1 && self.bytes() > self.capacity {
            if let Some((_, vector)) = self.earlier.pop_lru() {
                self.earlier_bytes -= entry_size(&vector);
            }
        }
    }
}

fn key(maker: Maker, input: &[u8]) -> Key {
    let mut hasher = Sha256::new();
    hasher.update(maker.model);
    hasher.update([maker.side]);
    hasher.update(input);
    Key(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: Maker = Maker { model: [1; 32], side: 0 };

    fn put(cache: &mut Cache, maker: Maker, input: &[u8], value: f32) {
        match cache.get(maker, input) {
            Lookup::Miss(key) => cache.insert(key, maker, input, vec![value; 8].into()),
            Lookup::Hit(_) => panic!("already known"),
        }
    }

    fn look(cache: &mut Cache, maker: Maker, input: &[u8]) -> Option<f32> {
        match cache.get(maker, input) {
            Lookup::Hit(vector) => Some(vector[0]),
            Lookup::Miss(_) => None,
        }
    }

    #[test]
    fn tells_inputs_models_and_sides_apart() {
        let mut cache = Cache::new(1 << 20);
        put(&mut cache, A, b"one", 1.0);
        put(&mut cache, A, b"two", 2.0);
        put(&mut cache, Maker { side: 1, ..A }, b"one", 3.0);
        put(&mut cache, Maker { model: [2; 32], ..A }, b"one", 4.0);
        assert_eq!(look(&mut cache, A, b"one"), Some(1.0));
        assert_eq!(look(&mut cache, A, b"two"), Some(2.0));
        assert_eq!(look(&mut cache, Maker { side: 1, ..A }, b"one"), Some(3.0));
        assert_eq!(look(&mut cache, Maker { model: [2; 32], ..A }, b"one"), Some(4.0));
        assert_eq!(look(&mut cache, A, b"onf"), None);
        assert_eq!(cache.len(), 4);
    }

    #[test]
    fn several_inputs_in_turn_are_compared_and_not_hashed() {
        let mut cache = Cache::new(1 << 20);
        let inputs: Vec<Vec<u8>> = (0..WHOLE as u8).map(|number| vec![number; 1_000]).collect();
        for (input, value) in inputs.iter().zip(0u8..) {
            put(&mut cache, A, input, value.into());
        }
        assert_eq!(cache.latest.len(), WHOLE);
        // Nothing but comparison can find them now.
        cache.earlier.clear();
        for _ in 0..3 {
            for (input, value) in inputs.iter().zip(0u8..) {
                assert_eq!(look(&mut cache, A, input), Some(value.into()));
            }
        }
        // Together they take half of the capacity, or there is one.
        cache.set_capacity(3_000);
        put(&mut cache, A, &[9; 1_200], 9.0);
        assert_eq!(cache.latest.len(), 1);
        assert!(cache.bytes() <= 3_000);
    }

    #[test]
    fn without_capacity_the_latest_answer_is_still_known() {
        let mut cache = Cache::new(0);
        put(&mut cache, A, b"one", 1.0);
        assert_eq!(look(&mut cache, A, b"one"), Some(1.0));
        put(&mut cache, A, b"two", 2.0);
        assert_eq!(look(&mut cache, A, b"one"), None);
        assert_eq!(look(&mut cache, A, b"two"), Some(2.0));
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut cache = Cache::new(9 * entry_size(&[0.0; 8]) + 8);
        for number in 1..=9 {
            put(&mut cache, A, &[number], f32::from(number));
        }
        assert_eq!(look(&mut cache, A, &[1]), Some(1.0));
        put(&mut cache, A, &[10], 10.0);
        assert_eq!(cache.len(), 9);
        assert_eq!(look(&mut cache, A, &[2]), None);
        assert_eq!(look(&mut cache, A, &[1]), Some(1.0));
        assert_eq!(look(&mut cache, A, &[3]), Some(3.0));
        cache.set_capacity(0);
        assert_eq!(cache.len(), 1);
        cache.clear();
        assert!(cache.is_empty() && cache.bytes() == 0);
    }

    proptest! {
        /// Whatever is asked in whatever order: an answer is the one given for that input, and memory stays bounded.
        #[test]
        fn never_wrong_and_never_over(inputs in prop::collection::vec((0u8..20, 0usize..400), 1..200), capacity in 0usize..4000) {
            let mut cache = Cache::new(capacity);
            for (content, length) in inputs {
                let input = vec![content; length];
                let expected = f32::from(content) + length as f32 * 100.0;
                // The contents of empty inputs are all equal.
                let expected = if length == 0 { -1.0 } else { expected };
                match cache.get(A, &input) {
                    Lookup::Hit(vector) => prop_assert_eq!(vector[0], expected),
                    Lookup::Miss(key) => cache.insert(key, A, &input, vec![expected; 8].into()),
                }
                prop_assert!(cache.bytes() <= capacity || cache.len() == 1);
                prop_assert!(matches!(cache.get(A, &input), Lookup::Hit(_)));
            }
        }
    }
}
