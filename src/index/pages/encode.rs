//! From a row to its node: the code of its vector, its level, and the sizes of its slot.

use super::layout::Layout;
use super::tid::Tid;
use crate::embedding::Embedding;
use crate::embedding::io::dims_out_of_range;
use crate::error::{SqlError, SqlResult};
use pgrx::PgSqlErrorCode;
use vs_quantize::{Error, Header, Scratch};

/// The layout of an index, or why there can be none.
pub fn layout_for(dims: usize, m: usize, columns: usize) -> SqlResult<Layout> {
    if dims == 0 || dims > vs_quantize::MAX_DIMS {
        return Err(dims_out_of_range(dims));
    }
    Layout::new(dims, m, columns).ok_or_else(|| {
        SqlError::new(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            match (columns, Layout::max_dims(m, columns)) {
                (0, most) => format!("column cannot have more than {most} dimensions for vs_hnsw index with m = {m}"),
                (_, most) => format!(
                    "column cannot have more than {most} dimensions for vs_hnsw index with m = {m} and {} columns",
                    columns + 1
                ),
            },
        )
        .detail(format!("A node of {dims} dimensions does not fit on a page."))
    })
}

/// The level of a row's node: random, and the same whenever the same row is inserted.
pub fn level(params: &vs_graph::Params, tid: Tid) -> u8 {
    // SplitMix64 (Steele, Lea & Flood 2014): every bit of the address reaches every bit of the result.
    let mut x = tid.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    params.level(x ^ x >> 31)
}

/// Encodes `embedding` into `code`. `None` for what has no code: under the cosine, the zero vector.
pub fn encode(
    space: &vs_quantize::Space,
    embedding: &Embedding<'_>,
    scratch: &mut Scratch,
    code: &mut [i8],
) -> SqlResult<Option<Header>> {
    match space.encode(embedding.elements(), scratch, code) {
        Ok(header) => Ok(Some(header)),
        Err(Error::Zero) => Ok(None),
        Err(error) => Err(SqlError::new(PgSqlErrorCode::ERRCODE_DATA_EXCEPTION, error.to_string())),
    }
}

/// A digest of the vector itself: embeddings with the same one have the same elements, bit by bit. Multiplied and folded
/// eight bytes at a time; it lies in indexes, so it must never change.
pub fn digest(embedding: &Embedding<'_>) -> u64 {
    let fold = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * 0x9e37_79b9_7f4a_7c15;
        (product as u64) ^ (product >> 64) as u64
    };
    embedding.elements().chunks(4).fold(embedding.dims() as u64, |hash, chunk| {
        let word = chunk.iter().fold(0, |word, element| word << 16 | u64::from(element.to_bits()));
        fold(fold(hash, word), 0x2545_f491_4f6c_dd1d)
    })
}
