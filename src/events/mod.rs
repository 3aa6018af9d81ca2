//! Every user's log: what was decided, what became of jobs, what other programs
//! had to say. It is appended to, read after a cursor, and followed.
//!
//! An engine keeps the logs: in memory, or in SQLite. All are held to the same
//! tests. The rest of the house has a [`Log`], which is an engine and those who
//! follow.

mod follower;
mod hub;
mod log;
mod memory;
mod options;
mod sqlite;
mod stored;
mod subscription;
mod weight;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::domain::{Event, FrameId, Job, JobId, JobState, MessageId, Uid};
use crate::world::World;
pub use follower::{Follower, Told};
pub use log::Log;
pub use options::{OpenError, Options};
pub use subscription::{News, Subscription, What};

/// Bytes of a page at most, if it has more than one entry: followers that are slow
/// hold one each.
const PAGE_BYTES: usize = 64 << 10;

const EPOCH_CHARS: usize = 36;

/// A place in one user's log: everything up to this offset has been read. Written
/// `EPOCH:OFFSET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which log: another one after the log was lost. 1 to 36 letters, digits and
    /// hyphens.
    pub epoch: Arc<str>,
    /// 0: before the first entry.
    pub offset: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, offset } = self;
        write!(f, "{epoch}:{offset}")
    }
}

/// The text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not of the form EPOCH:OFFSET")]
pub struct NoCursor;

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let (epoch, offset) = text.split_once(':').ok_or(NoCursor)?;
        let of_epoch = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !(1..=EPOCH_CHARS).contains(&epoch.len()) || !epoch.chars().all(of_epoch) {
            return Err(NoCursor);
        }
        let digits = offset.bytes().all(|byte| byte.is_ascii_digit());
        let offset = offset.parse().ok().filter(|_| digits).ok_or(NoCursor)?;
        let epoch = epoch.into();
        Ok(Self { epoch, offset })
    }
}

/// One entry of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// 1 for the first; each entry is one more than the last.
    pub offset: u64,
    /// When it was appended.
    pub at: Timestamp,
    /// What it says.
    pub event: Event,
}

/// What the sender calls something, so that sending it again changes nothing: 1 to
/// 255 bytes. Keys of jobs and of messages are apart.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Takes a key that the caller has checked.
    pub fn new(key: impl Into<Arc<str>>) -> Self {
        Self(key.into())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where an event stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Right behind it.
    pub cursor: Cursor,
    /// It was there already, by its key, as this message.
    pub earlier: Option<MessageId>,
    /// How many followers there were when it was appended, without those whose clients
    /// are away.
    pub followers: usize,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq)]
pub struct Submitted {
    /// The job, as it is now.
    pub job: Job,
    /// It was there already, by its key.
    pub repeated: bool,
}

/// A part of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// What was asked for is not all there.
    pub gap: bool,
    /// Oldest first.
    pub entries: Vec<Arc<Entry>>,
    /// Behind the last of them; where to read on.
    pub cursor: Cursor,
    /// Whether there was more behind it.
    pub more: bool,
}

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// After this.
    After(Cursor),
    /// With the oldest entry that is kept.
    Oldest,
    /// With the next entry.
    Now,
}

/// What keeps the logs and the jobs.
///
/// What a call has reported is kept, whatever happens to the process then, as far as
/// the engine outlives it. A call whose future is dropped may have happened or not.
///
/// An engine that outlives its process ends the jobs of processes that are gone, and
/// says so in their users' logs, before anybody is served.
///
/// Each entry is announced to the user's followers when it is kept, in the order of
/// offsets: an engine is made with the hubs for that.
pub trait Engine: Send + Sync + 'static {
    /// Appends an event to a user's log, which is made if there is none. With a key
    /// that was used for a message of this user before, nothing is appended; only
    /// messages have keys.
    fn append(
        &self,
        user: &Uid,
        event: Event,
        key: Option<Key>,
    ) -> BoxFuture<'_, Result<Appended, Error>>;

    /// At most `most` entries, and fewer if they are large. If the cursor is of
    /// another epoch, lies behind the end, or before entries that are kept no more,
    /// there is a gap, and reading begins with the oldest. A user without a log has
    /// an empty one.
    fn read(&self, user: &Uid, start: Start, most: usize) -> BoxFuture<'_, Result<Page, Error>>;

    /// Makes a job of this process, and says so in the log. With a key that was used
    /// for a job of this user before, gives that job.
    fn submit(
        &self,
        user: &Uid,
        id: JobId,
        frame: FrameId,
        key: Option<Key>,
    ) -> BoxFuture<'_, Result<Submitted, Error>>;

    /// The job of this user that was submitted with this key.
    fn submitted(&self, user: &Uid, key: &Key) -> BoxFuture<'_, Result<Option<Job>, Error>>;

    /// Moves a job on and says so in the log, in one step; gives the job as it is
    /// then. One that has ended is left as it is.
    fn advance(
        &self,
        user: &Uid,
        id: &JobId,
        state: JobState,
    ) -> BoxFuture<'_, Result<Option<Job>, Error>>;

    /// One job of this user.
    fn job(&self, user: &Uid, id: &JobId) -> BoxFuture<'_, Result<Option<Job>, Error>>;

    /// Jobs of this user, newest first: those submitted before this one, if it is
    /// given and known.
    fn jobs(
        &self,
        user: &Uid,
        before: Option<JobId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Job>, Error>>;

    /// Ends if the engine breaks down by a fault of its own, and can keep nothing more
    /// until the process is started again.
    fn crashed(&self) -> BoxFuture<'_, ()>;

    /// Ends what is under way; whoever calls then is told [`Error::Closed`].
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Whether a job may go from one state to the other: only down the list.
fn may_become(state: &JobState, next: &JobState) -> bool {
    let place = |state: &JobState| match state {
        JobState::Pending => 0,
        JobState::Streaming => 1,
        JobState::Done(_) | JobState::Error(_) => 2,
    };
    place(next) > place(state)
}

/// Why the log could not be read or written. What it says is for clients; the cause
/// goes to the operator's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The disk is full, broken, or does not answer. What was to be written may have
    /// been kept in the last case; try again, under the same key.
    #[error("the log cannot be used just now; try again later")]
    Unavailable,
    /// The server is shutting down.
    #[error("the server is shutting down; try again")]
    Closed,
}

/// Now, as the logs have it: in milliseconds, so that what is told at once and what is
/// read later are the same.
fn stamp(world: &World) -> Timestamp {
    let now = world.now().as_millisecond();
    Timestamp::from_millisecond(now).expect("it was one")
}

/// Names all the logs of an engine that begins with none.
fn log_name(world: &World) -> String {
    world.uuid().chars().take(13).collect()
}

/// The epoch of a log that begins when so many were forgotten. So a cursor of an empty
/// log, which is nowhere yet, is good for the log's beginning, and a cursor of a log
/// that was forgotten is not good for the next one.
fn epoch(name: &str, forgotten: u64) -> Arc<str> {
    format!("{name}-{forgotten}").into()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::hanging::hanging_log;
