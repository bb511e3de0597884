//! Filters on the key columns of an index's nodes.
//!
//! A node keeps one word for each key column: an **image** of the row's value. For ordered types the image keeps the
//! order, so that a condition becomes a set of ranges of words; for others it is a hash, or for arrays a small Bloom
//! filter. Whoever reads a node can say whether it may match without its row: a node that fails does not match; one
//! that passes matches, or has to be looked at again where images are coarser than values.
//!
//! | file | what it does |
//! |---|---|
//! | `image` | order-preserving words for numbers; Bloom words for arrays |
//! | `keys` | the words of a node as they lie in its slot |
//! | `ranges` | sets of words |
//! | `filter` | conditions on the keys of a node |
//! | `signature` | one byte for a key, and the bytes of a condition |
//! | `signed` | which nodes may pass by their signatures |
//!
//! Nothing in here knows PostgreSQL's types or graphs.

#![forbid(unsafe_code)]

pub mod image;

mod filter;
mod keys;
mod ranges;
mod signature;
mod signed;

pub use filter::{Filter, Test};
pub use keys::{Keys, KeysBuf, MAX_COLUMNS};
pub use ranges::Ranges;
pub use signature::{Coarse, Cuts, MAX_CUTS, Mask, SIGNED, Signature, signature};
pub use signed::Signed;
