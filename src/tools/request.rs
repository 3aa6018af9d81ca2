//! What a device is asked for, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Tool;
use crate::domain::{FrameId, Hit, JobId, MOST_LEVELS, RequestId, SearchKind, SessionId};
use crate::telemetry::TraceContext;

/// A call that a device is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolRequest {
    /// To be repeated in the answer.
    pub id: RequestId,
    /// For which frame.
    pub frame: FrameId,
    /// Where the frame came from.
    pub origin: Origin,
    /// Which tool.
    pub tool: Arc<Tool>,
    /// What for; they fit its schema.
    pub arguments: Arc<Map<String, Value>>,
    /// How long the server waits.
    pub timeout: Duration,
    /// How long at most, if the device says that it goes on.
    pub longest: Duration,
    /// The trace that the call is part of, if there is one.
    pub trace: Option<Box<TraceContext>>,
}

/// Where the frame came from that a call is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The session that is asked.
    Session,
    /// A job of its user.
    Job(JobId),
    /// Another session of its user.
    Elsewhere(SessionId),
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// What a search found.
    Hits(Vec<Hit>),
    /// What any other tool returned.
    Json(Value),
    /// The beginning of what it returned, which is all that a model is shown.
    Beginning(Value),
}

/// What a device answers: what the tool returned, or why it failed.
pub type Answer = Result<Output, String>;

impl Output {
    /// What a tool other than the searches returned.
    ///
    /// # Errors
    /// It cannot be read: a sentence for the model and for people.
    pub fn of_json(text: &str) -> Result<Self, String> {
        match serde_json::from_str(text) {
            Ok(json) if nests(&json, MOST_LEVELS) => Ok(Self::Json(json)),
            Ok(_) | Err(_) => Err(format!(
                "Its result is not JSON of at most {MOST_LEVELS} levels."
            )),
        }
    }
}

/// Whether a value has at most so many levels, itself included.
fn nests(value: &Value, levels: usize) -> bool {
    let Some(inside) = levels.checked_sub(1) else {
        return false;
    };
    match value {
        Value::Array(items) => items.iter().all(|it| nests(it, inside)),
        Value::Object(fields) => fields.values().all(|it| nests(it, inside)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

impl From<Vec<Hit>> for Output {
    fn from(hits: Vec<Hit>) -> Self {
        Self::Hits(hits)
    }
}

impl ToolRequest {
    /// Which of the two searches it is, if it is one.
    pub fn kind(&self) -> Option<SearchKind> {
        SearchKind::named(&self.tool.name)
    }

    /// What a search is to look for; empty if it is none.
    pub fn query(&self) -> &str {
        let query = self.arguments.get("query").and_then(Value::as_str);
        query.unwrap_or_default()
    }

    /// Whether it is for a frame of the session that is asked.
    pub fn is_own(&self) -> bool {
        self.origin == Origin::Session
    }
}

/// Something the session should tell its client on a frame's behalf. Travels in
/// a box, because a queue reserves room for many.
#[derive(Clone, Debug, PartialEq)]
pub enum Errand {
    /// Ask for a call, which is in the table of those that nobody has answered.
    Ask(RequestId),
    /// Say which calls are no longer waited for; they are in that table, too.
    CallOff,
}

#[cfg(test)]
impl ToolRequest {
    /// A search, for tests.
    pub(super) fn search(id: &str, frame: &str, query: &str) -> Self {
        let catalogue = super::Catalogue::builtin();
        let arguments = Map::from_iter([("query".to_owned(), query.into())]);
        Self {
            id: RequestId::new(id),
            frame: FrameId::new(frame),
            origin: Origin::Session,
            tool: catalogue.find("search_similar").expect("built in").clone(),
            arguments: Arc::new(arguments),
            timeout: Duration::from_secs(10),
            longest: Duration::from_secs(10),
            trace: None,
        }
    }
}
