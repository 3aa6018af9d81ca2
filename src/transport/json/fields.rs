//! The fields of what a client says, under the contract's names, and from there
//! into the contract's messages. Fields that are not known are passed over, and
//! null is as if absent; a word that is not known, or a time that is none, too.

use jiff::Timestamp;
use serde::Deserialize;

use super::object::{Base64, List, Object, Words};
use crate::transport::proto;

#[derive(Deserialize)]
pub(super) struct ClientHello {
    protocol_version: Option<String>,
    client_instance_id: Option<String>,
    app_version: Option<String>,
    os_version: Option<String>,
    device_name: Option<String>,
    context_version: Option<String>,
    session_context: Option<Object<SessionContext>>,
    utc_offset_minutes: Option<i32>,
    resume: Option<Object<Resume>>,
    heartbeat_interval_ms: Option<i64>,
    follow: Option<Object<Follow>>,
    runtime: Option<String>,
    device_id: Option<String>,
    executes: Option<Object<ToolSupport>>,
    tool_preferences: Option<Object<ToolPreferences>>,
    locale: Option<String>,
    time_zone: Option<String>,
}

#[derive(Deserialize)]
struct ToolSupport {
    tools: Option<Words>,
}

#[derive(Deserialize)]
struct ToolPreferences {
    no_device_tools: Option<bool>,
    disabled_tools: Option<Words>,
    device_id: Option<String>,
}

#[derive(Deserialize)]
struct Follow {
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Resume {
    session_id: Option<String>,
    secret: Option<String>,
    answers_received: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct FrameEvent {
    jpeg_base64: Option<Base64>,
    app_name: Option<String>,
    window_title: Option<String>,
    ocr_text: Option<String>,
    capture_time: Option<String>,
    frame_number: Option<i64>,
    screenshot_id: Option<String>,
    context_version: Option<String>,
    session_context: Option<Object<SessionContext>>,
    device_id: Option<String>,
}

/// A frame that is submitted as a job.
#[derive(Deserialize)]
pub(super) struct Submission {
    pub(super) frame: Option<Object<FrameEvent>>,
    pub(super) idempotency_key: Option<String>,
    pub(super) utc_offset_minutes: Option<i32>,
}

#[derive(Deserialize)]
pub(super) struct Heartbeat {
    sent_at: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct CancelFrame {
    frame_id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Ack {
    answer_number: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct ToolResult {
    request_id: Option<String>,
    frame_id: Option<String>,
    results: Option<List<SearchResult>>,
    error: Option<String>,
    result_json: Option<String>,
    execution_ms: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct ToolProgress {
    request_id: Option<String>,
    message: Option<String>,
    fraction: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct ToolResultChunk {
    request_id: Option<String>,
    sequence: Option<i64>,
    data: Option<String>,
    last: Option<bool>,
}

#[derive(Deserialize)]
struct SearchResult {
    task_id: Option<i64>,
    description: Option<String>,
    status: Option<String>,
    similarity: Option<f64>,
    match_type: Option<String>,
    relevance_score: Option<i32>,
}

#[derive(Deserialize)]
struct SessionContext {
    active_tasks: Option<List<ActiveTask>>,
    completed_tasks: Option<List<HistoricalTask>>,
    deleted_tasks: Option<List<HistoricalTask>>,
    goals: Option<List<Goal>>,
    generated_at: Option<String>,
}

#[derive(Deserialize)]
struct ActiveTask {
    task_id: Option<i64>,
    description: Option<String>,
    priority: Option<String>,
    relevance_score: Option<i32>,
    staged: Option<bool>,
}

#[derive(Deserialize)]
struct HistoricalTask {
    task_id: Option<i64>,
    description: Option<String>,
}

#[derive(Deserialize)]
struct Goal {
    goal_id: Option<String>,
    title: Option<String>,
    description: Option<String>,
}

impl From<ClientHello> for proto::ClientHello {
    fn from(said: ClientHello) -> Self {
        Self {
            protocol_version: said.protocol_version.unwrap_or_default(),
            client_instance_id: said.client_instance_id.unwrap_or_default(),
            app_version: said.app_version.unwrap_or_default(),
            os_version: said.os_version.unwrap_or_default(),
            device_name: said.device_name.unwrap_or_default(),
            context_version: said.context_version.unwrap_or_default(),
            session_context: said.session_context.map(|Object(tasks)| tasks.into()),
            utc_offset_minutes: said.utc_offset_minutes,
            resume: said.resume.map(|Object(resume)| resume.into()),
            heartbeat_interval_ms: said.heartbeat_interval_ms.unwrap_or_default(),
            follow: said.follow.map(|Object(Follow { cursor })| proto::Follow {
                cursor: cursor.unwrap_or_default(),
            }),
            runtime: runtime(said.runtime.as_deref()).into(),
            device_id: said.device_id.unwrap_or_default(),
            executes: said
                .executes
                .map(|Object(ToolSupport { tools })| proto::ToolSupport {
                    tools: words(tools),
                }),
            tool_preferences: said.tool_preferences.map(|Object(wish)| wish.into()),
            locale: said.locale.unwrap_or_default(),
            time_zone: said.time_zone.unwrap_or_default(),
        }
    }
}

impl From<ToolPreferences> for proto::ToolPreferences {
    fn from(said: ToolPreferences) -> Self {
        Self {
            no_device_tools: said.no_device_tools.unwrap_or_default(),
            disabled_tools: words(said.disabled_tools),
            device_id: said.device_id.unwrap_or_default(),
        }
    }
}

fn runtime(said: Option<&str>) -> proto::Runtime {
    match said {
        Some("desktop") => proto::Runtime::Desktop,
        Some("web") => proto::Runtime::Web,
        _ => proto::Runtime::Unspecified,
    }
}

fn words(said: Option<Words>) -> Vec<String> {
    said.map(|Words(words)| words).unwrap_or_default()
}

impl From<Resume> for proto::Resume {
    fn from(said: Resume) -> Self {
        Self {
            session_id: said.session_id.unwrap_or_default(),
            secret: said.secret.unwrap_or_default(),
            answers_received: said.answers_received.unwrap_or_default(),
        }
    }
}

impl FrameEvent {
    /// The event without its image, and that, or that it is not base64.
    pub(super) fn split(self) -> (proto::FrameEvent, Result<Vec<u8>, ()>) {
        let image = match self.jpeg_base64 {
            None => Ok(Vec::new()),
            Some(Base64::Bytes(bytes)) => Ok(bytes),
            Some(Base64::Unusable) => Err(()),
        };
        let event = proto::FrameEvent {
            jpeg_bytes: bytes::Bytes::new(),
            app_name: self.app_name.unwrap_or_default(),
            window_title: self.window_title.unwrap_or_default(),
            ocr_text: self.ocr_text.unwrap_or_default(),
            capture_time: time(self.capture_time),
            frame_number: self.frame_number.unwrap_or_default(),
            screenshot_id: self.screenshot_id.unwrap_or_default(),
            context_version: self.context_version.unwrap_or_default(),
            session_context: self.session_context.map(|Object(tasks)| tasks.into()),
            device_id: self.device_id.unwrap_or_default(),
        };
        (event, image)
    }
}

impl From<Heartbeat> for proto::Heartbeat {
    fn from(said: Heartbeat) -> Self {
        Self {
            sent_at: time(said.sent_at),
        }
    }
}

impl From<CancelFrame> for proto::CancelFrame {
    fn from(said: CancelFrame) -> Self {
        Self {
            frame_id: said.frame_id.unwrap_or_default(),
        }
    }
}

impl From<Ack> for proto::Ack {
    fn from(said: Ack) -> Self {
        Self {
            answer_number: said.answer_number.unwrap_or_default(),
        }
    }
}

impl From<ToolResult> for proto::ToolResult {
    fn from(said: ToolResult) -> Self {
        Self {
            request_id: said.request_id.unwrap_or_default(),
            result: said.results.map(|List(items)| proto::SearchResults {
                items: items.into_iter().map(Into::into).collect(),
            }),
            error: said.error.unwrap_or_default(),
            frame_id: said.frame_id.unwrap_or_default(),
            result_json: said.result_json.unwrap_or_default(),
            execution_ms: said.execution_ms.unwrap_or_default(),
        }
    }
}

impl From<ToolProgress> for proto::ToolProgress {
    fn from(said: ToolProgress) -> Self {
        Self {
            request_id: said.request_id.unwrap_or_default(),
            message: said.message.unwrap_or_default(),
            fraction: said.fraction,
        }
    }
}

impl From<ToolResultChunk> for proto::ToolResultChunk {
    fn from(said: ToolResultChunk) -> Self {
        Self {
            request_id: said.request_id.unwrap_or_default(),
            sequence: said.sequence.unwrap_or_default(),
            data: said.data.unwrap_or_default(),
            last: said.last.unwrap_or_default(),
        }
    }
}

impl From<SearchResult> for proto::SearchResult {
    fn from(found: SearchResult) -> Self {
        let status = match found.status.as_deref() {
            Some("active") => proto::TaskStatus::Active,
            Some("completed") => proto::TaskStatus::Completed,
            Some("deleted") => proto::TaskStatus::Deleted,
            _ => proto::TaskStatus::Unspecified,
        };
        let match_type = match found.match_type.as_deref() {
            Some("vector") => proto::MatchType::Vector,
            Some("fts") => proto::MatchType::Fts,
            Some("both") => proto::MatchType::Both,
            _ => proto::MatchType::Unspecified,
        };
        Self {
            task_id: found.task_id.unwrap_or_default(),
            description: found.description.unwrap_or_default(),
            status: status.into(),
            similarity: found.similarity.unwrap_or_default(),
            match_type: match_type.into(),
            relevance_score: found.relevance_score.unwrap_or_default(),
        }
    }
}

impl From<SessionContext> for proto::SessionContext {
    fn from(said: SessionContext) -> Self {
        Self {
            active_tasks: all(said.active_tasks),
            completed_tasks: all(said.completed_tasks),
            deleted_tasks: all(said.deleted_tasks),
            goals: all(said.goals),
            generated_at: time(said.generated_at),
        }
    }
}

impl From<ActiveTask> for proto::ActiveTask {
    fn from(said: ActiveTask) -> Self {
        Self {
            task_id: said.task_id.unwrap_or_default(),
            description: said.description.unwrap_or_default(),
            priority: said.priority.unwrap_or_default(),
            relevance_score: said.relevance_score.unwrap_or_default(),
            staged: said.staged.unwrap_or_default(),
        }
    }
}

impl From<HistoricalTask> for proto::HistoricalTask {
    fn from(said: HistoricalTask) -> Self {
        Self {
            task_id: said.task_id.unwrap_or_default(),
            description: said.description.unwrap_or_default(),
        }
    }
}

impl From<Goal> for proto::Goal {
    fn from(said: Goal) -> Self {
        Self {
            goal_id: said.goal_id.unwrap_or_default(),
            title: said.title.unwrap_or_default(),
            description: said.description.unwrap_or_default(),
        }
    }
}

fn all<T: Into<P>, P>(list: Option<List<T>>) -> Vec<P> {
    let entries = list.map(|List(entries)| entries).unwrap_or_default();
    entries.into_iter().map(Into::into).collect()
}

/// RFC 3339.
fn time(text: Option<String>) -> Option<prost_types::Timestamp> {
    let time: Timestamp = text?.parse().ok()?;
    Some(prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    })
}
