//! What the server and its workers say to each other, free of any wire format.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::Offset;

use super::variables::{Ask, Told, VariableFault};
use crate::domain::{CallFaultCode, CallId, SessionId, Value};
use crate::telemetry::TraceContext;

/// A call of a tool, before it is anybody's.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its name, as a worker has declared it.
    pub tool: String,
    /// They fit the tool's schema.
    pub arguments: BTreeMap<String, Value>,
    /// For whom and from where.
    pub context: CallContext,
    /// The trace that it is part of.
    pub trace: Option<Box<TraceContext>>,
}

/// What a tool may want to know of whoever it is called for.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The session, or the job, whose variables the tool sees.
    pub session: SessionId,
    /// BCP 47; empty if the client did not say.
    pub locale: String,
    /// IANA; empty if the client did not say.
    pub time_zone: String,
    /// How far the client's clock is ahead of UTC, if it said so.
    pub utc_offset: Option<Offset>,
    /// The moment that "today" means.
    pub now: Timestamp,
}

/// What a worker is told.
#[derive(Clone, Debug)]
pub enum Command {
    /// Execute this call.
    Execute {
        /// Names it.
        id: CallId,
        /// Which one.
        call: Arc<Call>,
        /// Until nobody waits any more.
        deadline: Duration,
        /// Answer in chunks, so many at first. `None`: with one result.
        credit: Option<u32>,
    },
    /// Nobody waits any more.
    Cancel {
        /// Which call.
        id: CallId,
        /// A phrase for people.
        reason: &'static str,
    },
    /// More chunks may be sent.
    Credit {
        /// Of this call.
        id: CallId,
        /// So many.
        more: u32,
    },
    /// The answer to a [`Said::Variable`].
    Variable {
        /// As the worker has named its request.
        request: String,
        /// What came of it.
        told: Told,
    },
}

/// What a worker says.
#[derive(Clone, Debug)]
pub enum Said {
    /// A call's one result, or the end of its chunks.
    Result {
        /// Which call.
        id: CallId,
        /// What the tool returned; absent after chunks.
        value: Option<Value>,
    },
    /// A part of a call's result.
    Chunk {
        /// Which call.
        id: CallId,
        /// Its place.
        sequence: i64,
        /// What the tool yielded.
        value: Value,
    },
    /// A call has failed.
    Failure {
        /// Which call.
        id: CallId,
        /// How.
        code: CallFaultCode,
        /// A sentence for the model and for people.
        message: String,
        /// The tool was not begun.
        never_ran: bool,
    },
    /// A call goes on.
    Progress {
        /// Which call.
        id: CallId,
    },
    /// A look at a session's variables, or a change of them.
    Variable {
        /// The worker's name for this request.
        request: String,
        /// A call that it is executing.
        call: CallId,
        /// What it wants, or why that cannot be used.
        ask: Result<Ask, VariableFault>,
    },
    /// No new calls, please.
    Leaving,
    /// What cannot be understood, or is out of bounds.
    Nonsense {
        /// The call that it was about, if it was about one.
        id: Option<CallId>,
        /// What is wrong, in a sentence.
        why: String,
    },
}

/// A worker has said what cannot be so often that it must go.
#[derive(Debug, thiserror::Error)]
#[error("The worker said what cannot be, {0} times; last: {1}")]
pub struct SentAway(pub(super) u32, pub(super) String);
