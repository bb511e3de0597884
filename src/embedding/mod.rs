//! The type `image_embedding(n)`: what a model makes of a picture or a text.
//!
//! An embedding is 1 to 16,000 half-precision numbers and the tag of the model that made them. [`datum`] is the layout
//! on disk and in memory and the only place that touches it; [`literal`] is the text form; [`io`] and [`casts`] are the
//! ways in and out; [`operators`], [`compare`] and [`aggregates`] are what SQL does with embeddings; `cost`
//! tells the planner what a distance costs. All arithmetic on elements lives in the crate `vs_distance`.
//!
//! # Tags
//! Vectors from different models live in different spaces, and a distance between them is a number without meaning:
//! the commonest way to get silent garbage from a vector column. So every embedding carries 32 bits of the digest of
//! the model that made it, and an operation that combines two different non-zero tags is an error that names both.
//! Tag 0 means untagged (a value cast from an array) and goes with every other. Ordering and equality never raise.

pub mod aggregates;
pub mod casts;
pub mod compare;
mod cost;
pub mod datum;
pub mod io;
pub mod literal;
pub mod operators;
mod simplify;

pub use datum::{Embedding, EmbeddingBuf, MAX_DIMS};
pub use operators::different_dims;
