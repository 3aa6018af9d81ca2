//! Tells people, or programs, what happens in the demo.

mod json;
mod text;
mod words;

use std::io::{self, Write};

use super::desktop::Step;
use crate::transport::proto::{AnalysisOutcome, OutcomeKind};

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

/// What all frames came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Frames that ended.
    pub frames: usize,
    /// Frames that became a task.
    pub extracted: usize,
    /// Frames whose request was not to become one.
    pub rejected: usize,
    /// Frames without a request.
    pub without: usize,
    /// Frames that ended in an error.
    pub failed: usize,
    /// Calls of the model.
    pub model_calls: i64,
    /// Tokens in and out.
    pub tokens: i64,
    /// Millionths of a dollar.
    pub cost_micro_usd: i64,
    /// Milliseconds from acceptance to answer.
    pub total_ms: i64,
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
        match step {
            Step::Decided { outcome, .. } => self.sum.add(outcome),
            Step::Failed(_) => {
                self.sum.frames += 1;
                self.sum.failed += 1;
            }
            _ => {}
        }
        let line = match self.style {
            Style::Json => json::line(step),
            Style::Text { colour } => text::block(step, nth, self.frames, colour),
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

impl Sum {
    fn add(&mut self, outcome: &AnalysisOutcome) {
        self.frames += 1;
        match outcome.outcome_kind() {
            OutcomeKind::ExtractTask => self.extracted += 1,
            OutcomeKind::RejectTask => self.rejected += 1,
            OutcomeKind::NoTaskFound => self.without += 1,
            // A kind of a later contract is no decision that this one knows.
            OutcomeKind::Unspecified => self.failed += 1,
        }
        if let Some(bill) = &outcome.bill {
            grow(&mut self.model_calls, bill.model_calls.into());
            for tokens in [bill.prompt_tokens, bill.output_tokens, bill.thinking_tokens] {
                grow(&mut self.tokens, tokens);
            }
            grow(&mut self.cost_micro_usd, bill.cost_micro_usd);
            grow(&mut self.total_ms, bill.total_ms);
        }
    }
}

/// Adds what a server claims, which need not be sensible.
fn grow(sum: &mut i64, more: i64) {
    *sum = sum.saturating_add(more);
}

#[cfg(test)]
mod tests;
