//! Reading Google's answer. Tolerant: unknown fields and values, missing parts
//! and wrong types never fail; what cannot be used is told as an [`Error`].

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::Error;
use crate::domain::Usage;

/// Finish reasons that are final for the frame: a filter spoke.
const FINAL: [&str; 14] = [
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "IMAGE_OTHER",
    "NO_IMAGE",
    "MODEL_ARMOR",
    "ESCALATION",
    "TOO_MANY_TOOL_CALLS",
];

/// One turn of the model.
#[derive(Clone, Debug)]
pub struct Turn {
    content: Box<RawValue>,
    /// Its function calls, in order.
    pub calls: Vec<Call>,
}

impl Turn {
    /// The turn as JSON, byte for byte as it came.
    pub(super) fn content(&self) -> &str {
        self.content.get()
    }

    /// A turn made of calls, as a model would write it. For scripted models.
    pub fn of_calls(calls: Vec<Call>) -> Self {
        let parts: Vec<Value> = calls
            .iter()
            .map(|call| {
                let mut part = serde_json::json!({
                    "functionCall": { "name": call.name, "args": call.args }
                });
                if let Some(id) = &call.id {
                    part["functionCall"]["id"] = id.clone().into();
                }
                part
            })
            .collect();
        let content = serde_json::json!({ "role": "model", "parts": parts }).to_string();
        let content = RawValue::from_string(content).expect("a printed Value is valid JSON");
        Self { content, calls }
    }
}

/// A function the model calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// To be repeated in the answer, if there is one.
    pub id: Option<String>,
    /// The function.
    pub name: String,
    /// Its arguments; empty if they were not an object.
    pub args: Map<String, Value>,
}

/// Everything an HTTP 200 said.
pub(super) struct Reading {
    pub(super) usage: Usage,
    pub(super) model_version: String,
    pub(super) verdict: Result<Turn, Error>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    // Raw, because the content must go back exactly as it came.
    #[serde(borrow)]
    candidates: Option<&'a RawValue>,
    #[serde(default)]
    prompt_feedback: Value,
    #[serde(default)]
    usage_metadata: Value,
    #[serde(default)]
    model_version: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    finish_reason: Value,
}

/// Reads the body of an HTTP 200.
pub(super) fn read(body: &[u8]) -> Reading {
    let Ok(response) = serde_json::from_slice::<Response<'_>>(body) else {
        return Reading {
            usage: Usage::default(),
            model_version: String::new(),
            verdict: Err(malformed("the answer is not generateContent's JSON")),
        };
    };
    Reading {
        usage: usage(&response.usage_metadata),
        model_version: word(&response.model_version).unwrap_or_default(),
        verdict: verdict(&response),
    }
}

fn usage(metadata: &Value) -> Usage {
    let count = |name: &str| metadata[name].as_u64().unwrap_or(0);
    Usage {
        prompt: count("promptTokenCount"),
        cached: count("cachedContentTokenCount"),
        output: count("candidatesTokenCount"),
        thinking: count("thoughtsTokenCount"),
    }
}

fn verdict(response: &Response<'_>) -> Result<Turn, Error> {
    let candidates = response.candidates.map_or("[]", RawValue::get);
    let candidate = serde_json::from_str::<Vec<Candidate<'_>>>(candidates)
        .map_err(|_| malformed("a candidate is not an object"))?
        .into_iter()
        .next();
    let Some(candidate) = candidate else {
        return Err(match word(&response.prompt_feedback["blockReason"]) {
            Some(reason) => Error::Blocked { reason },
            None => malformed("no candidate"),
        });
    };
    let turn = turn(candidate.content);
    let finish = word(&candidate.finish_reason);
    match finish.as_deref() {
        Some("STOP") => Ok(turn),
        // A proxy may leave it out; a call is a call.
        None if !turn.calls.is_empty() => Ok(turn),
        None => Err(malformed("no finish reason")),
        Some("MAX_TOKENS") => Err(Error::Truncated),
        Some("MISSING_THOUGHT_SIGNATURE") => Err(Error::Inconsistent),
        Some(reason) if FINAL.contains(&reason) => Err(Error::Blocked {
            reason: reason.to_owned(),
        }),
        // MALFORMED_…, UNEXPECTED_TOOL_CALL, OTHER, and whatever comes next.
        Some(reason) => Err(malformed(reason)),
    }
}

fn turn(content: Option<&RawValue>) -> Turn {
    let content = content.map_or_else(
        || {
            RawValue::from_string(r#"{"role":"model","parts":[]}"#.to_owned())
                .expect("this text is valid JSON")
        },
        ToOwned::to_owned,
    );
    let mut value: Value = serde_json::from_str(content.get()).unwrap_or_default();
    let calls = match value.get_mut("parts").map(Value::take) {
        Some(Value::Array(parts)) => parts.into_iter().filter_map(call).collect(),
        _ => Vec::new(),
    };
    Turn { content, calls }
}

/// The call that a part holds, if it does.
fn call(mut part: Value) -> Option<Call> {
    let Value::Object(mut call) = part.get_mut("functionCall")?.take() else {
        return None;
    };
    let mut text = |name: &str| match call.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    Some(Call {
        id: text("id"),
        name: text("name").unwrap_or_default(),
        args: match call.remove("args") {
            Some(Value::Object(args)) => args,
            _ => Map::new(),
        },
    })
}

fn malformed(reason: &str) -> Error {
    Error::Malformed {
        reason: reason.to_owned(),
    }
}

/// A short identifier such as an enum value or a model's name; anything else
/// in its place becomes "UNKNOWN", so that no free text travels on.
fn word(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| !text.is_empty())?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./@:".contains(c);
    let short = text.len() <= 100 && text.chars().all(plain);
    Some(if short {
        text.to_owned()
    } else {
        "UNKNOWN".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict_of(body: &Value) -> Result<Vec<String>, Error> {
        let turn = read(body.to_string().as_bytes()).verdict?;
        Ok(turn.calls.into_iter().map(|call| call.name).collect())
    }

    #[test]
    fn every_call_is_found_wherever_it_stands() {
        let body = json!({ "candidates": [{ "finishReason": "STOP", "content": { "parts": [
            { "text": "let me see" },
            { "functionCall": { "name": "a" } },
            { "thought": true },
            { "functionCall": { "name": "b", "args": "wrong type" } },
            17,
        ] } }] });
        assert_eq!(verdict_of(&body), Ok(vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn finish_reasons_are_told_apart() {
        let finish = |reason: &str| {
            let call = json!({ "functionCall": { "name": "a" } });
            verdict_of(&json!({ "candidates": [
                { "finishReason": reason, "content": { "parts": [call] } }
            ] }))
        };
        assert!(finish("STOP").is_ok());
        assert_eq!(finish("MAX_TOKENS"), Err(Error::Truncated));
        assert_eq!(
            finish("MISSING_THOUGHT_SIGNATURE"),
            Err(Error::Inconsistent)
        );
        assert_eq!(
            finish("SPII"),
            Err(Error::Blocked {
                reason: "SPII".into()
            })
        );
        let retries = |reason| finish(reason).unwrap_err().worth_retries();
        assert_eq!(retries("MALFORMED_FUNCTION_CALL"), 2);
        assert_eq!(retries("UNEXPECTED_TOOL_CALL"), 1);
        assert_eq!(retries("OTHER"), 1);
        assert_eq!(retries("SOMETHING_NEW"), 1);
        assert_eq!(retries("RECITATION"), 0);
    }

    #[test]
    fn a20_no_answer_makes_the_reader_panic() {
        let odd = [
            json!({}),
            json!([]),
            json!({ "candidates": null }),
            json!({ "candidates": {} }),
            json!({ "candidates": [] }),
            json!({ "candidates": [null] }),
            json!({ "candidates": [{ "finishReason": 3 }] }),
            json!({ "candidates": [{ "finishReason": "STOP", "content": 5 }] }),
            json!({ "candidates": [{ "finishReason": "STOP", "content": { "parts": {} } }] }),
            json!({ "candidates": [{ "finishReason": "STOP", "content": {} }], "usageMetadata": [1] }),
            json!({ "promptFeedback": "x", "modelVersion": 7 }),
        ];
        for body in odd {
            let names = verdict_of(&body);
            assert!(
                names.as_ref().is_err() || names == Ok(vec![]),
                "{body}: {names:?}"
            );
        }
        assert!(read(b"<html>").verdict.is_err());
    }

    #[test]
    fn a_blocked_prompt_says_why_and_no_free_text_passes() {
        let blocked =
            |reason: &str| verdict_of(&json!({ "promptFeedback": { "blockReason": reason } }));
        assert_eq!(
            blocked("SAFETY"),
            Err(Error::Blocked {
                reason: "SAFETY".into()
            })
        );
        assert_eq!(
            blocked("see https://x?key=1"),
            Err(Error::Blocked {
                reason: "UNKNOWN".into()
            })
        );
    }

    #[test]
    fn absent_counts_are_zero() {
        let body = json!({ "usageMetadata": { "promptTokenCount": 9, "thoughtsTokenCount": 2 } });
        let expected = Usage {
            prompt: 9,
            cached: 0,
            output: 0,
            thinking: 2,
        };
        assert_eq!(read(body.to_string().as_bytes()).usage, expected);
    }
}
