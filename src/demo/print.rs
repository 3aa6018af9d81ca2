//! Tells people, or programs, what happens in the demo.

mod text;

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::desk::{Step, Sum, json};
use crate::tools::workers::Executed;

/// How to tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Readable at a glance.
    Text {
        /// With colours, for a terminal whose user did not refuse them.
        colour: bool,
    },
    /// A JSON object on each line.
    Json,
}

/// Writes [`Step`]s as they come, and sums them up.
pub struct Printer<W> {
    out: W,
    style: Style,
    frames: usize,
    sum: Sum,
    /// Why nothing is written any more.
    broken: Option<io::Error>,
}

impl<W: Write> Printer<W> {
    /// A printer of a demo with that many frames.
    pub fn new(out: W, style: Style, frames: usize) -> Self {
        Self {
            out,
            style,
            frames,
            sum: Sum::default(),
            broken: None,
        }
    }

    /// Tells one step. What cannot be written is told by [`Self::finish`].
    pub fn step(&mut self, step: &Step) {
        let nth = self.sum.frames + 1;
        self.sum.count(step);
        let line = match self.style {
            Style::Json => json::line(step),
            Style::Text { colour } => text::block(step, nth, self.frames, colour),
        };
        self.write(&line);
    }

    /// Tells a call that a worker had.
    pub fn executed(&mut self, call: &Executed) {
        let line = match self.style {
            Style::Json => worker_call(call),
            Style::Text { colour } => text::executed(call, colour),
        };
        self.write(&line);
    }

    /// Says something to people; programs do not get it.
    pub fn remark(&mut self, remark: &str) {
        if let Style::Text { colour } = self.style {
            self.write(&text::remark(remark, colour));
        }
    }

    /// Says what all frames came to, and a note, to people; programs add up
    /// themselves.
    ///
    /// # Errors
    /// The first error in writing anything at all, unless the reader simply left.
    pub fn finish(mut self, note: &str) -> io::Result<Sum> {
        if let Style::Text { colour } = self.style {
            self.write(&text::total(&self.sum, colour));
            self.remark(note);
        }
        match self.broken {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            Some(_) | None => Ok(self.sum),
        }
    }

    fn write(&mut self, text: &str) {
        if self.broken.is_some() {
            return;
        }
        let written = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
        self.broken = written.err();
    }
}

/// A call of a worker as a program reads it.
#[derive(Serialize)]
struct WorkerCall<'a> {
    event: &'static str,
    frame_id: &'a str,
    tool_name: &'a str,
    arguments: &'a Map<String, Value>,
    /// `answered`, or what kind of failure it was.
    status: &'static str,
    result: Option<&'a Value>,
    error: &'a str,
    duration_ms: u128,
}

fn worker_call(call: &Executed) -> String {
    let line = WorkerCall {
        event: "worker_call",
        frame_id: call.frame.as_str(),
        tool_name: &call.tool,
        arguments: &call.arguments,
        status: call.status(),
        result: call.result.as_ref().ok(),
        error: call
            .result
            .as_ref()
            .err()
            .map_or("", |fault| &fault.message),
        duration_ms: call.took.as_millis(),
    };
    let json = serde_json::to_string(&line).expect("all of its maps have texts as keys");
    json + "\n"
}

#[cfg(test)]
mod tests;
