//! The thread that writes. It takes what waits as one group, commits it, tells
//! followers and callers, and sweeps a little in between.

use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::runtime::{self, Runtime};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::OpenError;
use super::folder::Folder;
use super::schema::why;
use super::sweep::{Swept, sweep};
use super::write::{Call, Change, Done, Write};
use crate::telemetry::{EntryLoss, Seldom};

/// Calls that are committed together, at most.
const GROUP: usize = 256;
/// And bytes: no more are taken when there are so many.
const GROUP_BYTES: usize = 1 << 20;
/// Between two sweeps, if the last one left nothing to do.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Between two of which the last one did: a little is done for callers meanwhile.
const SWEEP_ON: Duration = Duration::from_millis(20);
/// Between two times that users are forgotten: each makes cursors of logs that are not
/// there yet those of another epoch.
const FORGET_EVERY: Duration = Duration::from_secs(60 * 60);
/// Between two lines of the log about the same trouble.
const LINES: Duration = Duration::from_secs(10);

/// Who writes.
pub(super) struct Writer {
    db: Connection,
    /// After the connection, so that it is given back later.
    folder: Folder,
    file: PathBuf,
    write: Write,
    runtime: Runtime,
    lines: Seldom,
    sweep_at: Instant,
    forget_at: Instant,
}

impl Writer {
    /// Ends the jobs that another process left, before anybody is served.
    pub(super) fn new(
        mut db: Connection,
        folder: Folder,
        write: Write,
        file: PathBuf,
    ) -> Result<Self, OpenError> {
        let mut orphans = 0;
        loop {
            let ended = write.end_orphans(&mut db);
            match ended.map_err(|error| why(&file, &error))? {
                0 => break,
                some => orphans += some,
            }
        }
        if orphans > 0 {
            tracing::warn!(
                jobs = orphans,
                "jobs of a process that is gone were ended; their users' logs say so"
            );
        }
        // Only to wait with a deadline: what it runs blocks this thread.
        let runtime = runtime::Builder::new_current_thread().enable_time().build();
        Ok(Self {
            db,
            folder,
            write,
            runtime: runtime.map_err(|error| failed(&file, &error))?,
            file,
            lines: Seldom::new(LINES),
            sweep_at: Instant::now(),
            forget_at: Instant::now(),
        })
    }

    /// Writes until the queue is closed.
    pub(super) fn start(self, queue: mpsc::Receiver<Call>) -> Result<(), OpenError> {
        let file = self.file.clone();
        let named = thread::Builder::new().name("logs".to_owned());
        let started = named.spawn(move || {
            let crash = Crash;
            self.run(queue);
            drop(crash);
        });
        started.map_err(|error| failed(&file, &error))?;
        Ok(())
    }

    fn run(mut self, mut queue: mpsc::Receiver<Call>) {
        loop {
            let idle = self.sweep_at.saturating_duration_since(Instant::now());
            let next = async { timeout(idle, queue.recv()).await };
            match self.runtime.block_on(next) {
                // It was dropped without being closed.
                Ok(None) => return,
                Ok(Some(first)) => {
                    let (changes, last) = take(first, &mut queue);
                    if !changes.is_empty() {
                        self.commit(changes);
                    }
                    match last {
                        Some(Call::Close { answer }) => {
                            let Self { db, folder, .. } = self;
                            drop(db);
                            drop(folder);
                            let _ = answer.send(());
                            return;
                        }
                        #[cfg(test)]
                        Some(Call::Meddle(how)) => how(&mut self.db),
                        Some(Call::Change(_)) | None => {}
                    }
                }
                Err(_) => {}
            }
            if Instant::now() >= self.sweep_at {
                self.sweep();
            }
        }
    }

    fn commit(&mut self, changes: Vec<Change>) {
        let (began, now) = (Instant::now(), self.write.now());
        match self.try_commit(&changes, now) {
            Ok(all_done) => {
                let metrics = &self.write.metrics;
                metrics.log_committed(changes.len(), began.elapsed());
                let told = changes.into_iter().zip(all_done);
                let next = told.filter_map(|(change, done)| self.write.tell(change, done, now));
                let next: Vec<_> = next.collect();
                if !next.is_empty() {
                    self.commit(next);
                }
            }
            Err(error) if changes.len() > 1 && may_be_of_one(&error) => {
                for change in changes {
                    self.commit(vec![change]);
                }
            }
            Err(error) => {
                self.failed(&error);
                changes.into_iter().for_each(Change::fail);
            }
        }
    }

    fn try_commit(&mut self, changes: &[Change], now: Timestamp) -> rusqlite::Result<Vec<Done>> {
        let immediate = TransactionBehavior::Immediate;
        let group = self.db.transaction_with_behavior(immediate)?;
        let done = changes
            .iter()
            .map(|change| self.write.run(&group, change, now));
        let done = done.collect::<Result<_, _>>()?;
        group.commit()?;
        Ok(done)
    }

    fn sweep(&mut self) {
        let cutoff = self.write.cutoff();
        let forget = Instant::now() >= self.forget_at;
        let swept = match sweep(&mut self.db, cutoff, forget) {
            Ok(swept) => swept,
            Err(error) => {
                self.failed(&error);
                Swept::default()
            }
        };
        let Swept {
            entries,
            more,
            forgot,
        } = swept;
        if forgot {
            self.forget_at = Instant::now() + FORGET_EVERY;
        }
        self.write.metrics.log_swept(EntryLoss::Age, entries);
        self.sweep_at = Instant::now() + if more { SWEEP_ON } else { SWEEP_EVERY };
    }

    /// Tells the operator why nothing was kept; callers learn that it was not.
    fn failed(&self, error: &rusqlite::Error) {
        let Some(unsaid) = self.lines.line() else {
            return;
        };
        let advice = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => "the disk is full: make room",
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                "the database is damaged: stop the server, and restore it or move it away"
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "another program holds the database: end that one"
            }
            _ => "look after DATA_DIR and its disk",
        };
        tracing::error!(%error, unsaid, "the users' logs cannot be written; {advice}");
    }
}

/// Whether one change of a group may have failed by itself, as on a user's damaged rows:
/// then the others need not fail with it.
fn may_be_of_one(error: &rusqlite::Error) -> bool {
    !matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::OutOfMemory
        )
    )
}

fn failed(file: &Path, error: &io::Error) -> OpenError {
    OpenError::Failed {
        file: file.to_owned(),
        cause: error.to_string(),
    }
}

/// What waits, up to a group, and what came behind it that is no part of one.
fn take(first: Call, queue: &mut mpsc::Receiver<Call>) -> (Vec<Change>, Option<Call>) {
    let mut changes = Vec::new();
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(call) = next {
        let Call::Change(change) = call else {
            return (changes, Some(call));
        };
        bytes += change.bytes();
        changes.push(change);
        let room = changes.len() < GROUP && bytes < GROUP_BYTES;
        next = room.then(|| queue.try_recv().ok()).flatten();
    }
    (changes, None)
}

/// Tells the operator if the thread ends by a panic; callers are told
/// `Unavailable` from then on.
struct Crash;

impl Drop for Crash {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("the thread that writes the users' logs crashed; restart the server");
        }
    }
}
