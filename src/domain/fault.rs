//! What a client is told when a frame gets no decision.

use std::time::Duration;

use super::Bill;

/// An error about one frame; it takes the place of the frame's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameFault {
    /// What kind of error.
    pub code: FrameFaultCode,
    /// A sentence for people, free of anything secret or personal.
    pub message: String,
    /// Whether sending the same frame again can succeed.
    pub retryable: bool,
    /// How long to wait before that, if it is known.
    pub retry_after: Option<Duration>,
    /// What was spent all the same; `None` if the model was not asked, or the
    /// frame ended from outside.
    pub bill: Option<Box<Bill>>,
}

impl FrameFault {
    /// An error with that code, sentence and prospect.
    pub fn new(code: FrameFaultCode, message: impl Into<String>, retryable: bool) -> Self {
        Self {
            code,
            message: message.into(),
            retryable,
            retry_after: None,
            bill: None,
        }
    }

    /// The same, to be tried again after so long.
    pub fn retry_after(self, wait: Option<Duration>) -> Self {
        Self {
            retry_after: wait,
            ..self
        }
    }
}

/// The codes of ServerError that can end a frame, as the wire contract lists
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameFaultCode {
    /// No context has come yet: send one with the frame, or say hello.
    NoContext,
    /// A field of the frame is unusable; the message names it.
    InvalidFrame,
    /// A newer frame took the waiting place.
    Superseded,
    /// The client gave the frame up.
    Cancelled,
    /// The model failed or refused.
    GeminiError,
    /// The model's quota is used up for now.
    RateLimited,
    /// The user sends too many frames. Clients know one code for both.
    Throttled,
    /// The server, or the user, has too much under way.
    Overloaded,
    /// The frame's deadline passed.
    FrameTimeout,
    /// The session is ending; send the frame on the next stream.
    GoingAway,
    /// A fault of the server.
    Internal,
}

impl FrameFaultCode {
    /// The code on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoContext => "NO_CONTEXT",
            Self::InvalidFrame => "INVALID_FRAME",
            Self::Superseded => "SUPERSEDED",
            Self::Cancelled => "CANCELLED",
            Self::GeminiError => "GEMINI_ERROR",
            Self::RateLimited | Self::Throttled => "RATE_LIMITED",
            Self::Overloaded => "OVERLOADED",
            Self::FrameTimeout => "FRAME_TIMEOUT",
            Self::GoingAway => "GOING_AWAY",
            Self::Internal => "INTERNAL",
        }
    }
}
