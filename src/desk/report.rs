//! Tells people, or programs, what a desktop does: one line that stays up to date on
//! a terminal, or a JSON object for each step.

use std::io::{self, Write};

use tokio_util::sync::CancellationToken;

use super::shots::Backlog;
use super::words::{Colour, counted, dollars, paint, plain};
use super::{Step, Sum, json};

/// Columns of a line, on any terminal.
const WIDE: usize = 78;

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

/// Writes [`Step`]s as they come, and sums them up.
pub(super) struct Reporter<W> {
    out: W,
    style: Style,
    connection: String,
    backlog: Backlog,
    /// Frames that were sent and have not ended.
    under_way: usize,
    sum: Sum,
    broken: Option<io::Error>,
    /// Ended when nobody reads any more.
    unread: CancellationToken,
}

impl<W: Write> Reporter<W> {
    pub(super) fn new(out: W, style: Style, backlog: Backlog) -> Self {
        let mut reporter = Self {
            out,
            style,
            connection: "connecting".to_owned(),
            backlog,
            under_way: 0,
            sum: Sum::default(),
            broken: None,
            unread: CancellationToken::new(),
        };
        reporter.show("");
        reporter
    }

    /// Ends when nobody reads any more.
    pub(super) fn unread(&self) -> CancellationToken {
        self.unread.clone()
    }

    /// Tells one step.
    pub(super) fn step(&mut self, step: &Step) {
        self.sum.count(step);
        match step {
            Step::Ready(_) => self.connection = "connected".to_owned(),
            Step::GoingAway(_) => self.connection = "the server goes away".to_owned(),
            Step::Lost { again, .. } => {
                self.under_way = 0;
                self.connection = format!("next try in {} s", again.as_secs_f64().ceil());
            }
            Step::FrameSent { .. } => self.under_way += 1,
            Step::Decided { .. } | Step::Failed(_) | Step::Postponed { .. } => {
                self.under_way = self.under_way.saturating_sub(1);
            }
            _ => {}
        }
        match self.style {
            Style::Json => self.write(&json::line(step)),
            Style::Live { colour } => self.show(&lasting(step, colour)),
        }
    }

    /// Says what all came to.
    ///
    /// # Errors
    /// The first error in writing anything at all, unless the reader simply left.
    pub(super) fn finish(mut self) -> io::Result<Sum> {
        match self.style {
            Style::Json => self.write(&json::done(&self.sum)),
            Style::Live { .. } => {
                self.connection = "done".to_owned();
                self.show("");
                self.write("\n");
            }
        }
        match self.broken {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            Some(_) | None => Ok(self.sum),
        }
    }

    /// Puts lines above the live one.
    fn show(&mut self, lines: &str) {
        if let Style::Live { colour } = self.style {
            let status = paint(&plain(&self.status(), WIDE), Colour::Faint, colour);
            self.write(&format!("\r\x1b[K{lines}{status}"));
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
        let waiting = self.backlog.count();
        let failed = match failed {
            0 => String::new(),
            failed => format!(", {failed} without a decision"),
        };
        format!(
            "{}: {waiting} waiting, {} under way, {frames} answered{failed}, {}, {}",
            self.connection,
            self.under_way,
            counted(extracted, "task"),
            dollars(cost_micro_usd),
        )
    }

    fn write(&mut self, text: &str) {
        if self.broken.is_some() {
            return;
        }
        let written = self.out.write_all(text.as_bytes());
        if let Err(error) = written.and_then(|()| self.out.flush()) {
            self.broken = Some(error);
            self.unread.cancel();
        }
    }
}

/// What of a step stays on the screen.
fn lasting(step: &Step, colour: bool) -> String {
    let (label, tint, text) = match step {
        Step::Decided {
            outcome,
            kept_as: Some(id),
        } => {
            let title = outcome.task.as_ref().map_or("", |task| &*task.title);
            ("task", Colour::Green, format!("{id}: {title}"))
        }
        Step::Failed(error) => {
            let what = format!("{}: {}", error.code, error.message);
            ("no decision", Colour::Red, what)
        }
        Step::Skipped { file, why } => ("skipped", Colour::Yellow, format!("{file}: {why}")),
        Step::StoreHeld => ("waiting", Colour::Yellow, json::HELD.to_owned()),
        Step::Lost { why, .. } => ("no session", Colour::Yellow, why.clone()),
        _ => return String::new(),
    };
    let label = paint(&format!("{label:<12}"), tint, colour);
    format!("{label} {}\n", plain(&text, 3 * WIDE))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::desk::fake::outcome;
    use crate::transport::proto::{ExtractedTask, OutcomeKind, SessionReady};

    fn steps() -> Vec<Step> {
        let mut outcome = outcome("f", OutcomeKind::ExtractTask);
        outcome.task = Some(ExtractedTask {
            title: "Call\u{1b}[2J Bo".into(),
            ..ExtractedTask::default()
        });
        vec![
            Step::Ready(SessionReady::default()),
            Step::FrameSent {
                frame_id: "f".into(),
                file: Some("a.jpg".into()),
                app: String::new(),
                window: String::new(),
                jpeg: 1,
                characters: 2,
            },
            Step::Decided {
                outcome: outcome.into(),
                kept_as: Some(7),
            },
            Step::Lost {
                why: "gone".into(),
                again: Duration::from_millis(1_500),
            },
        ]
    }

    fn told(style: Style) -> String {
        let mut out = Vec::new();
        let mut reporter = Reporter::new(&mut out, style, Backlog::default());
        steps().iter().for_each(|step| reporter.step(step));
        assert_eq!(reporter.finish().unwrap().extracted, 1);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn people_see_one_line_kept_up_to_date_and_what_lasts_above_it() {
        let told = told(Style::Live { colour: false });
        let states: Vec<_> = told.split("\r\x1b[K").skip(1).collect();
        assert_eq!(
            states,
            [
                "connecting: 0 waiting, 0 under way, 0 answered, 0 tasks, $0.000000",
                "connected: 0 waiting, 0 under way, 0 answered, 0 tasks, $0.000000",
                "connected: 0 waiting, 1 under way, 0 answered, 0 tasks, $0.000000",
                "task         7: Call [2J Bo\n\
                 connected: 0 waiting, 0 under way, 1 answered, 1 task, $0.000000",
                "no session   gone\n\
                 next try in 2 s: 0 waiting, 0 under way, 1 answered, 1 task, $0.000000",
                "done: 0 waiting, 0 under way, 1 answered, 1 task, $0.000000\n",
            ]
        );
    }

    #[test]
    fn programs_read_a_line_for_each_step_and_the_sum() {
        let told = told(Style::Json);
        let lines: Vec<serde_json::Value> = told
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let events: Vec<_> = lines.iter().map(|line| line["event"].as_str()).collect();
        let wanted = ["session_ready", "frame", "outcome", "disconnected", "done"];
        assert_eq!(events, wanted.map(Some));
        assert_eq!(lines[1]["file"], "a.jpg");
        assert_eq!(lines[3]["reconnect_delay_ms"], 1_500);
        assert_eq!(lines[4]["extracted"], 1);
    }

    #[test]
    fn a_reader_who_leaves_is_noticed() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut reporter = Reporter::new(Closed, Style::Json, Backlog::default());
        let unread = reporter.unread();
        assert!(!unread.is_cancelled());
        reporter.step(&steps()[0]);
        assert!(unread.is_cancelled());
        assert!(reporter.finish().is_ok());
    }
}
