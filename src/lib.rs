//! visual_search: "looks like this" in SQL.
//!
//! A PostgreSQL extension with a type for what a neural network makes of a picture ([`embedding`]), SQL functions that
//! run such networks on `bytea` columns ([`inference`]), functions to look at pictures ([`pictures`]), and an index for
//! the nearest neighbours ([`index`], over the pages of [`storage`]). This crate
//! is the only place that knows PostgreSQL; arithmetic on vectors, decoding of pictures and the networks live in pure
//! crates under `crates/`.
//!
//! The SQL of the extension is written by hand under `sql/`, because it is the product's interface: names, costs,
//! volatility and comments are chosen there and not derived from Rust signatures. Each C function is a
//! `#[pg_extern(sql = false)]` here, which gives it pgrx's guard: no panic and no C++ exception crosses into
//! PostgreSQL.

use pgrx::prelude::*;

pub mod embedding;
pub mod error;
pub mod index;
pub mod inference;
mod interrupts;
pub mod pictures;
pub mod returned;
pub mod server_text;
pub mod settings;
pub mod storage;

pgrx::pg_module_magic!(name, version);

extension_sql_file!("../sql/type.sql", name = "type", bootstrap);
extension_sql_file!("../sql/operators.sql", name = "operators", requires = ["type"]);
extension_sql_file!("../sql/binding.sql", name = "binding", requires = ["operators"]);
extension_sql_file!("../sql/aggregates.sql", name = "aggregates", requires = ["binding"]);
extension_sql_file!("../sql/inference.sql", name = "inference", requires = ["aggregates"]);
extension_sql_file!("../sql/images.sql", name = "images", requires = ["inference"]);
extension_sql_file!("../sql/index.sql", name = "index", requires = ["images"]);
extension_sql_file!("../sql/filters.sql", name = "filters", requires = ["index"], finalize);

/// Called by PostgreSQL when the library is loaded into a process.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    interrupts::register();
    settings::define();
    index::plan::options::define();
    index::plan::register_hooks();
}
