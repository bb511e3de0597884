//! Running a program to its end, with what it wrote.

use std::{
    io::Write,
    process::{Command, ExitStatus, Stdio},
    thread,
};

/// A program with its arguments and its standard input.
#[derive(Debug)]
pub struct Program {
    command: Command,
    input: Vec<u8>,
}

/// How a program ended and what it wrote.
#[derive(Debug)]
pub struct Outcome {
    what: String,
    status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error, as text.
    pub stderr: String,
}

impl Program {
    /// Takes a prepared command over.
    pub fn new(command: &mut Command) -> Program {
        let mut own = Command::new(command.get_program());
        std::mem::swap(&mut own, command);
        Program { command: own, input: Vec::new() }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Gives it something to read.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Outcome {
        let Program { mut command, input } = self;
        let what = format!("{command:?}");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{what}: {e}"));
        let mut stdin = child.stdin.take().expect("it has a pipe");
        // A program may stop reading early, as psql does at an error; its status tells.
        let writer = thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap_or_else(|e| panic!("{what}: {e}"));
        let _ = writer.join();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Outcome { what, status: output.status, stdout: output.stdout, stderr }
    }

    /// Runs it to its end and gives its output and its errors as they came, interleaved.
    pub fn run_interleaved(self) -> String {
        let Program { mut command, input } = self;
        let (mut reader, writer) = std::io::pipe().expect("a pipe can be made");
        command.stdin(Stdio::piped()).stdout(writer.try_clone().expect("a pipe can be shared")).stderr(writer);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        // The command holds the other writing ends; the reader sees the end when the program alone has closed its own.
        drop(command);
        let mut stdin = child.stdin.take().expect("it has a pipe");
        let feeder = thread::spawn(move || stdin.write_all(&input));
        let mut output = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut output).expect("a pipe can be read");
        let _ = feeder.join();
        child.wait().expect("a child can be waited for");
        String::from_utf8_lossy(&output).into_owned()
    }
}

impl Outcome {
    /// Whether it ended with status 0.
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// Its standard output as text, once it has succeeded.
    ///
    /// # Panics
    /// With its error output, if it failed.
    pub fn expect_success(self) -> String {
        assert!(self.success(), "{} ended with {}:\n{}", self.what, self.status, self.stderr);
        String::from_utf8(self.stdout).unwrap_or_else(|_| panic!("{} wrote something that is no text", self.what))
    }
}
