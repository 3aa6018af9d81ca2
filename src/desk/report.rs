//! Tells people, or programs, what a desktop does: one line that stays up to date on
//! a terminal, or a JSON object for each step.

use std::collections::HashMap;
use std::time::Duration;

use humantime::format_duration;

use super::output::Output;
use super::shots::Backlog;
use super::words::{Colour, counted, dollars, paint, plain};
use super::{Step, Sum, json};
use crate::transport::proto::{
    AnalysisOutcome, OutcomeKind, Resumed, ServerError, SessionReady, ToolCallRequest,
};

/// Columns of a line, on any terminal.
const WIDE: usize = 78;

/// A frame that waits for so long is worth a word on a terminal.
const LONG: Duration = Duration::from_secs(60);
/// One that waits because the server wishes it, for so long.
const ASKED_LONG: Duration = Duration::from_secs(5);

/// Characters of a search, or of arguments.
const CALL: usize = 60;

/// How to tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A line that is written anew, for a terminal.
    Live {
        /// With colours.
        colour: bool,
    },
    /// A JSON object on each line.
    Json,
}

/// Tells [`Step`]s as they come, and sums them up. What nobody reads in time is left
/// out, and how much that was is told in its place.
pub(super) struct Reporter {
    out: Output,
    /// Lines that were left out since the last that was not.
    left_out: usize,
    style: Style,
    connection: String,
    backlog: Backlog,
    /// Frames that were sent and have not ended, by their ids.
    frames: HashMap<String, Frame>,
    /// Calls for other sessions and for jobs that have no answer yet, by their ids.
    calls: HashMap<String, ToolCallRequest>,
    sum: Sum,
}

/// A frame that was sent.
struct Frame {
    /// What it was made of.
    file: Option<String>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    UnderWay,
    /// Its session was lost: it goes out with the next.
    Waiting,
    /// It is sent again after a while.
    Later,
}

impl Reporter {
    pub(super) fn new(out: Output, style: Style, backlog: Backlog) -> Self {
        let mut reporter = Self {
            out,
            left_out: 0,
            style,
            connection: "connecting".to_owned(),
            backlog,
            frames: HashMap::new(),
            calls: HashMap::new(),
            sum: Sum::default(),
        };
        reporter.show(String::new());
        reporter
    }

    /// Tells one step.
    pub(super) fn step(&mut self, step: &Step) {
        self.sum.count(step);
        let lines = match self.style {
            Style::Json => json::line(step),
            Style::Live { colour } => match self.answered(step, colour) {
                Some(line) => line,
                None => lasting(step, self.file_of(step), colour),
            },
        };
        match step {
            Step::Ready(ready) => {
                self.connection = "connected".to_owned();
                let known = ready.resumed.iter();
                known.for_each(|known| self.resume(known));
            }
            Step::GoingAway(go_away) => {
                let what = match go_away.resumable {
                    true => "changing streams",
                    false => "the server goes away",
                };
                self.connection = what.to_owned();
            }
            Step::SearchAsked(call) if for_whom(call).is_some() => {
                self.calls.insert(call.request_id.clone(), call.clone());
            }
            Step::SearchCancelled(cancel) => {
                self.calls.remove(&cancel.request_id);
            }
            Step::Lost { again, .. } => {
                self.calls.clear();
                let frames = self.frames.values_mut();
                let under_way = frames.filter(|frame| frame.state == State::UnderWay);
                under_way.for_each(|frame| frame.state = State::Waiting);
                self.connection = format!("next try in {} s", again.as_secs_f64().ceil());
            }
            Step::FrameSent { frame_id, file, .. } => {
                let (file, state) = (file.clone(), State::UnderWay);
                self.frames.insert(frame_id.clone(), Frame { file, state });
            }
            Step::Postponed {
                error,
                aside: false,
                ..
            } => {
                if let Some(frame) = self.frames.get_mut(&error.frame_id) {
                    frame.state = State::Later;
                }
            }
            // One that is put aside is of the backlog again.
            Step::Postponed { error, .. } | Step::Failed(error) => {
                self.frames.remove(&error.frame_id);
            }
            Step::Decided { outcome, .. } => {
                self.frames.remove(&outcome.frame_id);
            }
            _ => {}
        }
        self.show(lines);
    }

    /// The server still has what it knows of: that was not lost with the stream.
    fn resume(&mut self, known: &Resumed) {
        let ids = known.frames_in_flight.iter().chain(&known.frames_answered);
        for id in ids {
            if let Some(frame) = self.frames.get_mut(id)
                && frame.state == State::Waiting
            {
                frame.state = State::UnderWay;
            }
        }
    }

    /// What is told of a call for somebody else that this step answers.
    fn answered(&mut self, step: &Step, colour: bool) -> Option<String> {
        let (id, result) = match step {
            Step::SearchAnswered {
                request_id, found, ..
            } => {
                let found = found.as_ref().map(|found| format!("{} found", found.len()));
                (request_id, found.map_err(String::as_str))
            }
            Step::ToolAnswered(result) => {
                let done = match &*result.error {
                    "" => Ok("answered".to_owned()),
                    error => Err(error),
                };
                (&result.request_id, done)
            }
            _ => return None,
        };
        let call = self.calls.remove(id)?;
        let (tint, came) = match result {
            Ok(came) => (Colour::Blue, came),
            Err(why) => (Colour::Yellow, why.to_owned()),
        };
        let query = call.arguments.as_ref().map_or("", |it| &it.query);
        let (label, asked) = match &*call.tool_name {
            "" => ("search", format!("\"{}\"", plain(query, CALL))),
            tool => {
                let arguments = plain(&call.arguments_json, CALL);
                ("tool", format!("{} {arguments}", plain(tool, CALL)))
            }
        };
        let text = format!("{}: {asked} -> {came}", for_whom(&call)?);
        Some(labelled(label, tint, &text, colour))
    }

    /// What the frame of a step was made of, if that is known.
    fn file_of(&self, step: &Step) -> Option<&str> {
        let id = match step {
            Step::Failed(error) | Step::Postponed { error, .. } => &error.frame_id,
            Step::Decided { outcome, .. } => &outcome.frame_id,
            _ => return None,
        };
        self.frames.get(id)?.file.as_deref()
    }

    fn count(&self, state: State) -> usize {
        let frames = self.frames.values();
        frames.filter(|frame| frame.state == state).count()
    }

    /// Says what all came to. What is still to be written then is the output's.
    pub(super) fn finish(mut self) -> (Sum, Output) {
        if self.left_out > 0 {
            self.out.add(self.shown(&self.gap()));
        }
        self.connection = "done".to_owned();
        let last = match self.style {
            Style::Json => json::done(&self.sum),
            Style::Live { .. } => self.shown("") + "\n",
        };
        self.out.add(last);
        (self.sum, self.out)
    }

    /// Tells lines that last, or on a terminal perhaps none of them.
    fn show(&mut self, lines: String) {
        if self.left_out > 0 && self.out.offer(self.shown(&self.gap())) {
            self.left_out = 0;
        }
        if self.left_out > 0 || !self.out.offer(self.shown(&lines)) {
            self.left_out += lines.lines().count();
        }
    }

    /// As it is written: on a terminal above the live line.
    fn shown(&self, lines: &str) -> String {
        match self.style {
            Style::Json => lines.to_owned(),
            Style::Live { colour } => {
                let status = paint(&plain(&self.status(), WIDE), Colour::Faint, colour);
                format!("\r\x1b[K{lines}{status}")
            }
        }
    }

    /// Tells of what was left out.
    fn gap(&self) -> String {
        match self.style {
            Style::Json => json::left_out(self.left_out),
            Style::Live { colour } => {
                let what = format!("{} that nobody read", counted(self.left_out, "line"));
                labelled("left out", Colour::Yellow, &what, colour)
            }
        }
    }

    fn status(&self) -> String {
        let Sum {
            frames,
            extracted,
            failed,
            cost_micro_usd,
            ..
        } = self.sum;
        let waiting = self.backlog.waiting() + self.count(State::Waiting);
        let under_way = self.count(State::UnderWay);
        let later = match self.backlog.aside() + self.count(State::Later) {
            0 => String::new(),
            later => format!(", {later} later"),
        };
        let failed = match failed {
            0 => String::new(),
            failed => format!(", {failed} without a decision"),
        };
        format!(
            "{}: {waiting} waiting, {under_way} under way{later}, {frames} answered{failed}, {extracted} extracted, {}",
            self.connection,
            dollars(cost_micro_usd),
        )
    }
}

/// For whom a call is, if it is not for a frame of this desk.
fn for_whom(call: &ToolCallRequest) -> Option<&'static str> {
    match (&*call.job_id, &*call.session_id) {
        ("", "") => None,
        ("", _) => Some("for another session"),
        _ => Some("for a job"),
    }
}

/// Why a frame has no task, as far as anybody said.
fn without_a_task(outcome: &AnalysisOutcome) -> Option<(&'static str, Colour, &str)> {
    let (label, tint) = match outcome.outcome_kind() {
        OutcomeKind::RejectTask => ("rejected", Colour::Blue),
        _ if outcome.reason.is_empty() => ("no task", Colour::Faint),
        _ => ("no task", Colour::Yellow),
    };
    let said = [&outcome.reason, &outcome.context_summary];
    let said = said.into_iter().find(|said| !said.is_empty())?;
    Some((label, tint, said))
}

/// What of a step about this file stays on the screen.
fn lasting(step: &Step, file: Option<&str>, colour: bool) -> String {
    let what = |error: &ServerError| {
        let what = format!("{}: {}", error.code, error.message);
        file.map_or(what.clone(), |file| format!("{file}: {what}"))
    };
    let (label, tint, text) = match step {
        Step::Decided {
            outcome,
            kept_as: Some(id),
        } => {
            let title = outcome.task.as_ref().map_or("", |task| &*task.title);
            // Two pictures may ask for the same.
            let from = file.map_or(String::new(), |file| format!(" ({file})"));
            ("task", Colour::Green, format!("{id}: {title}{from}"))
        }
        Step::Decided {
            outcome,
            kept_as: None,
        } => match without_a_task(outcome) {
            Some((label, tint, said)) => {
                let file = file.map_or(String::new(), |file| format!("{file}: "));
                (label, tint, file + said)
            }
            None => return String::new(),
        },
        Step::Complaint(error) => ("warning", Colour::Yellow, what(error)),
        Step::Failed(error) => ("no decision", Colour::Red, what(error)),
        Step::Postponed { error, again, .. }
            if *again >= LONG || error.retry_after_ms > 0 && *again >= ASKED_LONG =>
        {
            let again = format_duration(Duration::from_secs(again.as_secs()));
            let wish = match error.retry_after_ms {
                ..=0 => "",
                _ => ", as the server asks",
            };
            let what = format!("{} Again in {again}{wish}.", what(error));
            ("later", Colour::Yellow, what)
        }
        Step::Ready(SessionReady {
            resumed: Some(resumed),
            ..
        }) => {
            let text = match resumed.frames_in_flight.len() {
                0 => "the session goes on".to_owned(),
                count => format!("the session goes on, {} under way", counted(count, "frame")),
            };
            ("resumed", Colour::Green, text)
        }
        Step::GoingAway(go_away) => ("go away", Colour::Yellow, go_away.reason.clone()),
        Step::Skipped { file, why } => ("skipped", Colour::Yellow, format!("{file}: {why}")),
        Step::StoreHeld => ("waiting", Colour::Yellow, json::HELD.to_owned()),
        Step::Lost { why, .. } => ("no session", Colour::Yellow, why.clone()),
        _ => return String::new(),
    };
    labelled(label, tint, &text, colour)
}

fn labelled(label: &str, tint: Colour, text: &str, colour: bool) -> String {
    let label = paint(&format!("{label:<12}"), tint, colour);
    format!("{label} {}\n", plain(text, 3 * WIDE))
}

#[cfg(test)]
mod tests;
