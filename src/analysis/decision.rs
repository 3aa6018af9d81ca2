//! Reading the arguments of a terminal call, tolerantly: whatever the model got
//! wrong takes the default stated here, and nothing panics.
//!
//! | field | default |
//! |---|---|
//! | priority | medium |
//! | source_category, source_subcategory | other |
//! | source_app | the frame's application |
//! | inferred_deadline | none |
//! | confidence | 0.5; others are clamped to 0.0..=1.0 |
//! | relevance_score | 100; fractions are rounded, and less than 1 is 1 |
//! | tags | none; a text is split at commas |
//! | any other text | empty; numbers and booleans are taken as written |
//!
//! A text may be copied from a hostile screen and is going to be shown to people:
//! it is made one line (a description keeps its own), without control, direction
//! or invisible characters.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::neutral::{Lines, for_people};
use crate::domain::{Category, Priority, Subcategory, Task, clip};

const DEFAULT_SCORE: i32 = 100;
const DEFAULT_CONFIDENCE: f64 = 0.5;
const MAX_TAGS: usize = 10;
const TAG_CHARS: usize = 50;
const TITLE_CHARS: usize = 200;
const TEXT_CHARS: usize = 2_000;

/// A call's arguments.
pub(super) struct Arguments<'a>(pub(super) &'a Map<String, Value>);

impl Arguments<'_> {
    /// The task of an `extract_task` call.
    pub(super) fn task(&self, app: &str) -> Task {
        let source_app = self.text("source_app", TITLE_CHARS);
        Task {
            title: self.text("title", TITLE_CHARS),
            description: self.lines("description", TEXT_CHARS, Lines::Kept),
            priority: Priority::read(&self.text("priority", TAG_CHARS)),
            tags: self.tags(),
            source_app: if source_app.is_empty() {
                for_people(app, Lines::One).into_owned()
            } else {
                source_app
            },
            deadline: self.text("inferred_deadline", TAG_CHARS).parse().ok(),
            confidence: self
                .number("confidence")
                .unwrap_or(DEFAULT_CONFIDENCE)
                .clamp(0.0, 1.0),
            category: Category::read(&self.text("source_category", TAG_CHARS)),
            subcategory: Subcategory::read(&self.text("source_subcategory", TAG_CHARS)),
            score: self.score(),
        }
    }

    /// A text of one line, trimmed and clipped, and nothing in it that people
    /// cannot see.
    pub(super) fn text(&self, name: &str, limit: usize) -> String {
        self.lines(name, limit, Lines::One)
    }

    fn lines(&self, name: &str, limit: usize, lines: Lines) -> String {
        let text = match self.0.get(name) {
            Some(Value::String(text)) => Cow::Borrowed(text.as_str()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string().into(),
            _ => Cow::Borrowed(""),
        };
        visible(&text, limit, lines)
    }

    /// A text of the usual length.
    pub(super) fn sentence(&self, name: &str) -> String {
        self.text(name, TEXT_CHARS)
    }

    fn number(&self, name: &str) -> Option<f64> {
        let value = self.0.get(name)?;
        let number = value
            .as_f64()
            .or_else(|| value.as_str()?.trim().parse().ok())?;
        number.is_finite().then_some(number)
    }

    fn score(&self) -> i32 {
        // `as` saturates, so that 1e300 is the largest score.
        self.number("relevance_score")
            .map_or(DEFAULT_SCORE, |score| (score.round() as i32).max(1))
    }

    fn tags(&self) -> Vec<String> {
        let words: Vec<&str> = match self.0.get("tags") {
            Some(Value::Array(tags)) => tags.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(tags)) => tags.split(',').collect(),
            _ => Vec::new(),
        };
        let words = words
            .into_iter()
            .map(|word| visible(word, TAG_CHARS, Lines::One))
            .filter(|word| !word.is_empty());
        words.take(MAX_TAGS).collect()
    }
}

/// What people can see of a text, up to that many characters.
fn visible(text: &str, limit: usize, lines: Lines) -> String {
    // Clipped first: what is dropped behind the limit costs nothing.
    let text = clip(text.trim(), limit);
    for_people(&text, lines).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task(args: Value) -> Task {
        Arguments(args.as_object().unwrap()).task("Huddle")
    }

    #[test]
    fn a20_whatever_the_model_got_wrong_takes_the_documented_default() {
        let empty = task(json!({}));
        assert_eq!((empty.score, empty.confidence), (100, 0.5));
        assert_eq!(
            (empty.source_app.as_str(), empty.deadline),
            ("Huddle", None)
        );
        assert_eq!(
            (empty.priority, empty.category),
            (Priority::Medium, Category::Other)
        );
        let odd = task(json!({
            "title": 7, "description": ["x"], "priority": {}, "tags": "a, b,,", "source_app": "  ",
            "inferred_deadline": "next week", "confidence": "0.9", "source_category": 3,
            "source_subcategory": null, "relevance_score": 2.6
        }));
        assert_eq!((odd.title.as_str(), odd.description.as_str()), ("7", ""));
        assert_eq!(odd.tags, ["a", "b"]);
        assert_eq!((odd.confidence, odd.score), (0.9, 3));
        assert_eq!(odd.subcategory, Subcategory::Other);
        assert_eq!((odd.source_app.as_str(), odd.deadline), ("Huddle", None));
    }

    #[test]
    fn a20_numbers_out_of_range_are_brought_into_it() {
        let numbers = |score: Value, confidence: Value| {
            let task = task(json!({ "relevance_score": score, "confidence": confidence }));
            (task.score, task.confidence)
        };
        assert_eq!(numbers(json!(-4), json!(17)), (1, 1.0));
        assert_eq!(numbers(json!(1e300), json!(-1)), (i32::MAX, 0.0));
        assert_eq!(numbers(json!("3"), json!("NaN")), (3, 0.5));
        assert_eq!(numbers(json!([1]), json!(true)), (100, 0.5));
    }

    #[test]
    fn a_good_call_is_read_as_it_is() {
        let good = task(json!({
            "title": " Send it ", "priority": "HIGH", "tags": ["x", 3, "y"], "source_app": "Mail",
            "inferred_deadline": "2026-11-27", "source_category": "direct_request",
            "source_subcategory": "message", "relevance_score": 1
        }));
        assert_eq!(good.title, "Send it");
        assert_eq!(good.priority, Priority::High);
        assert_eq!(good.tags, ["x", "y"]);
        assert_eq!(good.deadline, Some(jiff::civil::date(2026, 11, 27)));
        assert_eq!(good.category, Category::DirectRequest);
        assert_eq!(good.subcategory, Subcategory::Message);
    }
}
