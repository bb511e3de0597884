//! Conditions on the keys of a node, all of which must hold.

use crate::keys::Keys;
use crate::ranges::Ranges;

/// A condition on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// It is NULL.
    Null,
    /// It is not NULL.
    NotNull,
    /// It is one of these.
    Within(Ranges),
    /// An array's image has all the bits of at least one of these.
    Covers(Vec<u64>),
}

impl Test {
    /// Whether a key meets it.
    #[inline]
    #[must_use]
    pub fn holds(&self, key: Option<u64>) -> bool {
        match (self, key) {
            (Self::Null, None) | (Self::NotNull, Some(_)) => true,
            (Self::Within(ranges), Some(word)) => ranges.contains(word),
            (Self::Covers(masks), Some(word)) => masks.iter().any(|mask| mask & !word == 0),
            (Self::Null, Some(_)) | (_, None) => false,
        }
    }
}

/// Conditions on the keys of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    tests: Vec<(usize, Test)>,
}

impl Filter {
    /// Adds a condition on the key `column`.
    pub fn add(&mut self, column: usize, test: Test) {
        if let Test::Within(more) = &test {
            let before = self.tests.iter_mut().find_map(|(other, test)| match test {
                Test::Within(ranges) if *other == column => Some(ranges),
                _ => None,
            });
            if let Some(ranges) = before {
                *ranges = ranges.intersection(more);
                return;
            }
        }
        self.tests.push((column, test));
    }

    /// Whether every node passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    /// Whether no node can pass.
    #[must_use]
    pub fn is_never(&self) -> bool {
        self.tests.iter().any(|(column, test)| match test {
            Test::Within(ranges) => ranges.is_empty(),
            Test::Covers(masks) => masks.is_empty(),
            Test::Null => self.tests.iter().any(|(other, test)| other == column && *test != Test::Null),
            Test::NotNull => false,
        })
    }

    /// Whether a node with these keys passes.
    #[inline]
    #[must_use]
    pub fn passes(&self, keys: Keys<'_>) -> bool {
        self.tests.iter().all(|(column, test)| test.holds(keys.get(*column)))
    }

    /// The conditions, with their columns.
    pub fn tests(&self) -> impl Iterator<Item = (usize, &Test)> {
        self.tests.iter().map(|(column, test)| (*column, test))
    }
}
