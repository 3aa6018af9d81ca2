//! What a frame can end with as JSON, in a session, as a job or in the log.

use jiff::Timestamp;
use serde::Serialize;

use crate::transport::proto;

/// The decision about a frame.
#[derive(Serialize)]
pub(super) struct AnalysisOutcome {
    outcome_kind: &'static str,
    task: Option<ExtractedTask>,
    reason: String,
    context_summary: String,
    current_activity: String,
    frame_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bill: Option<Bill>,
    #[serde(skip_serializing_if = "is_zero")]
    answer_number: i64,
}

#[derive(Serialize)]
struct ExtractedTask {
    title: String,
    description: String,
    priority: &'static str,
    tags: Vec<String>,
    source_app: String,
    inferred_deadline: String,
    confidence: f64,
    source_category: String,
    source_subcategory: String,
    relevance_score: i32,
}

#[derive(Serialize)]
struct Bill {
    model_asked: String,
    model_answered: String,
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

/// Why a frame has none, or what is wrong with an event.
#[derive(Serialize)]
pub(super) struct ServerError {
    code: String,
    message: String,
    retryable: bool,
    frame_id: String,
    request_id: String,
    #[serde(skip_serializing_if = "is_zero")]
    retry_after_ms: i64,
    #[serde(skip_serializing_if = "is_zero")]
    answer_number: i64,
}

impl From<proto::AnalysisOutcome> for AnalysisOutcome {
    fn from(outcome: proto::AnalysisOutcome) -> Self {
        let outcome_kind = match outcome.outcome_kind() {
            proto::OutcomeKind::Unspecified => "",
            proto::OutcomeKind::ExtractTask => "extract_task",
            proto::OutcomeKind::RejectTask => "reject_task",
            proto::OutcomeKind::NoTaskFound => "no_task_found",
        };
        let proto::AnalysisOutcome {
            outcome_kind: _,
            task,
            reason,
            context_summary,
            current_activity,
            frame_id,
            bill,
            answer_number,
        } = outcome;
        Self {
            outcome_kind,
            task: task.map(Into::into),
            reason,
            context_summary,
            current_activity,
            frame_id,
            bill: bill.map(Into::into),
            answer_number,
        }
    }
}

impl From<proto::ExtractedTask> for ExtractedTask {
    fn from(task: proto::ExtractedTask) -> Self {
        let priority = match task.priority() {
            proto::TaskPriority::Unspecified => "",
            proto::TaskPriority::PriorityHigh => "high",
            proto::TaskPriority::PriorityMedium => "medium",
            proto::TaskPriority::PriorityLow => "low",
        };
        let proto::ExtractedTask {
            title,
            description,
            priority: _,
            tags,
            source_app,
            inferred_deadline,
            confidence,
            source_category,
            source_subcategory,
            relevance_score,
        } = task;
        Self {
            title,
            description,
            priority,
            tags,
            source_app,
            inferred_deadline,
            confidence,
            source_category,
            source_subcategory,
            relevance_score,
        }
    }
}

impl From<proto::Bill> for Bill {
    fn from(bill: proto::Bill) -> Self {
        let proto::Bill {
            model_asked,
            model_answered,
            model_calls,
            prompt_tokens,
            cached_tokens,
            output_tokens,
            thinking_tokens,
            cost_micro_usd,
            model_ms,
            tool_ms,
            total_ms,
        } = bill;
        Self {
            model_asked,
            model_answered,
            model_calls,
            prompt_tokens,
            cached_tokens,
            output_tokens,
            thinking_tokens,
            cost_micro_usd,
            model_ms,
            tool_ms,
            total_ms,
        }
    }
}

impl From<proto::ServerError> for ServerError {
    fn from(error: proto::ServerError) -> Self {
        let proto::ServerError {
            code,
            message,
            retryable,
            frame_id,
            request_id,
            retry_after_ms,
            answer_number,
        } = error;
        Self {
            code,
            message,
            retryable,
            frame_id,
            request_id,
            retry_after_ms,
            answer_number,
        }
    }
}

/// RFC 3339.
pub(super) fn time(stamp: prost_types::Timestamp) -> Option<String> {
    let time = Timestamp::new(stamp.seconds, stamp.nanos).ok()?;
    Some(time.to_string())
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
pub(super) fn is_zero(number: &i64) -> bool {
    *number == 0
}
