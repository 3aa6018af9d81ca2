//! What a test can tell the stand-in to do next: every misbehaviour of a model
//! or its server, made of a base and changes to it.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::refusal::Refusal;

/// Where this stands in a scripted body or header, the request's key is put.
pub const KEY_ECHO: &str = "{api_key}";

/// One answer, or the lack of one.
///
/// A move is a base (`rules`, `calls`, `finish`, `status`, …) and changes to
/// it: `.with` and `.without` edit the JSON at a pointer, `.after` delays it,
/// `.cut` breaks it off. Usage, model version and response id are filled in
/// before the edits, so that these can take them away; the thought signature
/// after them, so that it is the edited turn's.
#[derive(Clone, Debug)]
pub struct Move {
    pub(super) base: Base,
    pub(super) delay: Duration,
    pub(super) edits: Vec<Edit>,
    pub(super) signed: bool,
    pub(super) delivery: Delivery,
}

#[derive(Clone, Debug)]
pub(super) enum Base {
    /// The rules decide.
    Rules,
    /// A body of the success kind, without usage and ids.
    Answer(Value),
    /// A body of the error kind.
    Error(Refusal),
    /// Bytes as they are.
    Raw { status: u16, body: Bytes },
    /// An answer that never ends.
    Endless,
    /// No answer until the client goes away or the server stops.
    Hang,
    /// The connection closes without an answer.
    Drop,
}

#[derive(Clone, Debug)]
pub(super) enum Edit {
    Set(String, Value),
    Remove(String),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Delivery {
    pub(super) status: Option<u16>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) in_array: bool,
    pub(super) cut: bool,
}

/// A function call of a scripted turn.
#[derive(Clone, Debug)]
pub struct Call(Value);

impl Call {
    /// A call without an id; `args` may be of any JSON type, the wrong ones
    /// included. The first call of a turn gets a thought signature.
    pub fn new(name: &str, args: Value) -> Self {
        Self(json!({"functionCall": {"name": name, "args": args}}))
    }

    /// Gives it an id, which its answer must carry.
    pub fn id(mut self, id: &str) -> Self {
        self.0["functionCall"]["id"] = id.into();
        self
    }

    /// Gives it this signature, as it stands: base64.
    pub fn signature(mut self, signature: &str) -> Self {
        self.0["thoughtSignature"] = signature.into();
        self
    }
}

impl From<Call> for Value {
    fn from(call: Call) -> Self {
        call.0
    }
}

/// What an answer is made of.
impl Move {
    fn new(base: Base) -> Self {
        Self {
            base,
            delay: Duration::ZERO,
            edits: Vec::new(),
            signed: true,
            delivery: Delivery::default(),
        }
    }

    fn candidate(content: Option<Value>, finish_reason: &str) -> Self {
        let mut candidate = json!({"index": 0, "finishReason": finish_reason});
        if let Some(content) = content {
            candidate["content"] = content;
        }
        Self::new(Base::Answer(json!({"candidates": [candidate]})))
    }

    /// What the rules decide.
    pub fn rules() -> Self {
        Self::new(Base::Rules)
    }

    /// A turn of these parts, as raw JSON; a [`Call`] is one too.
    pub fn parts(parts: impl IntoIterator<Item = Value>) -> Self {
        let parts: Vec<_> = parts.into_iter().collect();
        Self::candidate(Some(json!({"role": "model", "parts": parts})), "STOP")
    }

    /// A turn of these calls.
    pub fn calls(calls: impl IntoIterator<Item = Call>) -> Self {
        Self::parts(calls.into_iter().map(Value::from))
    }

    /// A turn of one call without an id.
    pub fn call(name: &str, args: Value) -> Self {
        Self::calls([Call::new(name, args)])
    }

    /// A turn of text, without a call.
    pub fn text(text: &str) -> Self {
        Self::parts([json!({"text": text})])
    }

    /// An empty turn that claims to be complete: `parts` is missing, STOP.
    pub fn empty() -> Self {
        Self::candidate(Some(json!({"role": "model"})), "STOP")
    }

    /// A candidate without content, ended for that reason.
    pub fn finish(reason: &str) -> Self {
        Self::candidate(None, reason)
    }

    /// A prompt blocked for that reason: no candidates.
    pub fn blocked(reason: &str) -> Self {
        Self::new(Base::Answer(
            json!({"promptFeedback": {"blockReason": reason}}),
        ))
    }

    /// An error of that HTTP status, with Google's body.
    pub fn status(status: u16) -> Self {
        Self::new(Base::Error(Refusal::new(
            status,
            "The stand-in was told to fail.",
        )))
    }

    /// These bytes with that status.
    pub fn raw(status: u16, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self::new(Base::Raw { status, body })
    }

    /// An answer of success that goes on for as long as the client reads.
    pub fn endless() -> Self {
        Self::new(Base::Endless)
    }

    /// No answer until the client goes away or the server stops.
    pub fn hang() -> Self {
        Self::new(Base::Hang)
    }

    /// The connection closes without an answer.
    pub fn drop_connection() -> Self {
        Self::new(Base::Drop)
    }
}

/// Changes to an answer.
impl Move {
    /// Waits that long before it.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Ends the candidate for that reason instead of STOP.
    pub fn finish_reason(self, reason: &str) -> Self {
        self.with("/candidates/0/finishReason", reason.into())
    }

    /// Sets the JSON at a pointer, making the objects on the way; `-` appends
    /// to an array.
    pub fn with(mut self, pointer: &str, value: Value) -> Self {
        self.edits.push(Edit::Set(pointer.to_owned(), value));
        self
    }

    /// Removes the JSON at a pointer.
    pub fn without(mut self, pointer: &str) -> Self {
        self.edits.push(Edit::Remove(pointer.to_owned()));
        self
    }

    /// Leaves out the thought signature that would be filled in.
    pub fn unsigned(mut self) -> Self {
        self.signed = false;
        self
    }

    /// Says this in an error's body.
    pub fn message(self, message: &str) -> Self {
        self.with("/error/message", message.into())
    }

    /// Adds a RetryInfo with that delay, as in "1.5s".
    pub fn retry_info(self, delay: &str) -> Self {
        let kind = "type.googleapis.com/google.rpc.RetryInfo";
        self.with(
            "/error/details/-",
            json!({"@type": kind, "retryDelay": delay}),
        )
    }

    /// Adds a QuotaFailure that names that quota, as in
    /// "GenerateRequestsPerDayPerProjectPerModel-FreeTier".
    pub fn quota_failure(self, quota_id: &str) -> Self {
        let kind = "type.googleapis.com/google.rpc.QuotaFailure";
        let violation = json!({
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
            "quotaId": quota_id,
            "quotaDimensions": {"location": "global"},
            "quotaValue": "20",
        });
        self.with(
            "/error/details/-",
            json!({"@type": kind, "violations": [violation]}),
        )
    }

    /// Sends it with another HTTP status than its body says.
    pub fn sent_as(mut self, status: u16) -> Self {
        self.delivery.status = Some(status);
        self
    }

    /// Adds a header, or replaces it.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.delivery
            .headers
            .push((name.to_owned(), value.to_owned()));
        self
    }

    /// Wraps the body in a one-element array, as Google sometimes does.
    pub fn in_array(mut self) -> Self {
        self.delivery.in_array = true;
        self
    }

    /// Breaks the connection after the first half of the body.
    pub fn cut(mut self) -> Self {
        self.delivery.cut = true;
        self
    }

    pub(super) fn edit(&self, body: &mut Value) {
        for edit in &self.edits {
            match edit {
                Edit::Set(pointer, value) => {
                    if let Some(place) = place(body, pointer) {
                        *place = value.clone();
                    }
                }
                Edit::Remove(pointer) => remove(body, pointer),
            }
        }
    }
}

/// The value at a pointer, made if it is missing; `None` if something on the
/// way can hold nothing.
fn place<'a>(mut at: &'a mut Value, pointer: &str) -> Option<&'a mut Value> {
    for token in pointer.split('/').skip(1) {
        if at.is_null() {
            *at = if token == "-" { json!([]) } else { json!({}) };
        }
        at = match at {
            Value::Array(items) => {
                if token == "-" {
                    items.push(Value::Null);
                }
                let last = items.len().checked_sub(1)?;
                items.get_mut(if token == "-" {
                    last
                } else {
                    token.parse().ok()?
                })?
            }
            Value::Object(fields) => fields.entry(token).or_insert(Value::Null),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
    }
    Some(at)
}

fn remove(body: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        return;
    };
    match body.pointer_mut(parent) {
        Some(Value::Object(fields)) => drop(fields.remove(name)),
        Some(Value::Array(items)) => {
            if let Ok(index) = name.parse::<usize>()
                && index < items.len()
            {
                items.remove(index);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_set_append_and_remove_at_a_pointer() {
        let mut body = json!({"candidates": [{"content": {"parts": [{"text": "x"}]}}], "usage": 1});
        Move::rules()
            .with("/candidates/0/content/parts/-", json!({"text": "y"}))
            .with("/candidates/0/future/deep", json!(true))
            .with("/usage/deep", json!("lost: a number holds nothing"))
            .without("/candidates/0/content/parts/0")
            .without("/absent/field")
            .without("/usage")
            .edit(&mut body);
        let expected = json!({"candidates": [{"content": {"parts": [{"text": "y"}]}, "future": {"deep": true}}]});
        assert_eq!(body, expected);
    }

    #[test]
    fn errors_carry_googles_details() {
        let scripted = Move::status(429).retry_info("1.5s").quota_failure("PerDay");
        let Base::Error(refusal) = &scripted.base else {
            panic!("a status is an error");
        };
        let mut body = refusal.body.clone();
        scripted.edit(&mut body);
        assert_eq!(body["error"]["status"], "RESOURCE_EXHAUSTED");
        assert_eq!(body["error"]["details"][0]["retryDelay"], "1.5s");
        assert_eq!(
            body["error"]["details"][1]["violations"][0]["quotaId"],
            "PerDay"
        );
    }
}
