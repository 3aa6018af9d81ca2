//! The values that metric labels may have.

use std::fmt::{self, Write};

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

use crate::domain::CallFaultCode;

macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $(#[doc = $meaning:literal] $variant:ident = $value:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = $meaning] $variant),+ }

        impl $name {
            /// Every one there is.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The label's value.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $value),+ }
            }

            /// What it says, in a sentence: the comment above it. For docs/metrics.md.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning.trim_ascii()),+ }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                encoder.write_str(self.as_str())
            }
        }
    };
}

label! {
    /// Why a session ended.
    SessionEnd {
        /// The client closed its side, and everything was answered.
        Closed = "closed",
        /// The connection broke.
        Lost = "lost",
        /// The client stopped reading.
        SlowClient = "slow_client",
        /// The server is shutting down.
        Drained = "drained",
        /// Neither a hello nor a frame came in time.
        NoHello = "no_hello",
        /// Its stream, or the token that opened it, had grown too old.
        Expired = "expired",
        /// A fault of the server.
        Crashed = "crashed",
    }
}

label! {
    /// How a job ended.
    JobEnd {
        /// It was decided.
        Done = "done",
        /// There is no decision.
        Error = "error",
        /// Somebody gave it up.
        Cancelled = "cancelled",
    }
}

label! {
    /// What became of a client that came back to a session.
    SessionReturn {
        /// It took the session up.
        TakenUp = "taken_up",
        /// There was no such session; a new one began.
        Unknown = "unknown",
        /// It was another user's.
        Refused = "refused",
    }
}

label! {
    /// How a frame ended.
    FrameResult {
        /// A task was found.
        ExtractTask = "extract_task",
        /// A request that should not become a task.
        RejectTask = "reject_task",
        /// Nothing to do.
        NoTaskFound = "no_task_found",
        /// It came before any context.
        NoContext = "no_context",
        /// A field was unusable.
        Invalid = "invalid",
        /// A newer frame took its waiting place.
        Superseded = "superseded",
        /// The client gave it up.
        Cancelled = "cancelled",
        /// The model failed.
        GeminiError = "gemini_error",
        /// The model's quota is used up.
        RateLimited = "rate_limited",
        /// The user's frames per minute are used up.
        Throttled = "throttled",
        /// The user, or all together, had too much under way.
        Overloaded = "overloaded",
        /// Its deadline passed.
        Timeout = "timeout",
        /// The server is shutting down, or its stream had grown too old.
        GoingAway = "going_away",
        /// A fault of the server.
        Internal = "internal",
        /// The session ended first; nobody was left to answer.
        Abandoned = "abandoned",
    }
}

label! {
    /// Which part of a bill a token belongs to.
    TokenKind {
        /// Of the prompt, not cached.
        Prompt = "prompt",
        /// Of the prompt, from the model's cache.
        Cached = "cached",
        /// Of the answer.
        Output = "output",
        /// Of the model's thinking.
        Thinking = "thinking",
    }
}

label! {
    /// A tool that runs elsewhere.
    ToolLabel {
        /// Search by meaning.
        SearchSimilar = "search_similar",
        /// Search by words.
        SearchKeywords = "search_keywords",
        /// A tool that the operator declares.
        Other = "other",
    }
}

impl ToolLabel {
    /// The label of the tool of this name.
    pub fn named(name: &str) -> Self {
        let known = Self::ALL.iter().find(|label| label.as_str() == name);
        known.copied().unwrap_or(Self::Other)
    }
}

label! {
    /// How a tool call ended.
    ToolResult {
        /// With a result.
        Answered = "answered",
        /// With the desktop's error.
        Failed = "failed",
        /// Its deadline passed.
        Timeout = "timeout",
        /// Nobody was left to answer.
        Gone = "gone",
        /// The frame ended first.
        Cancelled = "cancelled",
    }
}

label! {
    /// How the token of a new stream was judged.
    AuthResult {
        /// The stream may open.
        Accepted = "accepted",
        /// No token, or a bad one.
        Refused = "refused",
        /// The public keys cannot be had.
        Unavailable = "unavailable",
    }
}

label! {
    /// A limit that was met, so that something was refused.
    Limit {
        /// A stream: `MAX_SESSIONS_PER_USER`.
        UserSessions = "user_sessions",
        /// A stream: `MAX_SESSIONS`.
        Sessions = "sessions",
        /// A frame: `FRAMES_PER_MINUTE`.
        UserFrames = "user_frames",
        /// A frame or another event: `MAX_BYTES_IN_FLIGHT_PER_USER`.
        UserBytes = "user_bytes",
        /// A frame or another event: `MEMORY_CEILING`.
        Memory = "memory",
        /// A connection: `MAX_CONNECTIONS`.
        Connections = "connections",
        /// A stream: too many wait until their token can be judged.
        Unjudged = "unjudged",
    }
}

label! {
    /// What an entry of a user's log says.
    EntryKind {
        /// A frame of a session was decided.
        Decision = "decision",
        /// A job was submitted, or its state changed.
        Job = "job",
        /// Another program has something to say.
        Message = "message",
    }
}

label! {
    /// Why an entry of a user's log is kept no more.
    EntryLoss {
        /// It had grown too old: `LOG_RETENTION`.
        Age = "age",
        /// There were newer ones: `LOG_ENTRIES_PER_USER`.
        Count = "count",
        /// All logs together were too large: `LOG_MEMORY`.
        Memory = "memory",
    }
}

label! {
    /// How a call of a worker's tool ended.
    WorkerCall {
        /// It has a result.
        Answered = "answered",
        /// The arguments did not fit.
        InvalidArguments = "invalid_arguments",
        /// The tool found no such thing.
        NotFound = "not_found",
        /// The tool did not allow it.
        NotAllowed = "not_allowed",
        /// No worker could be asked, or the one that was asked went away.
        Unavailable = "unavailable",
        /// There was no answer in time, or no room with a worker.
        Timeout = "timeout",
        /// Whoever wanted it gave it up, or the worker did.
        Cancelled = "cancelled",
        /// Too many calls wait, or the result was too large.
        Exhausted = "exhausted",
        /// The worker says that it has no such tool.
        Unimplemented = "unimplemented",
        /// The tool itself failed.
        Failed = "failed",
        /// The worker said what cannot be.
        Broken = "broken",
    }
}

impl WorkerCall {
    /// How a call ended that failed like this.
    pub fn of(code: CallFaultCode) -> Self {
        match code {
            CallFaultCode::InvalidArguments => Self::InvalidArguments,
            CallFaultCode::NotFound => Self::NotFound,
            CallFaultCode::NotAllowed => Self::NotAllowed,
            CallFaultCode::Unavailable => Self::Unavailable,
            CallFaultCode::Timeout => Self::Timeout,
            CallFaultCode::Cancelled => Self::Cancelled,
            CallFaultCode::Exhausted => Self::Exhausted,
            CallFaultCode::Unimplemented => Self::Unimplemented,
            CallFaultCode::Failed => Self::Failed,
            CallFaultCode::Broken => Self::Broken,
            CallFaultCode::GoingAway => Self::Unavailable,
        }
    }
}

label! {
    /// Which way a call's values go.
    PayloadWay {
        /// To a worker.
        Arguments = "arguments",
        /// From one.
        Results = "results",
    }
}

label! {
    /// Why something that a worker said was not used.
    Discarded {
        /// Its call had been ended by the server, which the worker did not know yet.
        Late = "late",
        /// It was of a call that the worker did not have.
        Stranger = "stranger",
        /// It broke the contract: out of order, too much, not to be understood.
        Broken = "broken",
    }
}

/// How one call to the model ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelCode {
    /// With this HTTP status; 200 means a usable turn.
    Status(u16),
    /// With status 200 and an answer that cannot be used.
    Unusable,
    /// Its deadline passed.
    Timeout,
    /// The connection failed.
    Connection,
    /// It was not sent, for want of an access token.
    NoToken,
    /// The frame ended first.
    Cancelled,
}

impl EncodeLabelValue for ModelCode {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(encoder, "{status}"),
            Self::Unusable => encoder.write_str("unusable"),
            Self::Timeout => encoder.write_str("timeout"),
            Self::Connection => encoder.write_str("connection"),
            Self::NoToken => encoder.write_str("no_token"),
            Self::Cancelled => encoder.write_str("cancelled"),
        }
    }
}
