//! Looking at other processes, and waiting for what they do.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

/// Private resident memory of a process in bytes, `None` if it has ended. Shared buffers and files do not count.
pub fn memory_of(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Polls until `condition` gives a value. The bound is there to end a test that would hang, not to measure speed.
///
/// # Panics
/// After two minutes, naming `what` was waited for.
pub fn wait_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "waited two minutes for {what}");
        sleep(Duration::from_millis(10));
    }
}
