//! Vectors to measure with: Fashion-MNIST where it is, else clustered random ones of the same shape.

use half::f16;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A row-major table of vectors.
pub struct Table {
    pub dims: usize,
    pub values: Vec<f16>,
}

impl Table {
    pub fn len(&self) -> usize {
        self.values.len() / self.dims
    }

    pub fn row(&self, at: usize) -> &[f16] {
        &self.values[at * self.dims..(at + 1) * self.dims]
    }
}

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }
}

/// Rows to index, rows to ask for, and what they are.
pub fn load(rows: usize, queries: usize) -> (Table, Table, String) {
    let folder = std::env::var_os("FASHION_MNIST").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/fashion-mnist"),
        PathBuf::from,
    );
    let train = images(&folder.join("train-by-class-images-idx3-ubyte.gz"));
    let test = images(&folder.join("test-by-class-images-idx3-ubyte.gz"));
    match (train, test) {
        (Some(train), Some(test)) => (shuffled(&train, rows), shuffled(&test, queries), "Fashion-MNIST".into()),
        _ => {
            let both = clustered(rows + queries, 784);
            let split = rows * both.dims;
            let (base, asked) = (both.values[..split].to_vec(), both.values[split..].to_vec());
            (Table { dims: 784, values: base }, Table { dims: 784, values: asked }, "random clusters".into())
        }
    }
}

/// An IDX file of 28 × 28 bytes a picture.
fn images(path: &Path) -> Option<Table> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).ok()?).read_to_end(&mut bytes).ok()?;
    let values = bytes.get(16..)?.iter().map(|&b| f16::from_f32(f32::from(b))).collect();
    Some(Table { dims: 784, values })
}

/// The first `rows` of a shuffle.
fn shuffled(table: &Table, rows: usize) -> Table {
    let mut order: Vec<usize> = (0..table.len()).collect();
    let mut rng = Rng(42);
    for i in (1..order.len()).rev() {
        order.swap(i, (rng.next() % (i as u64 + 1)) as usize);
    }
    let values = order.iter().take(rows).flat_map(|&at| table.row(at).iter().copied()).collect();
    Table { dims: table.dims, values }
}

fn clustered(rows: usize, dims: usize) -> Table {
    let mut rng = Rng(1);
    let centres: Vec<Vec<f32>> = (0..200).map(|_| (0..dims).map(|_| rng.normal()).collect()).collect();
    let basis: Vec<Vec<f32>> = (0..24).map(|_| (0..dims).map(|_| rng.normal()).collect()).collect();
    let mut values = Vec::with_capacity(rows * dims);
    for _ in 0..rows {
        let centre = &centres[(rng.next() % 200) as usize];
        let weights: Vec<f32> = (0..24).map(|_| rng.normal() * 0.4).collect();
        for i in 0..dims {
            let spread: f32 = weights.iter().zip(&basis).map(|(w, b)| w * b[i]).sum();
            values.push(f16::from_f32((centre[i] * 0.7 + spread + 0.1 * rng.normal()).max(0.0)));
        }
    }
    Table { dims, values }
}

/// The `k` nearest rows to each query, exactly.
pub fn truth(base: &Table, queries: &Table, k: usize) -> Vec<Vec<(f64, u32)>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let nearest = |query: usize| {
        let mut all: Vec<(f64, u32)> = (0..base.len())
            .map(|row| (vs_distance::l2_squared(base.row(row), queries.row(query)), row as u32))
            .collect();
        all.select_nth_unstable_by(k - 1, |a, b| a.0.total_cmp(&b.0));
        all.truncate(k);
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all
    };
    let mut found = vec![Vec::new(); queries.len()];
    std::thread::scope(|scope| {
        for (part, found) in found.chunks_mut(queries.len().div_ceil(threads)).enumerate() {
            let first = part * queries.len().div_ceil(threads);
            scope.spawn(move || found.iter_mut().enumerate().for_each(|(i, f)| *f = nearest(first + i)));
        }
    });
    found
}
