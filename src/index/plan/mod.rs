//! What the planner and the user say and are told.
//!
//! | file | what it does |
//! |---|---|
//! | `cost` | what a scan is worth |
//! | `options` | parameters of an index, settings of scans |

mod cost;
pub mod options;

pub use cost::amcostestimate;
