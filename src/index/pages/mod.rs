//! What lies on the pages of an index, and how it is read and changed: the graph over the buffer pool.
//!
//! | file | what it does |
//! |---|---|
//! | `layout`, `slots`, `tid`, `meta` | what lies where on a page |
//! | `open` | an index and what the session remembers of it |
//! | `encode` | from a row to its node |
//! | `lap` | a chain that runs in a circle |
//! | `unplaced` | rows without a vector |
//! | `nodes`, `graph` | the graph for reading and for writing |

mod encode;
mod graph;
mod lap;
mod layout;
mod map;
mod meta;
mod nodes;
mod open;
mod slots;
mod tid;
mod unplaced;

pub use encode::{digest, encode, layout_for, level};
pub use graph::{Graph, NewRow, UNLISTED};
pub use lap::Lap;
pub use layout::{Layout, Place};
pub use map::Maps;
pub use meta::Meta;
pub use nodes::Nodes;
pub use open::{Opened, damaged, too_large};
pub use slots::{INLINE_TIDS, NodeRef, SideRef, TIDS};
pub use tid::Tid;
pub use unplaced::{Why, unplaced, unplaced_blocks};
