//! Why a session cannot go on.

use std::time::Duration;

use tonic::Status;

use super::desktop::MOST_BYTES;
use super::words::plain;
use super::{store, token};

/// Characters of what is said from elsewhere.
const MOST_SAID: usize = 1_000;

/// The session cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens there, or not with gRPC; check the address.
    #[error("cannot connect to {address}: {}", said(.cause))]
    Connect {
        /// Where.
        address: String,
        /// What the network says.
        cause: String,
    },
    /// There is no token; see to the command that should print one.
    #[error(transparent)]
    NoToken(#[from] token::Error),
    /// The token has characters that no header may carry; get another.
    #[error("the token holds characters that a header cannot carry")]
    Token,
    /// The frame is over the contract's limit; send a smaller one.
    #[error("frame {id} makes a message of {size} bytes; at most {MOST_BYTES} are allowed")]
    TooLarge {
        /// The frame's id.
        id: String,
        /// Bytes of the message.
        size: usize,
    },
    /// The server did not let the session begin; its code says whether trying again
    /// can help.
    #[error("the server ended the session with {:?}: {}", .0.code(), said(.0.message()))]
    Refused(Box<Status>),
    /// The session that was to be resumed is not this user's; begin a new one.
    #[error("the session cannot be resumed: {}", said(.0.message()))]
    Disowned(Box<Status>),
    /// The server ended the session; reconnect.
    #[error("the server ended the session with {:?}: {}", .0.code(), said(.0.message()))]
    Ended(Box<Status>),
    /// The server closed the stream without an answer; reconnect.
    #[error("the server closed the session while {0} was awaited")]
    Closed(&'static str),
    /// The server did not answer in time; reconnect.
    #[error("no {what} within {}", humantime::format_duration(*.waited))]
    TooSlow {
        /// What was awaited.
        what: &'static str,
        /// For how long.
        waited: Duration,
    },
    /// The tasks could not be kept.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Ended(Box::new(status))
    }
}

/// What the other side says, without anything that a terminal would obey.
fn said(text: &str) -> String {
    plain(text, MOST_SAID)
}
