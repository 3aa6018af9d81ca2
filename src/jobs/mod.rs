//! Work that outlives the call that submitted it: a frame with its context, analysed
//! by a task of its own, whether or not anybody is connected. What becomes of it
//! stands in its user's log.

mod places;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::analysis::{Background, going_away};
use crate::domain::{
    Context, Frame, FrameFault, FrameFaultCode, Job, JobId, JobState, Outcome, SessionId, Uid,
};
use crate::events::{self, Key, Submitted};
use crate::session::{Held, Stop, Tools};
use crate::telemetry::{JobEnd, Seldom, frame_span, job_span, span_failed};
use crate::tools::{Anybody, Desk, Profile};

use places::{Place, Places};

/// Between two attempts to write down what became of a job.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Between two lines of the log about jobs that cannot be written down.
const LINES: Duration = Duration::from_secs(10);

/// Limits of all jobs.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Of one user that are analysed at once; the others wait for their turn.
    pub at_once: usize,
    /// Of one user that have not ended.
    pub per_user: usize,
    /// Of all users that have not ended.
    pub at_all: usize,
    /// How long a job waits for a desktop of its user to be connected when it has to
    /// search, all in all.
    pub desktop_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            at_once: 2,
            per_user: 20,
            at_all: 1_000,
            desktop_wait: Duration::from_secs(30),
        }
    }
}

/// Why a job is not taken. What it says is for clients.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Submit it with a context.
    #[error("frame.session_context is missing: a job brings the tasks that it is judged by.")]
    NoContext,
    /// Wait until some of the user's jobs have ended.
    #[error("This user has {0} jobs that have not ended, and no more are taken; try again later.")]
    UserFull(usize),
    /// Come back later; another server may have room.
    #[error("The server has as many jobs as it takes; try again later.")]
    Full,
    /// The user sends too many frames, or has too much under way.
    #[error("{}", .0.message)]
    Fault(FrameFault),
    /// Try again; another server takes it.
    #[error("The server is shutting down; try again.")]
    ShuttingDown,
    /// Try again later, under the same key.
    #[error(transparent)]
    Log(#[from] events::Error),
}

/// All jobs of this server; cheap to clone.
#[derive(Clone)]
pub struct Jobs(Arc<Inner>);

struct Inner {
    options: Options,
    tools: Tools,
    stop: Stop,
    running: TaskTracker,
    places: Places,
    lines: Seldom,
}

/// A job that was taken.
struct Work {
    id: JobId,
    user: Uid,
    frame: Frame,
    context: Context,
    place: Place,
    /// What it costs, until it is decided.
    held: Held,
}

impl Jobs {
    /// None yet. They run on `running`, so that their end can be awaited.
    pub fn new(options: Options, tools: Tools, stop: Stop, running: TaskTracker) -> Self {
        let places = Places::new(options, tools.metrics.clone());
        Self(Arc::new(Inner {
            options,
            tools,
            stop,
            running,
            places,
            lines: Seldom::new(LINES),
        }))
    }

    /// Takes a frame. When this returns, the job is in the log and will be seen
    /// through, whatever becomes of the caller. What was taken already, by its key, is
    /// never refused.
    ///
    /// # Errors
    /// A [`Refused`] that says why it is not taken.
    pub async fn submit(
        &self,
        user: &Uid,
        frame: Frame,
        key: Option<Key>,
    ) -> Result<Submitted, Refused> {
        let refused = match self.take(user, frame, key.clone()).await {
            Ok(submitted) => return Ok(submitted),
            Err(refused) => refused,
        };
        if let Some(key) = key
            && let Ok(Some(job)) = self.log().submitted(user, &key).await
        {
            let repeated = true;
            return Ok(Submitted { job, repeated });
        }
        self.0.tools.metrics.job_refused();
        Err(refused)
    }

    async fn take(
        &self,
        user: &Uid,
        mut frame: Frame,
        key: Option<Key>,
    ) -> Result<Submitted, Refused> {
        let inner = &self.0;
        if inner.stop.soft.is_cancelled() {
            return Err(Refused::ShuttingDown);
        }
        let context = frame.context.take().ok_or(Refused::NoContext)?;
        let id = JobId::new(inner.tools.world.uuid());
        let place = inner.places.take(user, &id)?;
        let account = inner.tools.quota.account(user);
        let work = Work {
            held: account.admit(&frame).map_err(Refused::Fault)?,
            id,
            user: user.clone(),
            frame,
            context: *context,
            place,
        };
        let (taken, submitted) = oneshot::channel();
        let jobs = self.clone();
        // The caller may go away while the job is being written down.
        let span = job_span(&work.id, user);
        let seeing_through = async move {
            let (id, frame) = (work.id.clone(), work.frame.id.clone());
            let written = jobs.log().submit(&work.user, id, frame, key).await;
            let is_new = written.as_ref().is_ok_and(|it| !it.repeated);
            // Nobody listens if the caller has gone.
            let _ = taken.send(written);
            if is_new {
                jobs.run(work).await;
            }
        };
        inner.running.spawn(seeing_through.instrument(span));
        let submitted = submitted.await.unwrap_or(Err(events::Error::Closed));
        submitted.map_err(Refused::Log)
    }

    /// Gives a job up; one that has ended stays as it is. `None`: this user has no
    /// such job.
    ///
    /// # Errors
    /// The log cannot be written: the job goes on, or has been given up all the same.
    pub async fn cancel(&self, user: &Uid, id: &JobId) -> Result<Option<Job>, events::Error> {
        let Some(job) = self.log().job(user, id).await? else {
            return Ok(None);
        };
        if job.state.is_terminal() {
            return Ok(Some(job));
        }
        // First, so that no decision comes in between that nobody asked for.
        self.0.places.cancel(user, id);
        let state = JobState::Error(Box::new(given_up()));
        self.log().advance(user, id, state).await
    }

    /// One job of this user.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn get(&self, user: &Uid, id: &JobId) -> Result<Option<Job>, events::Error> {
        self.log().job(user, id).await
    }

    /// Jobs of this user, newest first, from the one submitted before `before` on.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn list(
        &self,
        user: &Uid,
        before: Option<JobId>,
        most: usize,
    ) -> Result<Vec<Job>, events::Error> {
        self.log().jobs(user, before, most).await
    }

    fn log(&self) -> &events::Log {
        &self.0.tools.log
    }

    async fn run(&self, work: Work) {
        let Work {
            id,
            user,
            frame,
            context,
            place,
            held,
        } = work;
        let deciding = self.decide(&id, &user, frame, context, &place);
        // A crash costs this job alone.
        let deciding = AssertUnwindSafe(deciding).catch_unwind();
        let result = tokio::select! {
            biased;
            () = self.0.stop.hard.cancelled() => Err(going_away()),
            () = place.given_up() => Err(given_up()),
            result = deciding => result.unwrap_or_else(|_| {
                tracing::error!("the analysis of a job crashed");
                Err(crashed())
            }),
        };
        // The frame is gone; what it came to may have to wait for the log.
        drop(held);
        let (end, state) = match result {
            Ok(outcome) => (JobEnd::Done, JobState::Done(Box::new(outcome))),
            Err(fault) => {
                let end = match fault.code {
                    FrameFaultCode::Cancelled => JobEnd::Cancelled,
                    _ => JobEnd::Error,
                };
                (end, JobState::Error(Box::new(fault)))
            }
        };
        self.0.tools.metrics.job_ended(end);
        self.settle(&user, &id, state).await;
    }

    async fn decide(
        &self,
        id: &JobId,
        user: &Uid,
        mut frame: Frame,
        context: Context,
        place: &Place,
    ) -> Result<Outcome, FrameFault> {
        let _turn = place.turn().await;
        if let Err(error) = self.log().advance(user, id, JobState::Streaming).await {
            // What it comes to is written later.
            if let Some(unsaid) = self.0.lines.line() {
                tracing::warn!(%error, unsaid, "a job begins, which could not be written down");
            }
        }
        let Tools {
            analyst,
            world,
            metrics,
            router,
            ..
        } = &self.0.tools;
        let patience = self.0.options.desktop_wait;
        let leaving = self.0.stop.soft.clone();
        let (job, user_id, directory) = (id.clone(), user.clone(), router.directory().clone());
        let anybody = Anybody::new(job, user_id, directory, patience, leaving);
        // What the variables of a session are to its frames, those of the job are to it.
        let session = SessionId::new(id.as_str());
        let asker = router.asker(user.clone(), session, false, Profile::default());
        let asker = Arc::new(asker);
        let (router, world) = (router.clone(), world.clone());
        let desk = Desk::of_user(&frame, asker, anybody, router, world, metrics.clone());
        let background = Background::new(context);
        let span = frame_span(&frame.id);
        let analysis = analyst.analyse(user, &mut frame, &background, &desk, Instant::now());
        let result = analysis.instrument(span.clone()).await;
        if let Err(fault) = &result {
            span_failed(&span, fault.code.as_str());
        }
        result
    }

    /// Writes down how a job ended, as soon as that can be done.
    async fn settle(&self, user: &Uid, id: &JobId, state: JobState) {
        let (mut wait, longest) = RETRY;
        loop {
            let last = self.0.stop.hard.is_cancelled();
            match self.log().advance(user, id, state.clone()).await {
                Ok(_) => return,
                Err(error) if last || error == events::Error::Closed => {
                    // The next start finds a job of a process that is gone.
                    tracing::error!(%error, "a job's end could not be written down");
                    return;
                }
                Err(error) => {
                    if let Some(unsaid) = self.0.lines.line() {
                        tracing::warn!(%error, unsaid, "a job's end cannot be written down yet");
                    }
                }
            }
            let stopping = self.0.stop.hard.cancelled();
            tokio::select! { () = sleep(wait) => {}, () = stopping => {} }
            wait = (wait * 2).min(longest);
        }
    }
}

fn given_up() -> FrameFault {
    FrameFault::new(FrameFaultCode::Cancelled, "The job was given up.", true)
}

fn crashed() -> FrameFault {
    let message = "The server failed on this frame; submit it again, under another key.";
    FrameFault::new(FrameFaultCode::Internal, message, true)
}
