//! What happens to the graph as rows come and go.
//!
//! | file | what it does |
//! |---|---|
//! | `insert`, `join` | a row comes: a node of its own, or one more row of a node |
//! | `again` | a row comes with the vector that it had before |
//! | `bind`, `presence` | of which length and model rows may be, given those that are there |
//! | `vacuum` | rows go, and nodes with them |
//! | `attach` | nodes that no search reaches |
//! | `set` | sets of nodes |

mod again;
mod attach;
mod bind;
mod insert;
mod join;
mod presence;
mod set;
mod vacuum;

pub use attach::{attach, live, traverse};
pub use bind::{VectorKind, conflict};
pub use insert::{Workspace, aminsert, insert_row};
pub use vacuum::{ambulkdelete, amvacuumcleanup};
