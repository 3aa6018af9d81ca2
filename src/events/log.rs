//! The logs as the rest of the house has them: an engine, and those who follow.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::hub::Hubs;
use super::memory::Memory;
use super::sqlite::Sqlite;
use super::{
    Appended, Engine, Error, Follower, Key, OpenError, Options, Page, Start, Submitted,
    Subscription,
};
use crate::domain::{Event, FrameId, Job, JobId, JobState, Uid};
use crate::telemetry::{Metrics, Seldom};
use crate::world::World;

/// How long a call waits for its engine. A disk that works takes milliseconds, and a
/// database that somebody else holds is given up after 2 s; a disk that hangs may never
/// answer, and whoever calls has a place, a turn or a client that waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two lines of the log about calls that were given up.
const LINES: Duration = Duration::from_secs(10);

/// All users' logs and jobs; cheap to clone.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    engine: Box<dyn Engine>,
    hubs: Hubs,
    world: World,
    metrics: Metrics,
    lines: Seldom,
}

impl Log {
    /// Opens the logs.
    ///
    /// # Errors
    /// They cannot be had; the error names the file and what to do.
    pub async fn open(options: Options, world: World, metrics: Metrics) -> Result<Self, OpenError> {
        let Some(folder) = options.folder.clone() else {
            return Ok(Self::in_memory(options, world, metrics));
        };
        let hubs = Hubs::new(metrics.clone());
        let opening = {
            let (world, metrics, hubs) = (world.clone(), metrics.clone(), hubs.clone());
            spawn_blocking(move || Sqlite::open(&folder, &options, &world, &metrics, hubs))
        };
        match opening.await {
            Ok(engine) => Ok(Self::over(Box::new(engine?), hubs, world, metrics)),
            Err(crash) => std::panic::resume_unwind(crash.into_panic()),
        }
    }

    /// Logs that go with the process.
    pub fn in_memory(options: Options, world: World, metrics: Metrics) -> Self {
        let hubs = Hubs::new(metrics.clone());
        let engine = Memory::new(options, world.clone(), metrics.clone(), hubs.clone());
        Self::over(Box::new(engine), hubs, world, metrics)
    }

    /// The logs that an engine keeps, which announces to these hubs.
    pub(super) fn over(
        engine: Box<dyn Engine>,
        hubs: Hubs,
        world: World,
        metrics: Metrics,
    ) -> Self {
        Self(Arc::new(Inner {
            engine,
            hubs,
            world,
            metrics,
            lines: Seldom::new(LINES),
        }))
    }

    /// Appends an event to a user's log, which is made if there is none. With a key
    /// that was used for a message of this user before, nothing is appended; only
    /// messages have keys.
    ///
    /// # Errors
    /// Nothing was appended, or too late to be told.
    pub async fn append(
        &self,
        user: &Uid,
        event: Event,
        key: Option<Key>,
    ) -> Result<Appended, Error> {
        self.counted(self.0.engine.append(user, event, key)).await
    }

    /// At most `most` entries, and fewer if they are large. If the cursor is of
    /// another epoch, lies behind the end, or before entries that are kept no more,
    /// there is a gap, and reading begins with the oldest. A user without a log has
    /// an empty one.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn read(&self, user: &Uid, start: Start, most: usize) -> Result<Page, Error> {
        self.counted(self.0.engine.read(user, start, most)).await
    }

    /// Follows a user's log. Whatever is appended after this call has returned is
    /// told; nothing is read before the first call of [`Follower::next`], and with
    /// [`Start::Now`] not then either.
    pub fn follow(&self, user: &Uid, start: Start) -> Follower {
        Follower::new(self.clone(), self.0.hubs.join(user), start)
    }

    /// Follows a user's log from there, which is told first.
    pub fn subscribe(&self, user: &Uid, start: Start) -> Subscription {
        Subscription::new(self.clone(), user.clone(), Some(start))
    }

    /// Follows a user's log from now on, and reads nothing for that.
    pub fn listen(&self, user: &Uid) -> Subscription {
        Subscription::new(self.clone(), user.clone(), None)
    }

    /// How many follow this user's log.
    #[cfg(test)]
    pub(super) fn followers(&self, user: &Uid) -> usize {
        self.0.hubs.followers(user)
    }

    /// Makes a job of this process, and says so in the log. With a key that was used
    /// for a job of this user before, gives that job.
    ///
    /// # Errors
    /// There is no such job, or it was made too late to be told.
    pub async fn submit(
        &self,
        user: &Uid,
        id: JobId,
        frame: FrameId,
        key: Option<Key>,
    ) -> Result<Submitted, Error> {
        self.counted(self.0.engine.submit(user, id, frame, key))
            .await
    }

    /// The job of this user that was submitted with this key.
    ///
    /// # Errors
    /// The jobs cannot be read.
    pub async fn submitted(&self, user: &Uid, key: &Key) -> Result<Option<Job>, Error> {
        self.counted(self.0.engine.submitted(user, key)).await
    }

    /// Moves a job on and says so in the log, in one step; gives the job as it is
    /// then. One that has ended, or is further already, is left as it is. `None` if
    /// this user has no such job.
    ///
    /// # Errors
    /// The job is as it was, or was moved on too late to be told.
    pub async fn advance(
        &self,
        user: &Uid,
        id: &JobId,
        state: JobState,
    ) -> Result<Option<Job>, Error> {
        self.counted(self.0.engine.advance(user, id, state)).await
    }

    /// One job of this user.
    ///
    /// # Errors
    /// The jobs cannot be read.
    pub async fn job(&self, user: &Uid, id: &JobId) -> Result<Option<Job>, Error> {
        self.counted(self.0.engine.job(user, id)).await
    }

    /// Jobs of this user, newest first: those submitted before this one, if it is
    /// given and known.
    ///
    /// # Errors
    /// The jobs cannot be read.
    pub async fn jobs(
        &self,
        user: &Uid,
        before: Option<JobId>,
        most: usize,
    ) -> Result<Vec<Job>, Error> {
        self.counted(self.0.engine.jobs(user, before, most)).await
    }

    /// Ends if the logs break down by a fault of the server, and can be written no more
    /// until it is started again.
    pub async fn crashed(&self) {
        self.0.engine.crashed().await;
    }

    /// Ends what is under way and lets go of the folder. Followers, and whoever calls
    /// later, are told [`Error::Closed`]. Waits for the disk, however long that takes.
    pub async fn close(&self) {
        self.0.hubs.close();
        self.0.engine.close().await;
    }

    async fn counted<T>(&self, call: BoxFuture<'_, Result<T, Error>>) -> Result<T, Error> {
        let result = timeout(PATIENCE, call).await.unwrap_or_else(|_| {
            if let Some(unsaid) = self.0.lines.line() {
                tracing::error!(
                    unsaid,
                    "the users' logs do not answer: look after DATA_DIR and its disk"
                );
            }
            Err(Error::Unavailable)
        });
        match &result {
            Err(Error::Unavailable) => self.0.metrics.log_failed(),
            Ok(_) | Err(Error::Closed) => {}
        }
        result
    }

    pub(super) fn now(&self) -> Timestamp {
        self.0.world.now()
    }

    pub(super) fn count_gap(&self) {
        self.0.metrics.log_gap_told();
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}
