//! A set of node numbers that is emptied in no time.
//!
//! Open addressing with linear probing, at most half full. Every slot carries the generation it was written in, so
//! emptying the set is one increment, and a set that once grew large stays cheap for small searches: they touch only
//! the slots they use.

use crate::NodeId;
use std::collections::TryReserveError;

/// The nodes a search has already seen.
#[derive(Debug, Clone)]
pub(crate) struct Visited {
    /// Generation in the high half, number in the low.
    slots: Vec<u64>,
    generation: u32,
    len: usize,
}

const SMALLEST: usize = 1 << 10;

impl Default for Visited {
    fn default() -> Self {
        Self { slots: vec![0; SMALLEST], generation: 1, len: 0 }
    }
}

impl Visited {
    /// Empties the set.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            self.slots.fill(0);
            self.generation = 1;
        }
    }

    /// The number of members.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Makes room for `more` members beyond those there are, so that adding them allocates nothing.
    ///
    /// # Errors
    /// If there is no memory for them; the set stays as it was.
    pub(crate) fn reserve(&mut self, more: usize) -> Result<(), TryReserveError> {
        while 2 * (self.len + more) > self.slots.len() {
            self.try_grow()?;
        }
        Ok(())
    }

    /// Adds `id` and says whether it was new.
    #[inline]
    pub(crate) fn insert(&mut self, id: NodeId) -> bool {
        if 2 * self.len >= self.slots.len() {
            self.grow();
        }
        let fresh = self.place(id);
        self.len += usize::from(fresh);
        fresh
    }

    #[inline]
    fn place(&mut self, id: NodeId) -> bool {
        let mask = self.slots.len() - 1;
        let wanted = u64::from(self.generation) << 32 | u64::from(id);
        // Fibonacci hashing: the high bits of the product are the well-mixed ones.
        let mut at = (u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & mask;
        loop {
            let slot = &mut self.slots[at];
            if *slot == wanted {
                return false;
            }
            if (*slot >> 32) as u32 != self.generation {
                *slot = wanted;
                return true;
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let doubled = vec![0; 2 * self.slots.len()];
        self.rehash(doubled);
    }

    #[cold]
    fn try_grow(&mut self) -> Result<(), TryReserveError> {
        let mut doubled = Vec::new();
        doubled.try_reserve_exact(2 * self.slots.len())?;
        doubled.resize(2 * self.slots.len(), 0);
        self.rehash(doubled);
        Ok(())
    }

    fn rehash(&mut self, doubled: Vec<u64>) {
        let old = std::mem::replace(&mut self.slots, doubled);
        for slot in old {
            if (slot >> 32) as u32 == self.generation {
                self.place(slot as u32);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn it_is_a_set_through_growing_and_clearing() {
        let mut visited = Visited::default();
        let mut x = 1u32;
        for round in 0..20 {
            visited.clear();
            let mut expected = HashSet::new();
            for _ in 0..(round * round * 50) {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let id = x >> 18;
                assert_eq!(visited.insert(id), expected.insert(id));
            }
            assert_eq!(visited.len(), expected.len());
        }
    }

    #[test]
    fn the_generation_may_wrap() {
        let mut visited = Visited { generation: u32::MAX, ..Visited::default() };
        assert!(visited.insert(7) && !visited.insert(7));
        visited.clear();
        assert!(visited.insert(7) && visited.insert(0));
    }
}
