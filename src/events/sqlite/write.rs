//! What is written: calls, and what each does within its group's transaction.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use super::read::{JOB_BY_ID, JobRow, cutoff, number, state_number, whole};
use super::stored;
use super::{Appended, Error, Hubs, Key, Options, Submitted};
use crate::domain::{
    Event, FrameFault, FrameFaultCode, FrameId, Job, JobId, JobState, MessageId, Uid,
};
use crate::events::{Cursor, Entry, may_become, stamp};
use crate::telemetry::{EntryLoss, Metrics};
use crate::world::World;

/// Rows that one call removes at most, when there are far more than should be.
const TRIMMED: i64 = 256;
/// What is said of jobs whose process is gone.
const GONE: &str = "The server that analysed this is gone; submit it again, under another key.";

/// What is said of jobs that the disk took so long to keep that nobody waited any more.
const TOO_LATE: &str = "The server took too long to keep this; submit it again, under another key.";

type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// A call to the thread that writes.
pub(super) enum Call {
    Change(Change),
    /// The last one.
    Close {
        answer: oneshot::Sender<()>,
    },
    /// Does something to the database that only tests do.
    #[cfg(test)]
    Meddle(Box<dyn FnOnce(&mut Connection) + Send>),
}

/// What is to be written.
pub(super) enum Change {
    Append {
        user: Uid,
        event: Event,
        /// The event as it is stored.
        body: String,
        key: Option<Key>,
        answer: Answer<Appended>,
    },
    Submit {
        user: Uid,
        id: JobId,
        frame: FrameId,
        key: Option<Key>,
        answer: Answer<Submitted>,
    },
    Advance {
        user: Uid,
        id: JobId,
        state: JobState,
        answer: Answer<Option<Job>>,
    },
}

impl Change {
    /// About what it writes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append { body, .. } => body.len(),
            Self::Submit { .. } | Self::Advance { .. } => 512,
        }
    }

    /// Nothing of it was kept.
    pub(super) fn fail(self) {
        // Who has given up need not know.
        match self {
            Self::Append { answer, .. } => drop(answer.send(Err(Error::Unavailable))),
            Self::Submit { answer, .. } => drop(answer.send(Err(Error::Unavailable))),
            Self::Advance { answer, .. } => drop(answer.send(Err(Error::Unavailable))),
        }
    }
}

/// What a change has come to, once its group is committed.
pub(super) enum Done {
    Appended(Pushed),
    /// This message was there already, by its key.
    Known(Cursor, MessageId),
    Submitted(Submitted, Option<Pushed>),
    Advanced(Option<Job>, Option<Pushed>),
}

/// An entry at the end of a log.
pub(super) struct Pushed {
    /// The log's row.
    log: i64,
    /// Right behind the entry.
    cursor: Cursor,
    /// How many of the oldest went for it.
    trimmed: usize,
}

/// What writing needs to know, apart from the connection.
pub(super) struct Write {
    pub(super) options: Options,
    pub(super) metrics: Metrics,
    world: World,
    hubs: Hubs,
}

impl Write {
    pub(super) fn new(options: &Options, world: &World, metrics: &Metrics, hubs: Hubs) -> Self {
        Self {
            options: options.clone(),
            metrics: metrics.clone(),
            world: world.clone(),
            hubs,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        stamp(&self.world)
    }

    /// Before this, nothing is kept.
    pub(super) fn cutoff(&self) -> i64 {
        cutoff(&self.options, self.now())
    }

    /// Makes a change, within a transaction.
    pub(super) fn run(
        &self,
        db: &Connection,
        change: &Change,
        now: Timestamp,
    ) -> rusqlite::Result<Done> {
        match change {
            Change::Append {
                user,
                event,
                body,
                key,
                ..
            } => {
                let message = match event {
                    Event::Message(message) => Some(&message.id),
                    Event::Decided(_) | Event::Job(_) => None,
                };
                self.append(db, user, body, key.as_ref().zip(message), now)
            }
            Change::Submit {
                user,
                id,
                frame,
                key,
                ..
            } => self.submit(db, user, id, frame, key.as_ref(), now),
            Change::Advance {
                user, id, state, ..
            } => {
                let (job, pushed) = self.advance(db, user, id, state, now)?;
                Ok(Done::Advanced(job, pushed))
            }
        }
    }

    /// Tells followers and the caller, now that it is kept. A new job whose caller has
    /// given up would be seen through by nobody: this gives the change that ends it.
    pub(super) fn tell(&self, change: Change, done: Done, now: Timestamp) -> Option<Change> {
        match (change, done) {
            (
                Change::Append {
                    user,
                    event,
                    answer,
                    ..
                },
                Done::Appended(pushed),
            ) => {
                let followers = self.announce(&user, &pushed, event, now);
                drop(answer.send(Ok(Appended {
                    cursor: pushed.cursor,
                    earlier: None,
                    followers,
                })));
            }
            (Change::Append { user, answer, .. }, Done::Known(cursor, message)) => {
                let followers = self.hubs.followers(&user);
                drop(answer.send(Ok(Appended {
                    cursor,
                    earlier: Some(message),
                    followers,
                })));
            }
            (Change::Submit { user, answer, .. }, Done::Submitted(submitted, pushed)) => {
                if let Some(pushed) = pushed {
                    self.announce(&user, &pushed, said(&submitted.job), now);
                }
                let told = answer.send(Ok(submitted));
                if let Err(Ok(Submitted {
                    job,
                    repeated: false,
                })) = told
                {
                    return Some(Change::Advance {
                        user,
                        id: job.id,
                        state: internal(TOO_LATE),
                        answer: oneshot::channel().0,
                    });
                }
            }
            (Change::Advance { user, answer, .. }, Done::Advanced(job, pushed)) => {
                if let Some((pushed, job)) = pushed.zip(job.as_ref()) {
                    self.announce(&user, &pushed, said(job), now);
                }
                drop(answer.send(Ok(job)));
            }
            (Change::Append { .. } | Change::Submit { .. } | Change::Advance { .. }, _) => {
                unreachable!("`run` gave each change what it comes to")
            }
        }
        None
    }

    /// Ends some of the jobs that another process left; how many. Each of them is one,
    /// for this process has the folder to itself.
    pub(super) fn end_orphans(&self, db: &mut Connection) -> rusqlite::Result<usize> {
        let now = self.now();
        let group = db.transaction()?;
        let orphans: Vec<(String, String)> = group
            .prepare_cached(
                "SELECT l.uid, j.id FROM jobs j JOIN logs l ON l.id = j.log
                WHERE j.state < 2 LIMIT ?1",
            )?
            .query_map([TRIMMED], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let gone = internal(GONE);
        let mut trimmed = 0;
        for (user, id) in &orphans {
            let (user, id) = (Uid::new(user.as_str()), JobId::new(id.as_str()));
            let (job, pushed) = self.advance(&group, &user, &id, &gone, now)?;
            trimmed += pushed.map_or(0, |pushed| pushed.trimmed);
            if job.is_none() {
                // Its times cannot be read. It would be found again and again.
                let delete = "DELETE FROM jobs WHERE id = ?1";
                group.execute(delete, [id.as_str()])?;
            }
        }
        group.commit()?;
        self.metrics.log_swept(EntryLoss::Count, trimmed);
        Ok(orphans.len())
    }

    fn announce(&self, user: &Uid, pushed: &Pushed, event: Event, at: Timestamp) -> usize {
        self.metrics.log_swept(EntryLoss::Count, pushed.trimmed);
        let Cursor { epoch, offset } = &pushed.cursor;
        let offset = *offset;
        let entry = Arc::new(Entry { offset, at, event });
        self.hubs.announce(user, epoch, &entry)
    }

    fn append(
        &self,
        db: &Connection,
        user: &Uid,
        body: &str,
        key: Option<(&Key, &MessageId)>,
        now: Timestamp,
    ) -> rusqlite::Result<Done> {
        if let Some((key, _)) = key
            && let Some((cursor, earlier)) = self.message(db, user, key, now)?
        {
            return Ok(Done::Known(cursor, earlier));
        }
        let pushed = self.push(db, user, body, now)?;
        if let Some((key, message)) = key {
            let insert = "INSERT OR REPLACE INTO message_keys (log, key, offset, message, at)
                VALUES (?1, ?2, ?3, ?4, ?5)";
            let (key, message) = (key.as_str(), message.as_str());
            let at = now.as_millisecond();
            let (log, offset) = (pushed.log, signed(pushed.cursor.offset));
            db.prepare_cached(insert)?
                .execute(params![log, key, offset, message, at])?;
            let trim = "DELETE FROM message_keys WHERE log = ?1 AND offset <= ?2";
            db.prepare_cached(trim)?
                .execute([log, offset - whole(self.options.keys_per_user())])?;
        }
        Ok(Done::Appended(pushed))
    }

    /// The message that had this key, and where it stands.
    fn message(
        &self,
        db: &Connection,
        user: &Uid,
        key: &Key,
        now: Timestamp,
    ) -> rusqlite::Result<Option<(Cursor, MessageId)>> {
        let select = "SELECT l.epoch, k.offset, k.message FROM logs l
            JOIN message_keys k ON k.log = l.id
            WHERE l.uid = ?1 AND k.key = ?2 AND k.at > ?3";
        let cutoff = cutoff(&self.options, now);
        let mut select = db.prepare_cached(select)?;
        let row = select.query_row(params![user.as_str(), key.as_str(), cutoff], |row| {
            let epoch = row.get::<_, String>(0)?.into();
            let offset = number(row.get(1)?);
            let message = MessageId::new(row.get::<_, String>(2)?);
            Ok((Cursor { epoch, offset }, message))
        });
        row.optional()
    }

    /// Puts an entry at the end of a log, which is made if there is none.
    fn push(
        &self,
        db: &Connection,
        user: &Uid,
        body: &str,
        now: Timestamp,
    ) -> rusqlite::Result<Pushed> {
        let at = now.as_millisecond();
        let row = |row: &rusqlite::Row<'_>| {
            let epoch: Arc<str> = row.get::<_, String>(1)?.into();
            Ok((row.get(0)?, epoch, row.get(2)?))
        };
        let update = "UPDATE logs SET head = head + 1, last_at = ?2,
            oldest_at = coalesce(oldest_at, ?2) WHERE uid = ?1 RETURNING id, epoch, head";
        let mut update = db.prepare_cached(update)?;
        let there = update
            .query_row(params![user.as_str(), at], row)
            .optional()?;
        let (log, epoch, head): (i64, Arc<str>, i64) = match there {
            Some(there) => there,
            None => {
                let insert = "INSERT INTO logs (uid, epoch, head, jobs, oldest_at, last_at)
                    SELECT ?1, name || '-' || forgotten, 1, 0, ?2, ?2 FROM house
                    RETURNING id, epoch, head";
                let mut insert = db.prepare_cached(insert)?;
                insert.query_row(params![user.as_str(), at], row)?
            }
        };
        let insert = "INSERT INTO entries (log, offset, at, body) VALUES (?1, ?2, ?3, ?4)";
        db.prepare_cached(insert)?
            .execute(params![log, head, at, body])?;
        let last = head - whole(self.options.entries_per_user);
        let mut trimmed = 0;
        if last > 0 {
            let trim = "DELETE FROM entries WHERE log = ?1 AND offset IN (SELECT offset
                FROM entries WHERE log = ?1 AND offset <= ?2 ORDER BY offset LIMIT ?3)";
            trimmed = db.prepare_cached(trim)?.execute([log, last, TRIMMED])?;
        }
        let offset = number(head);
        Ok(Pushed {
            log,
            cursor: Cursor { epoch, offset },
            trimmed,
        })
    }

    fn submit(
        &self,
        db: &Connection,
        user: &Uid,
        id: &JobId,
        frame: &FrameId,
        key: Option<&Key>,
        now: Timestamp,
    ) -> rusqlite::Result<Done> {
        let key = key.map(Key::as_str);
        let same = "SELECT j.*, l.jobs FROM logs l JOIN jobs j ON j.log = l.id
            WHERE l.uid = ?1 AND (j.id = ?2 OR j.key = ?3)";
        let mut same = db.prepare_cached(same)?;
        let same = same.query_row(params![user.as_str(), id.as_str(), key], JobRow::of);
        if let Some(row) = same.optional()? {
            let cutoff = cutoff(&self.options, now);
            let is_kept = row.is_kept(&self.options, cutoff);
            match row.job {
                Ok(job) if is_kept => {
                    let repeated = true;
                    return Ok(Done::Submitted(Submitted { job, repeated }, None));
                }
                // It is as if it had been swept.
                _ => {
                    let delete = "DELETE FROM jobs WHERE log = ?1 AND number = ?2";
                    db.execute(delete, [row.log, row.number])?;
                }
            }
        }
        let job = Job {
            id: id.clone(),
            frame: frame.clone(),
            state: JobState::Pending,
            submitted_at: now,
            changed_at: now,
        };
        let body = stored::write_event(&said(&job));
        let pushed = self.push(db, user, &body, now)?;
        let log = pushed.log;
        let count = "UPDATE logs SET jobs = jobs + 1 WHERE id = ?1 RETURNING jobs";
        let number: i64 = db
            .prepare_cached(count)?
            .query_row([log], |row| row.get(0))?;
        let at = now.as_millisecond();
        let insert = "INSERT INTO jobs (log, number, id, frame, key, state, submitted_at,
            changed_at) VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?6)";
        let (id, frame) = (id.as_str(), frame.as_str());
        db.prepare_cached(insert)?
            .execute(params![log, number, id, frame, key, at])?;
        let trim = "DELETE FROM jobs WHERE log = ?1 AND number <= ?2 AND state >= 2";
        let last = number - whole(self.options.jobs_per_user());
        db.prepare_cached(trim)?.execute([log, last])?;
        let repeated = false;
        Ok(Done::Submitted(Submitted { job, repeated }, Some(pushed)))
    }

    fn advance(
        &self,
        db: &Connection,
        user: &Uid,
        id: &JobId,
        state: &JobState,
        now: Timestamp,
    ) -> rusqlite::Result<(Option<Job>, Option<Pushed>)> {
        let mut select = db.prepare_cached(JOB_BY_ID)?;
        let row = select.query_row(params![user.as_str(), id.as_str()], JobRow::of);
        let cutoff = cutoff(&self.options, now);
        let row = row
            .optional()?
            .filter(|row| row.is_kept(&self.options, cutoff));
        let Some((row, job)) = row.and_then(|row| Some((row.number, row.job.ok()?))) else {
            return Ok((None, None));
        };
        if !may_become(&job.state, state) {
            return Ok((Some(job), None));
        }
        let job = Job {
            state: state.clone(),
            changed_at: now,
            ..job
        };
        let body = stored::write_event(&said(&job));
        let pushed = self.push(db, user, &body, now)?;
        let update = "UPDATE jobs SET state = ?3, changed_at = ?4, ending = ?5
            WHERE log = ?1 AND number = ?2";
        let ending = stored::write_ending(&job.state);
        let (state, at) = (state_number(&job.state), now.as_millisecond());
        db.prepare_cached(update)?
            .execute(params![pushed.log, row, state, at, ending])?;
        Ok((Some(job), Some(pushed)))
    }
}

fn internal(why: &str) -> JobState {
    JobState::Error(Box::new(FrameFault::new(
        FrameFaultCode::Internal,
        why,
        true,
    )))
}

fn said(job: &Job) -> Event {
    Event::Job(Box::new(job.clone()))
}

fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
