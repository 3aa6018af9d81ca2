//! A step as one line of JSON, with the contract's names.

use serde::Serialize;

use super::{Step, Sum};
use crate::transport::proto::{
    Bill, ExtractedTask, MatchType, SearchResult, ServerError, TaskStatus, ToolKind,
};

/// What is said of a store that another program holds.
pub(crate) const HELD: &str =
    "another program holds the task store: what is to be kept waits until it lets go";

#[derive(Serialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "one lives at a time, while it is written"
)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    SessionReady {
        session_id: &'a str,
        protocol_version: &'a str,
        context_version: &'a str,
        max_model_iterations: i32,
        supported_tool_kinds: Vec<&'static str>,
        heartbeat_interval_ms: i64,
        resume_within_ms: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        resumed: Option<Known<'a>>,
    },
    Frame {
        frame_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<&'a str>,
        app_name: &'a str,
        window_title: &'a str,
        jpeg_bytes: usize,
        ocr_characters: usize,
    },
    ToolCallRequest {
        frame_id: &'a str,
        request_id: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        tool_kind: &'static str,
        #[serde(skip_serializing_if = "str::is_empty")]
        query: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        tool_name: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        arguments_json: &'a str,
        /// Of another session, which has nobody else to execute it.
        #[serde(skip_serializing_if = "str::is_empty")]
        session_id: &'a str,
        deadline_ms: i64,
    },
    ToolResult {
        frame_id: &'a str,
        request_id: &'a str,
        results: Vec<Hit<'a>>,
        #[serde(skip_serializing_if = "str::is_empty")]
        result_json: &'a str,
        error: &'a str,
    },
    CancelToolRequest {
        frame_id: &'a str,
        request_id: &'a str,
        reason: &'a str,
    },
    Outcome {
        outcome: &'static str,
        frame_id: &'a str,
        task: Option<Task<'a>>,
        kept_as: Option<i64>,
        reason: &'a str,
        context_summary: &'a str,
        current_activity: &'a str,
        bill: Option<Money<'a>>,
        answer_number: i64,
    },
    /// Ends a frame.
    Error(Complaint<'a>),
    /// Ends nothing.
    Warning(Complaint<'a>),
    /// The frame will be sent again.
    Retry {
        code: &'a str,
        message: &'a str,
        frame_id: &'a str,
        delay_ms: u128,
        retry_after_ms: i64,
    },
    Skipped {
        file: &'a str,
        reason: &'a str,
    },
    StoreHeld {
        reason: &'a str,
    },
    GoAway {
        reason: &'a str,
        time_left_ms: i64,
        reconnect_delay_ms: i64,
        resumable: bool,
    },
    Disconnected {
        reason: &'a str,
        reconnect_delay_ms: u128,
    },
    /// Lines that were not read in time, and are not told.
    LeftOut {
        lines: usize,
    },
    Done {
        frames: usize,
        extracted: usize,
        rejected: usize,
        without: usize,
        failed: usize,
        model_calls: i64,
        tokens: i64,
        cost_micro_usd: i64,
    },
}

#[derive(Serialize)]
struct Known<'a> {
    frames_in_flight: &'a [String],
    frames_answered: &'a [String],
}

#[derive(Serialize)]
struct Hit<'a> {
    task_id: i64,
    description: &'a str,
    status: &'static str,
    similarity: f64,
    match_type: &'static str,
    relevance_score: i32,
}

#[derive(Serialize)]
struct Task<'a> {
    title: &'a str,
    description: &'a str,
    priority: &'static str,
    tags: &'a [String],
    source_app: &'a str,
    inferred_deadline: &'a str,
    confidence: f64,
    source_category: &'a str,
    source_subcategory: &'a str,
    relevance_score: i32,
}

#[derive(Serialize)]
struct Money<'a> {
    model_asked: &'a str,
    model_answered: &'a str,
    model_calls: i32,
    prompt_tokens: i64,
    cached_tokens: i64,
    output_tokens: i64,
    thinking_tokens: i64,
    cost_micro_usd: i64,
    model_ms: i64,
    tool_ms: i64,
    total_ms: i64,
}

#[derive(Serialize)]
struct Complaint<'a> {
    code: &'a str,
    message: &'a str,
    retryable: bool,
    frame_id: &'a str,
    request_id: &'a str,
    retry_after_ms: i64,
    answer_number: i64,
}

/// The step and a line feed.
pub(crate) fn line(step: &Step) -> String {
    let line = match step {
        Step::Ready(ready) => Line::SessionReady {
            session_id: &ready.session_id,
            protocol_version: &ready.protocol_version,
            context_version: &ready.context_version,
            max_model_iterations: ready.max_model_iterations,
            supported_tool_kinds: ready
                .supported_tool_kinds()
                .map(|kind| kind.as_str_name())
                .collect(),
            heartbeat_interval_ms: ready.heartbeat_interval_ms,
            resume_within_ms: ready.resume_within_ms,
            resumed: ready.resumed.as_ref().map(|resumed| Known {
                frames_in_flight: &resumed.frames_in_flight,
                frames_answered: &resumed.frames_answered,
            }),
        },
        Step::FrameSent {
            frame_id,
            file,
            app,
            window,
            jpeg,
            characters,
        } => Line::Frame {
            frame_id,
            file: file.as_deref(),
            app_name: app,
            window_title: window,
            jpeg_bytes: *jpeg,
            ocr_characters: *characters,
        },
        Step::SearchAsked(call) => Line::ToolCallRequest {
            frame_id: &call.frame_id,
            request_id: &call.request_id,
            tool_kind: match call.tool_kind() {
                ToolKind::Unspecified => "",
                kind => kind.as_str_name(),
            },
            tool_name: &call.tool_name,
            arguments_json: &call.arguments_json,
            session_id: &call.session_id,
            query: call
                .arguments
                .as_ref()
                .map_or("", |arguments| &arguments.query),
            deadline_ms: call.deadline_ms,
        },
        Step::SearchAnswered {
            request_id,
            frame_id,
            found,
        } => Line::ToolResult {
            frame_id,
            request_id,
            results: found.iter().flatten().map(hit).collect(),
            result_json: "",
            error: found.as_ref().err().map_or("", String::as_str),
        },
        Step::ToolAnswered(result) => Line::ToolResult {
            frame_id: &result.frame_id,
            request_id: &result.request_id,
            results: Vec::new(),
            result_json: &result.result_json,
            error: &result.error,
        },
        Step::SearchCancelled(cancel) => Line::CancelToolRequest {
            frame_id: &cancel.frame_id,
            request_id: &cancel.request_id,
            reason: &cancel.reason,
        },
        Step::Decided { outcome, kept_as } => Line::Outcome {
            outcome: outcome.outcome_kind().as_str_name(),
            frame_id: &outcome.frame_id,
            task: outcome.task.as_ref().map(task),
            kept_as: *kept_as,
            reason: &outcome.reason,
            context_summary: &outcome.context_summary,
            current_activity: &outcome.current_activity,
            bill: outcome.bill.as_ref().map(money),
            answer_number: outcome.answer_number,
        },
        Step::Failed(error) => Line::Error(complaint(error)),
        Step::Postponed { error, again, .. } => Line::Retry {
            code: &error.code,
            message: &error.message,
            frame_id: &error.frame_id,
            delay_ms: again.as_millis(),
            retry_after_ms: error.retry_after_ms,
        },
        Step::Skipped { file, why } => Line::Skipped { file, reason: why },
        Step::StoreHeld => Line::StoreHeld { reason: HELD },
        Step::Complaint(error) => Line::Warning(complaint(error)),
        Step::GoingAway(go_away) => Line::GoAway {
            reason: &go_away.reason,
            time_left_ms: go_away.time_left_ms,
            reconnect_delay_ms: go_away.reconnect_delay_ms,
            resumable: go_away.resumable,
        },
        Step::Lost { why, again } => Line::Disconnected {
            reason: why,
            reconnect_delay_ms: again.as_millis(),
        },
    };
    written(&line)
}

/// How many lines are missing here, and a line feed.
pub(crate) fn left_out(lines: usize) -> String {
    written(&Line::LeftOut { lines })
}

/// What all frames came to, and a line feed.
pub(crate) fn done(sum: &Sum) -> String {
    written(&Line::Done {
        frames: sum.frames,
        extracted: sum.extracted,
        rejected: sum.rejected,
        without: sum.without,
        failed: sum.failed,
        model_calls: sum.model_calls,
        tokens: sum.tokens,
        cost_micro_usd: sum.cost_micro_usd,
    })
}

fn written(line: &Line<'_>) -> String {
    let json = serde_json::to_string(line).expect("it has no maps, so no key can be refused");
    json + "\n"
}

fn hit(hit: &SearchResult) -> Hit<'_> {
    Hit {
        task_id: hit.task_id,
        description: &hit.description,
        status: TaskStatus::as_str_name(&hit.status()),
        similarity: hit.similarity,
        match_type: MatchType::as_str_name(&hit.match_type()),
        relevance_score: hit.relevance_score,
    }
}

fn task(task: &ExtractedTask) -> Task<'_> {
    Task {
        title: &task.title,
        description: &task.description,
        priority: task.priority().as_str_name(),
        tags: &task.tags,
        source_app: &task.source_app,
        inferred_deadline: &task.inferred_deadline,
        confidence: task.confidence,
        source_category: &task.source_category,
        source_subcategory: &task.source_subcategory,
        relevance_score: task.relevance_score,
    }
}

fn money(bill: &Bill) -> Money<'_> {
    Money {
        model_asked: &bill.model_asked,
        model_answered: &bill.model_answered,
        model_calls: bill.model_calls,
        prompt_tokens: bill.prompt_tokens,
        cached_tokens: bill.cached_tokens,
        output_tokens: bill.output_tokens,
        thinking_tokens: bill.thinking_tokens,
        cost_micro_usd: bill.cost_micro_usd,
        model_ms: bill.model_ms,
        tool_ms: bill.tool_ms,
        total_ms: bill.total_ms,
    }
}

fn complaint(error: &ServerError) -> Complaint<'_> {
    Complaint {
        code: &error.code,
        message: &error.message,
        retryable: error.retryable,
        frame_id: &error.frame_id,
        request_id: &error.request_id,
        retry_after_ms: error.retry_after_ms,
        answer_number: error.answer_number,
    }
}
