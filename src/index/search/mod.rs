//! Index scans.
//!
//! | file | what it does |
//! |---|---|
//! | `scan` | rows in the order of a lower bound of their distance |
//! | `kill` | marking rows that a scan found dead to everybody |

mod kill;
mod scan;

pub use scan::{ambeginscan, amendscan, amgettuple, amrescan};
