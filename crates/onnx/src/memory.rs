//! How much memory a model takes.
//!
//! ONNX Runtime keeps weights rearranged for the processor and says nothing about it, so two numbers are given: the
//! bytes of the weights in the files, and by how much the process grew while a side was loaded and first run.
//!
//! Loading a network needs several times its size for a moment: the file, its parsed form, weights before and after
//! they are converted. The allocator would keep the freed pages for later, and each process of the host would hold
//! them for its lifetime, so they are handed back.

use std::{fs, ops::Add};

/// Memory a model takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// The part of the model's files that was loaded.
    pub weights: u64,
    /// Growth of the process's resident memory during loading and the first run.
    pub resident: u64,
}

impl Add for Usage {
    type Output = Usage;

    fn add(self, other: Usage) -> Usage {
        Usage { weights: self.weights + other.weights, resident: self.resident + other.resident }
    }
}

/// Hands memory that is free within the process back to the system.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim only gives back free pages of the heap and may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Resident memory of the process at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resident(u64);

impl Resident {
    /// Reads it from `/proc`; 0 where that cannot be read.
    pub(crate) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Resident(kilobytes.unwrap_or(0) * 1024)
    }

    /// By how much it has grown.
    pub(crate) fn since(self, before: Resident) -> u64 {
        self.0.saturating_sub(before.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_seen() {
        let before = Resident::now();
        let block = vec![1u8; 32 << 20];
        let grown = Resident::now().since(before);
        assert!(grown > 24 << 20, "{grown} bytes after touching {}", block.len());
    }
}
