//! To the wire: what a frame can end with, in a session or as a job; times and counts.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{Bill, Decision, FrameFault, FrameId, Outcome, Priority, Task, Usage};
use crate::transport::proto;

/// The longest wait that a client is asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3_600);

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

pub(in crate::transport) fn timestamp(stamp: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: stamp.as_second(),
        nanos: stamp.subsec_nanosecond(),
    }
}

pub(in crate::transport) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Rounded up, so that ten seconds less an instant are still ten.
pub(super) fn millis_left(duration: Duration) -> i64 {
    millis(duration + Duration::from_nanos(999_999))
}

pub(super) fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
