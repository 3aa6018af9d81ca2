//! Users' logs and jobs as JSON, the same on a WebSocket and over HTTP.

use serde::Serialize;
use serde_json::value::RawValue;

use super::endings::{AnalysisOutcome, ServerError, time};
use crate::transport::proto;
use crate::transport::proto::log_event::Event;

/// Something in a user's log. What it is stands under the word that `event` says.
#[derive(Serialize)]
pub(in crate::transport) struct LogEvent {
    cursor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(flatten)]
    event: What,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum What {
    FrameDecided { frame_decided: Box<FrameDecided> },
    Job { job: Box<Job> },
    Message { message: Box<Message> },
    Gap,
    Start,
}

#[derive(Serialize)]
struct FrameDecided {
    session_id: String,
    outcome: Option<AnalysisOutcome>,
}

/// A job, as it is now.
#[derive(Serialize)]
pub(in crate::transport) struct Job {
    job_id: String,
    frame_id: String,
    state: &'static str,
    submitted_at: Option<String>,
    changed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<AnalysisOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ServerError>,
}

impl Job {
    /// Which.
    pub(in crate::transport) fn id(&self) -> &str {
        &self.job_id
    }
}

#[derive(Serialize)]
struct Message {
    message_id: String,
    kind: String,
    title: String,
    body: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    sent_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

impl LogEvent {
    /// Where to go on.
    pub(in crate::transport) fn cursor(&self) -> &str {
        &self.cursor
    }

    /// The word for what it is.
    pub(in crate::transport) fn name(&self) -> &'static str {
        match self.event {
            What::FrameDecided { .. } => "frame_decided",
            What::Job { .. } => "job",
            What::Message { .. } => "message",
            What::Gap => "gap",
            What::Start => "start",
        }
    }
}

impl From<proto::LogEvent> for LogEvent {
    fn from(told: proto::LogEvent) -> Self {
        let proto::LogEvent { cursor, at, event } = told;
        let event = match event {
            Some(Event::FrameDecided(decided)) => {
                let proto::FrameDecided {
                    session_id,
                    outcome,
                } = decided;
                What::FrameDecided {
                    frame_decided: Box::new(FrameDecided {
                        session_id,
                        outcome: outcome.map(Into::into),
                    }),
                }
            }
            Some(Event::Job(job)) => What::Job {
                job: Box::new(job.into()),
            },
            Some(Event::Message(message)) => What::Message {
                message: Box::new(message.into()),
            },
            Some(Event::Gap(proto::LogGap {})) => What::Gap,
            // Every event of ours is one.
            Some(Event::Start(proto::LogStart {})) | None => What::Start,
        };
        Self {
            cursor,
            at: at.and_then(time),
            event,
        }
    }
}

impl From<proto::Job> for Job {
    fn from(job: proto::Job) -> Self {
        let state = match job.state() {
            proto::JobState::Unspecified => "",
            proto::JobState::Pending => "pending",
            proto::JobState::Streaming => "streaming",
            proto::JobState::Done => "done",
            proto::JobState::Error => "error",
        };
        let proto::Job {
            job_id,
            frame_id,
            state: _,
            submitted_at,
            changed_at,
            outcome,
            error,
        } = job;
        Self {
            job_id,
            frame_id,
            state,
            submitted_at: submitted_at.and_then(time),
            changed_at: changed_at.and_then(time),
            outcome: outcome.map(Into::into),
            error: error.map(Into::into),
        }
    }
}

impl From<proto::Message> for Message {
    fn from(message: proto::Message) -> Self {
        let proto::Message {
            message_id,
            kind,
            title,
            body,
            data,
            sent_at,
            expires_at,
        } = message;
        Self {
            message_id,
            kind,
            title,
            body,
            // It was JSON when it came in, and nothing if it was empty.
            data: RawValue::from_string(data).ok(),
            sent_at: sent_at.and_then(time),
            expires_at: expires_at.and_then(time),
        }
    }
}
