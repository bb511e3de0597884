//! Pages, buffers and WAL: what an access method asks of PostgreSQL, behind types that cannot be misused.
//!
//! Nothing in here knows what the pages hold. Four ideas:
//!
//! * **A page is read under a shared content lock and only there.** [`Index::visit`] and [`Shared`] hand out a [`Page`]
//!   that borrows the lock; nothing keeps a pin after it.
//! * **Pages are changed by a [`Change`]**, which locks up to four of them, in ascending order of block number, and ends
//!   in one generic WAL record, or in nothing if it is dropped. Everyone who holds two content locks took the one on the
//!   lower block first, so no two wait for each other.
//! * **Which buffer holds a block is remembered** ([`Hints`]), since looking that up is half the cost of a visit.
//! * **An error while a lock is held is left to PostgreSQL.** After an `ereport` the transaction's abort releases content
//!   locks and pins itself and has reset the counters they are tied to; releasing them again on the way out would count
//!   wrongly. So every `Drop` here does nothing while a panic (which is what pgrx makes of an ERROR) is under way.

mod buffer;
mod change;
mod free;
mod page;
mod sweep;
mod table;

pub use buffer::{Hints, Index, Shared, Whereabouts};
pub use change::{Change, Logging, PAGES};
pub use free::{Barrier, Mode, write_init_fork};
pub use page::{CAPACITY, Kind, PAGE_SIZE, Page, PageMut};
pub use sweep::Sweep;
pub use table::TableLength;

/// The number of a page in its file.
pub type Block = pgrx::pg_sys::BlockNumber;
