//! To the wire: what a session says, as ServerEvents. Cannot fail.

use std::sync::Arc;

use super::endings::{analysis_outcome, frame_fault, millis, millis_left, timestamp, whole};
use super::log_events;
use crate::domain::{FrameId, SearchKind};
use crate::session::{
    FrameAnswer, GoAway, Ready, Refusal, RefusalCode, Resumable, Resumed, ServerMessage, Version,
};
use crate::telemetry::TraceContext;
use crate::tools::{Origin, ToolRequest};
use crate::transport::proto;
use crate::transport::proto::server_event::Event;

/// Says it in the wire's words.
pub(in crate::transport) fn event(message: ServerMessage) -> proto::ServerEvent {
    let event = match message {
        ServerMessage::Ready(ready) => Event::SessionReady(session_ready(*ready)),
        ServerMessage::ToolCall(request) => Event::ToolCallRequest(tool_call_request(*request)),
        ServerMessage::CancelToolCall {
            request,
            frame,
            reason,
        } => Event::CancelToolRequest(proto::CancelToolRequest {
            request_id: request.to_string(),
            frame_id: frame.to_string(),
            reason: reason.to_string(),
        }),
        ServerMessage::Answer(answer) => answered(Arc::unwrap_or_clone(answer)),
        ServerMessage::Refused(refusal) => Event::ServerError(refused(*refusal)),
        ServerMessage::Heartbeat(now) => Event::ServerHeartbeat(proto::ServerHeartbeat {
            sent_at: Some(timestamp(now)),
        }),
        ServerMessage::GoAway(goodbye) => {
            let GoAway {
                reason,
                time_left,
                reconnect_delay,
                resumable,
            } = *goodbye;
            Event::GoAway(proto::GoAway {
                reason: reason.to_owned(),
                time_left_ms: millis_left(time_left),
                reconnect_delay_ms: millis(reconnect_delay),
                resumable,
            })
        }
        ServerMessage::Log(news) => Event::LogEvent(log_events::event(*news)),
    };
    proto::ServerEvent { event: Some(event) }
}

fn answered(answer: FrameAnswer) -> Event {
    let FrameAnswer {
        frame,
        number,
        version,
        result,
    } = answer;
    let since_1_1 = version >= Version::V1_1;
    match result {
        Ok(outcome) => Event::AnalysisOutcome(proto::AnalysisOutcome {
            answer_number: whole(number),
            ..analysis_outcome(&frame, since_1_1, outcome)
        }),
        Err(fault) => Event::ServerError(proto::ServerError {
            answer_number: whole(number),
            ..frame_fault(&frame, since_1_1, fault)
        }),
    }
}

/// The last event of a session that crashed.
pub(in crate::transport) fn crashed() -> proto::ServerEvent {
    let error = proto::ServerError {
        code: "INTERNAL".to_owned(),
        message: "The session failed; open a new one.".to_owned(),
        retryable: false,
        frame_id: String::new(),
        request_id: String::new(),
        retry_after_ms: 0,
        answer_number: 0,
    };
    proto::ServerEvent {
        event: Some(Event::ServerError(error)),
    }
}

fn session_ready(ready: Ready) -> proto::SessionReady {
    let Ready {
        session,
        version,
        context_version,
        max_iterations,
        searches,
        tools,
        heartbeat_interval,
        resume,
    } = ready;
    let since_1_1 = version >= Version::V1_1;
    let (secret, within, resumed) = match resume.map(|resume| *resume) {
        Some(Resumable {
            secret,
            within,
            resumed,
        }) => (secret.expose().to_owned(), millis(within), resumed),
        None => (String::new(), 0, None),
    };
    proto::SessionReady {
        session_id: session.to_string(),
        protocol_version: version.as_str().to_owned(),
        context_version,
        max_model_iterations: i32::try_from(max_iterations).unwrap_or(i32::MAX),
        supported_tool_kinds: searches.map(|kind| tool_kind(kind).into()).to_vec(),
        heartbeat_interval_ms: if since_1_1 {
            millis(heartbeat_interval)
        } else {
            0
        },
        resume_secret: secret,
        resume_within_ms: within,
        resumed: resumed.map(taken_up),
        executable_tools: match since_1_1 {
            true => tools.iter().map(|name| (**name).to_owned()).collect(),
            false => Vec::new(),
        },
    }
}

fn taken_up(resumed: Resumed) -> proto::Resumed {
    let Resumed {
        in_flight,
        answered,
    } = resumed;
    let texts = |ids: Vec<FrameId>| ids.iter().map(FrameId::to_string).collect();
    proto::Resumed {
        frames_in_flight: texts(in_flight),
        frames_answered: texts(answered),
    }
}

fn tool_call_request(request: ToolRequest) -> proto::ToolCallRequest {
    let kind = request.kind();
    let query = request.query().to_owned();
    let ToolRequest {
        id,
        frame,
        origin,
        tool,
        arguments,
        timeout,
        longest: _,
        trace,
    } = request;
    let TraceContext {
        traceparent,
        tracestate,
    } = trace.map(|trace| *trace).unwrap_or_default();
    let (job_id, session_id) = match origin {
        Origin::Session => <(String, String)>::default(),
        Origin::Job(id) => (id.to_string(), String::new()),
        Origin::Elsewhere(id) => (String::new(), id.to_string()),
    };
    let (tool_name, arguments_json) = match kind {
        Some(_) => <(String, String)>::default(),
        None => {
            let arguments = serde_json::to_string(&*arguments);
            let arguments = arguments.expect("a JSON object can be written");
            ((*tool.name).to_owned(), arguments)
        }
    };
    let unspecified = proto::ToolKind::Unspecified;
    proto::ToolCallRequest {
        request_id: id.to_string(),
        tool_kind: kind.map_or(unspecified, tool_kind).into(),
        arguments: kind.map(|_| proto::ToolCallArguments { query }),
        deadline_ms: millis_left(timeout),
        frame_id: frame.to_string(),
        traceparent,
        tracestate,
        job_id,
        tool_name,
        arguments_json,
        session_id,
    }
}

fn refused(refusal: Refusal) -> proto::ServerError {
    let Refusal {
        code,
        message,
        frame,
        // For the session alone.
        context: _,
    } = refusal;
    proto::ServerError {
        code: code.as_str().to_owned(),
        message,
        // Else the same bytes would be refused again.
        retryable: matches!(code, RefusalCode::Overloaded(_)),
        frame_id: frame.map(|id| id.to_string()).unwrap_or_default(),
        request_id: String::new(),
        retry_after_ms: 0,
        answer_number: 0,
    }
}

fn tool_kind(kind: SearchKind) -> proto::ToolKind {
    match kind {
        SearchKind::Similar => proto::ToolKind::SearchSimilar,
        SearchKind::Keywords => proto::ToolKind::SearchKeywords,
    }
}
