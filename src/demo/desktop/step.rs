//! What happens in a session, as it is told to an observer.

use crate::transport::proto::{
    AnalysisOutcome, CancelToolRequest, GoAway, SearchResult, ServerError, SessionReady,
    ToolCallRequest,
};

/// What happened, told as it happens.
#[derive(Clone, Debug)]
pub enum Step {
    /// The server answered the hello.
    Ready(SessionReady),
    /// A frame is on its way.
    FrameSent {
        /// Its id.
        frame_id: String,
        /// The application in front.
        app: String,
        /// Its window's title.
        window: String,
        /// Bytes of its picture.
        jpeg: usize,
        /// Characters of its text.
        characters: usize,
    },
    /// The server asks for a search.
    SearchAsked(ToolCallRequest),
    /// The search was carried out.
    SearchAnswered {
        /// Which search.
        request_id: String,
        /// For which frame.
        frame_id: String,
        /// What was found, or why nothing could be looked for.
        found: Result<Vec<SearchResult>, String>,
    },
    /// The server no longer waits for a search.
    SearchCancelled(CancelToolRequest),
    /// The decision about a frame.
    Decided {
        /// The decision.
        outcome: Box<AnalysisOutcome>,
        /// The id under which an extracted task was kept.
        kept_as: Option<i64>,
    },
    /// A frame got no decision.
    Failed(ServerError),
    /// The server complains of something else than the frame in hand.
    Complaint(ServerError),
    /// The server will end this stream.
    GoingAway(GoAway),
}

/// How a frame ended.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// With a decision.
    Decided(Box<AnalysisOutcome>),
    /// With an error; its `retryable` says whether showing it again can help.
    Failed(ServerError),
}
