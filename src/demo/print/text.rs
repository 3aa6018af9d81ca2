//! A step as a person reads it: `->` is what the desktop says, `<-` what the
//! server says. What workers are asked stands between them, without an arrow.

use std::fmt::{Display, Write};

use serde_json::Value;

use super::Sum;
use crate::desk::words::{Colour, counted, dollars, grouped, paint, picture, plain, wrapped};
use crate::desk::{Step, json, millis};
use crate::tools::workers::Executed;
use crate::transport::proto::{
    AnalysisOutcome, Bill, ExtractedTask, OutcomeKind, SearchResult, ServerError, SessionReady,
    TaskPriority, TaskStatus, ToolKind,
};

/// Characters of one line of somebody else's text.
const WIDE: usize = 78;
/// Of a text that may run over several lines.
const LONG: usize = 3 * WIDE;

/// Lines with a margin, one after the other.
struct Page {
    text: String,
    colour: bool,
}

/// The lines that tell a step of the nth of so many frames.
pub(super) fn block(step: &Step, nth: usize, frames: usize, colour: bool) -> String {
    let mut page = Page {
        text: String::new(),
        colour,
    };
    match step {
        Step::Ready(SessionReady {
            resumed: Some(resumed),
            ..
        }) => page.line(
            "<-",
            "session resumed",
            counted(resumed.frames_in_flight.len(), "frame") + " under way",
        ),
        Step::Ready(ready) => {
            let session = plain(&ready.session_id, 9);
            page.line(
                "<-",
                "session ready",
                format_args!(
                    "{session}, protocol {}, the model may be asked {} times a frame",
                    plain(&ready.protocol_version, 8),
                    ready.max_model_iterations,
                ),
            );
        }
        Step::FrameSent {
            frame_id,
            app,
            window,
            jpeg,
            characters,
            file: _,
        } => {
            let place = [app, window].map(|name| plain(name, 60));
            let place: Vec<_> = place
                .iter()
                .filter(|name| !name.is_empty())
                .map(|name| &**name)
                .collect();
            page.heading(
                format_args!("{nth}/{frames}  {}", plain(frame_id, 60)),
                &place.join("  "),
            );
            page.line(
                "->",
                "frame",
                format_args!(
                    "{}, {} characters of text",
                    picture(*jpeg),
                    grouped(*characters)
                ),
            );
        }
        Step::SearchAsked(call) => {
            let query = call
                .arguments
                .as_ref()
                .map_or("", |arguments| &arguments.query);
            match call.tool_name.as_str() {
                "" => page.line(
                    "<-",
                    search(call.tool_kind()),
                    format_args!("\"{}\"", plain(query, WIDE)),
                ),
                name => page.line(
                    "<-",
                    &plain(name, 24),
                    format_args!("{}", plain(&call.arguments_json, WIDE)),
                ),
            }
        }
        Step::SearchAnswered {
            found: Ok(hits), ..
        } => page.hits(hits),
        Step::SearchAnswered {
            found: Err(error), ..
        } => page.line("->", "search failed", plain(error, WIDE)),
        Step::ToolAnswered(result) => page.line("->", "tool result", plain(&result.error, WIDE)),
        Step::SearchCancelled(cancel) => {
            page.line("<-", "search cancelled", plain(&cancel.reason, WIDE))
        }
        Step::Decided { outcome, kept_as } => page.outcome(outcome, *kept_as),
        Step::Failed(error) => {
            page.loud(&plain(&error.code, 24), Colour::Red, &complaint(error));
        }
        Step::Postponed { error, .. } => page.line("<-", "later", complaint(error)),
        Step::Skipped { file, why } => page.line(
            "  ",
            "skipped",
            format_args!("{}: {}", plain(file, WIDE), plain(why, WIDE)),
        ),
        Step::StoreHeld => page.line("  ", "waiting", json::HELD),
        Step::Lost { why, .. } => page.line("  ", "stream lost", plain(why, WIDE)),
        Step::Complaint(error) => page.line("<-", &plain(&error.code, 24), complaint(error)),
        Step::GoingAway(go_away) => page.line(
            "<-",
            "going away",
            format_args!(
                "{} The next stream in {:.1} s.",
                plain(&go_away.reason, WIDE),
                millis(go_away.reconnect_delay_ms).as_secs_f64()
            ),
        ),
    }
    page.text
}

/// What a worker was asked, and what it answered: nothing that the desktop says or hears.
pub(super) fn executed(call: &Executed, colour: bool) -> String {
    let mut page = Page {
        text: String::new(),
        colour,
    };
    let arguments = Value::Object((*call.arguments).clone()).to_string();
    let asked = plain(&arguments, WIDE);
    page.line(
        "  ",
        "worker",
        format_args!("{} {asked}", plain(&call.tool, 64)),
    );
    let answered = match &call.result {
        Ok(value) => plain(&value.to_string(), LONG),
        Err(fault) => plain(&format!("{}: {}", call.status(), fault.message), LONG),
    };
    page.more(format_args!(
        "-> {answered} ({} ms)",
        grouped(call.took.as_millis())
    ));
    page.text
}

/// A line beside the conversation.
pub(super) fn remark(remark: &str, colour: bool) -> String {
    format!("{}\n", paint(remark, Colour::Faint, colour))
}

/// What all frames came to.
pub(super) fn total(sum: &Sum, colour: bool) -> String {
    let kinds = [
        (sum.extracted, "EXTRACT_TASK"),
        (sum.rejected, "REJECT_TASK"),
        (sum.without, "NO_TASK_FOUND"),
        (sum.failed, "without a decision"),
    ];
    let kinds: Vec<_> = kinds
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{count} {kind}"))
        .collect();
    format!(
        "\n{}  {}: {}; {}, {} tokens, {}, {} ms\n",
        paint("total", Colour::Bold, colour),
        counted(sum.frames, "frame"),
        kinds.join(", "),
        counted(sum.model_calls, "model call"),
        grouped(sum.tokens),
        dollars(sum.cost_micro_usd),
        grouped(sum.total_ms),
    )
}

impl Page {
    fn heading(&mut self, name: impl Display, place: &str) {
        let name = paint(&name.to_string(), Colour::Bold, self.colour);
        let place = paint(place, Colour::Faint, self.colour);
        self.push(format_args!("\n{name}  {place}"));
    }

    fn line(&mut self, arrow: &str, label: &str, text: impl Display) {
        let arrow = paint(arrow, Colour::Faint, self.colour);
        self.push(format_args!("  {arrow} {label:<16} {text}"));
    }

    fn loud(&mut self, label: &str, colour: Colour, text: &str) {
        let mut lines = wrapped(text, WIDE).into_iter();
        let arrow = paint("<-", Colour::Faint, self.colour);
        let label = paint(&format!("{label:<16}"), colour, self.colour);
        let first = paint(&lines.next().unwrap_or_default(), Colour::Bold, self.colour);
        self.push(format_args!("  {arrow} {label} {first}"));
        for line in lines {
            self.more(paint(&line, Colour::Bold, self.colour));
        }
    }

    fn more(&mut self, text: impl Display) {
        self.push(format_args!("{:22}{text}", ""));
    }

    fn push(&mut self, line: impl Display) {
        // Without a text, the padding before it would stay.
        let line = line.to_string();
        writeln!(self.text, "{}", line.trim_end()).expect("writing to a String does not fail");
    }

    fn hits(&mut self, hits: &[SearchResult]) {
        if hits.is_empty() {
            self.line("->", "nothing found", "");
        }
        for (nth, hit) in hits.iter().enumerate() {
            let label = if nth == 0 {
                format!("{} found", hits.len())
            } else {
                String::new()
            };
            let arrow = if nth == 0 { "->" } else { "  " };
            let status = match hit.status() {
                TaskStatus::Active => "active",
                TaskStatus::Completed => "completed",
                TaskStatus::Deleted => "deleted",
                TaskStatus::Unspecified => "?",
            };
            let task = plain(&hit.description, WIDE);
            self.line(
                arrow,
                &label,
                format_args!("{:.2}  {task} ({status})", hit.similarity),
            );
        }
    }

    fn outcome(&mut self, outcome: &AnalysisOutcome, kept_as: Option<i64>) {
        let title = outcome.task.as_ref().map_or("", |task| &task.title);
        let (colour, what) = match outcome.outcome_kind() {
            OutcomeKind::ExtractTask => (Colour::Green, title),
            OutcomeKind::RejectTask => (Colour::Yellow, &*outcome.reason),
            OutcomeKind::NoTaskFound => (Colour::Blue, &*outcome.reason),
            OutcomeKind::Unspecified => (
                Colour::Red,
                "a kind of decision that this desktop does not know",
            ),
        };
        let kind = outcome.outcome_kind().as_str_name();
        self.loud(kind, colour, &plain(what, LONG));
        if let Some(task) = &outcome.task {
            self.task(task);
        }
        if let Some(id) = kept_as {
            self.more(format_args!("kept as task {id}"));
        }
        for line in wrapped(&plain(&outcome.context_summary, LONG), WIDE) {
            self.more(paint(&line, Colour::Faint, self.colour));
        }
        if let Some(bill) = &outcome.bill {
            self.bill(bill);
        }
    }

    fn task(&mut self, task: &ExtractedTask) {
        let priority = match task.priority() {
            TaskPriority::PriorityHigh => "high priority",
            TaskPriority::PriorityMedium => "medium priority",
            TaskPriority::PriorityLow => "low priority",
            TaskPriority::Unspecified => "no priority",
        };
        let due = match &*task.inferred_deadline {
            "" => "no deadline".to_owned(),
            day => format!("due {}", plain(day, 10)),
        };
        self.more(format_args!(
            "{priority}, {due}, {}/{}, confidence {:.2}",
            plain(&task.source_category, 24),
            plain(&task.source_subcategory, 24),
            task.confidence,
        ));
        for line in wrapped(&plain(&task.description, LONG), WIDE) {
            self.more(line);
        }
    }

    fn bill(&mut self, bill: &Bill) {
        let answered = match &*bill.model_answered {
            "" => String::new(),
            same if same == bill.model_asked => String::new(),
            other => format!(", answered by {}", plain(other, 60)),
        };
        self.line(
            "  ",
            "bill",
            format_args!(
                "{}{answered}, {}, {}",
                plain(&bill.model_asked, 60),
                counted(bill.model_calls, "call"),
                dollars(bill.cost_micro_usd),
            ),
        );
        self.more(format_args!(
            "{} tokens in ({} cached), {} out, {} thinking",
            grouped(bill.prompt_tokens),
            grouped(bill.cached_tokens),
            grouped(bill.output_tokens),
            grouped(bill.thinking_tokens),
        ));
        self.more(format_args!(
            "{} ms in the model, {} ms in searches, {} ms in all",
            grouped(bill.model_ms),
            grouped(bill.tool_ms),
            grouped(bill.total_ms),
        ));
    }
}

fn search(kind: ToolKind) -> &'static str {
    match kind {
        ToolKind::SearchSimilar => "search similar",
        ToolKind::SearchKeywords => "search keywords",
        ToolKind::Unspecified => "unknown search",
    }
}

fn complaint(error: &ServerError) -> String {
    let again = if error.retryable {
        "may be tried again"
    } else {
        "not to be tried again"
    };
    format!("{} ({again})", plain(&error.message, LONG))
}
