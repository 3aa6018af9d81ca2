//! Outcomes and bills as they are stored.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Unreadable;
use crate::domain::{Bill, Category, Decision, Outcome, Priority, Subcategory, Task, Usage};

#[derive(Serialize, Deserialize)]
pub(super) struct StoredOutcome {
    decision: StoredDecision,
    context_summary: String,
    current_activity: String,
    bill: StoredBill,
}

impl From<&Outcome> for StoredOutcome {
    fn from(outcome: &Outcome) -> Self {
        let Outcome {
            decision,
            context_summary,
            current_activity,
            bill,
        } = outcome;
        Self {
            decision: decision.into(),
            context_summary: context_summary.clone(),
            current_activity: current_activity.clone(),
            bill: bill.into(),
        }
    }
}

impl TryFrom<StoredOutcome> for Outcome {
    type Error = Unreadable;

    fn try_from(stored: StoredOutcome) -> Result<Self, Unreadable> {
        Ok(Self {
            decision: stored.decision.try_into()?,
            context_summary: stored.context_summary,
            current_activity: stored.current_activity,
            bill: stored.bill.into(),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredDecision {
    Extract(StoredTask),
    Reject { reason: String },
    NoTask { reason: String },
}

impl From<&Decision> for StoredDecision {
    fn from(decision: &Decision) -> Self {
        match decision {
            Decision::Extract(task) => Self::Extract((&**task).into()),
            Decision::Reject { reason } => Self::Reject {
                reason: reason.clone(),
            },
            Decision::NoTask { reason } => Self::NoTask {
                reason: reason.clone(),
            },
        }
    }
}

impl TryFrom<StoredDecision> for Decision {
    type Error = Unreadable;

    fn try_from(stored: StoredDecision) -> Result<Self, Unreadable> {
        Ok(match stored {
            StoredDecision::Extract(task) => Self::Extract(Box::new(task.try_into()?)),
            StoredDecision::Reject { reason } => Self::Reject { reason },
            StoredDecision::NoTask { reason } => Self::NoTask { reason },
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredTask {
    title: String,
    description: String,
    priority: String,
    tags: Vec<String>,
    source_app: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
    /// As text: what a reader of JSON makes of a number may differ in the last digit.
    confidence: String,
    category: String,
    subcategory: String,
    score: i32,
}

impl From<&Task> for StoredTask {
    fn from(task: &Task) -> Self {
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
        Self {
            title: title.clone(),
            description: description.clone(),
            priority: priority.as_str().to_owned(),
            tags: tags.clone(),
            source_app: source_app.clone(),
            deadline: deadline.map(|day| day.to_string()),
            confidence: confidence.to_string(),
            category: category.as_str().to_owned(),
            subcategory: subcategory.as_str().to_owned(),
            score: *score,
        }
    }
}

impl TryFrom<StoredTask> for Task {
    type Error = Unreadable;

    fn try_from(stored: StoredTask) -> Result<Self, Unreadable> {
        let deadline = stored.deadline.map(|day| day.parse()).transpose();
        Ok(Self {
            title: stored.title,
            description: stored.description,
            priority: Priority::read(&stored.priority),
            tags: stored.tags,
            source_app: stored.source_app,
            deadline: deadline.map_err(|_| Unreadable)?,
            confidence: stored.confidence.parse().map_err(|_| Unreadable)?,
            category: Category::read(&stored.category),
            subcategory: Subcategory::read(&stored.subcategory),
            score: stored.score,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredBill {
    model_asked: String,
    model_answered: String,
    model_calls: u32,
    prompt: u64,
    cached: u64,
    output: u64,
    thinking: u64,
    cost_micro_usd: u64,
    model_time: Duration,
    tool_time: Duration,
    total_time: Duration,
}

impl From<&Bill> for StoredBill {
    fn from(bill: &Bill) -> Self {
        let Bill {
            model_asked,
            model_answered,
            model_calls,
            usage,
            cost_micro_usd,
            model_time,
            tool_time,
            total_time,
        } = bill;
        let Usage {
            prompt,
            cached,
            output,
            thinking,
        } = *usage;
        Self {
            model_asked: model_asked.clone(),
            model_answered: model_answered.clone(),
            model_calls: *model_calls,
            prompt,
            cached,
            output,
            thinking,
            cost_micro_usd: *cost_micro_usd,
            model_time: *model_time,
            tool_time: *tool_time,
            total_time: *total_time,
        }
    }
}

impl From<StoredBill> for Bill {
    fn from(stored: StoredBill) -> Self {
        Self {
            model_asked: stored.model_asked,
            model_answered: stored.model_answered,
            model_calls: stored.model_calls,
            usage: Usage {
                prompt: stored.prompt,
                cached: stored.cached,
                output: stored.output,
                thinking: stored.thinking,
            },
            cost_micro_usd: stored.cost_micro_usd,
            model_time: stored.model_time,
            tool_time: stored.tool_time,
            total_time: stored.total_time,
        }
    }
}
