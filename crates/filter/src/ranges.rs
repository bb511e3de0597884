//! Sets of words, as disjoint ranges in order.

/// A set of words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// The set with nothing in it.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// All words.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![(0, u64::MAX)])
    }

    /// One word.
    #[must_use]
    pub fn one(word: u64) -> Self {
        Self(vec![(word, word)])
    }

    /// The words from `first` to `last`, both included; none if `last` is less.
    #[must_use]
    pub fn between(first: u64, last: u64) -> Self {
        if first <= last { Self(vec![(first, last)]) } else { Self::none() }
    }

    /// The words below `word`.
    #[must_use]
    pub fn below(word: u64) -> Self {
        word.checked_sub(1).map_or_else(Self::none, |last| Self::between(0, last))
    }

    /// The words above `word`.
    #[must_use]
    pub fn above(word: u64) -> Self {
        word.checked_add(1).map_or_else(Self::none, |first| Self::between(first, u64::MAX))
    }

    /// Whatever is in any of the sets.
    #[must_use]
    pub fn union(sets: impl IntoIterator<Item = Self>) -> Self {
        let mut all: Vec<(u64, u64)> = sets.into_iter().flat_map(|set| set.0).collect();
        all.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// What is in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut a, mut b) = (0, 0);
        let mut common = Vec::new();
        while let (Some(x), Some(y)) = (self.0.get(a), other.0.get(b)) {
            let (first, last) = (x.0.max(y.0), x.1.min(y.1));
            if first <= last {
                common.push((first, last));
            }
            if x.1 < y.1 { a += 1 } else { b += 1 }
        }
        Self(common)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `word` is in it.
    #[inline]
    #[must_use]
    pub fn contains(&self, word: u64) -> bool {
        if let [(first, last)] = self.0[..] {
            return first <= word && word <= last;
        }
        let at = self.0.partition_point(|range| range.1 < word);
        self.0.get(at).is_some_and(|range| range.0 <= word)
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }
}
