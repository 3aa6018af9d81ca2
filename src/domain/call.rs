//! What a tool may be called, and how its call fails, wherever it was to run.

/// Of a tool's name.
pub const TOOL_NAME_CHARS: usize = 64;

/// Whether a tool may be called so.
pub fn is_tool_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && name.chars().all(word) && name.len() <= TOOL_NAME_CHARS
}

/// Whether a call that has no result did anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It was not begun: asking again is safe.
    Never,
    /// It may have been done, all of it or in part: asking again may do it twice.
    Maybe,
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFault {
    /// What kind.
    pub code: CallFaultCode,
    /// A sentence for the model and for people, without secrets.
    pub message: String,
    /// Whether it did anything.
    pub ran: Ran,
}

impl CallFault {
    /// One of a call that was not begun.
    pub fn never_ran(code: CallFaultCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            ran: Ran::Never,
        }
    }

    /// One of a call that may have run.
    pub fn may_have_run(code: CallFaultCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            ran: Ran::Maybe,
        }
    }
}

/// The kinds of failure, in words of the domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallFaultCode {
    /// The arguments do not fit.
    InvalidArguments,
    /// There is no such thing.
    NotFound,
    /// It is not allowed.
    NotAllowed,
    /// Nobody is there who executes it, or whoever did has gone.
    Unavailable,
    /// There was no answer in time.
    Timeout,
    /// It was given up.
    Cancelled,
    /// Too much is under way, or the result is too large.
    Exhausted,
    /// Whoever was asked has no such tool.
    Unimplemented,
    /// The tool itself says that it failed.
    Failed,
    /// Whoever executes it said what cannot be.
    Broken,
    /// The server is leaving, and nobody is left who could be asked.
    GoingAway,
}

impl CallFaultCode {
    /// As it stands in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArguments => "invalid_arguments",
            Self::NotFound => "not_found",
            Self::NotAllowed => "not_allowed",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Exhausted => "exhausted",
            Self::Unimplemented => "unimplemented",
            Self::Failed => "failed",
            Self::Broken => "broken",
            Self::GoingAway => "going_away",
        }
    }
}
