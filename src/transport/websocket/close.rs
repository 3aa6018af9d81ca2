//! How a WebSocket ends: every code that this server closes with, and whether its
//! client shall come back. `docs/websocket.md` lists the same; `tests/websocket`
//! compares.

use crate::session::StreamEnd;

/// Why a WebSocket is closed by this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// The client closed it; or nothing more is to be said.
    Done,
    /// What came is no WebSocket frame, or not in order.
    Protocol,
    /// A text message that is not UTF-8.
    NotText,
    /// Another user's session was named.
    NotYours,
    /// A message too large to be read past.
    TooBig,
    /// The session crashed.
    Crashed,
    /// The server is shutting down.
    Draining,
    /// The stream, or the token that opened it, has grown old.
    Expired,
    /// The client broke its promise to be heard.
    Silent,
    /// The client left its answers unread.
    SlowClient,
    /// Neither a hello nor a frame came in time.
    NoHello,
    /// A message took too long to arrive.
    Stalled,
    /// Another stream has taken the session up.
    TakenUp,
}

impl Close {
    /// All of them, by their codes.
    pub const ALL: [Self; 13] = [
        Self::Done,
        Self::Protocol,
        Self::NotText,
        Self::NotYours,
        Self::TooBig,
        Self::Crashed,
        Self::Draining,
        Self::Expired,
        Self::Silent,
        Self::SlowClient,
        Self::NoHello,
        Self::Stalled,
        Self::TakenUp,
    ];

    /// How a stream's end is told; `None` is the end of a session that crashed.
    pub(super) fn of(end: Option<StreamEnd>) -> Self {
        match end {
            Some(StreamEnd::Closed | StreamEnd::Lost) => Self::Done,
            Some(StreamEnd::Drained) => Self::Draining,
            Some(StreamEnd::SlowClient) => Self::SlowClient,
            Some(StreamEnd::NoHello) => Self::NoHello,
            Some(StreamEnd::Silent) => Self::Silent,
            Some(StreamEnd::Expired) => Self::Expired,
            Some(StreamEnd::TakenUp) => Self::TakenUp,
            Some(StreamEnd::NotYours) => Self::NotYours,
            None => Self::Crashed,
        }
    }

    /// The code: those of RFC 6455 and its registry where they say the same. Ours
    /// from 4000 to 4099 mean "reconnect", those from 4100 to 4199 "do not".
    pub fn code(self) -> u16 {
        match self {
            Self::Done => 1000,
            Self::Protocol => 1002,
            Self::NotText => 1007,
            Self::NotYours => 1008,
            Self::TooBig => 1009,
            Self::Crashed => 1011,
            Self::Draining => 1012,
            Self::Expired => 4000,
            Self::Silent => 4001,
            Self::SlowClient => 4002,
            Self::NoHello => 4003,
            Self::Stalled => 4004,
            Self::TakenUp => 4100,
        }
    }

    /// Whether the client shall come back by itself.
    pub fn reconnect(self) -> bool {
        match self {
            Self::Crashed
            | Self::Draining
            | Self::Expired
            | Self::Silent
            | Self::SlowClient
            | Self::NoHello
            | Self::Stalled => true,
            Self::Done
            | Self::Protocol
            | Self::NotText
            | Self::NotYours
            | Self::TooBig
            | Self::TakenUp => false,
        }
    }

    /// A sentence for people, of at most 123 bytes.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Done => "",
            Self::Protocol => "What came is not a WebSocket frame, or not in order.",
            Self::NotText => "A text message is not UTF-8.",
            Self::NotYours => "That session belongs to another user.",
            Self::TooBig => "A message is too large to be read past.",
            Self::Crashed => "The session failed; open a new one.",
            Self::Draining => "The server is shutting down; reconnect.",
            Self::Expired => "The stream has grown too old; reconnect with a fresh token.",
            Self::Silent => "The client promised heartbeats and was silent; reconnect.",
            Self::SlowClient => "The client left its answers unread for too long; reconnect.",
            Self::NoHello => "Neither a hello nor a frame came in time; say hello first.",
            Self::Stalled => "A message took too long to arrive; reconnect.",
            Self::TakenUp => "Another stream has taken the session up.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_there_once_fits_a_frame_and_says_by_itself_what_to_do() {
        for pair in Close::ALL.windows(2) {
            assert!(pair[0].code() < pair[1].code(), "{pair:?}");
        }
        for close in Close::ALL {
            assert!(close.reason().len() <= 123);
            match close.code() {
                1000..=1015 => {}
                4000..=4099 => assert!(close.reconnect(), "{close:?}"),
                4100..=4199 => assert!(!close.reconnect(), "{close:?}"),
                other => panic!("{other}"),
            }
        }
    }
}
