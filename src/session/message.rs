//! What goes in and out of a session, in words of the domain.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::Offset;

use super::NoRoom;
use crate::domain::{
    Context, Frame, FrameFault, FrameId, Outcome, RequestId, ResumeSecret, SearchKind, SessionId,
};
use crate::events::{News, Start};
use crate::tools::{Answer, Piece, Profile, ToolRequest};

/// What a transport hands to a session.
#[derive(Debug)]
pub enum Input {
    /// Something the client said.
    Message(ClientMessage),
    /// A part of something that is long in coming: a sign of life.
    Part,
    /// Something the client said that cannot be used.
    Refused(Refusal),
    /// Something the client began to say did not arrive in time, and nothing more is
    /// read.
    Stalled,
    /// The connection broke. (A client that closes its side on purpose ends the
    /// stream of inputs instead.)
    Lost,
}

/// What a client says.
#[derive(Debug)]
pub enum ClientMessage {
    /// Opens the session, or replaces its context.
    Hello(Hello),
    /// A look at the screen.
    Frame(Box<Frame>),
    /// The answer to a call.
    ToolResult(RequestId, Answer),
    /// A call goes on.
    ToolProgress(RequestId),
    /// A piece of the answer to a call.
    ToolPiece(RequestId, Piece),
    /// A sign of life.
    Heartbeat,
    /// A frame is given up.
    CancelFrame(FrameId),
    /// Every answer up to this number has been kept.
    Ack(u64),
}

/// The first message of a client.
#[derive(Clone, Debug, Default)]
pub struct Hello {
    /// What the client speaks.
    pub version: Version,
    /// The client's name for the state of its tasks.
    pub context_version: String,
    /// Its tasks.
    pub context: Option<Box<Context>>,
    /// How far its clock is from UTC, if it said so.
    pub utc_offset: Option<Offset>,
    /// It confirms answers and may come back; 1.1 only.
    pub resume: Option<Box<Resume>>,
    /// It promises to say something at least this often; 1.1 only.
    pub heartbeat_interval: Option<Duration>,
    /// It wants its user's log; 1.1 only.
    pub follow: Option<Follow>,
    /// What it says of itself; 1.1 only.
    pub profile: Option<Box<Profile>>,
}

/// Where a client wants to begin in its user's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Follow {
    /// There.
    From(Start),
    /// It said something that is no cursor.
    Unreadable,
}

/// The session that a client comes back to.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// Which; empty for a new one.
    pub session: SessionId,
    /// The proof that it is the client's own.
    pub secret: ResumeSecret,
    /// The number of the last answer it has received.
    pub received: u64,
}

impl Resume {
    /// Whether it names a session, or only says that its client may come back.
    pub fn names_one(&self) -> bool {
        !self.session.as_str().is_empty()
    }
}

/// The protocol in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The original contract.
    #[default]
    V1_0,
    /// With bill, heartbeats and GoAway.
    V1_1,
}

impl Version {
    /// The highest version we both speak. What is not MAJOR.MINOR reads as 1.0.
    pub fn negotiate(said: &str) -> Self {
        let number = |text: &str| text.parse::<u32>().ok();
        let said = said
            .trim()
            .split_once('.')
            .and_then(|(a, b)| Some((number(a)?, number(b)?)));
        if said >= Some((1, 1)) {
            Self::V1_1
        } else {
            Self::V1_0
        }
    }

    /// As it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
        }
    }
}

/// Something unusable that a client said; it costs nothing but itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// What kind.
    pub code: RefusalCode,
    /// What was wrong, and where.
    pub message: String,
    /// The frame it was about, if that is known.
    pub frame: Option<FrameId>,
    /// The context it brought, which counts all the same.
    pub context: Option<Box<Context>>,
}

impl Refusal {
    /// One about an event of which no more is known.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            frame: None,
            context: None,
        }
    }
}

/// The codes of ServerError about single events, as the wire contract lists
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// The event could not be parsed, or says nothing.
    InvalidEvent,
    /// A field of a frame is unusable.
    InvalidFrame,
    /// The message is over the limit.
    MessageTooLarge,
    /// There is no room for the message now; if it is a frame, that ends it.
    Overloaded(NoRoom),
}

impl RefusalCode {
    /// The code on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidEvent => "INVALID_EVENT",
            Self::InvalidFrame => "INVALID_FRAME",
            Self::MessageTooLarge => "MESSAGE_TOO_LARGE",
            Self::Overloaded(_) => "OVERLOADED",
        }
    }
}

/// What a client is told. Large values are boxed, because queues reserve room
/// for the largest.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerMessage {
    /// The answer to a hello.
    Ready(Box<Ready>),
    /// Please execute.
    ToolCall(Box<ToolRequest>),
    /// A call is no longer waited for.
    CancelToolCall {
        /// Which.
        request: RequestId,
        /// For which frame it was.
        frame: FrameId,
        /// Why, for people.
        reason: Arc<str>,
    },
    /// A frame has ended.
    Answer(Arc<FrameAnswer>),
    /// An event could not be used.
    Refused(Box<Refusal>),
    /// A sign of life; 1.1 only.
    Heartbeat(Timestamp),
    /// The stream will end; 1.1 only.
    GoAway(Box<GoAway>),
    /// Something in the user's log; 1.1 only.
    Log(Box<News>),
}

/// The one terminal event of a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameAnswer {
    /// Which frame.
    pub frame: FrameId,
    /// Its place among the session's answers, from 1 up; 0 if the session cannot
    /// be resumed.
    pub number: u64,
    /// What is said in; the bill, for one, is for clients of 1.1.
    pub version: Version,
    /// A decision, or why there is none.
    pub result: Result<Outcome, FrameFault>,
}

/// The answer to a hello.
#[derive(Clone, Debug, PartialEq)]
pub struct Ready {
    /// A UUID, the same for the life of the session.
    pub session: SessionId,
    /// The version in force.
    pub version: Version,
    /// The hello's, echoed.
    pub context_version: String,
    /// How many turns the model gets.
    pub max_iterations: u32,
    /// The searches a client may be asked for.
    pub searches: [SearchKind; 2],
    /// All tools that clients may be asked for, by name; told from 1.1 on.
    pub tools: Vec<Arc<str>>,
    /// Between two heartbeats; told from 1.1 on.
    pub heartbeat_interval: Duration,
    /// How to come back, for clients that said they may.
    pub resume: Option<Box<Resumable>>,
}

/// How to come back to a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Resumable {
    /// The proof that will be asked for.
    pub secret: ResumeSecret,
    /// How long the session stays after its stream broke.
    pub within: Duration,
    /// What is known of it, if this stream has taken it up.
    pub resumed: Option<Resumed>,
}

/// What is known of a session that was taken up.
#[derive(Clone, Debug, PartialEq)]
pub struct Resumed {
    /// Accepted and not yet answered.
    pub in_flight: Vec<FrameId>,
    /// Answered, newest last.
    pub answered: Vec<FrameId>,
}

/// An announced end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoAway {
    /// A sentence for people.
    pub reason: &'static str,
    /// Until the stream is ended, answered or not.
    pub time_left: Duration,
    /// How long to wait before reconnecting.
    pub reconnect_delay: Duration,
    /// Whether the next stream can take the session up.
    pub resumable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a03_the_version_in_force_is_the_highest_that_both_speak() {
        for (said, expected) in [
            ("1.0", Version::V1_0),
            ("1.1", Version::V1_1),
            ("1.10", Version::V1_1),
            ("2.0", Version::V1_1),
            ("0.9", Version::V1_0),
            ("", Version::V1_0),
            ("latest", Version::V1_0),
            ("1.1.1", Version::V1_0),
        ] {
            assert_eq!(Version::negotiate(said), expected, "{said}");
        }
    }

    #[test]
    fn messages_are_small_enough_for_a_queue_per_session() {
        assert!(size_of::<ServerMessage>() <= 64);
    }
}
