//! Clustered random vectors, exact answers, checks of a graph, and a storage that misbehaves on purpose.
#![allow(dead_code, reason = "each test binary uses its own part")]

use half::f16;
use std::cell::Cell;
use std::collections::HashSet;
use vs_graph::{
    Arena, ArenaHandle, BLOCK, Beam, Candidate, Entry, Inserter, NodeId, Params, Reach, Repairer, Storage, StorageMut,
};
use vs_quantize::{Measure, Metric, Query, Scratch, Space};

pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }
}

/// Rows in 30 clusters of low dimension, not negative, as embeddings after a ReLU are.
pub fn clustered(rows: usize, dims: usize, seed: u64) -> Vec<Vec<f16>> {
    let mut rng = Rng(seed);
    let mut random =
        |n: usize| -> Vec<Vec<f32>> { (0..n).map(|_| (0..dims).map(|_| rng.normal()).collect()).collect() };
    let (centres, basis) = (random(30), random(8));
    let mut rng = Rng(seed ^ 1);
    (0..rows)
        .map(|_| {
            let centre = &centres[rng.below(30)];
            let weights: Vec<f32> = basis.iter().map(|_| rng.normal() * 0.5).collect();
            let value = |i: usize| {
                let spread: f32 = weights.iter().zip(&basis).map(|(w, b)| w * b[i]).sum();
                (centre[i] + spread).max(0.0)
            };
            (0..dims).map(|i| f16::from_f32(value(i) + 0.05 * rng.uniform())).collect()
        })
        .collect()
}

pub fn exact(metric: Metric, a: &[f16], b: &[f16]) -> f64 {
    match metric {
        Metric::L2 => vs_distance::l2_squared(a, b).sqrt(),
        Metric::Cosine => {
            let (dot, na, nb) = vs_distance::cosine_parts(a, b);
            (1.0 - dot / (na * nb).sqrt()).clamp(0.0, 2.0)
        }
        Metric::InnerProduct => -vs_distance::dot(a, b),
    }
}

pub fn empty(dims: usize, metric: Metric, params: Params, rows: usize) -> Arena {
    Arena::new(Space::new(dims, metric).unwrap(), params, rows + 64 * BLOCK).unwrap()
}

/// Publishes `rows`; the payload of each is its position plus `first`.
pub fn publish(arena: &Arena, rows: &[Vec<f16>], first: usize) -> Vec<NodeId> {
    let mut scratch = Scratch::default();
    let mut ids = Vec::new();
    for (part, rows) in rows.chunks(BLOCK).enumerate() {
        let mut block = arena.builder().unwrap();
        for (at, row) in rows.iter().enumerate() {
            let payload = (first + part * BLOCK + at) as u64;
            let level = arena.params().level(Rng(payload).next());
            assert!(block.push(level, payload, |code| arena.space().encode(row, &mut scratch, code)).unwrap());
        }
        ids.extend(arena.publish(block).unwrap());
    }
    ids
}

/// A graph of `rows`, built by one thread; node i is row i.
pub fn built(rows: &[Vec<f16>], metric: Metric, params: Params) -> Arena {
    let arena = empty(rows[0].len(), metric, params, rows.len());
    let ids = publish(&arena, rows, 0);
    let (mut handle, mut inserter) = (arena.handle(), Inserter::default());
    ids.iter().for_each(|&id| _ = handle.insert(&mut inserter, id));
    arena
}

pub fn list<S: Storage>(storage: &mut S, id: NodeId, level: u8) -> Vec<NodeId>
where
    S::Error: std::fmt::Debug,
{
    let mut list = Vec::new();
    storage.neighbours(id, level, &mut list).unwrap();
    list
}

/// Degree limits, no link to itself, none twice, none to a node that is not on the layer.
pub fn check_lists<S: Storage>(arena: &Arena, storage: &mut S, allowed: &dyn Fn(NodeId) -> bool)
where
    S::Error: std::fmt::Debug,
{
    let known: HashSet<NodeId> = arena.ids().collect();
    for &id in known.iter().filter(|&&id| allowed(id)) {
        for level in 0..=arena.level(id) {
            let list = list(storage, id, level);
            assert!(list.len() <= arena.params().limit(level), "{id} has {} neighbours on {level}", list.len());
            let distinct: HashSet<NodeId> = list.iter().copied().collect();
            assert_eq!(distinct.len(), list.len(), "{id} names a neighbour twice");
            assert!(!distinct.contains(&id), "{id} names itself");
            for other in list {
                assert!(known.contains(&other) && allowed(other), "{id} names {other}");
                assert!(arena.level(other) >= level, "{id} names {other}, which is not on layer {level}");
            }
        }
    }
}

/// The fraction of the `k` nearest allowed rows that a search with `ef` finds, in the exact order of its candidates.
pub fn recall<S: Storage>(
    arena: &Arena,
    storage: &mut S,
    rows: &[Vec<f16>],
    allowed: &dyn Fn(NodeId) -> bool,
    queries: &[Vec<f16>],
    ef: usize,
) -> f64
where
    S::Error: std::fmt::Debug,
{
    const K: usize = 10;
    let space = arena.space();
    let (mut scratch, mut query, mut beam, mut found) =
        (Scratch::default(), Query::default(), Beam::default(), Vec::new());
    let mut hits = 0;
    for asked in queries {
        let distance = |id: NodeId| exact(space.metric(), &rows[arena.payload(id) as usize], asked);
        let mut truth: Vec<f64> = arena.ids().filter(|&id| allowed(id)).map(distance).collect();
        truth.sort_by(f64::total_cmp);
        space.prepare(asked, &mut scratch, &mut query).unwrap();
        beam.search(storage, &query, ef).unwrap();
        beam.take(&mut found);
        assert!(found.iter().all(|c| allowed(c.id)), "found a node that is not there");
        let mut distances: Vec<f64> = found.iter().map(|c| distance(c.id)).collect();
        distances.sort_by(f64::total_cmp);
        hits += distances.iter().take(K).filter(|&&d| d <= truth[K - 1]).count();
        for candidate in &found {
            assert!(space.lower_bound(&query, candidate.score()) <= distance(candidate.id));
        }
    }
    hits as f64 / (queries.len() * K) as f64
}

/// An arena in which nodes are dead or gone, and whose calls sometimes fail.
pub struct Rough<'a> {
    pub handle: ArenaHandle<'a>,
    /// Still readable, stand for no row.
    pub dead: HashSet<NodeId>,
    /// Not there any more.
    pub gone: HashSet<NodeId>,
    /// Goes when its neighbours are asked for, so that it still was there to be scored.
    pub goes_when_scored: Option<NodeId>,
    /// Every node goes before its neighbours are asked for, and comes back.
    pub without_lists: bool,
    /// There again, but as other nodes, on layer 0 alone.
    pub lowered: HashSet<NodeId>,
    /// The layer that nodes were gathered for last.
    gathered: u8,
    pub entry: Option<Entry>,
    /// What the entry point seems to be when it is asked for next.
    pub stale_entry: Option<Entry>,
    /// This many times nobody seems to have put an entry point there yet.
    pub blank_entries: usize,
    /// One of this many replacements finds the list changed by somebody else; 0 for none.
    pub contention: usize,
    /// One of this many calls fails; 0 for none.
    pub failure: usize,
    pub rng: Rng,
    pub calls: Cell<usize>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Failed;

impl<'a> Rough<'a> {
    pub fn new(arena: &'a Arena) -> Self {
        Self {
            handle: arena.handle(),
            dead: HashSet::new(),
            gone: HashSet::new(),
            goes_when_scored: None,
            without_lists: false,
            lowered: HashSet::new(),
            gathered: 0,
            entry: None,
            stale_entry: None,
            blank_entries: 0,
            contention: 0,
            failure: 0,
            rng: Rng(99),
            calls: Cell::new(0),
        }
    }

    fn call(&mut self) -> Result<(), Failed> {
        self.calls.set(self.calls.get() + 1);
        if self.failure > 0 && self.rng.below(self.failure) == 0 { Err(Failed) } else { Ok(()) }
    }
}

impl Storage for Rough<'_> {
    type Error = Failed;

    fn entry(&mut self) -> Result<Option<Entry>, Failed> {
        self.call()?;
        if self.blank_entries > 0 {
            self.blank_entries -= 1;
            return Ok(None);
        }
        if let Some(stale) = self.stale_entry.take() {
            return Ok(Some(stale));
        }
        let Ok(entry) = self.handle.entry();
        Ok(self.entry.or(entry))
    }

    fn score(&mut self, query: &Query, ids: &[NodeId], out: &mut Vec<Candidate>) -> Result<(), Failed> {
        self.call()?;
        let from = out.len();
        let there: Vec<NodeId> = ids.iter().copied().filter(|id| !self.gone.contains(id)).collect();
        let Ok(()) = self.handle.score(query, &there, out);
        out[from..].iter_mut().for_each(|c| c.live = !self.dead.contains(&c.id));
        Ok(())
    }

    fn neighbours(&mut self, id: NodeId, level: u8, out: &mut Vec<NodeId>) -> Result<bool, Failed> {
        self.call()?;
        if self.gone.contains(&id) || self.goes_when_scored.take_if(|leaving| *leaving == id).is_some() {
            self.gone.insert(id);
            return Ok(false);
        }
        if self.without_lists {
            return Ok(false);
        }
        let Ok(there) = self.handle.neighbours(id, level, out);
        Ok(there)
    }
}

impl StorageMut for Rough<'_> {
    fn gather(&mut self, _: &[NodeId], level: u8) -> Result<(), Failed> {
        self.gathered = level;
        self.call()
    }

    fn measure(&self) -> Measure {
        self.handle.measure()
    }

    fn keys(&mut self, measure: Measure, from: NodeId, to: &[NodeId], out: &mut Vec<f32>) -> Result<(), Failed> {
        self.call()?;
        let first = out.len();
        let Ok(()) = self.handle.keys(measure, from, to, out);
        for (key, id) in out[first..].iter_mut().zip(to) {
            if self.gone.contains(id) || self.gathered > 0 && self.lowered.contains(id) {
                *key = f32::INFINITY;
            }
        }
        Ok(())
    }

    fn any_nearer(&mut self, node: NodeId, others: &[NodeId], key: f32) -> Result<Option<bool>, Failed> {
        self.call()?;
        let Ok(nearer) = self.handle.any_nearer(node, others, key);
        Ok(nearer.filter(|_| !self.gone.contains(&node)))
    }

    fn is_same(&mut self, query: &Query, id: NodeId) -> Result<bool, Failed> {
        self.call()?;
        let Ok(same) = self.handle.is_same(query, id);
        Ok(same && !self.dead.contains(&id) && !self.gone.contains(&id))
    }

    fn add(&mut self, level: u8, lists: &[Vec<NodeId>]) -> Result<NodeId, Failed> {
        self.call()?;
        let Ok(id) = self.handle.add(level, lists);
        Ok(id)
    }

    fn replace(&mut self, id: NodeId, level: u8, old: &[NodeId], new: &[NodeId]) -> Result<bool, Failed> {
        self.call()?;
        if self.contention > 0 && self.rng.below(self.contention) == 0 {
            return Ok(false);
        }
        let Ok(done) = self.handle.replace(id, level, old, new);
        Ok(done)
    }

    fn probe(&mut self, id: NodeId, query: &mut Query) -> Result<bool, Failed> {
        self.call()?;
        let Ok(there) = self.handle.probe(id, query);
        Ok(there)
    }

    fn raise_entry(&mut self, entry: Entry, instead_of: Option<Option<Entry>>) -> Result<bool, Failed> {
        self.call()?;
        let Ok(raised) = self.handle.raise_entry(entry, instead_of.filter(|_| self.entry.is_none()));
        let Ok(present) = self.handle.entry();
        let dead = present.is_some_and(|present| self.dead.contains(&present.id));
        if dead && self.entry.is_none() {
            self.entry = Some(entry);
            return Ok(true);
        }
        Ok(raised)
    }
}

/// Removes `victims` as a vacuum would: mark, move the entry point, repair every list, free, attach.
pub fn vacuum<'a>(arena: &'a Arena, victims: &HashSet<NodeId>) -> Rough<'a> {
    let mut rough = Rough::new(arena);
    rough.dead.clone_from(victims);
    let gone = |id: NodeId| victims.contains(&id);
    let survivors: Vec<NodeId> = arena.ids().filter(|&id| !gone(id)).collect();
    let highest = survivors.iter().copied().max_by_key(|&id| arena.level(id));
    rough.entry = highest.map(|id| Entry { id, level: arena.level(id) });
    let mut repairer = Repairer::default();
    for &id in &survivors {
        for level in 0..=arena.level(id) {
            repairer.repair(&mut rough, arena.params(), id, level, &gone).unwrap();
            assert!(!repairer.repair(&mut rough, arena.params(), id, level, &gone).unwrap(), "nothing is left to do");
        }
    }
    rough.gone.clone_from(victims);
    let mut reach = Reach::traverse(&mut rough, arena.ids().count()).unwrap();
    for &id in &survivors {
        assert_eq!(reach.attach(&mut rough, arena.params(), id), Ok(true));
    }
    let again = Reach::traverse(&mut rough, arena.ids().count()).unwrap();
    assert!(survivors.iter().all(|&id| again.reached(id)));
    check_lists(arena, &mut rough, &|id| !gone(id));
    rough
}
