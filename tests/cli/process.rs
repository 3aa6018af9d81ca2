//! The real binary in an environment of the test's making; every wait ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use crate::signal::signal;
use crate::support::PATIENCE;
use crate::support::tools::variable;

/// `proactive` with these arguments and these variables alone.
pub(crate) fn proactive(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proactive"));
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied());
    // Where a measured binary writes what of it ran.
    if let Some(profile) = variable("LLVM_PROFILE_FILE") {
        command.env("LLVM_PROFILE_FILE", profile);
    }
    command
}

/// What a process left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs it to its end.
pub(crate) fn run(command: Command) -> Ended {
    Running::start(command).end()
}

/// A process; killed if the test ends first.
pub(crate) struct Running {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    printed: String,
    log: String,
    until: Instant,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdout: lines(child.stdout.take().unwrap()),
            stderr: lines(child.stderr.take().unwrap()),
            child,
            printed: String::new(),
            log: String::new(),
            until: Instant::now() + PATIENCE,
        }
    }

    /// The next line on standard error that says this.
    pub(crate) fn logged(&mut self, wanted: &str) -> String {
        while let Some(line) = next(&self.stderr, self.until) {
            self.log.push_str(&line);
            if line.contains(wanted) {
                return line;
            }
        }
        panic!("ended without {wanted:?}:\n{}", self.log);
    }

    /// Waits until so many lines on standard output say this.
    pub(crate) fn prints(&mut self, wanted: &str, times: usize) {
        while self.printed.matches(wanted).count() < times {
            match next(&self.stdout, self.until) {
                Some(line) => self.printed.push_str(&line),
                None => panic!("ended without {wanted:?}:\n{}", self.printed),
            }
        }
    }

    /// Standard output up to the line that says this.
    pub(crate) fn said(&mut self, wanted: &str) -> String {
        let mut said = String::new();
        while let Some(line) = next(&self.stdout, self.until) {
            said.push_str(&line);
            if line.contains(wanted) {
                return said;
            }
        }
        let log: String = std::iter::from_fn(|| next(&self.stderr, self.until)).collect();
        panic!("ended without {wanted:?}:\n{said}{log}");
    }

    /// Sends TERM or INT.
    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// Waits until it ends by itself.
    pub(crate) fn end(mut self) -> Ended {
        let rest = |lines: &Receiver<String>, until| -> String {
            std::iter::from_fn(|| next(lines, until)).collect()
        };
        let stdout = std::mem::take(&mut self.printed) + &rest(&self.stdout, self.until);
        self.log += &rest(&self.stderr, self.until);
        // Both of its outputs are closed: it is leaving.
        let code = self.child.wait().unwrap().code();
        Ended {
            code,
            stdout,
            stderr: std::mem::take(&mut self.log),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines in a thread that ends with the process.
fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, told) = channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).unwrap() > 0 {
            if tell.send(String::from_utf8(line).unwrap()).is_err() {
                break;
            }
            line = Vec::new();
        }
    });
    told
}

/// The next line; `None` when there will be no more.
fn next(lines: &Receiver<String>, until: Instant) -> Option<String> {
    match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(line) => Some(line),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => panic!("the process does not end"),
    }
}
