//! A frame's way to the desktop that sent it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument;

use super::Pending;
use crate::domain::{FrameId, Hit, RequestId, SearchKind};
use crate::telemetry::{Metrics, ToolLabel, ToolResult, TraceContext, span_failed, tool_call_span};
use crate::world::World;

/// How long a cancellation may wait for its place in the session's queue.
const CANCEL_WAIT: Duration = Duration::from_secs(1);

/// Something the session should tell its client on a frame's behalf. Travels in
/// a box, because a queue reserves room for many.
#[derive(Clone, Debug, PartialEq)]
pub enum Errand {
    /// Ask for a search, which is in the table of those that nobody has answered.
    Search(RequestId),
    /// Say that a search is no longer waited for.
    Cancel {
        /// Which.
        request: RequestId,
        /// For which frame it was.
        frame: FrameId,
        /// Why, for people.
        reason: String,
    },
}

/// A search the desktop is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchRequest {
    /// To be repeated in the answer.
    pub id: RequestId,
    /// For which frame.
    pub frame: FrameId,
    /// How to search.
    pub kind: SearchKind,
    /// What for: 1 to 512 characters.
    pub query: String,
    /// How long the server waits.
    pub timeout: Duration,
    /// The trace that the search is part of, if there is one.
    pub trace: Option<Box<TraceContext>>,
}

/// Why a search gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The desktop says it failed: tell the model.
    Failed(String),
    /// No answer by the deadline; the desktop has been told to stop.
    TimedOut,
    /// The client closed its side of the stream: nobody can answer.
    Gone,
}

/// The desktop as one frame's analysis sees it.
#[derive(Clone, Debug)]
pub struct Desk {
    frame: FrameId,
    pending: Pending,
    errands: mpsc::Sender<Box<Errand>>,
    world: World,
    metrics: Metrics,
}

impl Desk {
    /// The way to the desktop for one frame.
    pub fn new(
        frame: FrameId,
        pending: Pending,
        errands: mpsc::Sender<Box<Errand>>,
        world: World,
        metrics: Metrics,
    ) -> Self {
        Self {
            frame,
            pending,
            errands,
            world,
            metrics,
        }
    }

    /// Asks for a search and waits for its answer until the deadline, which moves
    /// by as long as no client is connected. If it passes, the desktop is told so.
    ///
    /// # Errors
    /// A [`Miss`] that says why there is no result.
    pub async fn search(
        &self,
        kind: SearchKind,
        query: String,
        deadline: Instant,
    ) -> Result<Vec<Hit>, Miss> {
        let id = RequestId::new(self.world.uuid());
        let span = tool_call_span(&id, kind.function_name());
        let mut record = CallRecord::new(&self.metrics, kind);
        let request = SearchRequest {
            id: id.clone(),
            frame: self.frame.clone(),
            kind,
            query,
            timeout: deadline.saturating_duration_since(record.started),
            trace: TraceContext::of_span(&span),
        };
        let result = self.ask(request, deadline).instrument(span.clone()).await;
        record.result = match &result {
            Ok(_) => ToolResult::Answered,
            Err(Miss::Failed(_)) => ToolResult::Failed,
            Err(Miss::TimedOut) => ToolResult::Timeout,
            Err(Miss::Gone) => ToolResult::Gone,
        };
        if result.is_err() {
            span_failed(&span, record.result.as_str());
        }
        if result == Err(Miss::TimedOut) {
            self.cancel(id).await;
        }
        result
    }

    /// How long time has stood still by now for whoever waits for this desktop,
    /// because no client was connected.
    pub fn stood_still(&self) -> Duration {
        self.pending.stood_still()
    }

    async fn ask(&self, request: SearchRequest, deadline: Instant) -> Result<Vec<Hit>, Miss> {
        let errand = Box::new(Errand::Search(request.id.clone()));
        let mut wait = self.pending.register(request).ok_or(Miss::Gone)?;
        match timeout_at(deadline, self.errands.send(errand)).await {
            Ok(Ok(())) => wait.answer().await,
            Ok(Err(_)) => Err(Miss::Gone),
            Err(_) => Err(Miss::TimedOut),
        }
    }

    async fn cancel(&self, request: RequestId) {
        let frame = self.frame.clone();
        let reason = "the search's deadline passed".to_owned();
        let errand = Box::new(Errand::Cancel {
            request,
            frame,
            reason,
        });
        if timeout(CANCEL_WAIT, self.errands.send(errand))
            .await
            .is_err()
        {
            tracing::warn!("a client was too slow to be told that a search is over");
        }
    }
}

/// Counts a call when it ends, also when its frame is dropped in the middle.
struct CallRecord<'a> {
    metrics: &'a Metrics,
    tool: ToolLabel,
    started: Instant,
    result: ToolResult,
}

impl<'a> CallRecord<'a> {
    fn new(metrics: &'a Metrics, kind: SearchKind) -> Self {
        let tool = match kind {
            SearchKind::Similar => ToolLabel::SearchSimilar,
            SearchKind::Keywords => ToolLabel::SearchKeywords,
        };
        Self {
            metrics,
            tool,
            started: Instant::now(),
            result: ToolResult::Cancelled,
        }
    }
}

impl Drop for CallRecord<'_> {
    fn drop(&mut self) {
        self.metrics
            .tool_call(self.tool, self.result, self.started.elapsed());
    }
}
