//! The words of a node's key columns as they lie in its slot: 32 bits that say which are NULL, then a word for each.
//! The word of a NULL is zero, so that equal keys have equal bytes.

/// Key columns that a node can have.
pub const MAX_COLUMNS: usize = 31;

/// The bytes of the NULL bits.
const NULLS: usize = 4;

/// The keys of a node, where they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys<'a>(&'a [u8]);

impl<'a> Keys<'a> {
    /// The bytes that the keys of so many columns take.
    #[must_use]
    pub const fn size(columns: usize) -> usize {
        if columns == 0 { 0 } else { NULLS + 8 * columns }
    }

    /// The keys that lie in `bytes`.
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[inline]
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The word of a column; `None` if it is NULL, and past the last column.
    #[inline]
    #[must_use]
    pub fn get(self, column: usize) -> Option<u64> {
        if self.0.get(column / 8)? >> (column % 8) & 1 != 0 {
            return None;
        }
        let word = self.0.get(NULLS + 8 * column..)?.first_chunk()?;
        Some(u64::from_le_bytes(*word))
    }

    /// Whether the bytes are what [`KeysBuf`] writes for so many columns.
    #[must_use]
    pub fn is_sound(self, columns: usize) -> bool {
        let Some((nulls, words)) = self.0.split_first_chunk::<NULLS>() else { return columns == 0 };
        let nulls = u32::from_le_bytes(*nulls);
        let beyond = u64::from(nulls) >> columns;
        let zero = |column: usize| nulls >> column & 1 == 0 || words[8 * column..8 * column + 8] == [0; 8];
        words.len() == 8 * columns && beyond == 0 && (0..columns).all(zero)
    }
}

/// Keys being put together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeysBuf(Vec<u8>);

impl KeysBuf {
    /// Those of a row, `None` for NULL.
    pub fn set(&mut self, words: impl ExactSizeIterator<Item = Option<u64>>) {
        self.0.clear();
        self.0.resize(Keys::size(words.len()), 0);
        for (column, word) in words.enumerate() {
            match word {
                None => self.0[column / 8] |= 1 << (column % 8),
                Some(word) => self.0[NULLS + 8 * column..][..8].copy_from_slice(&word.to_le_bytes()),
            }
        }
    }

    /// Copies those of a node.
    pub fn copy(&mut self, keys: Keys<'_>) {
        self.0.clear();
        self.0.extend_from_slice(keys.bytes());
    }

    /// The keys.
    #[inline]
    #[must_use]
    pub fn keys(&self) -> Keys<'_> {
        Keys(&self.0)
    }
}
