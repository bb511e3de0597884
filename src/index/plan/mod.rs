//! What the planner and the user say and are told.
//!
//! | file | what it does |
//! |---|---|
//! | `cost` | what a scan is worth |
//! | `list` | the planner's lists |
//! | `options` | parameters of an index, settings of scans |

mod cost;
mod list;
pub mod options;

pub use cost::amcostestimate;
