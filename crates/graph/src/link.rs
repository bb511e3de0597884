//! Changing lists of neighbours: read, decide, replace if unchanged, else again.
//!
//! A list that somebody else has changed meanwhile is read again, however often that takes: every time somebody got on.
//! To give up instead would leave a node that no list names, for no other reason than that many were at work.

use crate::Params;
use crate::blend::{Blend, outshone};
use crate::select::thin;
use crate::storage::{Candidate, NodeId, StorageMut, Updates};
use vs_quantize::Measure;

/// Changes lists; reusable memory.
#[derive(Debug, Default)]
pub(crate) struct Linker {
    updates: Updates,
    done: Vec<bool>,
    pending: Vec<NodeId>,
    old: Vec<NodeId>,
    ids: Vec<NodeId>,
    keys: Vec<f32>,
    candidates: Vec<Candidate>,
    kept: Vec<NodeId>,
    /// The candidates with their products, and in the order of these.
    large: Vec<(f32, Candidate)>,
    by_product: Vec<Candidate>,
    blend: Blend,
}

impl Linker {
    /// Announces `candidates`, of which some may be named twice, for a list of layer `level` to the storage.
    pub(crate) fn gather<'a, S: StorageMut>(
        &mut self,
        storage: &mut S,
        candidates: impl IntoIterator<Item = &'a Candidate>,
        level: u8,
    ) -> Result<(), S::Error> {
        self.ids.clear();
        self.ids.extend(candidates.into_iter().map(|c| c.id));
        if storage.measure() == Measure::Product {
            self.ids.sort_unstable();
            self.ids.dedup();
        }
        storage.gather(&self.ids, level)
    }

    /// Adds `new` to the lists of all `bases` on `level`; a list that is full is thinned.
    ///
    /// All changes are handed to the storage together, so that it can group them by page.
    pub(crate) fn link<S: StorageMut>(
        &mut self,
        storage: &mut S,
        params: &Params,
        bases: &[NodeId],
        level: u8,
        new: NodeId,
    ) -> Result<(), S::Error> {
        let limit = params.limit(level);
        self.pending.clear();
        self.pending.extend(bases.iter().filter(|&&base| base != new));
        loop {
            self.updates.clear();
            for at in 0..self.pending.len() {
                let base = self.pending[at];
                self.old.clear();
                // A base that is gone has no list to be in.
                if !storage.neighbours(base, level, &mut self.old)? || self.old.contains(&new) {
                    continue;
                }
                self.ids.clone_from(&self.old);
                self.ids.push(new);
                if self.ids.len() <= limit {
                    self.kept.clone_from(&self.ids);
                } else {
                    self.rank(storage, base, level)?;
                    self.thin(storage, base, limit, usize::MAX)?;
                }
                self.updates.push(base, level, &self.old, &self.kept);
            }
            if self.updates.is_empty() {
                return Ok(());
            }
            self.done.clear();
            storage.replace_all(&self.updates, &mut self.done)?;
            self.pending.clear();
            let failed = self.updates.iter().zip(self.done.iter().chain(std::iter::repeat(&false)));
            self.pending.extend(failed.filter(|(_, done)| !**done).map(|(update, _)| update.id));
            if self.pending.is_empty() {
                return Ok(());
            }
        }
    }

    /// Selects a new list for `base` from `ids` and puts it in the place of `old` if that still is its list.
    pub(crate) fn relist<S: StorageMut>(
        &mut self,
        storage: &mut S,
        params: &Params,
        base: NodeId,
        level: u8,
        old: &[NodeId],
        ids: &[NodeId],
    ) -> Result<bool, S::Error> {
        self.ids.clear();
        self.ids.extend(ids);
        self.rank(storage, base, level)?;
        // A list made of the neighbours' neighbours has many near each other; more than this are never kept.
        let most = params.ef_construction.max(params.limit(level));
        self.thin(storage, base, params.limit(level), most)?;
        storage.replace(base, level, old, &self.kept)
    }

    /// Thins what has been [ranked](Self::rank) for `base` to a list of at most `limit`, to `kept`, and looks at no more
    /// than the best `most`.
    fn thin<S: StorageMut>(
        &mut self,
        storage: &mut S,
        base: NodeId,
        limit: usize,
        most: usize,
    ) -> Result<(), S::Error> {
        if storage.measure() == Measure::Distance {
            self.candidates.truncate(most);
            return thin(storage, &self.candidates, limit, &mut self.kept);
        }
        self.ids.clear();
        self.ids.extend(self.candidates.iter().map(|c| c.id));
        self.keys.clear();
        storage.keys(Measure::Product, base, &self.ids, &mut self.keys)?;
        self.large.clear();
        self.large.extend(self.keys.iter().copied().zip(self.candidates.iter().copied()));
        self.large.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        self.by_product.clear();
        self.by_product.extend(self.large.iter().take(most).map(|&(_, candidate)| candidate));
        self.keys.clear();
        storage.keys(Measure::Product, base, &[base], &mut self.keys)?;
        let own = self.keys.first().copied().unwrap_or(f32::INFINITY);
        let outshone = outshone(own, self.large.iter().map(|&(key, _)| key), limit);
        self.blend.choose(storage, &self.candidates, &self.by_product, limit, outshone, &mut self.kept)
    }

    /// Scores `ids` against `base` into `candidates`, ascending; those that are gone, or not on `level`, are left out.
    fn rank<S: StorageMut>(&mut self, storage: &mut S, base: NodeId, level: u8) -> Result<(), S::Error> {
        self.ids.push(base);
        storage.gather(&self.ids, level)?;
        self.ids.pop();
        self.keys.clear();
        storage.keys(Measure::Distance, base, &self.ids, &mut self.keys)?;
        self.candidates.clear();
        let scored = self.ids.iter().zip(&self.keys).filter(|(_, key)| **key < f32::INFINITY);
        self.candidates.extend(scored.map(|(&id, &key)| Candidate { key, slack: 0.0, id, live: true, stamp: 0 }));
        self.candidates.sort_unstable();
        Ok(())
    }
}
