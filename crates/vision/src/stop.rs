//! Stopping in the middle of a picture.
//!
//! A file of some megabytes can keep a decoder busy for longer than somebody who cancels wants to wait: codes that say
//! nothing, scan after scan, strip after strip. The host says once how to find out whether it should stop, and decoders
//! are made to ask now and then: by the reader that they read through, or where they call back.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::OnceLock;

static ASK: OnceLock<fn() -> bool> = OnceLock::new();

/// Has `ask` asked while pictures are decoded, in whichever thread does it, some thousands of times a second at most. Where
/// it answers `true`, decoding ends in [`Error::Stopped`](crate::Error::Stopped). The first call in a process counts.
pub fn stop_when(ask: fn() -> bool) {
    ASK.get_or_init(|| ask);
}

/// Whether to stop.
pub(crate) fn wanted() -> bool {
    ASK.get().is_some_and(|ask| ask())
}

/// A file in memory that cannot be read any further once the host wants to stop.
pub(crate) struct Stoppable<'a> {
    file: Cursor<&'a [u8]>,
    /// Reads since the host was asked.
    reads: u32,
}

/// Reads between two questions: small ones are as cheap as the question.
const READS: u32 = 16;

impl<'a> Stoppable<'a> {
    pub(crate) fn new(file: &'a [u8]) -> Self {
        Self { file: Cursor::new(file), reads: 0 }
    }

    fn check(&mut self) -> io::Result<()> {
        self.reads += 1;
        if self.reads >= READS {
            self.reads = 0;
            if wanted() {
                // Not `Interrupted`, which readers take for an invitation to try again.
                return Err(io::Error::other("stopped"));
            }
        }
        Ok(())
    }
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.file.read(buffer)
    }
}

impl io::BufRead for Stoppable<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check()?;
        // Not all at once, or there would be one question.
        let rest = io::BufRead::fill_buf(&mut self.file)?;
        Ok(&rest[..rest.len().min(1 << 12)])
    }

    fn consume(&mut self, amount: usize) {
        io::BufRead::consume(&mut self.file, amount);
    }
}

impl Seek for Stoppable<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
