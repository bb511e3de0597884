//! What the planner and the user say and are told.
//!
//! | file | what it does |
//! |---|---|
//! | `cost` | what a scan is worth |
//! | `filters` | what the index decides of a query's conditions |
//! | `list` | the planner's lists |
//! | `options` | parameters of an index, settings of scans |

mod cost;
mod filters;
mod list;
pub mod options;

pub use cost::amcostestimate;
