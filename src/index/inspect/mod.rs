//! Looking at an index from SQL: `vs_hnsw_stats`, `vs_hnsw_check`, `vs_hnsw_recall`.
//!
//! All three are for the owner of the index and for superusers: they read all of it, and the check keeps writers out.

mod check;
mod held;
mod recall;
mod rights;
mod stats;
mod table;
