//! The logs in SQLite: one thread writes, a few connections read, and a call that
//! writes is answered when the disk has it.

mod folder;
mod read;
mod schema;
mod sweep;
mod write;
mod writer;

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use rusqlite::Connection;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::hub::Hubs;
use super::{
    Appended, Engine, Error, Key, OpenError, Options, Page, Start, Submitted, log_name, stored,
};
use crate::domain::{Event, FrameId, Job, JobId, JobState, Uid};
use crate::telemetry::Metrics;
use crate::world::World;
use folder::Folder;
use read::{JOB_BY_ID, JOB_BY_KEY, Reader};
use write::{Call, Change, Write};
use writer::Writer;

/// Connections that read.
const READERS: usize = 4;
/// Calls that wait until they are written; further ones wait to be taken in.
const QUEUE: usize = 1_024;

/// The engine in SQLite.
pub(super) struct Sqlite {
    calls: mpsc::Sender<Call>,
    readers: Arc<Readers>,
    closed: AtomicBool,
}

struct Readers {
    reader: Reader,
    /// One permit for each connection.
    free: Arc<Semaphore>,
    connections: Mutex<Vec<Connection>>,
}

impl Readers {
    fn connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        let connections = self.connections.lock();
        connections.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sqlite {
    /// Takes the folder, brings the database up to date, and ends the jobs of the
    /// process that had it before. Blocks.
    pub(super) fn open(
        folder: &Path,
        options: &Options,
        world: &World,
        metrics: &Metrics,
        hubs: Hubs,
    ) -> Result<Self, OpenError> {
        let folder = Folder::take(folder, options.wait)?;
        let file = folder.database()?;
        let db = schema::open(&file, world)?;
        let connections = (0..READERS).map(|_| schema::open_reader(&file));
        let connections = connections.collect::<Result<_, _>>()?;
        let (calls, queue) = mpsc::channel(QUEUE);
        let write = Write::new(options, world, metrics, hubs);
        let writer = Writer::new(db, folder, write, file)?;
        writer.start(queue)?;
        let reader = Reader::new(options, world, metrics);
        Ok(Self {
            calls,
            readers: Arc::new(Readers {
                reader,
                free: Arc::new(Semaphore::new(READERS)),
                connections: Mutex::new(connections),
            }),
            closed: AtomicBool::new(false),
        })
    }

    /// Hands a change to the thread that writes, and waits for its answer.
    fn write<'a, T: Send + 'a>(
        &'a self,
        change: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Change,
    ) -> BoxFuture<'a, Result<T, Error>> {
        let (answer, answered) = oneshot::channel();
        let call = Call::Change(change(answer));
        let written = async move {
            if self.calls.send(call).await.is_err() {
                return Err(self.gone());
            }
            answered.await.unwrap_or_else(|_| Err(self.gone()))
        };
        written.boxed()
    }

    /// Why the thread that writes does not answer.
    fn gone(&self) -> Error {
        if self.closed.load(Ordering::SeqCst) {
            return Error::Closed;
        }
        // It has crashed, and said so.
        Error::Unavailable
    }

    /// Reads on one of the connections.
    fn read_with<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader, &mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Error>> {
        let reading = async move {
            let free = self.readers.free.clone().acquire_owned().await;
            let free = free.map_err(|_| Error::Closed)?;
            let readers = self.readers.clone();
            let blocking = spawn_blocking(move || {
                let mut db = readers.connections().pop().ok_or(Error::Unavailable)?;
                // A crash, which the log tells, costs no connection.
                let read = AssertUnwindSafe(|| read(&readers.reader, &mut db));
                let result = catch_unwind(read);
                readers.connections().push(db);
                drop(free);
                let result = result.map_err(|_| Error::Unavailable)?;
                result.map_err(|error| readers.reader.failed(&error))
            });
            // The runtime is leaving.
            blocking.await.unwrap_or(Err(Error::Unavailable))
        };
        reading.boxed()
    }
}

impl Engine for Sqlite {
    fn append(
        &self,
        user: &Uid,
        event: Event,
        key: Option<Key>,
    ) -> BoxFuture<'_, Result<Appended, Error>> {
        let (user, body) = (user.clone(), stored::write_event(&event));
        self.write(|answer| Change::Append {
            user,
            event,
            body,
            key,
            answer,
        })
    }

    fn read(&self, user: &Uid, start: Start, most: usize) -> BoxFuture<'_, Result<Page, Error>> {
        let user = user.clone();
        self.read_with(move |reader, db| reader.page(db, &user, start, most))
    }

    fn submit(
        &self,
        user: &Uid,
        id: JobId,
        frame: FrameId,
        key: Option<Key>,
    ) -> BoxFuture<'_, Result<Submitted, Error>> {
        let user = user.clone();
        self.write(|answer| Change::Submit {
            user,
            id,
            frame,
            key,
            answer,
        })
    }

    fn submitted(&self, user: &Uid, key: &Key) -> BoxFuture<'_, Result<Option<Job>, Error>> {
        let (user, key) = (user.clone(), key.clone());
        self.read_with(move |reader, db| reader.job(db, JOB_BY_KEY, &user, key.as_str()))
    }

    fn advance(
        &self,
        user: &Uid,
        id: &JobId,
        state: JobState,
    ) -> BoxFuture<'_, Result<Option<Job>, Error>> {
        let (user, id) = (user.clone(), id.clone());
        self.write(|answer| Change::Advance {
            user,
            id,
            state,
            answer,
        })
    }

    fn job(&self, user: &Uid, id: &JobId) -> BoxFuture<'_, Result<Option<Job>, Error>> {
        let (user, id) = (user.clone(), id.clone());
        self.read_with(move |reader, db| reader.job(db, JOB_BY_ID, &user, id.as_str()))
    }

    fn jobs(
        &self,
        user: &Uid,
        before: Option<JobId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Job>, Error>> {
        let user = user.clone();
        self.read_with(move |reader, db| reader.jobs(db, &user, before.as_ref(), most))
    }

    fn crashed(&self) -> BoxFuture<'_, ()> {
        let crashed = async move {
            // The thread that writes has the other end.
            self.calls.closed().await;
            if self.closed.load(Ordering::SeqCst) {
                pending().await
            }
        };
        crashed.boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        let closing = async move {
            self.closed.store(true, Ordering::SeqCst);
            // Readers first: the last connection to close tidies the journal away.
            let all = u32::try_from(READERS).expect("a few");
            let all = self.readers.free.acquire_many(all).await;
            self.readers.connections().clear();
            self.readers.free.close();
            drop(all);
            let (answer, answered) = oneshot::channel();
            if self.calls.send(Call::Close { answer }).await.is_ok() {
                // Without an answer it is gone, as it should be.
                let _ = answered.await;
            }
        };
        closing.boxed()
    }
}

#[cfg(test)]
pub(super) mod tests;
