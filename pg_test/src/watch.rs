//! Proof that a server came through a test unharmed.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    thread::panicking,
};

use postgres::Client;

use crate::Cluster;

/// Parts of log lines that an extension must never cause. A crash of one backend makes the postmaster end all others
/// and recover, under the same process id and start time, so the log is where it shows.
const DAMAGE: &[&str] = &[
    "PANIC:",
    "TRAP:",
    "was terminated by signal",
    "terminating any other active server processes",
    "all server processes terminated; reinitializing",
    "invalid memory alloc request size",
    "leak: ",
    "resource was not closed",
    "you don't own a lock of type",
    "detected write past chunk end",
    "panicked at",
];

/// Observes a cluster from its making until it is dropped.
///
/// Dropping it panics unless the postmaster is the one it was, a session that has been open all the time still works,
/// and the log tells of no crash and no leak. If the test is failing anyway, the log's news are printed instead.
#[must_use = "a watch ends when it is dropped: bind it to a name"]
pub struct Watch<'a> {
    cluster: &'a Cluster,
    postmaster: i32,
    log_start: u64,
    witness: Client,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(cluster: &'a Cluster) -> Watch<'a> {
        let log_start = cluster.log_file().metadata().map_or(0, |file| file.len());
        Watch { cluster, postmaster: cluster.postmaster_pid(), log_start, witness: cluster.connect("postgres") }
    }

    /// What the server has logged since.
    pub fn log(&self) -> String {
        let mut log = Vec::new();
        let mut file = File::open(self.cluster.log_file()).expect("a server that runs has a log");
        file.seek(SeekFrom::Start(self.log_start)).expect("a log can be read from the middle");
        file.read_to_end(&mut log).expect("a log can be read");
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The first line that tells of damage.
    fn damage(log: &str) -> Option<&str> {
        log.lines().find(|line| DAMAGE.iter().any(|part| line.contains(part)))
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let log = self.log();
        if panicking() {
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("the server's log ends:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
            return;
        }
        if let Some(line) = Watch::damage(&log) {
            panic!("the server was harmed: {line}\n{log}");
        }
        assert_eq!(self.cluster.postmaster_pid(), self.postmaster, "the server was restarted\n{log}");
        if let Err(e) = self.witness.simple_query("SELECT 1") {
            panic!("a session that had nothing to do with the test was lost: {e}\n{log}");
        }
    }
}
