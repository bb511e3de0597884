//! Distances, arithmetic and properties of embeddings.
//!
//! Distances are `float8`. Each first checks that its operands can be compared at all: same dimensions, and not from
//! two different models.

use super::{Embedding, EmbeddingBuf, literal};
use crate::error::{OrRaise, SqlError, SqlResult};
use half::f16;
use pgrx::PgSqlErrorCode;
use pgrx::prelude::*;
use vs_distance::OutOfRange;

/// Checks that two embeddings lie in one space and returns the tag of what is made from both.
pub fn common_tag(a: &Embedding<'_>, b: &Embedding<'_>) -> SqlResult<u32> {
    if a.dims() != b.dims() {
        return Err(different_dims(a.dims(), b.dims()));
    }
    merge_tags(a.tag(), b.tag())
}

/// The error for operands of different length.
pub fn different_dims(a: usize, b: usize) -> SqlError {
    SqlError::new(PgSqlErrorCode::ERRCODE_DATA_EXCEPTION, format!("different image_embedding dimensions {a} and {b}"))
}

/// The tag of a combination of two: equal tags stay, an untagged operand takes the other's, different ones are refused.
pub fn merge_tags(a: u32, b: u32) -> SqlResult<u32> {
    if a == b || b == 0 {
        return Ok(a);
    }
    if a == 0 {
        return Ok(b);
    }
    Err(SqlError::new(
        PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
        format!("embeddings from different models: {} and {}", literal::tag_text(a), literal::tag_text(b)),
    )
    .detail("Embeddings of different models lie in different spaces and cannot be compared or combined.")
    .hint("Embed both with the same model; visual_search.models lists the tags of the models on this server."))
}

#[pg_extern(sql = false)]
fn l2_distance(a: Embedding<'_>, b: Embedding<'_>) -> f64 {
    common_tag(&a, &b).or_raise();
    vs_distance::l2_squared(a.elements(), b.elements()).sqrt()
}

#[pg_extern(sql = false)]
fn cosine_distance(a: Embedding<'_>, b: Embedding<'_>) -> f64 {
    common_tag(&a, &b).or_raise();
    let (dot, a2, b2) = vs_distance::cosine_parts(a.elements(), b.elements());
    // A zero vector has no direction: 0/0 gives NaN, which PostgreSQL sorts last. Rounding must not leave [-1, 1].
    1.0 - (dot / (a2 * b2).sqrt()).clamp(-1.0, 1.0)
}

#[pg_extern(sql = false)]
fn inner_product(a: Embedding<'_>, b: Embedding<'_>) -> f64 {
    common_tag(&a, &b).or_raise();
    vs_distance::dot(a.elements(), b.elements())
}

#[pg_extern(sql = false)]
fn negative_inner_product(a: Embedding<'_>, b: Embedding<'_>) -> f64 {
    -inner_product(a, b)
}

#[pg_extern(sql = false)]
fn l1_distance(a: Embedding<'_>, b: Embedding<'_>) -> f64 {
    common_tag(&a, &b).or_raise();
    vs_distance::l1(a.elements(), b.elements())
}

#[pg_extern(sql = false)]
fn embedding_dims(a: Embedding<'_>) -> i32 {
    a.dims() as i32
}

#[pg_extern(sql = false)]
fn embedding_norm(a: Embedding<'_>) -> f64 {
    vs_distance::norm_squared(a.elements()).sqrt()
}

#[pg_extern(sql = false)]
fn embedding_model(a: Embedding<'_>) -> Option<String> {
    (a.tag() != 0).then(|| literal::tag_text(a.tag()))
}

#[pg_extern(sql = false)]
fn l2_normalize(a: Embedding<'_>) -> EmbeddingBuf {
    let norm = vs_distance::norm_squared(a.elements()).sqrt();
    let mut result = EmbeddingBuf::zeros(a.dims(), a.tag()).or_raise();
    if norm > 0.0 {
        for (to, from) in result.elements_mut().iter_mut().zip(a.elements()) {
            // No element is longer than the whole.
            *to = vs_distance::nearest(from.to_f64() / norm).unwrap_or(*from);
        }
    }
    result
}

type Elementwise = fn(&[f16], &[f16], &mut [f16]) -> Result<(), OutOfRange>;

fn elementwise(a: &Embedding<'_>, b: &Embedding<'_>, operation: Elementwise) -> EmbeddingBuf {
    let tag = common_tag(a, b).or_raise();
    let mut result = EmbeddingBuf::zeros(a.dims(), tag).or_raise();
    operation(a.elements(), b.elements(), result.elements_mut()).map_err(super::io::element_out_of_range).or_raise();
    result
}

#[pg_extern(sql = false)]
fn image_embedding_add(a: Embedding<'_>, b: Embedding<'_>) -> EmbeddingBuf {
    elementwise(&a, &b, vs_distance::add)
}

#[pg_extern(sql = false)]
fn image_embedding_sub(a: Embedding<'_>, b: Embedding<'_>) -> EmbeddingBuf {
    elementwise(&a, &b, vs_distance::sub)
}

#[pg_extern(sql = false)]
fn image_embedding_mul(a: Embedding<'_>, b: Embedding<'_>) -> EmbeddingBuf {
    elementwise(&a, &b, vs_distance::mul)
}

#[pg_extern(sql = false)]
fn image_embedding_scale(a: Embedding<'_>, factor: f64) -> EmbeddingBuf {
    let mut result = EmbeddingBuf::zeros(a.dims(), a.tag()).or_raise();
    vs_distance::scale(a.elements(), factor, result.elements_mut()).map_err(super::io::element_out_of_range).or_raise();
    // As `1e-30::real * 1e-30::real` is out of range, too.
    let first = a.elements().iter().find(|&&element| element != f16::ZERO).filter(|_| factor != 0.0);
    super::io::check_vanished(
        result.elements_mut(),
        first.map(|element| super::io::few_digits(element.to_f64() * factor)),
    )
    .or_raise();
    result
}

#[pg_extern(sql = false)]
fn image_embedding_scale_left(factor: f64, a: Embedding<'_>) -> EmbeddingBuf {
    image_embedding_scale(a, factor)
}
