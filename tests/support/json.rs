//! The JSON of the WebSocket door, written and read a second time, by hand, from
//! the description in docs/websocket.md.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{
    AnalysisOutcome, Bill, CancelToolRequest, ClientHello, ExtractedTask, FrameEvent, GoAway,
    HistoricalTask, MatchType, OutcomeKind, Resumed, Runtime, SearchResult, ServerError,
    ServerHeartbeat, SessionContext, SessionReady, TaskPriority, TaskStatus, ToolCallArguments,
    ToolCallRequest, ToolKind,
};
use serde_json::{Value, json};

use super::json_log::log_event;

/// What a client says.
pub fn said(event: &Said) -> Value {
    match event {
        Said::ClientHello(hello) => client_hello(hello),
        Said::FrameEvent(frame) => frame_event(frame),
        Said::ToolResult(result) => {
            let found = result.result.as_ref();
            json!({
                "type": "tool_result",
                "request_id": result.request_id,
                "frame_id": result.frame_id,
                "results": found.map(|found| found.items.iter().map(found_task).collect::<Vec<_>>()),
                "error": result.error,
                "result_json": result.result_json,
                "execution_ms": result.execution_ms,
            })
        }
        Said::ToolProgress(progress) => json!({
            "type": "tool_progress",
            "request_id": progress.request_id,
            "message": progress.message,
            "fraction": progress.fraction,
        }),
        Said::ToolResultChunk(chunk) => json!({
            "type": "tool_result_chunk",
            "request_id": chunk.request_id,
            "sequence": chunk.sequence,
            "data": chunk.data,
            "last": chunk.last,
        }),
        Said::Heartbeat(beat) => json!({ "type": "heartbeat", "sent_at": written(&beat.sent_at) }),
        Said::CancelFrame(cancel) => {
            json!({ "type": "cancel_frame", "frame_id": cancel.frame_id })
        }
        Said::Ack(ack) => json!({ "type": "ack", "answer_number": ack.answer_number }),
    }
}

fn client_hello(hello: &ClientHello) -> Value {
    let mut said = json!({
        "type": "client_hello",
        "protocol_version": hello.protocol_version,
        "client_instance_id": hello.client_instance_id,
        "app_version": hello.app_version,
        "os_version": hello.os_version,
        "device_name": hello.device_name,
        "context_version": hello.context_version,
        "session_context": hello.session_context.as_ref().map(context),
        "heartbeat_interval_ms": hello.heartbeat_interval_ms,
        "device_id": hello.device_id,
        "locale": hello.locale,
        "time_zone": hello.time_zone,
    });
    match hello.runtime() {
        Runtime::Unspecified => {}
        Runtime::Desktop => said["runtime"] = "desktop".into(),
        Runtime::Web => said["runtime"] = "web".into(),
    }
    if let Some(executes) = &hello.executes {
        said["executes"] = json!({ "tools": executes.tools });
    }
    if let Some(wish) = &hello.tool_preferences {
        said["tool_preferences"] = json!({
            "no_device_tools": wish.no_device_tools,
            "disabled_tools": wish.disabled_tools,
            "device_id": wish.device_id,
        });
    }
    if let Some(minutes) = hello.utc_offset_minutes {
        said["utc_offset_minutes"] = minutes.into();
    }
    if let Some(follow) = &hello.follow {
        said["follow"] = json!({ "cursor": follow.cursor });
    }
    if let Some(resume) = &hello.resume {
        said["resume"] = json!({
            "session_id": resume.session_id,
            "secret": resume.secret,
            "answers_received": resume.answers_received,
        });
    }
    said
}

pub fn frame_event(frame: &FrameEvent) -> Value {
    json!({
        "type": "frame_event",
        "jpeg_base64": STANDARD.encode(&frame.jpeg_bytes),
        "app_name": frame.app_name,
        "window_title": frame.window_title,
        "ocr_text": frame.ocr_text,
        "capture_time": written(&frame.capture_time),
        "frame_number": frame.frame_number,
        "screenshot_id": frame.screenshot_id,
        "context_version": frame.context_version,
        "session_context": frame.session_context.as_ref().map(context),
        "device_id": frame.device_id,
    })
}

fn found_task(found: &SearchResult) -> Value {
    let status = match found.status() {
        TaskStatus::Unspecified => Value::Null,
        TaskStatus::Active => "active".into(),
        TaskStatus::Completed => "completed".into(),
        TaskStatus::Deleted => "deleted".into(),
    };
    let match_type = match found.match_type() {
        MatchType::Unspecified => Value::Null,
        MatchType::Vector => "vector".into(),
        MatchType::Fts => "fts".into(),
        MatchType::Both => "both".into(),
    };
    json!({
        "task_id": found.task_id,
        "description": found.description,
        "status": status,
        "similarity": found.similarity,
        "match_type": match_type,
        "relevance_score": found.relevance_score,
    })
}

fn context(context: &SessionContext) -> Value {
    let past = |tasks: &[HistoricalTask]| {
        let task = |task: &HistoricalTask| json!({ "task_id": task.task_id, "description": task.description });
        tasks.iter().map(task).collect::<Vec<_>>()
    };
    let active = context.active_tasks.iter().map(|task| {
        json!({
            "task_id": task.task_id,
            "description": task.description,
            "priority": task.priority,
            "relevance_score": task.relevance_score,
            "staged": task.staged,
        })
    });
    let goals = context.goals.iter().map(|goal| {
        json!({ "goal_id": goal.goal_id, "title": goal.title, "description": goal.description })
    });
    json!({
        "active_tasks": active.collect::<Vec<_>>(),
        "completed_tasks": past(&context.completed_tasks),
        "deleted_tasks": past(&context.deleted_tasks),
        "goals": goals.collect::<Vec<_>>(),
        "generated_at": written(&context.generated_at),
    })
}

pub fn written(stamp: &Option<prost_types::Timestamp>) -> Value {
    // What is no time there is none here either.
    let text = |time: Timestamp| time.to_string();
    let time = stamp.map(|stamp| Timestamp::new(stamp.seconds, stamp.nanos));
    time.map_or(Value::Null, |time| {
        time.map_or("no time".into(), text).into()
    })
}

/// What the server says.
pub fn told(told: &Value) -> Event {
    match told["type"].as_str().unwrap() {
        "session_ready" => Event::SessionReady(session_ready(told)),
        "tool_call_request" => Event::ToolCallRequest(ToolCallRequest {
            request_id: text(told, "request_id"),
            tool_kind: match told.get("tool_kind") {
                Some(kind) => tool_kind(kind),
                None => 0,
            },
            arguments: told.get("tool_kind").map(|_| ToolCallArguments {
                query: text(told, "query"),
            }),
            deadline_ms: number(told, "deadline_ms"),
            frame_id: text(told, "frame_id"),
            traceparent: since_1_1(told, "traceparent"),
            tracestate: since_1_1(told, "tracestate"),
            job_id: since_1_1(told, "job_id"),
            tool_name: since_1_1(told, "tool_name"),
            arguments_json: since_1_1(told, "arguments_json"),
            session_id: since_1_1(told, "session_id"),
        }),
        "analysis_outcome" => Event::AnalysisOutcome(analysis_outcome(told)),
        "cancel_tool_request" => Event::CancelToolRequest(CancelToolRequest {
            request_id: text(told, "request_id"),
            frame_id: text(told, "frame_id"),
            reason: text(told, "reason"),
        }),
        "server_error" => Event::ServerError(server_error(told)),
        "log_event" => Event::LogEvent(log_event(told)),
        "server_heartbeat" => {
            let time: Timestamp = text(told, "sent_at").parse().unwrap();
            Event::ServerHeartbeat(ServerHeartbeat {
                sent_at: Some(prost_types::Timestamp {
                    seconds: time.as_second(),
                    nanos: time.subsec_nanosecond(),
                }),
            })
        }
        "go_away" => Event::GoAway(GoAway {
            reason: text(told, "reason"),
            time_left_ms: number(told, "time_left_ms"),
            reconnect_delay_ms: number(told, "reconnect_delay_ms"),
            resumable: told["resumable"].as_bool().unwrap(),
        }),
        other => panic!("{other} is no type of the contract"),
    }
}

pub fn server_error(told: &Value) -> ServerError {
    ServerError {
        code: text(told, "code"),
        message: text(told, "message"),
        retryable: told["retryable"].as_bool().unwrap(),
        frame_id: text(told, "frame_id"),
        request_id: text(told, "request_id"),
        retry_after_ms: told["retry_after_ms"].as_i64().unwrap_or_default(),
        answer_number: told["answer_number"].as_i64().unwrap_or_default(),
    }
}

fn session_ready(told: &Value) -> SessionReady {
    let kinds = told["supported_tool_kinds"].as_array().unwrap();
    let resumed = told["resumed"].as_object().map(|_| Resumed {
        frames_in_flight: texts(&told["resumed"]["frames_in_flight"]),
        frames_answered: texts(&told["resumed"]["frames_answered"]),
    });
    SessionReady {
        session_id: text(told, "session_id"),
        protocol_version: text(told, "protocol_version"),
        context_version: text(told, "context_version"),
        max_model_iterations: number(told, "max_model_iterations") as i32,
        supported_tool_kinds: kinds.iter().map(tool_kind).collect(),
        heartbeat_interval_ms: told["heartbeat_interval_ms"].as_i64().unwrap_or_default(),
        resume_secret: since_1_1(told, "resume_secret"),
        resume_within_ms: told["resume_within_ms"].as_i64().unwrap_or_default(),
        resumed,
        executable_tools: told.get("executable_tools").map(texts).unwrap_or_default(),
    }
}

pub fn analysis_outcome(told: &Value) -> AnalysisOutcome {
    let kind = match told["outcome_kind"].as_str().unwrap() {
        "extract_task" => OutcomeKind::ExtractTask,
        "reject_task" => OutcomeKind::RejectTask,
        "no_task_found" => OutcomeKind::NoTaskFound,
        other => panic!("{other}"),
    };
    let bill = &told["bill"];
    let bill = bill.as_object().map(|_| Bill {
        model_asked: text(bill, "model_asked"),
        model_answered: text(bill, "model_answered"),
        model_calls: number(bill, "model_calls") as i32,
        prompt_tokens: number(bill, "prompt_tokens"),
        cached_tokens: number(bill, "cached_tokens"),
        output_tokens: number(bill, "output_tokens"),
        thinking_tokens: number(bill, "thinking_tokens"),
        cost_micro_usd: number(bill, "cost_micro_usd"),
        model_ms: number(bill, "model_ms"),
        tool_ms: number(bill, "tool_ms"),
        total_ms: number(bill, "total_ms"),
    });
    let task = &told["task"];
    AnalysisOutcome {
        outcome_kind: kind.into(),
        task: task.as_object().map(|_| extracted_task(task)),
        reason: text(told, "reason"),
        context_summary: text(told, "context_summary"),
        current_activity: text(told, "current_activity"),
        frame_id: text(told, "frame_id"),
        bill,
        answer_number: told["answer_number"].as_i64().unwrap_or_default(),
    }
}

fn extracted_task(task: &Value) -> ExtractedTask {
    let priority = match task["priority"].as_str().unwrap() {
        "high" => TaskPriority::PriorityHigh,
        "medium" => TaskPriority::PriorityMedium,
        "low" => TaskPriority::PriorityLow,
        other => panic!("{other}"),
    };
    ExtractedTask {
        title: text(task, "title"),
        description: text(task, "description"),
        priority: priority.into(),
        tags: texts(&task["tags"]),
        source_app: text(task, "source_app"),
        inferred_deadline: text(task, "inferred_deadline"),
        confidence: task["confidence"].as_f64().unwrap(),
        source_category: text(task, "source_category"),
        source_subcategory: text(task, "source_subcategory"),
        relevance_score: number(task, "relevance_score") as i32,
    }
}

fn tool_kind(told: &Value) -> i32 {
    let kind = match told.as_str().unwrap() {
        "search_similar" => ToolKind::SearchSimilar,
        "search_keywords" => ToolKind::SearchKeywords,
        other => panic!("{other}"),
    };
    kind.into()
}

pub fn text(told: &Value, name: &str) -> String {
    let text = told[name].as_str();
    text.unwrap_or_else(|| panic!("no {name} in {told}"))
        .to_owned()
}

fn texts(told: &Value) -> Vec<String> {
    let texts = told.as_array().unwrap().iter();
    texts
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

pub fn number(told: &Value, name: &str) -> i64 {
    let number = told[name].as_i64();
    number.unwrap_or_else(|| panic!("no {name} in {told}"))
}

/// A text that is left out where it says nothing.
pub fn since_1_1(told: &Value, name: &str) -> String {
    told[name].as_str().unwrap_or_default().to_owned()
}
