//! What the algorithms need of the place where nodes are kept.
//!
//! Two places matter: an in-memory arena (the build, [`Arena`](crate::Arena)) and pages of a buffer pool, where looking
//! at a node costs a page visit, ten times a distance. So the traits ask for many things at once: all new neighbours of
//! a node are scored by one call, which a page storage answers page by page, and nodes that are about to be compared
//! with each other are announced first.
//!
//! A storage may be changed by others between any two calls. Nodes may be freed and their ids used again; an id whose
//! node is gone is simply left out of the answers. No answer is trusted to be consistent with an earlier one: lists are
//! changed by compare-and-replace only.

use std::cmp::Ordering;
use vs_quantize::{Measure, Query, Score};

/// A node's number. A storage chooses them; they need not be dense. [`NONE`] is no node.
pub type NodeId = u32;

/// The number that no node has.
pub const NONE: NodeId = NodeId::MAX;

/// The highest layer a node can be on.
pub const MAX_LEVEL: u8 = 31;

/// The node where searches start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: NodeId,
    /// The highest layer it is on.
    pub level: u8,
}

/// A node seen by a search, ordered by key, then number.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// What candidates are ranked by, ascending: [`Score::key`].
    pub key: f32,
    /// [`Score::slack`], for the lower bound.
    pub slack: f32,
    /// Its number.
    pub id: NodeId,
    /// Whether it stands for at least one row. Other nodes are walked through, but neither found nor linked to.
    pub live: bool,
    /// Whatever the storage needs to tell later whether the number still means the node that was scored.
    pub stamp: u16,
}

impl Candidate {
    /// A live node with its score.
    #[inline]
    #[must_use]
    pub fn new(id: NodeId, score: Score) -> Self {
        Self { key: score.key, slack: score.slack, id, live: true, stamp: 0 }
    }

    /// What the lower bound is computed from.
    #[inline]
    #[must_use]
    pub fn score(&self) -> Score {
        Score { key: self.key, slack: self.slack }
    }
}

impl Ord for Candidate {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.total_cmp(&other.key).then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Candidate {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Candidate {}

impl PartialEq for Candidate {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

/// Reading: all that a search needs.
pub trait Storage {
    /// What can go wrong; the algorithms pass it on.
    type Error;

    /// Where searches start, `None` if there is no node.
    fn entry(&mut self) -> Result<Option<Entry>, Self::Error>;

    /// Scores the nodes `ids` against `query` and appends the results to `out`, in any order. Nodes that are gone are
    /// left out. `ids` are distinct.
    fn score(&mut self, query: &Query, ids: &[NodeId], out: &mut Vec<Candidate>) -> Result<(), Self::Error>;

    /// Tells that the neighbours of `id` on layer `level` may well be asked for next. A storage may start to fetch them.
    fn expect(&mut self, _id: NodeId, _level: u8) {}

    /// Appends the neighbours of `id` on layer `level` to `out`, and says whether there is such a node on that layer. If
    /// not, it has been freed since its number was read, and with it went the way on from there.
    fn neighbours(&mut self, id: NodeId, level: u8, out: &mut Vec<NodeId>) -> Result<bool, Self::Error>;

    /// Appends the neighbours on layer 0 of all `ids`, which are distinct: those that may pass the storage's filter, as far as
    /// it can tell without a look at them, to `may`, the others to `fails`. Says whether all of `ids` were there. A node that
    /// scores as live may pass.
    fn expand(&mut self, ids: &[NodeId], may: &mut Vec<NodeId>, fails: &mut Vec<NodeId>) -> Result<bool, Self::Error> {
        let _ = fails;
        let mut all = true;
        for &id in ids {
            all &= self.neighbours(id, 0, may)?;
        }
        Ok(all)
    }
}

/// Comparing nodes with each other and changing their lists: what inserting and repairing need on top.
pub trait StorageMut: Storage {
    /// Announces that `ids` are about to be compared with each other by [`keys`](Self::keys) and
    /// [`any_nearer`](Self::any_nearer), as candidates for a list of layer `level`. A page storage copies their codes here,
    /// visiting each page once; announcing again forgets the codes of before. Nodes that are not on that layer count as
    /// gone: the lists of nodes long dead may name a number that another node has by now, on fewer layers.
    fn gather(&mut self, ids: &[NodeId], level: u8) -> Result<(), Self::Error>;

    /// What searches rank candidates by.
    fn measure(&self) -> Measure;

    /// Appends the key between `from` and each of `to` to `out`, infinite where a node is gone.
    fn keys(&mut self, measure: Measure, from: NodeId, to: &[NodeId], out: &mut Vec<f32>) -> Result<(), Self::Error>;

    /// Whether the squared distance between `node` and any of `others` is below `key`; `None` if `node` is gone.
    fn any_nearer(&mut self, node: NodeId, others: &[NodeId], key: f32) -> Result<Option<bool>, Self::Error>;

    /// Whether `id` is live and [stands for](Query::stands_for) the point of `query`, with the keys of the node that is
    /// being inserted, where nodes have keys.
    fn is_same(&mut self, query: &Query, id: NodeId) -> Result<bool, Self::Error>;

    /// Stores the node that is being inserted, on layers 0 ..= `level`, with the list `lists[i]` on layer i (layers past
    /// the end of `lists` have empty ones) and returns its number.
    fn add(&mut self, level: u8, lists: &[Vec<NodeId>]) -> Result<NodeId, Self::Error>;

    /// Replaces the list of `id` on layer `level` by `new` if it still is `old`, and says whether it was. `new` is at
    /// most as long as lists on that layer may be.
    fn replace(&mut self, id: NodeId, level: u8, old: &[NodeId], new: &[NodeId]) -> Result<bool, Self::Error>;

    /// Does as [`replace`](Self::replace) says for each of `updates` and appends for each whether it was done to `done`.
    /// A storage that locks and logs by page groups them here.
    fn replace_all(&mut self, updates: &Updates, done: &mut Vec<bool>) -> Result<(), Self::Error> {
        for update in updates.iter() {
            done.push(self.replace(update.id, update.level, update.old, update.new)?);
        }
        Ok(())
    }

    /// Makes `query` measure distances from the node `id`, as [`Space::probe`](vs_quantize::Space::probe) does, and says
    /// whether there is one.
    fn probe(&mut self, id: NodeId, query: &mut Query) -> Result<bool, Self::Error>;

    /// Makes `entry` the place where searches start if there is none, or if the present one is on a lower layer or not
    /// live, and says whether it did. A storage never frees the entry point's node without having put another in its
    /// place: a node that finds nothing alive from there takes over.
    ///
    /// With `instead_of` it does so only if that still is the entry point (`None`: if there still is none).
    fn raise_entry(&mut self, entry: Entry, instead_of: Option<Option<Entry>>) -> Result<bool, Self::Error>;
}

/// One list to replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update<'a> {
    /// The node whose list it is.
    pub id: NodeId,
    /// The layer of the list.
    pub level: u8,
    /// What the list was when the decision was made.
    pub old: &'a [NodeId],
    /// What it shall be.
    pub new: &'a [NodeId],
}

/// Lists to replace, of different nodes.
#[derive(Debug, Default)]
pub struct Updates {
    /// Node, layer, length of the old list, length of the new one.
    heads: Vec<(NodeId, u8, usize, usize)>,
    /// The lists, one after the other.
    ids: Vec<NodeId>,
}

impl Updates {
    /// The updates in the order in which they were decided.
    pub fn iter(&self) -> impl Iterator<Item = Update<'_>> {
        let mut rest = &self.ids[..];
        self.heads.iter().map(move |&(id, level, old, new)| {
            let (lists, after) = rest.split_at(old + new);
            rest = after;
            let (old, new) = lists.split_at(old);
            Update { id, level, old, new }
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.heads.clear();
        self.ids.clear();
    }

    pub(crate) fn push(&mut self, id: NodeId, level: u8, old: &[NodeId], new: &[NodeId]) {
        self.heads.push((id, level, old.len(), new.len()));
        self.ids.extend(old);
        self.ids.extend(new);
    }
}
