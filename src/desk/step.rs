//! What happens at a desktop, as it is told to an observer.

use std::time::Duration;

use crate::transport::proto::{
    AnalysisOutcome, CancelToolRequest, GoAway, SearchResult, ServerError, SessionReady,
    ToolCallRequest, ToolResult,
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
        /// The file that it was made of, if the desktop watches a folder.
        file: Option<String>,
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
    /// A command has executed a tool, or there is a reason why not.
    ToolAnswered(ToolResult),
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
    /// A frame got no decision yet; it will be sent again.
    Postponed {
        /// What it got instead.
        error: ServerError,
        /// How long until then.
        again: Duration,
        /// Whether it is put aside: others have its place until then.
        aside: bool,
    },
    /// A file makes no frame.
    Skipped {
        /// Which file.
        file: String,
        /// Why not.
        why: String,
    },
    /// Another program holds the store: answers are kept, and frames taken, when it
    /// lets go. Told once, until then.
    StoreHeld,
    /// The server complains of something else than a frame that is under way.
    Complaint(ServerError),
    /// The server will end this stream.
    GoingAway(GoAway),
    /// There is no session; another will be opened.
    Lost {
        /// Why.
        why: String,
        /// How long until then.
        again: Duration,
    },
}

/// How a frame ended.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// With a decision.
    Decided(Box<AnalysisOutcome>),
    /// With an error; its `retryable` says whether showing it again can help.
    Failed(ServerError),
}
