//! A storage that counts the page visits a search would cost if nodes lay on pages in a given order.

use std::collections::HashSet;
use std::convert::Infallible;
use vs_graph::{ArenaHandle, Candidate, Entry, NodeId, Storage};
use vs_quantize::Query;

pub struct Paged<'a> {
    handle: ArenaHandle<'a>,
    /// The page of each node.
    pages: &'a [u32],
    touched: Vec<u32>,
    /// Visits: one for reading a list, one for each page among the nodes scored together.
    pub visits: usize,
    /// Pages visited at least once.
    pub distinct: HashSet<u32>,
}

impl<'a> Paged<'a> {
    pub fn new(handle: ArenaHandle<'a>, pages: &'a [u32]) -> Self {
        Self { handle, pages, touched: Vec::new(), visits: 0, distinct: HashSet::new() }
    }
}

impl Storage for Paged<'_> {
    type Error = Infallible;

    fn entry(&mut self) -> Result<Option<Entry>, Infallible> {
        self.handle.entry()
    }

    fn score(&mut self, query: &Query, ids: &[NodeId], out: &mut Vec<Candidate>) -> Result<(), Infallible> {
        self.touched.clear();
        self.touched.extend(ids.iter().map(|&id| self.pages[id as usize]));
        self.touched.sort_unstable();
        self.touched.dedup();
        self.visits += self.touched.len();
        self.distinct.extend(&self.touched);
        self.handle.score(query, ids, out)
    }

    fn neighbours(&mut self, id: NodeId, level: u8, out: &mut Vec<NodeId>) -> Result<bool, Infallible> {
        self.visits += 1;
        self.distinct.insert(self.pages[id as usize]);
        self.handle.neighbours(id, level, out)
    }
}
