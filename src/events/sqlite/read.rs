//! Reads pages and jobs. What is too old or one too many is left out here, whether or
//! not it has been swept yet.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::stored::{self, Unreadable};
use super::{Error, Options, Page, Start};
use crate::domain::{FrameId, Job, JobId, JobState, Uid};
use crate::events::{Cursor, Entry, PAGE_BYTES, epoch, stamp};
use crate::telemetry::{Metrics, Seldom};
use crate::world::World;

/// Between two lines of the log about the same trouble.
const LINES: Duration = Duration::from_secs(10);

/// What reading needs to know, apart from the connection.
pub(super) struct Reader {
    options: Options,
    world: World,
    metrics: Metrics,
    failures: Seldom,
    unreadable: Seldom,
}

/// A user's row.
struct LogRow {
    id: i64,
    epoch: Arc<str>,
    head: i64,
}

impl Reader {
    pub(super) fn new(options: &Options, world: &World, metrics: &Metrics) -> Self {
        Self {
            options: options.clone(),
            world: world.clone(),
            metrics: metrics.clone(),
            failures: Seldom::new(LINES),
            unreadable: Seldom::new(LINES),
        }
    }

    pub(super) fn page(
        &self,
        db: &mut Connection,
        user: &Uid,
        start: Start,
        most: usize,
    ) -> rusqlite::Result<Page> {
        // One state of the database, whatever is written meanwhile.
        let db = db.transaction()?;
        let Some(log) = log_row(&db, user)? else {
            return no_log(&db, &start);
        };
        let before = self.before_oldest(&db, &log)?;
        let (gap, after) = match start {
            Start::Oldest => (false, before),
            Start::Now => (false, log.head),
            Start::After(Cursor { epoch, offset }) => {
                let offset = i64::try_from(offset).ok();
                let here = offset.filter(|offset| (before..=log.head).contains(offset));
                match here.filter(|_| epoch == log.epoch) {
                    Some(offset) => (false, offset),
                    None => (true, before),
                }
            }
        };
        let mut page = Page {
            gap,
            entries: Vec::new(),
            cursor: Cursor {
                epoch: log.epoch,
                offset: number(after),
            },
            more: false,
        };
        let mut select = db.prepare_cached(
            "SELECT offset, at, body FROM entries WHERE log = ?1 AND offset > ?2 ORDER BY offset",
        )?;
        let mut rows = select.query([log.id, after])?;
        let (mut bytes, mut seen) = (0, 0);
        while let Some(row) = rows.next()? {
            let body = row.get_ref(2)?.as_bytes()?;
            bytes += body.len();
            if seen == most || (bytes > PAGE_BYTES && seen > 0) {
                page.more = true;
                break;
            }
            seen += 1;
            page.cursor.offset = number(row.get(0)?);
            match self.entry(page.cursor.offset, row.get(1)?, body) {
                Ok(entry) => page.entries.push(Arc::new(entry)),
                Err(Unreadable) => self.left_out(),
            }
        }
        Ok(page)
    }

    /// The job that the query selects by a user and this word.
    pub(super) fn job(
        &self,
        db: &mut Connection,
        query: &'static str,
        user: &Uid,
        word: &str,
    ) -> rusqlite::Result<Option<Job>> {
        let cutoff = cutoff(&self.options, stamp(&self.world));
        let mut select = db.prepare_cached(query)?;
        let row = select.query_row(params![user.as_str(), word], JobRow::of);
        Ok(row.optional()?.and_then(|row| self.kept(row, cutoff)))
    }

    pub(super) fn jobs(
        &self,
        db: &mut Connection,
        user: &Uid,
        before: Option<&JobId>,
        most: usize,
    ) -> rusqlite::Result<Vec<Job>> {
        let cutoff = cutoff(&self.options, stamp(&self.world));
        let db = db.transaction()?;
        let mut number = i64::MAX;
        if let Some(before) = before {
            let mut select = db.prepare_cached(JOB_BY_ID)?;
            let row = select.query_row(params![user.as_str(), before.as_str()], JobRow::of);
            number = row.optional()?.map_or(i64::MAX, |row| row.number);
        }
        let mut select = db.prepare_cached(
            "SELECT j.*, l.jobs FROM logs l JOIN jobs j ON j.log = l.id
            WHERE l.uid = ?1 AND j.number < ?2 ORDER BY j.number DESC",
        )?;
        let mut rows = select.query(params![user.as_str(), number])?;
        let mut jobs = Vec::new();
        while jobs.len() < most
            && let Some(row) = rows.next()?
        {
            jobs.extend(self.kept(JobRow::of(row)?, cutoff));
        }
        Ok(jobs)
    }

    /// Tells the operator why it failed; callers learn that it did.
    pub(super) fn failed(&self, error: &rusqlite::Error) -> Error {
        if let Some(unsaid) = self.failures.line() {
            tracing::error!(%error, unsaid, "the users' logs cannot be read: look after DATA_DIR and its disk");
        }
        Error::Unavailable
    }

    /// The offset before the oldest entry that is kept.
    fn before_oldest(&self, db: &Transaction<'_>, log: &LogRow) -> rusqlite::Result<i64> {
        let cutoff = cutoff(&self.options, stamp(&self.world));
        let most = whole(self.options.entries_per_user);
        let mut select = db.prepare_cached(
            "SELECT offset FROM entries WHERE log = ?1 AND offset > ?2 AND at > ?3
            ORDER BY offset LIMIT 1",
        )?;
        let oldest = select
            .query_row([log.id, log.head - most, cutoff], |row| row.get(0))
            .optional()?;
        Ok(oldest.map_or(log.head, |oldest: i64| oldest - 1))
    }

    fn entry(&self, offset: u64, at: i64, body: &[u8]) -> Result<Entry, Unreadable> {
        let body = std::str::from_utf8(body).map_err(|_| Unreadable)?;
        Ok(Entry {
            offset,
            at: time(at)?,
            event: stored::read_event(body)?,
        })
    }

    fn kept(&self, row: JobRow, cutoff: i64) -> Option<Job> {
        if !row.is_kept(&self.options, cutoff) {
            return None;
        }
        row.job.inspect_err(|Unreadable| self.left_out()).ok()
    }

    fn left_out(&self) {
        self.metrics.log_row_unreadable();
        if let Some(unsaid) = self.unreadable.line() {
            tracing::warn!(
                unsaid,
                "a stored entry or job is damaged, or of a later version; it is left out"
            );
        }
    }
}

/// One job, by its user and its id.
pub(super) const JOB_BY_ID: &str = "SELECT j.*, l.jobs FROM logs l JOIN jobs j ON j.log = l.id
    WHERE l.uid = ?1 AND j.id = ?2";

/// The same by the key that it was submitted with.
pub(super) const JOB_BY_KEY: &str = "SELECT j.*, l.jobs FROM logs l JOIN jobs j ON j.log = l.id
    WHERE l.uid = ?1 AND j.key = ?2";

/// A job as it is stored.
pub(super) struct JobRow {
    pub(super) log: i64,
    pub(super) number: i64,
    pub(super) job: Result<Job, Unreadable>,
    has_ended: bool,
    changed_at: i64,
    /// Jobs that its user has submitted.
    submitted: i64,
}

impl JobRow {
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let state: i64 = row.get("state")?;
        let ending: Option<String> = row.get("ending")?;
        let (submitted_at, changed_at) = (row.get("submitted_at")?, row.get("changed_at")?);
        let (id, frame): (String, String) = (row.get("id")?, row.get("frame")?);
        let job = || {
            Ok(Job {
                id: JobId::new(id),
                frame: FrameId::new(frame),
                state: match (state, ending) {
                    (0, _) => JobState::Pending,
                    (1, _) => JobState::Streaming,
                    (_, Some(ending)) => stored::read_ending(&ending)?,
                    (_, None) => return Err(Unreadable),
                },
                submitted_at: time(submitted_at)?,
                changed_at: time(changed_at)?,
            })
        };
        Ok(Self {
            log: row.get("log")?,
            number: row.get("number")?,
            job: job(),
            has_ended: state >= 2,
            changed_at,
            submitted: row.get("jobs")?,
        })
    }

    /// It is under way, or is neither too old nor one too many.
    pub(super) fn is_kept(&self, options: &Options, cutoff: i64) -> bool {
        let newer = self.submitted - self.number;
        !self.has_ended || (self.changed_at > cutoff && newer < whole(options.jobs_per_user()))
    }
}

/// The state of a job as it is stored.
pub(super) fn state_number(state: &JobState) -> i64 {
    match state {
        JobState::Pending => 0,
        JobState::Streaming => 1,
        JobState::Done(_) => 2,
        JobState::Error(_) => 3,
    }
}

/// What was appended before is kept no more, in milliseconds.
pub(super) fn cutoff(options: &Options, now: Timestamp) -> i64 {
    let age = i64::try_from(options.age.as_millis()).unwrap_or(i64::MAX);
    now.as_millisecond().saturating_sub(age)
}

/// A count as SQLite has them.
pub(super) fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// An offset as SQLite has them.
pub(super) fn number(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or_default()
}

fn time(at: i64) -> Result<Timestamp, Unreadable> {
    Timestamp::from_millisecond(at).map_err(|_| Unreadable)
}

fn log_row(db: &Transaction<'_>, user: &Uid) -> rusqlite::Result<Option<LogRow>> {
    let mut select = db.prepare_cached("SELECT id, epoch, head FROM logs WHERE uid = ?1")?;
    let row = select.query_row([user.as_str()], |row| {
        Ok(LogRow {
            id: row.get(0)?,
            epoch: row.get::<_, String>(1)?.into(),
            head: row.get(2)?,
        })
    });
    row.optional()
}

/// The page of a user without a log.
fn no_log(db: &Transaction<'_>, start: &Start) -> rusqlite::Result<Page> {
    let house = "SELECT name, forgotten FROM house";
    let epoch = db.query_row(house, [], |row| {
        let name: String = row.get(0)?;
        Ok(epoch(&name, number(row.get(1)?)))
    })?;
    let here = |cursor: &Cursor| cursor.epoch == epoch && cursor.offset == 0;
    Ok(Page {
        gap: matches!(start, Start::After(cursor) if !here(cursor)),
        entries: Vec::new(),
        cursor: Cursor { epoch, offset: 0 },
        more: false,
    })
}
