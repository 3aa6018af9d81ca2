//! What a user's log says: decisions about frames, what becomes of jobs, and
//! messages from other programs.

use jiff::Timestamp;

use super::{FrameFault, FrameId, JobId, MessageId, Outcome, SessionId};

/// One event in a user's log.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A frame of a session was decided.
    Decided(Box<Decided>),
    /// A job was submitted, or its state changed.
    Job(Box<Job>),
    /// Another program has something to say.
    Message(Box<Message>),
}

/// The decision about a frame that came in a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The session that it came in.
    pub session: SessionId,
    /// Which frame.
    pub frame: FrameId,
    /// The decision.
    pub outcome: Outcome,
}

/// Work on one frame that outlives the call that submitted it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// A UUID, made by the server.
    pub id: JobId,
    /// The client's name for the frame; may be empty.
    pub frame: FrameId,
    /// What has become of it.
    pub state: JobState,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When its state last changed.
    pub changed_at: Timestamp,
}

/// What has become of a job. It only moves down this list, and never out of one
/// of the last two.
#[derive(Clone, Debug, PartialEq)]
pub enum JobState {
    /// It waits for its turn.
    Pending,
    /// It is being analysed.
    Streaming,
    /// It was decided.
    Done(Box<Outcome>),
    /// There will be no decision.
    Error(Box<FrameFault>),
}

impl JobState {
    /// Whether it stays so.
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::Pending | Self::Streaming => false,
            Self::Done(_) | Self::Error(_) => true,
        }
    }

    /// The word for it: pending, streaming, done or error.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Streaming => "streaming",
            Self::Done(_) => "done",
            Self::Error(_) => "error",
        }
    }
}

/// Something that another program tells a user. Private: its `Debug` shows no text
/// of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// A UUID, made by the server.
    pub id: MessageId,
    /// What kind of message, in the sender's words: 1 to 64 characters.
    pub kind: String,
    /// At most 200 characters.
    pub title: String,
    /// At most 4,000 characters.
    pub body: String,
    /// JSON for the client, at most 16 KiB; may be empty.
    pub data: String,
    /// When it was taken in.
    pub sent_at: Timestamp,
    /// From then on nobody is told.
    pub expires_at: Option<Timestamp>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({})", self.id)
    }
}
