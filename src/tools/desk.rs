//! A frame's way to the desktop that sent it, and a job's to one of its user.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument;

use super::{Anybody, Pending, Wait};
use crate::domain::{FrameId, Hit, JobId, RequestId, SearchKind};
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
    /// For which job; `None` if the frame came in the session that is asked.
    pub job: Option<JobId>,
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
    /// A job's user has had no desktop connected for as long as that is waited for.
    NoDesktop,
    /// A job's user has no desktop connected, and the server is leaving: none will
    /// connect to it any more.
    GoingAway,
}

/// The desktop as one frame's analysis sees it.
#[derive(Clone, Debug)]
pub struct Desk {
    frame: FrameId,
    way: Way,
    world: World,
    metrics: Metrics,
}

/// Who is asked.
#[derive(Clone, Debug)]
enum Way {
    /// The desktop that sent the frame.
    Session(Contact),
    /// Whichever of the user's is connected.
    User(Arc<Anybody>),
}

impl Desk {
    /// The way to the desktop of one session, for a frame that it sent.
    pub fn of_session(frame: FrameId, contact: Contact, world: World, metrics: Metrics) -> Self {
        Self {
            frame,
            way: Way::Session(contact),
            world,
            metrics,
        }
    }

    /// The way to whichever of these desktops is there when it is needed, for a job.
    pub fn of_user(frame: FrameId, anybody: Anybody, world: World, metrics: Metrics) -> Self {
        Self {
            frame,
            way: Way::User(Arc::new(anybody)),
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
            id,
            frame: self.frame.clone(),
            job: None,
            kind,
            query,
            timeout: deadline.saturating_duration_since(record.started),
            trace: TraceContext::of_span(&span),
        };
        let asking = async {
            match &self.way {
                Way::Session(contact) => contact.ask(request).await,
                Way::User(anybody) => anybody.ask(request, &self.world).await,
            }
        };
        let result = asking.instrument(span.clone()).await;
        record.result = match &result {
            Ok(_) => ToolResult::Answered,
            Err(Miss::Failed(_)) => ToolResult::Failed,
            Err(Miss::TimedOut) => ToolResult::Timeout,
            Err(Miss::Gone | Miss::NoDesktop | Miss::GoingAway) => ToolResult::Gone,
        };
        if result.is_err() {
            span_failed(&span, record.result.as_str());
        }
        result
    }

    /// How long time has stood still by now for whoever waits for this desktop,
    /// because no client was connected.
    pub fn stood_still(&self) -> Duration {
        match &self.way {
            Way::Session(contact) => contact.pending.stood_still(),
            Way::User(anybody) => anybody.stood_still(),
        }
    }
}

/// How the desktop of one session is asked.
#[derive(Clone, Debug)]
pub struct Contact {
    /// Where its answer comes in.
    pub pending: Pending,
    /// To the session, which asks it.
    pub errands: mpsc::Sender<Box<Errand>>,
}

impl Contact {
    pub(super) async fn ask(&self, request: SearchRequest) -> Result<Vec<Hit>, Miss> {
        let deadline = Instant::now() + request.timeout;
        let errand = Box::new(Errand::Search(request.id.clone()));
        let mut open = Open::new(self, request).ok_or(Miss::Gone)?;
        let result = match timeout_at(deadline, self.errands.send(errand)).await {
            Ok(Ok(())) => open.wait.answer().await,
            Ok(Err(_)) => Err(Miss::Gone),
            Err(_) => Err(Miss::TimedOut),
        };
        if result == Err(Miss::TimedOut)
            && let Some(errand) = open.end("the search's deadline passed")
        {
            let telling = timeout(CANCEL_WAIT, self.errands.send(errand));
            if telling.await.is_err() {
                tracing::warn!("a client was too slow to be told that a search is over");
            }
        }
        result
    }
}

/// A search that nobody has answered yet. If it is a job's, and that is given up, the
/// desktop is told. (A session tells that of its own frames itself.)
struct Open<'a> {
    contact: &'a Contact,
    request: RequestId,
    frame: FrameId,
    of_job: bool,
    wait: Wait,
}

impl<'a> Open<'a> {
    fn new(contact: &'a Contact, request: SearchRequest) -> Option<Self> {
        Some(Self {
            contact,
            request: request.id.clone(),
            frame: request.frame.clone(),
            of_job: request.job.is_some(),
            wait: contact.pending.register(request)?,
        })
    }

    /// Ends it; what the desktop is to be told, if it was asked and has not answered.
    fn end(&self, reason: &str) -> Option<Box<Errand>> {
        self.wait.give_up().then(|| {
            Box::new(Errand::Cancel {
                request: self.request.clone(),
                frame: self.frame.clone(),
                reason: reason.to_owned(),
            })
        })
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.of_job
            && let Some(errand) = self.end("the job was given up")
        {
            // Without room the desktop searches in vain.
            let _ = self.contact.errands.try_send(errand);
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
