//! Building and searching a graph of 60,000 pictures in memory: time to build with one and two threads, then recall,
//! distances, hops and time a query by `ef`, with and without the exact ordering of the result.
//!
//! `cargo bench -p vs_graph --bench pictures [-- <threads> …]`

#[path = "support/data.rs"]
mod data;
#[path = "support/paged.rs"]
mod paged;

use data::{Rng, Table, load, truth};
use paged::Paged;
use std::time::Instant;
use vs_graph::{Arena, BLOCK, Beam, Inserter, Params, Reach, page_order};
use vs_quantize::{Metric, Query, Scratch, Space};

const K: usize = 10;

fn env(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Seconds this thread has spent on a processor, so that a busy machine does not spoil the numbers; where the kernel
/// does not tell, the time of day.
fn now() -> f64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = spent.and_then(|s| s.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| START.elapsed().as_secs_f64(), |ns| ns * 1e-9)
}

/// The graph, and the processor seconds its threads took together.
fn build(base: &Table, params: Params, threads: usize) -> (Arena, f64) {
    let space = Space::new(base.dims, Metric::L2).expect("length in range");
    let arena = Arena::new(space, params, base.len()).expect("memory");
    let next = std::sync::atomic::AtomicUsize::new(0);
    let spent = std::sync::Mutex::new(0.0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let start = now();
                let (mut scratch, mut inserter) = (Scratch::default(), Inserter::default());
                let mut handle = arena.handle();
                loop {
                    let first = next.fetch_add(BLOCK, std::sync::atomic::Ordering::Relaxed);
                    if first >= base.len() {
                        break;
                    }
                    let mut block = arena.builder().expect("memory");
                    for row in first..base.len().min(first + BLOCK) {
                        let level = params.level(Rng(row as u64).next());
                        let encode = |code: &mut [i8]| arena.space().encode(base.row(row), &mut scratch, code);
                        block.push(level, row as u64, encode).expect("finite");
                    }
                    for id in arena.publish(block).expect("room") {
                        handle.insert(&mut inserter, id);
                    }
                }
                *spent.lock().expect("no thread panicked") += now() - start;
            });
        }
    });
    let spent = *spent.lock().expect("no thread panicked");
    (arena, spent)
}

fn degrees(arena: &Arena) -> f64 {
    let mut list = Vec::new();
    let (mut nodes, mut edges) = (0, 0);
    for id in arena.ids() {
        list.clear();
        arena.neighbours(id, 0, &mut list);
        nodes += 1;
        edges += list.len();
    }
    edges as f64 / nodes as f64
}

fn main() {
    let (rows, queries) = (env("ROWS", 60_000), env("QUERIES", 1_000));
    let params = Params { m: env("M", 16), ef_construction: env("EFC", 64) };
    let (base, asked, name) = load(rows, queries);
    println!(
        "{name}: {} x {}, {} queries, m {}, ef_construction {}",
        base.len(),
        base.dims,
        asked.len(),
        params.m,
        params.ef_construction
    );
    let truth = truth(&base, &asked, K);
    let mut arena = None;
    for threads in std::env::args().skip(1).filter_map(|a| a.parse().ok()).chain([1]) {
        let start = Instant::now();
        let (built, spent) = build(&base, params, threads);
        let wall = start.elapsed().as_secs_f64();
        println!("build, {threads} threads: {wall:.2} s, {spent:.2} processor s, mean degree {:.1}", degrees(&built));
        arena = Some(built);
    }
    let arena = arena.expect("one was built");
    let ids: Vec<u32> = arena.ids().collect();
    if let Ok(reach) = Reach::traverse(&mut arena.handle(), ids.len()) {
        println!("{} nodes cannot be reached", ids.iter().filter(|&&id| !reach.reached(id)).count());
    }
    layouts(&arena, &asked, env("EF", 30));
    let (mut scratch, mut query, mut beam) = (Scratch::default(), Query::default(), Beam::default());
    let mut found = Vec::new();
    println!(
        "{:>5} {:>8} {:>10} {:>7} {:>9} {:>11} {:>9} {:>8}",
        "ef", "recall", "distances", "hops", "us/query", "us, ordered", "fetched", "QPS"
    );
    for ef in [10, 16, 20, 24, 30, 40, 50, 64, 80, 120, 200] {
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let start = now();
            for at in 0..asked.len() {
                space_prepare(&arena, &asked, at, &mut scratch, &mut query);
                let Ok(()) = beam.search(&mut arena.handle(), &query, ef);
                beam.take(&mut found);
            }
            best = best.min((now() - start) / asked.len() as f64);
        }
        let (mut hits, mut fetched, mut distances, mut hops) = (0, 0, 0, 0);
        let start = now();
        for (at, truth) in truth.iter().enumerate() {
            space_prepare(&arena, &asked, at, &mut scratch, &mut query);
            let Ok(()) = beam.search(&mut arena.handle(), &query, ef);
            beam.take(&mut found);
            distances += beam.distances();
            hops += beam.hops();
            let mut order: Vec<(f64, u64)> =
                found.iter().map(|c| (arena.space().lower_bound(&query, c.score()), arena.payload(c.id))).collect();
            order.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut exact: Vec<f64> = Vec::new();
            for (bound, row) in order {
                if exact.len() >= K && bound > exact[K - 1] {
                    break;
                }
                let distance = vs_distance::l2_squared(base.row(row as usize), asked.row(at)).sqrt();
                fetched += 1;
                let place = exact.partition_point(|&d| d <= distance);
                exact.insert(place, distance);
            }
            let limit = truth[K - 1].0.sqrt();
            hits += exact.iter().take(K).filter(|&&d| d <= limit).count();
        }
        let ordered = (now() - start) / asked.len() as f64;
        let n = asked.len() as f64;
        println!(
            "{ef:>5} {:>8.4} {:>10.1} {:>7.1} {:>9.1} {:>11.1} {:>9.1} {:>8.0}",
            hits as f64 / (n * K as f64),
            distances as f64 / n,
            hops as f64 / n,
            best * 1e6,
            ordered * 1e6,
            fetched as f64 / n,
            1.0 / best
        );
    }
}

/// Page visits and distinct pages a query, with 8 nodes on a page, for several orders of the nodes.
fn layouts(arena: &Arena, asked: &Table, ef: usize) {
    let ids: Vec<u32> = arena.ids().collect();
    let start = now();
    let packed = page_order(&mut arena.handle(), &ids, ids.len(), 8, |id| arena.level(id)).expect("memory");
    let seconds = now() - start;
    let regions = page_order(&mut arena.handle(), &ids, ids.len(), 1, |id| arena.level(id)).expect("memory");
    let mut random = ids.clone();
    let mut rng = Rng(3);
    for i in (1..random.len()).rev() {
        random.swap(i, (rng.next() % (i as u64 + 1)) as usize);
    }
    println!("page order of {} nodes in {seconds:.2} s; ef {ef}:", packed.len());
    for (name, order) in [("random", random), ("regions", regions), ("packed", packed)] {
        let mut pages = vec![0; ids.len()];
        for (at, &id) in order.iter().enumerate() {
            pages[id as usize] = at as u32 / 8;
        }
        let (mut visits, mut distinct) = (0, 0);
        let (mut scratch, mut query, mut beam) = (Scratch::default(), Query::default(), Beam::default());
        for at in 0..asked.len() {
            space_prepare(arena, asked, at, &mut scratch, &mut query);
            let mut storage = Paged::new(arena.handle(), &pages);
            let Ok(()) = beam.search(&mut storage, &query, ef);
            visits += storage.visits;
            distinct += storage.distinct.len();
        }
        let n = asked.len() as f64;
        println!("{name:>10}: {:.1} visits, {:.1} distinct pages", visits as f64 / n, distinct as f64 / n);
    }
}

fn space_prepare(arena: &Arena, asked: &Table, at: usize, scratch: &mut Scratch, query: &mut Query) {
    arena.space().prepare(asked.row(at), scratch, query).expect("finite");
}
