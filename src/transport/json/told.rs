//! What a client is told, as JSON: one flat object with a `type`, under the
//! contract's names. Fields since 1.1 are left out where they say nothing, so that
//! a client of 1.0 never sees one.

use serde::Serialize;

use super::endings::{AnalysisOutcome, ServerError, is_zero, time};
use super::log::LogEvent;
use crate::transport::proto;
use crate::transport::proto::server_event::Event;

/// One message.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Told {
    SessionReady(SessionReady),
    ToolCallRequest(ToolCallRequest),
    AnalysisOutcome(Box<AnalysisOutcome>),
    CancelToolRequest(CancelToolRequest),
    ServerError(ServerError),
    ServerHeartbeat(ServerHeartbeat),
    GoAway(GoAway),
    LogEvent(Box<LogEvent>),
}

#[derive(Serialize)]
struct SessionReady {
    session_id: String,
    protocol_version: String,
    context_version: String,
    max_model_iterations: i32,
    supported_tool_kinds: Vec<&'static str>,
    #[serde(skip_serializing_if = "is_zero")]
    heartbeat_interval_ms: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    resume_secret: String,
    #[serde(skip_serializing_if = "is_zero")]
    resume_within_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    resumed: Option<Resumed>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    executable_tools: Vec<String>,
}

#[derive(Serialize)]
struct Resumed {
    frames_in_flight: Vec<String>,
    frames_answered: Vec<String>,
}

#[derive(Serialize)]
struct ToolCallRequest {
    request_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    tool_kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    query: String,
    deadline_ms: i64,
    frame_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    traceparent: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    tracestate: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    job_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    tool_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    arguments_json: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    session_id: String,
}

#[derive(Serialize)]
struct CancelToolRequest {
    request_id: String,
    frame_id: String,
    reason: String,
}

#[derive(Serialize)]
struct ServerHeartbeat {
    sent_at: Option<String>,
}

#[derive(Serialize)]
struct GoAway {
    reason: String,
    time_left_ms: i64,
    reconnect_delay_ms: i64,
    resumable: bool,
}

/// The event as text.
pub(in crate::transport) fn text(proto::ServerEvent { event }: proto::ServerEvent) -> Vec<u8> {
    // Every event of ours is one.
    let told = event.map(told);
    serde_json::to_vec(&told).expect("texts, numbers and lists can be written")
}

fn told(event: Event) -> Told {
    match event {
        Event::SessionReady(ready) => Told::SessionReady(ready.into()),
        Event::ToolCallRequest(request) => Told::ToolCallRequest(request.into()),
        Event::AnalysisOutcome(outcome) => Told::AnalysisOutcome(Box::new(outcome.into())),
        Event::CancelToolRequest(proto::CancelToolRequest {
            request_id,
            frame_id,
            reason,
        }) => Told::CancelToolRequest(CancelToolRequest {
            request_id,
            frame_id,
            reason,
        }),
        Event::ServerError(error) => Told::ServerError(error.into()),
        Event::ServerHeartbeat(proto::ServerHeartbeat { sent_at }) => {
            let sent_at = sent_at.and_then(time);
            Told::ServerHeartbeat(ServerHeartbeat { sent_at })
        }
        Event::LogEvent(event) => Told::LogEvent(Box::new(event.into())),
        Event::GoAway(proto::GoAway {
            reason,
            time_left_ms,
            reconnect_delay_ms,
            resumable,
        }) => Told::GoAway(GoAway {
            reason,
            time_left_ms,
            reconnect_delay_ms,
            resumable,
        }),
    }
}

impl From<proto::SessionReady> for SessionReady {
    fn from(ready: proto::SessionReady) -> Self {
        let kinds = ready.supported_tool_kinds().map(tool_kind).collect();
        let proto::SessionReady {
            session_id,
            protocol_version,
            context_version,
            max_model_iterations,
            supported_tool_kinds: _,
            heartbeat_interval_ms,
            resume_secret,
            resume_within_ms,
            resumed,
            executable_tools,
        } = ready;
        let resumed = resumed.map(
            |proto::Resumed {
                 frames_in_flight,
                 frames_answered,
             }| Resumed {
                frames_in_flight,
                frames_answered,
            },
        );
        Self {
            session_id,
            protocol_version,
            context_version,
            max_model_iterations,
            supported_tool_kinds: kinds,
            heartbeat_interval_ms,
            resume_secret,
            resume_within_ms,
            resumed,
            executable_tools,
        }
    }
}

impl From<proto::ToolCallRequest> for ToolCallRequest {
    fn from(request: proto::ToolCallRequest) -> Self {
        let tool_kind = tool_kind(request.tool_kind());
        let proto::ToolCallRequest {
            request_id,
            tool_kind: _,
            arguments,
            deadline_ms,
            frame_id,
            traceparent,
            tracestate,
            job_id,
            tool_name,
            arguments_json,
            session_id,
        } = request;
        let proto::ToolCallArguments { query } = arguments.unwrap_or_default();
        Self {
            request_id,
            tool_kind,
            query,
            deadline_ms,
            frame_id,
            traceparent,
            tracestate,
            job_id,
            tool_name,
            arguments_json,
            session_id,
        }
    }
}

fn tool_kind(kind: proto::ToolKind) -> &'static str {
    match kind {
        proto::ToolKind::Unspecified => "",
        proto::ToolKind::SearchSimilar => "search_similar",
        proto::ToolKind::SearchKeywords => "search_keywords",
    }
}
