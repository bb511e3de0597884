//! Index scans.
//!
//! | file | what it does |
//! |---|---|
//! | `access` | PostgreSQL's side: begin, rescan, get the next row, end |
//! | `scan` | rows in the order of a lower bound of their distance, until there are no more |
//! | `matching` | which way a search goes that filters |
//! | `near` | the first stage: a search of the graph |
//! | `pass` | the second: all codes, nearest first |
//! | `alike` | many rows with the very same vector |
//! | `filter` | what it filters by |
//! | `last_scanned` | which index a session has scanned last |
//! | `kill` | marking rows that a scan found dead to everybody |

mod access;
mod alike;
mod filter;
mod kill;
pub mod last_scanned;
mod matching;
mod near;
mod pass;
mod scan;

pub use access::{ambeginscan, amendscan, amgettuple, amrescan};
