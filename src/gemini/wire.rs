//! Reading Google's answer. Tolerant: unknown fields and values, missing parts
//! and wrong types never fail; what cannot be used is told as an [`Error`].

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Error, google_error};
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

    /// The turn that an HTTP answer of that status holds. For scripted models that
    /// answer in Google's JSON.
    ///
    /// # Errors
    /// What the client makes of it, were it not for the retries.
    pub fn of_response(status: u16, body: &[u8]) -> Result<Self, Error> {
        match status {
            200 => read(body).verdict,
            _ => Err(google_error::classify(status, body, None)),
        }
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
struct Response<'a, Candidates> {
    candidates: Option<Candidates>,
    #[serde(default)]
    prompt_feedback: Value,
    #[serde(borrow)]
    usage_metadata: Option<&'a RawValue>,
    #[serde(default)]
    model_version: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    // Raw, because the content must go back exactly as it came.
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    finish_reason: Value,
}

// Raw, because one count of a wrong type must not cost the others.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counts<'a> {
    #[serde(borrow)]
    prompt_token_count: Option<&'a RawValue>,
    #[serde(borrow)]
    cached_content_token_count: Option<&'a RawValue>,
    #[serde(borrow)]
    candidates_token_count: Option<&'a RawValue>,
    #[serde(borrow)]
    thoughts_token_count: Option<&'a RawValue>,
}

/// Reads the body of an HTTP 200.
pub(super) fn read(body: &[u8]) -> Reading {
    let body = str::from_utf8(body).unwrap_or_default();
    if let Ok(mut response) = serde_json::from_str::<Response<'_, Vec<Candidate<'_>>>>(body) {
        let candidates = response.candidates.take().unwrap_or_default();
        let verdict = verdict(candidates.into_iter().next(), &response.prompt_feedback);
        return reading(&response, verdict);
    }
    // The call is billed if only the candidates are not what they should be.
    let verdict = Err(malformed("the answer is not generateContent's JSON"));
    match serde_json::from_str::<Response<'_, IgnoredAny>>(body) {
        Ok(response) => reading(&response, verdict),
        Err(_) => Reading {
            usage: Usage::default(),
            model_version: String::new(),
            verdict,
        },
    }
}

fn reading<C>(response: &Response<'_, C>, verdict: Result<Turn, Error>) -> Reading {
    Reading {
        usage: usage(response.usage_metadata),
        model_version: model_name(&response.model_version).unwrap_or_default(),
        verdict,
    }
}

fn usage(metadata: Option<&RawValue>) -> Usage {
    let metadata = metadata.map_or("{}", RawValue::get);
    let counts: Counts<'_> = serde_json::from_str(metadata).unwrap_or_default();
    let count = |raw: Option<&RawValue>| raw.and_then(|raw| raw.get().parse().ok()).unwrap_or(0);
    Usage {
        prompt: count(counts.prompt_token_count),
        cached: count(counts.cached_content_token_count),
        output: count(counts.candidates_token_count),
        thinking: count(counts.thoughts_token_count),
    }
}

fn verdict(candidate: Option<Candidate<'_>>, feedback: &Value) -> Result<Turn, Error> {
    let Some(candidate) = candidate else {
        return Err(match reason(&feedback["blockReason"]) {
            Some(reason) => Error::Blocked { reason },
            None => malformed("no candidate"),
        });
    };
    let finish = reason(&candidate.finish_reason);
    match finish.as_deref() {
        Some("STOP") => turn(candidate.content),
        // A proxy may leave it out; a call is a call.
        None => match turn(candidate.content)? {
            turn if turn.calls.is_empty() => Err(malformed("no finish reason")),
            turn => Ok(turn),
        },
        Some("MAX_TOKENS") => Err(Error::Truncated),
        Some("MISSING_THOUGHT_SIGNATURE") => Err(Error::Inconsistent),
        Some(reason) if FINAL.contains(&reason) => Err(Error::Blocked {
            reason: reason.to_owned(),
        }),
        // MALFORMED_…, UNEXPECTED_TOOL_CALL, OTHER, and whatever comes next.
        Some(reason) => Err(malformed(reason)),
    }
}

/// All of it or nothing: the turn goes back byte for byte, and Google refuses
/// one with a broken part, or with a call that has no answer.
fn turn(content: Option<&RawValue>) -> Result<Turn, Error> {
    let Some(content) = content else {
        return Ok(Turn::of_calls(Vec::new()));
    };
    let Ok(Value::Object(mut fields)) = serde_json::from_str(content.get()) else {
        return Err(broken());
    };
    let parts = match fields.remove("parts") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(parts)) => parts,
        Some(_) => return Err(broken()),
    };
    let calls = parts.into_iter().filter_map(|part| call(part).transpose());
    Ok(Turn {
        calls: calls.collect::<Result<_, _>>()?,
        content: content.to_owned(),
    })
}

/// The call that a part holds, if it does.
fn call(part: Value) -> Result<Option<Call>, Error> {
    let Value::Object(mut part) = part else {
        return Err(broken());
    };
    let mut call = match part.remove("functionCall") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(call)) => call,
        Some(_) => return Err(broken()),
    };
    let mut text = |name: &str| match call.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    Ok(Some(Call {
        id: text("id"),
        name: text("name").ok_or_else(broken)?,
        args: match call.remove("args") {
            Some(Value::Object(args)) => args,
            _ => Map::new(),
        },
    }))
}

/// Named like Google's own words for it, which are worth the same retries.
fn broken() -> Error {
    malformed("MALFORMED_CONTENT")
}

fn malformed(reason: &str) -> Error {
    Error::Malformed {
        reason: reason.to_owned(),
    }
}

/// An enum value of Google's: clients are told it.
fn reason(value: &Value) -> Option<String> {
    word(value, |text| {
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        text.chars().all(plain)
    })
}

/// A model's name, such as "gemini-3.8-flash-002" or "models/gemini-3.8-flash".
fn model_name(value: &Value) -> Option<String> {
    word(value, |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._/:".contains(c);
        text.chars().all(plain) && !text.contains("//")
    })
}

/// A short text of that form; anything else in its place becomes "UNKNOWN", so
/// that no free text and no URL travels on.
fn word(value: &Value, form: impl Fn(&str) -> bool) -> Option<String> {
    let text = value.as_str().filter(|text| !text.is_empty())?;
    let plain = text.len() <= 100 && form(text);
    Some(if plain { text } else { "UNKNOWN" }.to_owned())
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
            { "functionCall": null },
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
    fn gone_a_malformed_turn_without_a_call_is_no_turn() {
        let call = |call: Value| json!({ "functionCall": call });
        let good = call(json!({ "name": "no_task_found" }));
        let content = |content: &Value| {
            verdict_of(&json!({ "candidates": [{ "finishReason": "STOP", "content": content }] }))
        };
        let mut deep = json!(0);
        for _ in 0..200 {
            deep = json!([deep]);
        }
        for broken in [
            json!(5),
            json!([]),
            json!({ "parts": {} }),
            json!({ "parts": "x" }),
            json!({ "parts": [17] }),
            json!({ "parts": [call(json!("no_task_found"))] }),
            json!({ "parts": [call(json!({}))] }),
            json!({ "parts": [call(json!({ "name": "" }))] }),
            json!({ "parts": [call(json!({ "name": 5 }))] }),
            // The turn goes back whole: a good call does not save it.
            json!({ "parts": [good, call(json!([]))] }),
            json!({ "parts": [good, { "deeper than a reader goes": deep }] }),
        ] {
            let error = content(&broken).unwrap_err();
            assert_eq!(error, malformed("MALFORMED_CONTENT"), "{broken}");
            assert_eq!(error.worth_retries(), 2);
        }
        for without in [json!(null), json!({}), json!({ "parts": null })] {
            assert_eq!(content(&without), Ok(vec![]), "{without}");
        }
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
        let unknown = "UNKNOWN".to_owned();
        for odd in ["https://proxy.local/x", "a@b.c", "see this", "safety"] {
            let reason = unknown.clone();
            assert_eq!(blocked(odd), Err(Error::Blocked { reason }), "{odd}");
            let candidate = json!({ "finishReason": odd });
            assert_eq!(
                verdict_of(&json!({ "candidates": [candidate] })),
                Err(malformed("UNKNOWN")),
                "{odd}"
            );
        }
        let model =
            |name: &str| read(json!({ "modelVersion": name }).to_string().as_bytes()).model_version;
        let plain = "models/gemini-3.5:tuned_1";
        assert_eq!(model(plain), plain);
        assert_eq!(model("https://proxy.local/x"), unknown);
        assert_eq!(model("a model"), unknown);
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

    #[test]
    fn a_call_is_billed_whatever_is_wrong_with_its_candidates() {
        for candidates in [
            json!({}),
            json!("x"),
            json!([null]),
            json!([{ "content": {} }, 7]),
        ] {
            let usage = json!({ "promptTokenCount": 9, "thoughtsTokenCount": "2" });
            let body =
                json!({ "candidates": candidates, "usageMetadata": usage, "modelVersion": "m" });
            let reading = read(body.to_string().as_bytes());
            assert_eq!(
                (reading.usage.prompt, reading.model_version.as_str()),
                (9, "m")
            );
            assert!(reading.verdict.is_err(), "{candidates}");
        }
    }
}
