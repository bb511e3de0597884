//! What the planner and the user say and are told.
//!
//! | file | what it does |
//! |---|---|
//! | `cost` | what a scan is worth |
//! | `filters` | what the index decides of a query's conditions |
//! | `list` | the planner's lists |
//! | `options` | parameters of an index, settings of scans |
//! | `hooks` | the planner hook, which asks the next two for further paths |
//! | `tiebreak` | an order by more than the distance |
//! | `cutoff` | a condition on the distance ends the scan |
//! | `minmax` | tells a `min` or `max` that PostgreSQL has rewritten |
//! | `nodes` | the planner's expressions |

mod cost;
pub mod cutoff;
mod filters;
mod hooks;
mod list;
mod minmax;
mod nodes;
pub mod options;
mod tiebreak;

pub use cost::amcostestimate;
pub use hooks::register as register_hooks;
