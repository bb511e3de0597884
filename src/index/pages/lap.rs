//! Noticing that a chain of entries runs in a circle.

/// Brent's method (1980): remember an entry, and a later one whenever twice as many have been passed. A circle comes by
/// the remembered one after at most three times its own length and that of the way to it.
pub struct Lap {
    mark: u32,
    passed: usize,
    until: usize,
}

impl Lap {
    /// A walk that begins at entry `first`.
    pub fn new(first: u32) -> Self {
        Self { mark: first, passed: 0, until: 1 }
    }

    /// Takes note of the next entry; says whether the walk has been there before.
    pub fn comes_back(&mut self, next: u32) -> bool {
        if next == self.mark {
            return true;
        }
        self.passed += 1;
        if self.passed == self.until {
            (self.mark, self.passed) = (next, 0);
            self.until *= 2;
        }
        false
    }
}
