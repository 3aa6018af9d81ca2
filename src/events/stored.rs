//! Events and endings of jobs as they are stored: JSON with a version, read by later
//! versions of this program, and with unknown fields left out by earlier ones. Only
//! here are their stored names; the domain's may change.

mod outcome;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{
    Decided, Event, FrameFault, FrameFaultCode, FrameId, Job, JobId, JobState, Message, MessageId,
    SessionId,
};
use outcome::{StoredBill, StoredOutcome};

/// The version that is written.
const VERSION: u32 = 1;

/// It cannot be read: it is damaged, or of a later version. Says nothing of the
/// content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is damaged, or of a later version")]
pub(super) struct Unreadable;

/// An event as text.
pub(super) fn write_event(event: &Event) -> String {
    let event = match event {
        Event::Decided(decided) => StoredEvent::Decided(StoredDecided::from(&**decided)),
        Event::Job(job) => StoredEvent::Job(StoredJob::from(&**job)),
        Event::Message(message) => StoredEvent::Message(StoredMessage::from(&**message)),
    };
    write(event)
}

/// An event that was written as text.
pub(super) fn read_event(text: &str) -> Result<Event, Unreadable> {
    Ok(match read(text)? {
        StoredEvent::Decided(decided) => Event::Decided(Box::new(decided.try_into()?)),
        StoredEvent::Job(job) => Event::Job(Box::new(job.try_into()?)),
        StoredEvent::Message(message) => Event::Message(Box::new(message.try_into()?)),
    })
}

/// The ending of a job as text, if it has ended.
pub(super) fn write_ending(state: &JobState) -> Option<String> {
    match state {
        JobState::Pending | JobState::Streaming => None,
        JobState::Done(_) | JobState::Error(_) => Some(write(StoredState::from(state))),
    }
}

/// The ending of a job that was written as text.
pub(super) fn read_ending(text: &str) -> Result<JobState, Unreadable> {
    read::<StoredState>(text)?.try_into()
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u32,
    #[serde(flatten)]
    what: T,
}

fn write(what: impl Serialize) -> String {
    let versioned = Versioned { v: VERSION, what };
    serde_json::to_string(&versioned).expect("its maps have keys of text")
}

fn read<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T, Unreadable> {
    let Versioned { v, what } = serde_json::from_str(text).map_err(|_| Unreadable)?;
    if v > VERSION {
        Err(Unreadable)
    } else {
        Ok(what)
    }
}

/// Exact, and read by people.
fn time(text: &str) -> Result<Timestamp, Unreadable> {
    text.parse().map_err(|_| Unreadable)
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredEvent {
    Decided(StoredDecided),
    Job(StoredJob),
    Message(StoredMessage),
}

#[derive(Serialize, Deserialize)]
struct StoredDecided {
    session: String,
    frame: String,
    outcome: StoredOutcome,
}

impl From<&Decided> for StoredDecided {
    fn from(decided: &Decided) -> Self {
        let Decided {
            session,
            frame,
            outcome,
        } = decided;
        Self {
            session: session.to_string(),
            frame: frame.to_string(),
            outcome: outcome.into(),
        }
    }
}

impl TryFrom<StoredDecided> for Decided {
    type Error = Unreadable;

    fn try_from(stored: StoredDecided) -> Result<Self, Unreadable> {
        Ok(Self {
            session: SessionId::new(stored.session),
            frame: FrameId::new(stored.frame),
            outcome: stored.outcome.try_into()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredJob {
    id: String,
    frame: String,
    submitted_at: String,
    changed_at: String,
    state: StoredState,
}

impl From<&Job> for StoredJob {
    fn from(job: &Job) -> Self {
        let Job {
            id,
            frame,
            state,
            submitted_at,
            changed_at,
        } = job;
        Self {
            id: id.to_string(),
            frame: frame.to_string(),
            submitted_at: submitted_at.to_string(),
            changed_at: changed_at.to_string(),
            state: state.into(),
        }
    }
}

impl TryFrom<StoredJob> for Job {
    type Error = Unreadable;

    fn try_from(stored: StoredJob) -> Result<Self, Unreadable> {
        Ok(Self {
            id: JobId::new(stored.id),
            frame: FrameId::new(stored.frame),
            state: stored.state.try_into()?,
            submitted_at: time(&stored.submitted_at)?,
            changed_at: time(&stored.changed_at)?,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredState {
    Pending {},
    Streaming {},
    Done(Box<StoredOutcome>),
    Error(StoredFault),
}

impl From<&JobState> for StoredState {
    fn from(state: &JobState) -> Self {
        match state {
            JobState::Pending => Self::Pending {},
            JobState::Streaming => Self::Streaming {},
            JobState::Done(outcome) => Self::Done(Box::new((&**outcome).into())),
            JobState::Error(fault) => Self::Error((&**fault).into()),
        }
    }
}

impl TryFrom<StoredState> for JobState {
    type Error = Unreadable;

    fn try_from(stored: StoredState) -> Result<Self, Unreadable> {
        Ok(match stored {
            StoredState::Pending {} => Self::Pending,
            StoredState::Streaming {} => Self::Streaming,
            StoredState::Done(outcome) => Self::Done(Box::new((*outcome).try_into()?)),
            StoredState::Error(fault) => Self::Error(Box::new(fault.into())),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct StoredFault {
    code: StoredCode,
    message: String,
    retryable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bill: Option<StoredBill>,
}

impl From<&FrameFault> for StoredFault {
    fn from(fault: &FrameFault) -> Self {
        let FrameFault {
            code,
            message,
            retryable,
            retry_after,
            bill,
        } = fault;
        Self {
            code: (*code).into(),
            message: message.clone(),
            retryable: *retryable,
            retry_after: *retry_after,
            bill: bill.as_deref().map(StoredBill::from),
        }
    }
}

impl From<StoredFault> for FrameFault {
    fn from(stored: StoredFault) -> Self {
        Self {
            code: stored.code.into(),
            message: stored.message,
            retryable: stored.retryable,
            retry_after: stored.retry_after,
            bill: stored.bill.map(|bill| Box::new(bill.into())),
        }
    }
}

macro_rules! codes {
    ($($code:ident),+ $(,)?) => {
        #[derive(Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum StoredCode { $($code),+ }

        impl From<FrameFaultCode> for StoredCode {
            fn from(code: FrameFaultCode) -> Self {
                match code { $(FrameFaultCode::$code => Self::$code),+ }
            }
        }

        impl From<StoredCode> for FrameFaultCode {
            fn from(code: StoredCode) -> Self {
                match code { $(StoredCode::$code => Self::$code),+ }
            }
        }
    };
}

codes! {
    NoContext, InvalidFrame, Superseded, Cancelled, GeminiError, RateLimited, Throttled,
    Overloaded, FrameTimeout, GoingAway, Internal,
}

#[derive(Serialize, Deserialize)]
struct StoredMessage {
    id: String,
    kind: String,
    title: String,
    body: String,
    data: String,
    sent_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

impl From<&Message> for StoredMessage {
    fn from(message: &Message) -> Self {
        let Message {
            id,
            kind,
            title,
            body,
            data,
            sent_at,
            expires_at,
        } = message.clone();
        Self {
            id: id.to_string(),
            kind,
            title,
            body,
            data,
            sent_at: sent_at.to_string(),
            expires_at: expires_at.map(|time| time.to_string()),
        }
    }
}

impl TryFrom<StoredMessage> for Message {
    type Error = Unreadable;

    fn try_from(stored: StoredMessage) -> Result<Self, Unreadable> {
        Ok(Self {
            id: MessageId::new(stored.id),
            kind: stored.kind,
            title: stored.title,
            body: stored.body,
            data: stored.data,
            sent_at: time(&stored.sent_at)?,
            expires_at: stored.expires_at.as_deref().map(time).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests;
