//! The frames of one session: some run, the newest of the others waits.

use std::collections::BTreeMap;
use std::future;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::{Held, Lobby, Tools, following};
use crate::analysis::Background;
use crate::domain::{Frame, FrameFault, FrameFaultCode, FrameId, Outcome, SessionId, Uid};
use crate::telemetry::{Metrics, frame_span, span_failed};
use crate::tools::{Asker, Contact, Desk};

type Analysis = Result<Outcome, FrameFault>;

/// All frames that were accepted and not yet answered.
pub(super) struct Frames {
    tasks: JoinSet<Analysis>,
    running: BTreeMap<FrameId, Running>,
    waiting: Option<Box<Waiting>>,
    user: Uid,
    session: SessionId,
    lobby: Lobby,
    contact: Contact,
    /// For whom tools are called.
    asker: Arc<Asker>,
}

struct Running {
    task: AbortHandle,
    bytes: usize,
    ending: Ending,
}

/// How a frame ends is settled once: with the decision that its task writes down, or
/// with what the session says instead. Whoever is second leaves it at that, so that
/// the log says nothing that the client was not told.
#[derive(Clone, Default)]
struct Ending(Arc<AtomicBool>);

impl Ending {
    /// Whether it was still open.
    fn settle(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

struct Waiting {
    frame: Frame,
    background: Arc<Background>,
    accepted: Instant,
    held: Held,
}

impl Frames {
    pub(super) fn new(
        lobby: Lobby,
        session: SessionId,
        user: Uid,
        contact: Contact,
        asker: Asker,
    ) -> Self {
        Self {
            tasks: JoinSet::new(),
            running: BTreeMap::new(),
            waiting: None,
            user,
            session,
            lobby,
            contact,
            asker: Arc::new(asker),
        }
    }

    /// How the device is asked that sent them.
    pub(super) fn contact(&self) -> &Contact {
        &self.contact
    }

    /// For whom tools are called.
    pub(super) fn asker(&self) -> &Asker {
        &self.asker
    }

    /// The client has said something else of itself; frames that run are as they were.
    pub(super) fn set_asker(&mut self, asker: Asker) {
        self.asker = Arc::new(asker);
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
        let pushed_out = self.waiting.replace(Box::new(frame));
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

    /// Ends a frame without an analysis; `false` if it is not contained, or its
    /// decision is on its way already.
    pub(super) fn cancel(&mut self, id: &FrameId) -> bool {
        if let Some(running) = self.running.get(id) {
            if !running.ending.settle() {
                return false;
            }
            running.task.abort();
            self.running.remove(id);
            self.start_waiting();
            return true;
        }
        let waits = self.waiting_id() == Some(id);
        if waits {
            self.waiting = None;
        }
        waits
    }

    /// Ends all frames and waits until nothing of them is left: for decisions that are
    /// being written down no longer than that may take. Returns those, and the frames
    /// that were never answered.
    pub(super) async fn abandon(&mut self) -> (Vec<(FrameId, Analysis)>, Vec<FrameId>) {
        let waiting = self.waiting.take().map(|waiting| waiting.frame.id);
        let running = mem::take(&mut self.running).into_iter();
        let (undecided, decided) = running.partition(|(_, running)| running.ending.settle());
        self.running = decided;
        let mut unanswered: Vec<_> = waiting.into_iter().collect();
        for (id, running) in undecided {
            running.task.abort();
            unanswered.push(id);
        }
        let mut decided = Vec::with_capacity(self.running.len());
        while !self.running.is_empty() {
            decided.push(self.finished().await);
        }
        self.tasks.shutdown().await;
        (decided, unanswered)
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
        if self.running.len() >= self.lobby.options().frames_at_once {
            return;
        }
        let Some(waiting) = self.waiting.take() else {
            return;
        };
        let Waiting {
            mut frame,
            background,
            accepted,
            held,
        } = *waiting;
        let (id, bytes) = (frame.id.clone(), held.bytes());
        let lobby = self.lobby.clone();
        let Tools {
            world,
            metrics,
            router,
            ..
        } = lobby.tools();
        let in_flight = InFlight::new(metrics.clone());
        let (contact, asker) = (self.contact.clone(), self.asker.clone());
        let (router, world) = (router.clone(), world.clone());
        let desk = Desk::of_session(&frame, asker, contact, router, world, metrics.clone());
        let span = frame_span(&id);
        let (user, session, frame_id) = (self.user.clone(), self.session.clone(), id.clone());
        let ending = Ending::default();
        let decided = ending.clone();
        let analysis = async move {
            let analyst = &lobby.tools().analyst;
            let analysis = analyst.analyse(&user, &mut frame, &background, &desk, accepted);
            let whose = Whose {
                user: &user,
                session,
                frame: frame_id,
            };
            let result = kept(analysis.await, whose, &lobby, &decided).await;
            drop((in_flight, held));
            result
        };
        let task = self.tasks.spawn(analysis.instrument(span));
        let running = Running {
            task,
            bytes,
            ending,
        };
        self.running.insert(id, running);
    }
}

/// Whose a decision is.
struct Whose<'a> {
    user: &'a Uid,
    session: SessionId,
    frame: FrameId,
}

/// What came of a frame, once it is in its user's log, if it belongs there.
async fn kept(result: Analysis, whose: Whose<'_>, lobby: &Lobby, decided: &Ending) -> Analysis {
    let (log, log_no_task) = (&lobby.tools().log, lobby.options().log_no_task);
    match &result {
        Err(fault) => span_failed(&Span::current(), fault.code.as_str()),
        Ok(outcome) if log_no_task || outcome.decision.is_about_a_task() => {
            if decided.settle() {
                let Whose {
                    user,
                    session,
                    frame,
                } = whose;
                following::write_down(log, user, session, frame, outcome.clone()).await;
            }
        }
        Ok(_) => {}
    }
    result
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
