//! A total order and a hash, for btree, hash, DISTINCT, GROUP BY, merge joins and ANALYZE.
//!
//! The key is: dimensions, then the elements in order (−0 equals 0), then the tag as an unsigned number. None of this
//! means anything about pictures, and none of it ever raises, whatever models a column mixes.

use super::Embedding;
use half::f16;
use pgrx::prelude::*;
use std::cmp::Ordering;

unsafe extern "C" {
    // common/hashfn.h; plain arithmetic that never raises. Not among pgrx's bindings.
    fn hash_bytes(key: *const u8, length: i32) -> u32;
    fn hash_bytes_extended(key: *const u8, length: i32, seed: u64) -> u64;
}

fn compare(a: &Embedding<'_>, b: &Embedding<'_>) -> Ordering {
    a.dims()
        .cmp(&b.dims())
        .then_with(|| a.elements().iter().map(key).cmp(b.elements().iter().map(key)))
        .then_with(|| a.tag().cmp(&b.tag()))
}

/// Maps a finite binary16 number to an integer of the same order; both zeros to 0.
fn key(element: &f16) -> i16 {
    let bits = element.to_bits();
    let magnitude = (bits & 0x7fff) as i16;
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

/// The bytes that equal embeddings share.
fn hash_key(a: &Embedding<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 * a.dims() + 4);
    for element in a.elements() {
        bytes.extend(key(element).to_ne_bytes());
    }
    bytes.extend(a.tag().to_ne_bytes());
    bytes
}

#[pg_extern(sql = false)]
fn image_embedding_lt(a: Embedding<'_>, b: Embedding<'_>) -> bool {
    compare(&a, &b).is_lt()
}

#[pg_extern(sql = false)]
fn image_embedding_le(a: Embedding<'_>, b: Embedding<'_>) -> bool {
    compare(&a, &b).is_le()
}

#[pg_extern(sql = false)]
fn image_embedding_eq(a: Embedding<'_>, b: Embedding<'_>) -> bool {
    compare(&a, &b).is_eq()
}

#[pg_extern(sql = false)]
fn image_embedding_ne(a: Embedding<'_>, b: Embedding<'_>) -> bool {
    compare(&a, &b).is_ne()
}

#[pg_extern(sql = false)]
fn image_embedding_ge(a: Embedding<'_>, b: Embedding<'_>) -> bool {
    compare(&a, &b).is_ge()
}

#[pg_extern(sql = false)]
fn image_embedding_gt(a: Embedding<'_>, b: Embedding<'_>) -> bool {
    compare(&a, &b).is_gt()
}

#[pg_extern(sql = false)]
fn image_embedding_cmp(a: Embedding<'_>, b: Embedding<'_>) -> i32 {
    compare(&a, &b) as i32
}

#[pg_extern(sql = false)]
fn image_embedding_hash(a: Embedding<'_>) -> i32 {
    let key = hash_key(&a);
    // SAFETY: hash_bytes reads `len` bytes from the pointer; a key is at most 32,004 bytes, so the cast holds.
    unsafe { hash_bytes(key.as_ptr(), key.len() as i32) as i32 }
}

#[pg_extern(sql = false)]
fn image_embedding_hash_extended(a: Embedding<'_>, seed: i64) -> i64 {
    let key = hash_key(&a);
    // SAFETY: as above.
    unsafe { hash_bytes_extended(key.as_ptr(), key.len() as i32, seed as u64) as i64 }
}
