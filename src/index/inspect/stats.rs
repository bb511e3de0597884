//! `vs_hnsw_stats`: what an index holds, counted by reading all of it.

use super::held::Held;
use crate::embedding::literal::tag_text;
use crate::error::{OrRaise, SqlResult};
use crate::index::maintain::{live, traverse};
use crate::index::pages::{Graph, Opened, Place, SideRef, Tid};
use crate::returned::{Returned, column, record};
use crate::storage::{Kind, Logging};
use pgrx::prelude::*;
use vs_quantize::Metric;

/// What `vs_hnsw_stats` counts.
#[derive(Default)]
struct Counts {
    node_pages: i64,
    side_pages: i64,
    other_pages: i64,
    nodes: i64,
    dead_nodes: i64,
    free_slots: i64,
    rows: i64,
    killed_rows: i64,
    edges: i64,
    levels: Vec<i64>,
}

impl Counts {
    fn of(opened: &Opened) -> Self {
        let layout = opened.layout;
        let mut counts = Self::default();
        for block in 1..opened.index.blocks() {
            pgrx::check_for_interrupts!();
            let mut hints = opened.remembered.hints.borrow_mut();
            let lock = opened.index.read(&mut hints, block);
            let page = lock.page();
            match page.kind() {
                Some(Kind::Nodes) => counts.node_pages += 1,
                Some(Kind::Side) => counts.side_pages += 1,
                _ => counts.other_pages += 1,
            }
            for at in 0..layout.slots(page) {
                let Some(node) = layout.node(page, at) else { continue };
                counts.nodes += 1;
                counts.dead_nodes += i64::from(!node.live());
                counts.edges += node.list().len() as i64;
                counts.count_rows(node.tids());
                let level = usize::from(node.level());
                if counts.levels.len() <= level {
                    counts.levels.resize(level + 1, 0);
                }
                counts.levels[level] += 1;
            }
            for at in 0..layout.sides(page) {
                if let Some(entry) = layout.side(page, at).filter(SideRef::has_rows) {
                    counts.count_rows(entry.tids());
                }
            }
        }
        counts.free_slots = counts.node_pages * layout.per_page() as i64 - counts.nodes;
        counts
    }

    fn count_rows(&mut self, tids: impl Iterator<Item = Tid>) {
        for tid in tids {
            self.rows += 1;
            self.killed_rows += i64::from(tid.is_killed());
        }
    }
}

#[pg_extern(sql = false)]
fn vs_hnsw_stats(index: pg_sys::Oid, fcinfo: pg_sys::FunctionCallInfo) -> Returned {
    stats(index, fcinfo).or_raise()
}

fn stats(index: pg_sys::Oid, fcinfo: pg_sys::FunctionCallInfo) -> SqlResult<Returned> {
    let held = Held::open(index, false)?;
    let opened = Opened::open(held.index())?;
    let counts = Counts::of(&opened);
    let blocks = held.index().blocks();
    let reach = traverse(&mut Graph::new(opened.clone(), Logging::Generic), blocks)?;
    let mut unreachable = 0i64;
    for block in 1..blocks {
        pgrx::check_for_interrupts!();
        unreachable += live(&opened, block).iter().filter(|&&id| !reach.reached(id)).count() as i64;
    }
    let meta = opened.meta;
    let entry = meta.entry.map(|entry| {
        let Place { block, at } = opened.layout.place(entry.id);
        format!("({block},{at})")
    });
    let metric = match meta.metric {
        Metric::L2 => "l2",
        Metric::Cosine => "cosine",
        Metric::InnerProduct => "ip",
    };
    let degree = if counts.nodes > 0 { Some(counts.edges as f64 / counts.nodes as f64) } else { None };
    // SAFETY: the columns are those that sql/index.sql declares.
    unsafe {
        record(
            fcinfo,
            &[
                column(metric),
                column(meta.dims as i32),
                column(meta.m as i32),
                column(meta.ef_construction as i32),
                (meta.tag != 0).then(|| tag_text(meta.tag)).and_then(column),
                entry.and_then(column),
                column(i64::from(blocks)),
                column(counts.node_pages),
                column(counts.side_pages),
                column(opened.layout.per_page() as i32),
                column(counts.nodes),
                column(counts.dead_nodes),
                column(counts.free_slots),
                column(counts.rows),
                column(counts.killed_rows),
                column(unreachable),
                degree.and_then(column),
                column(counts.levels),
            ],
        )
    }
}
