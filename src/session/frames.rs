//! The frames of one session: some run, the newest of the others waits.

use std::collections::BTreeMap;
use std::future;
use std::mem;
use std::sync::Arc;

use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::{Held, Options, Tools, following};
use crate::analysis::Background;
use crate::domain::{Frame, FrameFault, FrameFaultCode, FrameId, Outcome, SessionId, Uid};
use crate::telemetry::{Metrics, frame_span, span_failed};
use crate::tools::{Contact, Desk};

type Analysis = Result<Outcome, FrameFault>;

/// All frames that were accepted and not yet answered.
pub(super) struct Frames {
    tasks: JoinSet<Analysis>,
    running: BTreeMap<FrameId, Running>,
    waiting: Option<Waiting>,
    limit: usize,
    user: Uid,
    session: SessionId,
    tools: Tools,
    contact: Contact,
    log_no_task: bool,
}

struct Running {
    task: AbortHandle,
    bytes: usize,
}

struct Waiting {
    frame: Frame,
    background: Arc<Background>,
    accepted: Instant,
    held: Held,
}

impl Frames {
    pub(super) fn new(
        options: Options,
        session: SessionId,
        user: Uid,
        tools: Tools,
        contact: Contact,
    ) -> Self {
        Self {
            tasks: JoinSet::new(),
            running: BTreeMap::new(),
            waiting: None,
            limit: options.frames_at_once,
            user,
            session,
            tools,
            contact,
            log_no_task: options.log_no_task,
        }
    }

    /// How the desktop is asked on which they are.
    pub(super) fn contact(&self) -> &Contact {
        &self.contact
    }

    /// Whether the frame is running or waiting.
    pub(super) fn contains(&self, id: &FrameId) -> bool {
        self.running.contains_key(id) || self.waiting_id() == Some(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.waiting.is_none()
    }

    /// Those that are running or waiting.
    pub(super) fn ids(&self) -> Vec<FrameId> {
        self.running
            .keys()
            .chain(self.waiting_id())
            .cloned()
            .collect()
    }

    /// How much of memory they hold.
    pub(super) fn bytes(&self) -> usize {
        let running = self.running.values().map(|running| running.bytes);
        let waiting = self.waiting.iter().map(|waiting| waiting.held.bytes());
        running.chain(waiting).sum()
    }

    /// Takes a frame that is not contained yet. The one it pushes out of the
    /// waiting place is returned: the caller must answer it.
    pub(super) fn admit(
        &mut self,
        frame: Frame,
        background: Arc<Background>,
        held: Held,
    ) -> Option<FrameId> {
        let frame = Waiting {
            frame,
            background,
            accepted: Instant::now(),
            held,
        };
        let pushed_out = self.waiting.replace(frame);
        self.start_waiting();
        pushed_out.map(|old| old.frame.id)
    }

    /// The next frame whose analysis is over; never, while none is running.
    /// Cancel-safe.
    pub(super) async fn finished(&mut self) -> (FrameId, Analysis) {
        loop {
            let (task, result) = match self.tasks.join_next_with_id().await {
                Some(Ok((task, result))) => (task, result),
                Some(Err(error)) => {
                    if error.is_panic() {
                        tracing::error!("the analysis of a frame crashed");
                    }
                    (error.id(), Err(crashed()))
                }
                None => future::pending().await,
            };
            // A cancelled frame was answered when it was cancelled.
            if let Some(id) = self.take_running(task) {
                self.start_waiting();
                return (id, result);
            }
        }
    }

    /// Ends a frame without an analysis; `false` if it is not contained.
    pub(super) fn cancel(&mut self, id: &FrameId) -> bool {
        if let Some(running) = self.running.remove(id) {
            running.task.abort();
            self.start_waiting();
            return true;
        }
        let waits = self.waiting_id() == Some(id);
        if waits {
            self.waiting = None;
        }
        waits
    }

    /// Ends all frames and waits until nothing of them is left. Returns those
    /// that were never answered.
    pub(super) async fn abandon(&mut self) -> Vec<FrameId> {
        let waiting = self.waiting.take().map(|waiting| waiting.frame.id);
        let running = mem::take(&mut self.running);
        let unanswered = running.into_keys().chain(waiting).collect();
        self.tasks.shutdown().await;
        unanswered
    }

    fn waiting_id(&self) -> Option<&FrameId> {
        self.waiting.as_ref().map(|waiting| &waiting.frame.id)
    }

    fn take_running(&mut self, task: Id) -> Option<FrameId> {
        let id = self
            .running
            .iter()
            .find(|(_, running)| running.task.id() == task)?
            .0
            .clone();
        self.running.remove(&id);
        Some(id)
    }

    fn start_waiting(&mut self) {
        if self.running.len() >= self.limit {
            return;
        }
        let Some(Waiting {
            frame,
            background,
            accepted,
            held,
        }) = self.waiting.take()
        else {
            return;
        };
        let (id, bytes) = (frame.id.clone(), held.bytes());
        let Tools {
            analyst,
            world,
            metrics,
            log,
            ..
        } = self.tools.clone();
        let (contact, log_no_task) = (self.contact.clone(), self.log_no_task);
        let desk = Desk::of_session(id.clone(), contact, world, metrics.clone());
        let span = frame_span(&id);
        let (user, session, frame_id) = (self.user.clone(), self.session.clone(), id.clone());
        let analysis = async move {
            let _in_flight = (InFlight::new(metrics), held);
            let analysis = analyst.analyse(&user, frame, &background, &desk, accepted);
            let result = analysis.await;
            match &result {
                Err(fault) => span_failed(&Span::current(), fault.code.as_str()),
                Ok(outcome) if log_no_task || outcome.decision.is_about_a_task() => {
                    let outcome = outcome.clone();
                    following::write_down(&log, &user, session, frame_id, outcome).await;
                }
                Ok(_) => {}
            }
            result
        };
        let task = self.tasks.spawn(analysis.instrument(span));
        self.running.insert(id, Running { task, bytes });
    }
}

fn crashed() -> FrameFault {
    let message = "The server failed on this frame; send it again.";
    FrameFault::new(FrameFaultCode::Internal, message, true)
}

/// Counts a frame in flight for as long as its task lives.
struct InFlight(Metrics);

impl InFlight {
    fn new(metrics: Metrics) -> Self {
        metrics.frame_started();
        Self(metrics)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.frame_stopped();
    }
}
