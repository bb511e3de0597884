//! Tests of the extension in real PostgreSQL clusters, and the harness that runs them.
//!
//! What an extension promises can only be seen from outside: through SQL, through a client's protocol, across a crash,
//! on a standby. So nothing here links against the extension. A test starts a [`Cluster`] of the PostgreSQL whose
//! programs lie in the folder `VS_PG_BIN`, in which the extension is installed, and speaks to it as any client would.
//!
//! Most tests share one cluster per test binary and have a [`Database`] each; those that crash, stop or reconfigure a
//! server have clusters of their own. Every cluster listens on a socket in its own folder and on no port, and is
//! removed with the process that started it, however that ends. A [`Watch`] proves that a server came through a test
//! unharmed: same postmaster, no crash recovery, no leaked resource.
//!
//! Pictures are drawn here ([`pictures`]), damaged here ([`mutate`]), and models built here ([`models`]); no test reads
//! a file that the project does not make itself.
//!
//! This is test code: whatever goes wrong in the harness panics, with the server's log where that helps.
#![forbid(unsafe_code)]

mod cluster;
mod database;
pub mod documentation;
mod embedding;
mod installation;
mod keeper;
pub mod models;
pub mod mutate;
pub mod pictures;
mod process;
mod program;
pub mod queries;
pub mod regress;
mod stats;
pub mod vectors;
mod watch;

pub use cluster::{Builder, Cluster, Shutdown};
pub use database::{Database, describe, error_of, explain, server_error, shared_cluster};
pub use embedding::Embedding;
pub use installation::Installation;
pub use process::{memory_of, wait_until};
pub use program::{Outcome, Program};
pub use stats::Stats;
pub use watch::Watch;
