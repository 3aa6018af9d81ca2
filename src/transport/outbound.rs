//! To the wire: what a session says, as ServerEvents. Cannot fail.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::proto::server_event::Event;
use super::{log_events, proto};
use crate::domain::{
    Bill, Decision, FrameFault, FrameId, Outcome, Priority, SearchKind, Task, Usage,
};
use crate::session::{
    FrameAnswer, GoAway, Ready, Refusal, RefusalCode, Resumable, Resumed, ServerMessage, Version,
};
use crate::telemetry::TraceContext;
use crate::tools::SearchRequest;

/// The longest wait that a client is asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3_600);

/// Says it in the wire's words.
pub(super) fn event(message: ServerMessage) -> proto::ServerEvent {
    let event = match message {
        ServerMessage::Ready(ready) => Event::SessionReady(session_ready(*ready)),
        ServerMessage::Search(request) => Event::ToolCallRequest(tool_call_request(*request)),
        ServerMessage::CancelSearch {
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

pub(super) fn frame_fault(
    frame: &FrameId,
    since_1_1: bool,
    fault: FrameFault,
) -> proto::ServerError {
    let FrameFault {
        code,
        message,
        retryable,
        retry_after,
        // Told for decisions only.
        bill: _,
    } = fault;
    proto::ServerError {
        code: code.as_str().to_owned(),
        message,
        retryable,
        frame_id: frame.to_string(),
        request_id: String::new(),
        retry_after_ms: retry_after
            .filter(|_| since_1_1)
            .map_or(0, |wait| millis_left(wait.min(LONGEST_WAIT))),
        answer_number: 0,
    }
}

/// The last event of a session that crashed.
pub(super) fn crashed() -> proto::ServerEvent {
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

fn tool_call_request(request: SearchRequest) -> proto::ToolCallRequest {
    let SearchRequest {
        id,
        frame,
        job,
        kind,
        query,
        timeout,
        trace,
    } = request;
    let TraceContext {
        traceparent,
        tracestate,
    } = trace.map(|trace| *trace).unwrap_or_default();
    proto::ToolCallRequest {
        request_id: id.to_string(),
        tool_kind: tool_kind(kind).into(),
        arguments: Some(proto::ToolCallArguments { query }),
        deadline_ms: millis_left(timeout),
        frame_id: frame.to_string(),
        traceparent,
        tracestate,
        job_id: job.map(|id| id.to_string()).unwrap_or_default(),
    }
}

pub(super) fn analysis_outcome(
    frame: &FrameId,
    with_bill: bool,
    outcome: Outcome,
) -> proto::AnalysisOutcome {
    let Outcome {
        decision,
        context_summary,
        current_activity,
        bill,
    } = outcome;
    let (kind, task, reason) = match decision {
        Decision::Extract(task) => (
            proto::OutcomeKind::ExtractTask,
            Some(extracted_task(*task)),
            String::new(),
        ),
        Decision::Reject { reason } => (proto::OutcomeKind::RejectTask, None, reason),
        Decision::NoTask { reason } => (proto::OutcomeKind::NoTaskFound, None, reason),
    };
    proto::AnalysisOutcome {
        outcome_kind: kind.into(),
        task,
        reason,
        context_summary,
        current_activity,
        frame_id: frame.to_string(),
        bill: with_bill.then(|| billed(bill)),
        answer_number: 0,
    }
}

fn extracted_task(task: Task) -> proto::ExtractedTask {
    let Task {
        title,
        description,
        priority,
        tags,
        source_app,
        deadline,
        confidence,
        category,
        subcategory,
        score,
    } = task;
    let priority = match priority {
        Priority::High => proto::TaskPriority::PriorityHigh,
        Priority::Medium => proto::TaskPriority::PriorityMedium,
        Priority::Low => proto::TaskPriority::PriorityLow,
    };
    proto::ExtractedTask {
        title,
        description,
        priority: priority.into(),
        tags,
        source_app,
        inferred_deadline: deadline.map(|day| day.to_string()).unwrap_or_default(),
        confidence,
        source_category: category.as_str().to_owned(),
        source_subcategory: subcategory.as_str().to_owned(),
        relevance_score: score,
    }
}

fn billed(bill: Bill) -> proto::Bill {
    let Bill {
        model_asked,
        model_answered,
        model_calls,
        usage:
            Usage {
                prompt,
                cached,
                output,
                thinking,
            },
        cost_micro_usd,
        model_time,
        tool_time,
        total_time,
    } = bill;
    proto::Bill {
        model_asked,
        model_answered,
        model_calls: i32::try_from(model_calls).unwrap_or(i32::MAX),
        prompt_tokens: whole(prompt),
        cached_tokens: whole(cached),
        output_tokens: whole(output),
        thinking_tokens: whole(thinking),
        cost_micro_usd: whole(cost_micro_usd),
        model_ms: millis(model_time),
        tool_ms: millis(tool_time),
        total_ms: millis(total_time),
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

pub(super) fn timestamp(stamp: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: stamp.as_second(),
        nanos: stamp.subsec_nanosecond(),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Rounded up, so that ten seconds less an instant are still ten.
fn millis_left(duration: Duration) -> i64 {
    millis(duration + Duration::from_nanos(999_999))
}

pub(super) fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
