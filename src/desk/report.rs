//! Tells people, or programs, what a desktop does: one line that stays up to date on
//! a terminal, or a JSON object for each step.

use std::collections::HashMap;
use std::time::Duration;

use humantime::format_duration;

use super::output::Output;
use super::shots::Backlog;
use super::words::{Colour, counted, dollars, paint, plain};
use super::{Step, Sum, json};
use crate::transport::proto::ServerError;

/// Columns of a line, on any terminal.
const WIDE: usize = 78;

/// A frame that waits for so long is worth a word on a terminal.
const LONG: Duration = Duration::from_secs(60);

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
            Style::Live { colour } => lasting(step, self.file_of(step), colour),
        };
        match step {
            Step::Ready(_) => self.connection = "connected".to_owned(),
            Step::GoingAway(_) => self.connection = "the server goes away".to_owned(),
            Step::Lost { again, .. } => {
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
        Step::Failed(error) => ("no decision", Colour::Red, what(error)),
        Step::Postponed { error, again, .. } if *again >= LONG => {
            let again = format_duration(Duration::from_secs(again.as_secs()));
            let what = format!("{} Again in {again}.", what(error));
            ("later", Colour::Yellow, what)
        }
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
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::desk::fake::outcome;
    use crate::transport::proto::{ExtractedTask, OutcomeKind, SessionReady};

    fn error(frame_id: &str) -> ServerError {
        ServerError {
            code: "GEMINI_ERROR".into(),
            message: "The operator has to look at it.".into(),
            frame_id: frame_id.into(),
            ..ServerError::default()
        }
    }

    fn postponed(again: Duration) -> Step {
        Step::Postponed {
            error: error("f"),
            again,
            aside: false,
        }
    }

    fn sent(frame_id: &str, file: &str) -> Step {
        Step::FrameSent {
            frame_id: frame_id.into(),
            file: Some(file.into()),
            app: String::new(),
            window: String::new(),
            jpeg: 1,
            characters: 2,
        }
    }

    fn steps() -> Vec<Step> {
        let mut outcome = outcome("f", OutcomeKind::ExtractTask);
        outcome.task = Some(ExtractedTask {
            title: "Call\u{1b}[2J Bo".into(),
            ..ExtractedTask::default()
        });
        vec![
            Step::Ready(SessionReady::default()),
            sent("f", "a.jpg"),
            Step::Decided {
                outcome: outcome.into(),
                kept_as: Some(7),
            },
            postponed(Duration::from_secs(59)),
            postponed(Duration::from_millis(300_500)),
            Step::Lost {
                why: "gone".into(),
                again: Duration::from_millis(1_500),
            },
        ]
    }

    /// A reader that reads nothing before it is let, and remembers all.
    #[derive(Clone, Default)]
    struct Reader {
        text: Arc<Mutex<Vec<u8>>>,
        stalled: Arc<Mutex<()>>,
    }

    impl Reader {
        fn text(&self) -> String {
            String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Reader {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            drop(self.stalled.lock().unwrap());
            self.text.lock().unwrap().write(text)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    async fn told(style: Style) -> String {
        let reader = Reader::default();
        let out = Output::new(reader.clone()).unwrap();
        let mut reporter = Reporter::new(out, style, Backlog::default());
        steps().iter().for_each(|step| reporter.step(step));
        let (sum, out) = reporter.finish();
        out.finish().await.unwrap();
        assert_eq!(sum.extracted, 1);
        reader.text()
    }

    #[tokio::test]
    async fn people_see_one_line_kept_up_to_date_and_what_lasts_above_it() {
        let told = told(Style::Live { colour: false }).await;
        let states: Vec<_> = told.split("\r\x1b[K").skip(1).collect();
        assert_eq!(
            states,
            [
                "connecting: 0 waiting, 0 under way, 0 answered, 0 extracted, $0.000000",
                "connected: 0 waiting, 0 under way, 0 answered, 0 extracted, $0.000000",
                "connected: 0 waiting, 1 under way, 0 answered, 0 extracted, $0.000000",
                "task         7: Call [2J Bo (a.jpg)\n\
                 connected: 0 waiting, 0 under way, 1 answered, 1 extracted, $0.000000",
                "connected: 0 waiting, 0 under way, 1 answered, 1 extracted, $0.000000",
                "later        GEMINI_ERROR: The operator has to look at it. Again in 5m.\n\
                 connected: 0 waiting, 0 under way, 1 answered, 1 extracted, $0.000000",
                "no session   gone\n\
                 next try in 2 s: 0 waiting, 0 under way, 1 answered, 1 extracted, $0.000000",
                "done: 0 waiting, 0 under way, 1 answered, 1 extracted, $0.000000\n",
            ]
        );
    }

    #[tokio::test]
    async fn each_frame_is_counted_once_whatever_becomes_of_it() {
        let decided = |frame_id: &str| Step::Decided {
            outcome: outcome(frame_id, OutcomeKind::NoTaskFound).into(),
            kept_as: None,
        };
        let lost = Step::Lost {
            why: "gone".into(),
            again: Duration::ZERO,
        };
        let steps = [
            sent("f", "a.jpg"),
            sent("g", "b.jpg"),
            postponed(Duration::from_secs(301)),
            lost,
            sent("g", "b.jpg"),
            // It was never sent.
            Step::Failed(error("too large")),
            decided("g"),
            sent("f", "a.jpg"),
            Step::Postponed {
                error: error("f"),
                again: Duration::from_secs(3_600),
                aside: true,
            },
        ];
        let reader = Reader::default();
        let out = Output::new(reader.clone()).unwrap();
        let style = Style::Live { colour: false };
        let mut reporter = Reporter::new(out, style, Backlog::default());
        steps.iter().for_each(|step| reporter.step(step));
        reporter.finish().1.finish().await.unwrap();
        let told = reader.text();
        let counts = told.split("\r\x1b[K").skip(2).map(|state| {
            let status = state.lines().last().unwrap();
            let (_, counts) = status.split_once(": ").unwrap();
            counts.split(" answered").next().unwrap()
        });
        assert_eq!(
            counts.collect::<Vec<_>>(),
            [
                "0 waiting, 1 under way, 0",
                "0 waiting, 2 under way, 0",
                "0 waiting, 1 under way, 1 later, 0",
                "1 waiting, 0 under way, 1 later, 0",
                "0 waiting, 1 under way, 1 later, 0",
                "0 waiting, 1 under way, 1 later, 1",
                "0 waiting, 0 under way, 1 later, 2",
                "0 waiting, 1 under way, 2",
                // The backlog counts what is put aside.
                "0 waiting, 0 under way, 2",
                "0 waiting, 0 under way, 2",
            ]
        );
        let later =
            "later        a.jpg: GEMINI_ERROR: The operator has to look at it. Again in 5m 1s.";
        assert!(told.contains(later), "{told}");
    }

    #[tokio::test]
    async fn programs_read_a_line_for_each_step_and_the_sum() {
        let told = told(Style::Json).await;
        let lines: Vec<serde_json::Value> = told
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let events: Vec<_> = lines.iter().map(|line| line["event"].as_str()).collect();
        let wanted = [
            "session_ready",
            "frame",
            "outcome",
            "retry",
            "retry",
            "disconnected",
            "done",
        ];
        assert_eq!(events, wanted.map(Some));
        assert_eq!(lines[1]["file"], "a.jpg");
        assert_eq!(lines[5]["reconnect_delay_ms"], 1_500);
        assert_eq!(lines[6]["extracted"], 1);
    }

    #[tokio::test]
    async fn a_reader_who_leaves_is_noticed() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let out = Output::new(Closed).unwrap();
        let unread = out.unread();
        let mut reporter = Reporter::new(out, Style::Json, Backlog::default());
        reporter.step(&steps()[0]);
        unread.cancelled().await;
        assert!(reporter.finish().1.finish().await.is_ok());
    }

    #[tokio::test]
    async fn a_reader_who_stalls_holds_nothing_up_and_is_told_what_it_missed() {
        for style in [Style::Json, Style::Live { colour: false }] {
            let reader = Reader::default();
            let out = Output::new(reader.clone()).unwrap();
            let mut reporter = Reporter::new(out, style, Backlog::default());
            let lost = Step::Lost {
                why: "x".repeat(200),
                again: Duration::ZERO,
            };
            const LINES: usize = 10_000;
            {
                let _stalled = reader.stalled.lock().unwrap();
                for _ in 0..LINES {
                    reporter.step(&lost);
                }
            }
            let (_, out) = reporter.finish();
            out.finish().await.unwrap();
            let told = reader.text();
            let read = told.matches(&"x".repeat(200)).count();
            let last: Vec<_> = told.lines().rev().take(2).collect();
            let missed = LINES - read;
            assert!(read > 1_000 && missed > 1_000, "{read}");
            assert!(
                last[1].contains("left") && last[1].contains(&missed.to_string()),
                "{last:?}"
            );
            assert!(last[0].contains("done"), "{last:?}");
        }
    }
}
