//! The key columns of an index after its first: what rows are filtered by.
//!
//! A node keeps a word for each of them (`vs_filter`). Here values become words and conditions become filters; what a
//! word means follows from the operator class of its column, and there is one of vs_hnsw for each kind of value.
//!
//! | file | what it does |
//! |---|---|
//! | `kind` | the kinds of key columns, and the words of plain values |
//! | `columns` | the key columns of an open index; from a row to its words |
//! | `arrays` | the elements of arrays: of a column's, and of `= ANY (…)` |
//! | `bound` | from an operator and a value to a set of words |
//! | `conditions` | from the conditions of a scan to a filter |

mod arrays;
mod bound;
mod columns;
mod conditions;
mod kind;

pub use columns::{KeyColumns, count};
pub use conditions::{Conditions, compile};
pub use kind::Kinds;
