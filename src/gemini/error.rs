//! Why the model gave no usable turn.

use std::time::Duration;

/// Why a question got no usable turn, after the retries that were worth it.
/// The sentences are for clients: none holds a URL, a key or a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Quota for now: wait, then ask again.
    #[error("The model's rate limit is reached; try again later.")]
    RateLimited {
        /// How long Google asks to wait, if it said.
        retry_after: Option<Duration>,
    },
    /// Quota for the day: asking again today is of no use.
    #[error("The model's quota for the day is used up.")]
    DailyQuota,
    /// The model's servers failed: ask again later.
    #[error("The model is unavailable (HTTP {status}); try again later.")]
    Unavailable {
        /// 408, 500, 502, 503 or 504.
        status: u16,
    },
    /// No connection, or it broke: ask again later.
    #[error("The model could not be reached; try again later.")]
    Connection,
    /// No answer within the deadline: ask again later.
    #[error("The model did not answer in time; try again later.")]
    Timeout,
    /// No access token for Vertex AI could be had, so nothing was asked: ask again
    /// later.
    #[error("The server got no access to the model; try again later.")]
    NoToken,
    /// The model has failed so often that it is not asked just now: ask again later.
    #[error("The model keeps failing and is not asked for a while; try again later.")]
    Outage {
        /// How long to wait before that.
        retry_after: Duration,
    },
    /// This server is given no access token for Vertex AI; the operator must look at
    /// its credentials.
    #[error("The server has no access to the model; the operator has to look at it.")]
    NoAccess,
    /// This server has as many calls to the model under way as it may, and none of
    /// them ended in time: ask again later.
    #[error(
        "The server asks the model as much as it may, and could not begin in time; try again later."
    )]
    Overloaded {
        /// How long to wait before that.
        retry_after: Duration,
    },
    /// The request was refused; the operator must look at key or credentials, model
    /// and settings.
    #[error("The model refused the request (HTTP {status}); the operator has to look at it.")]
    Rejected {
        /// 400, 401, 402, 403, 404 or another status that is final.
        status: u16,
    },
    /// A filter of the model stopped this screen: final for the frame.
    #[error("The model will not work on this screen ({reason}).")]
    Blocked {
        /// Google's word for it.
        reason: String,
    },
    /// The answer was cut off at the output limit. Chance may make another one
    /// shorter, so the frame can be sent again later; if it happens often, the
    /// operator must raise GEMINI_MAX_OUTPUT_TOKENS.
    #[error("The model's answer was cut off at the output limit.")]
    Truncated,
    /// The answer made no sense, also after retries: another try may.
    #[error("The model's answer was malformed ({reason}).")]
    Malformed {
        /// Google's word for it, or ours.
        reason: String,
    },
    /// We sent a conversation the model cannot continue: a fault of ours.
    #[error("The model could not continue the conversation; this is a fault of the server.")]
    Inconsistent,
}

impl Error {
    /// Whether the same frame, sent again later, can succeed.
    pub fn retryable(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::Connection
            | Self::Timeout
            | Self::NoToken
            | Self::Outage { .. }
            | Self::Overloaded { .. }
            | Self::Truncated
            | Self::Malformed { .. }
            | Self::Inconsistent => true,
            Self::DailyQuota | Self::NoAccess | Self::Rejected { .. } | Self::Blocked { .. } => {
                false
            }
        }
    }

    /// Whether the model's server is at fault, whatever it is asked: another model
    /// may answer the same frame. A quota is not such a fault, nor what is wrong
    /// with one screen or with the settings.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unavailable { .. }
            | Self::Connection
            | Self::Timeout
            | Self::NoToken
            | Self::Outage { .. } => true,
            Self::RateLimited { .. }
            | Self::DailyQuota
            | Self::NoAccess
            | Self::Overloaded { .. }
            | Self::Rejected { .. }
            | Self::Blocked { .. }
            | Self::Truncated
            | Self::Malformed { .. }
            | Self::Inconsistent => false,
        }
    }

    /// How long to wait before that, if Google said so or this server knows.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } => *retry_after,
            Self::Outage { retry_after } | Self::Overloaded { retry_after } => Some(*retry_after),
            _ => None,
        }
    }

    /// How many times the same request may be sent again at once. A call that
    /// timed out or came to the output limit cost as much as a call can, and
    /// would most likely end so again.
    pub(super) fn worth_retries(&self) -> u32 {
        match self {
            Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::Connection
            | Self::NoToken => 4,
            Self::Malformed { reason } if reason.starts_with("MALFORMED") => 2,
            Self::Malformed { .. } => 1,
            Self::DailyQuota
            | Self::Timeout
            | Self::Outage { .. }
            | Self::NoAccess
            | Self::Overloaded { .. }
            | Self::Rejected { .. }
            | Self::Blocked { .. }
            | Self::Truncated
            | Self::Inconsistent => 0,
        }
    }
}
