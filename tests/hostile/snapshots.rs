//! What is committed beside each screen: what became of it, for people to read.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use proactive::transport::proto::AnalysisOutcome;
use serde_json::Value;

use super::characters::flaw;
use super::corpus::{folder, names};
use super::shown::{SHOWN, Shown};
use super::support::tools::variable;

/// A run of the same character, or of the same line, is shown up to here.
const RUN: usize = 12;
/// A longer line is shown without its middle.
const LINE: usize = 400;

#[test]
fn what_becomes_of_each_screen_is_as_committed() {
    let update = variable("UPDATE").is_some();
    let mut stale = Vec::new();
    for shown in SHOWN.iter() {
        let path = folder().join(format!("{}.snap", shown.screen.name));
        let now = snapshot(shown);
        let committed = fs::read_to_string(&path).unwrap_or_default();
        if now == committed {
            continue;
        }
        if update {
            fs::write(path, now).unwrap();
        } else {
            let lines = committed.lines().zip(now.lines());
            let first = lines.enumerate().find(|(_, (old, new))| old != new);
            let differs = first.map_or_else(
                || "one is longer".to_owned(),
                |(at, (old, new))| format!("line {}:\n- {old}\n+ {new}", at + 1),
            );
            stale.push(format!("{}, {differs}", shown.screen.name));
        }
    }
    assert!(
        stale.is_empty(),
        "{}\nIf that is meant: UPDATE=1 cargo test --test hostile, and read the diff.",
        stale.join("\n")
    );
    let screens: BTreeSet<_> = names(".json").into_iter().collect();
    let snapshots: BTreeSet<_> = names(".snap").into_iter().collect();
    assert_eq!(snapshots, screens, "snapshots, and screens");
}

fn snapshot(shown: &Shown) -> String {
    let screen = &shown.screen;
    let mut page = format!("{}\n", screen.trick);
    let mut section = |heading: &str, text: &str| {
        let _ = write!(page, "\n## {heading}\n{}\n", elided(text));
    };
    // Most screens are those of a user without tasks.
    if shown.about_user() != SHOWN[0].about_user() {
        section("The model is told of the user", shown.about_user());
    }
    section("The model is told of the frame", shown.about_frame());
    if screen.is_about_the_search() {
        let query = shown.query.as_deref().unwrap_or("(nothing)");
        section("The desktop is asked for", query);
        section(
            "The model is told of the search",
            &response(shown.response()),
        );
    }
    if screen.decision.is_some() {
        section("The desktop is told", &outcome(&shown.outcome));
    }
    page
}

/// JSON with a result a line.
fn response(response: &Value) -> String {
    let told = response.to_string();
    told.replace("[{", "[\n{").replace("},{", "},\n{")
}

fn outcome(outcome: &AnalysisOutcome) -> String {
    let mut text = format!("{}\n", outcome.outcome_kind().as_str_name());
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(text, "{name}: {value}");
    };
    if let Some(task) = &outcome.task {
        field("title", &task.title);
        field("description", &task.description);
        field("tags", &task.tags.join(" | "));
        field("source_app", &task.source_app);
    }
    field("reason", &outcome.reason);
    field("context_summary", &outcome.context_summary);
    field("current_activity", &outcome.current_activity);
    text.truncate(text.trim_end().len());
    text
}

/// The text with its repetitions told instead of shown, and with characters
/// that should not be there as numbers.
fn elided(text: &str) -> String {
    let unnumbered = |line: &str| line.replace(|c: char| c.is_ascii_digit(), "");
    let mut page = Vec::new();
    let mut lines = text.split('\n').peekable();
    while let Some(line) = lines.next() {
        // The entries of a list are numbered.
        let like = |other: &&str| unnumbered(line) == unnumbered(other);
        let mut more = Vec::new();
        while let Some(other) = lines.next_if(like) {
            more.push(other);
        }
        page.push(elided_line(line));
        match more.len() {
            0..=2 => page.extend(more.into_iter().map(elided_line)),
            count => page.push(format!("{{{count} more like this}}")),
        }
    }
    page.join("\n")
}

fn elided_line(line: &str) -> String {
    let mut short = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let mut times = 1;
        while chars.next_if_eq(&c).is_some() {
            times += 1;
        }
        let shown = match flaw(c) {
            Some(_) => format!("\\u{{{:x}}}", u32::from(c)),
            None => c.to_string(),
        };
        match times {
            ..=RUN => short.push_str(&shown.repeat(times)),
            _ => {
                let _ = write!(short, "{shown}{{{times} times}}");
            }
        }
    }
    let length = short.chars().count();
    if length <= LINE {
        return short;
    }
    let head: String = short.chars().take(LINE / 2).collect();
    let tail: String = short.chars().skip(length - LINE / 4).collect();
    let left_out = length - LINE / 2 - LINE / 4;
    format!("{head}{{{left_out} characters}}{tail}")
}
