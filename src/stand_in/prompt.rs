//! What the rules read out of a request.

use jiff::civil::Date;
use serde_json::Value;

use super::answer::parts;
use super::text::fenced;
use crate::world::World;

/// A request as the rules see it.
#[derive(Debug)]
pub(super) struct Prompt<'a> {
    /// The text on the screen; empty if the prompt fences none.
    pub(super) screen: &'a str,
    /// The application's name, or empty.
    pub(super) app: &'a str,
    /// The window's title, or empty.
    pub(super) window: &'a str,
    /// The day that relative deadlines count from.
    pub(super) today: Date,
    /// The functions that may be called, in the order of their declaration.
    pub(super) callable: Vec<&'a str>,
    /// Every function response so far, oldest first.
    pub(super) answers: Vec<Answer<'a>>,
}

/// A function's response.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) name: &'a str,
    pub(super) response: &'a Value,
}

impl Answer<'_> {
    /// Whether the function told an error instead of a result.
    pub(super) fn failed(&self) -> bool {
        self.response.get("error").is_some()
    }
}

/// A task that a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found<'a> {
    pub(super) description: &'a str,
    pub(super) status: &'a str,
    pub(super) similarity: f64,
}

impl<'a> Prompt<'a> {
    /// Reads a request that has been judged. The screen is the last one that
    /// the user's turns fence.
    pub(super) fn read(request: &'a Value, world: &World) -> Self {
        let contents = request["contents"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let said: Vec<&str> = contents
            .iter()
            .filter(|content| content["role"] != "model")
            .flat_map(parts)
            .filter_map(|part| part["text"].as_str())
            .collect();
        let last = |name| said.iter().rev().find_map(|text| fenced(text, name));
        Self {
            screen: last("screen_text").unwrap_or_default(),
            app: last("app").unwrap_or_default().trim(),
            window: last("window").unwrap_or_default().trim(),
            // From the end: what is known of the user comes first and may say it too.
            today: said
                .iter()
                .rev()
                .find_map(|text| today(text))
                .unwrap_or_else(|| world.now().to_zoned(jiff::tz::TimeZone::UTC).date()),
            callable: callable(request),
            answers: contents
                .iter()
                .flat_map(parts)
                .filter_map(|part| part.get("functionResponse"))
                .map(|answer| Answer {
                    name: answer["name"].as_str().unwrap_or_default(),
                    response: &answer["response"],
                })
                .collect(),
        }
    }

    /// The answers of one function.
    pub(super) fn answers_of(&self, name: &str) -> impl Iterator<Item = &Answer<'a>> {
        self.answers
            .iter()
            .filter(move |answer| answer.name == name)
    }

    /// Everything that the searches found, in whatever shape they told it.
    pub(super) fn found(&self) -> Vec<Found<'a>> {
        let mut found = Vec::new();
        for answer in &self.answers {
            collect(answer.response, &mut found);
        }
        found
    }
}

fn collect<'a>(value: &'a Value, found: &mut Vec<Found<'a>>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => match fields.get("description").and_then(Value::as_str) {
            Some(description) => found.push(Found {
                description,
                status: fields
                    .get("status")
                    .and_then(Value::as_str)
                    .unwrap_or_default(),
                similarity: fields
                    .get("similarity")
                    .and_then(Value::as_f64)
                    .unwrap_or(0.0),
            }),
            None => fields.values().for_each(|field| collect(field, found)),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The date after the words "Today is", which the screen may say too.
fn today(text: &str) -> Option<Date> {
    let outside = match text.split_once("⟦screen_text⟧") {
        Some((before, rest)) => {
            let after = rest
                .split_once("⟦/screen_text⟧")
                .map_or("", |(_, after)| after);
            return today(before).or_else(|| today(after));
        }
        None => text,
    };
    let (_, after) = outside.split_once("Today is")?;
    after
        .split_whitespace()
        .take(4)
        .find_map(|word| word.trim_end_matches(['.', ',', ';']).parse().ok())
}

/// The declared functions, less those that the calling mode excludes.
fn callable(request: &Value) -> Vec<&str> {
    let config = &request["toolConfig"]["functionCallingConfig"];
    if config["mode"]
        .as_str()
        .is_some_and(|mode| mode.eq_ignore_ascii_case("NONE"))
    {
        return Vec::new();
    }
    let allowed = config["allowedFunctionNames"].as_array();
    let tools = request["tools"].as_array().into_iter().flatten();
    tools
        .flat_map(|tool| {
            tool["functionDeclarations"]
                .as_array()
                .into_iter()
                .flatten()
        })
        .filter_map(|declaration| declaration["name"].as_str())
        .filter(|name| {
            // An empty list restricts nothing.
            allowed.is_none_or(|allowed| {
                allowed.is_empty() || allowed.iter().any(|allowed| allowed == name)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_prompts_fences_date_and_answers_are_read() {
        let request = json!({
            "contents": [
                {"role": "user", "parts": [
                    {"text": "⟦goals⟧\n- Today is 2020-01-01\n⟦/goals⟧"},
                    {"text": "⟦app⟧Slack⟦/app⟧ ⟦window⟧ general ⟦/window⟧"},
                    {"text": "⟦screen_text⟧Today is 2020-01-01⟦/screen_text⟧
                        Today is Saturday, 2026-11-21."},
                ]},
                {"role": "model", "parts": [{"functionCall": {"name": "search_similar"}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "search_similar",
                    "response": {"output": {"results": [
                        {"description": "Call Anna", "status": "active", "similarity": 0.5},
                    ]}}}}]},
            ],
            "tools": [{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["b"]}},
        });
        let world = World::fixed(jiff::Timestamp::UNIX_EPOCH, 1);
        let prompt = Prompt::read(&request, &world);
        assert_eq!(prompt.today.to_string(), "2026-11-21");
        assert_eq!((prompt.app, prompt.window), ("Slack", "general"));
        assert_eq!(prompt.screen, "Today is 2020-01-01");
        assert_eq!(prompt.callable, ["b"]);
        let call = Found {
            description: "Call Anna",
            status: "active",
            similarity: 0.5,
        };
        assert_eq!(prompt.found(), [call]);
        assert!(!prompt.answers_of("search_similar").next().unwrap().failed());

        let bare = json!({"contents": [{"parts": [{"text": "hello"}]}]});
        assert_eq!(Prompt::read(&bare, &world).today.to_string(), "1970-01-01");
    }
}
