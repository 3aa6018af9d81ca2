//! Follows one user's log: everything after a cursor, then what is appended, each
//! entry once and in order.
//!
//! A follower reads the engine page by page until it has everything, and takes
//! from the user's hub what comes then. If it is too slow for the hub, it reads on
//! from its cursor.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::hub::{Found, Seat};
use super::{Cursor, Entry, Error, Log, Page, Start};
use crate::domain::Event;

/// Entries that are read, or taken from the hub, at once.
const AT_ONCE: usize = 32;

/// What a follower is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The next entry.
    Entry(Arc<Entry>),
    /// Entries are missing here. What comes next is the oldest that is kept.
    Gap,
}

/// One who follows a user's log.
pub struct Follower {
    log: Log,
    seat: Seat,
    /// Behind what was told; not known before the first entry of one that began now.
    cursor: Option<Cursor>,
    /// It has everything that was announced before its seat's next entry, so that it
    /// need not read.
    caught_up: bool,
    /// What comes next, of the cursor's epoch.
    ready: VecDeque<Arc<Entry>>,
    reading: Reading,
}

/// A read of a log that goes on when whoever waits for it looks away: a session does
/// with each word of its client, and would begin anew for ever. It is a task of its own,
/// for what nobody polls may have been given a connection, and keeps it from others.
#[derive(Default)]
pub(super) struct Reading(Option<JoinSet<Result<Page, Error>>>);

impl Reading {
    /// The page that was begun, or this one.
    pub(super) async fn page<F>(&mut self, begin: impl FnOnce() -> F) -> Result<Page, Error>
    where
        F: Future<Output = Result<Page, Error>> + Send + 'static,
    {
        let task = self.0.get_or_insert_with(|| {
            let mut task = JoinSet::new();
            task.spawn(begin());
            task
        });
        let page = task.join_next().await;
        self.0 = None;
        // It has crashed.
        page.and_then(Result::ok).unwrap_or(Err(Error::Unavailable))
    }
}

impl Follower {
    pub(super) fn new(log: Log, seat: Seat, start: Start) -> Self {
        let caught_up = start == Start::Now;
        let cursor = match start {
            Start::After(cursor) => Some(cursor),
            Start::Oldest | Start::Now => None,
        };
        Self {
            log,
            seat,
            cursor,
            caught_up,
            ready: VecDeque::new(),
            reading: Reading::default(),
        }
    }

    /// The next entry, as soon as there is one. Messages that have expired are left
    /// out. Nothing is lost if the future is dropped, and after
    /// [`Error::Unavailable`] it may be called again.
    ///
    /// # Errors
    /// The log cannot be read, or is closed.
    pub async fn next(&mut self) -> Result<Told, Error> {
        loop {
            while let Some(entry) = self.ready.pop_front() {
                if let Some(cursor) = &mut self.cursor {
                    let behind = entry.offset - 1;
                    if cursor.offset < behind {
                        cursor.offset = behind;
                        self.ready.push_front(entry);
                        return Ok(self.gap());
                    }
                    cursor.offset = entry.offset;
                }
                if !self.has_expired(&entry) {
                    return Ok(Told::Entry(entry));
                }
            }
            if !self.caught_up {
                if self.read().await? {
                    return Ok(self.gap());
                }
                continue;
            }
            match self.seat.take(AT_ONCE) {
                Found::Entries(epoch, entries) => self.take(epoch, entries),
                Found::Nothing => {
                    // Most followers wait most of the time.
                    self.ready = VecDeque::new();
                    if !self.seat.wait().await {
                        return Err(Error::Closed);
                    }
                }
                Found::Behind => {
                    self.caught_up = false;
                    if self.cursor.is_none() {
                        self.cursor = self.seat.cursor();
                        if self.cursor.is_none() {
                            return Ok(self.gap());
                        }
                    }
                }
            }
        }
    }

    /// Behind everything that was told, for a follower that goes on later. `None` if
    /// it began now, and nothing has come yet.
    pub fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// Whether its client is away; see [`Subscription::set_away`](super::Subscription::set_away).
    pub(super) fn set_away(&mut self, away: bool) {
        self.seat.set_away(away);
    }

    /// Reads a page; whether there is a gap before it.
    async fn read(&mut self) -> Result<bool, Error> {
        let (log, seat, cursor) = (&self.log, &mut self.seat, &self.cursor);
        let page = self.reading.page(|| {
            // What is announced from here on may be in the page as well, and is told
            // apart by its offset; what was announced before is in it.
            seat.skip();
            let (log, user) = (log.clone(), seat.user().clone());
            let start = cursor.clone().map_or(Start::Oldest, Start::After);
            async move { log.read(&user, start, AT_ONCE).await }
        });
        let page = page.await?;
        let Page {
            gap,
            entries,
            cursor,
            more,
        } = page;
        self.caught_up = !more;
        let offset = match entries.first() {
            Some(first) => first.offset - 1,
            None => cursor.offset,
        };
        // Rows that cannot be read are left out.
        let known = self.cursor.as_ref();
        let hole = known.is_some_and(|it| it.epoch == cursor.epoch && it.offset < offset);
        self.cursor = Some(Cursor { offset, ..cursor });
        self.ready = entries.into();
        Ok(gap || hole)
    }

    fn gap(&self) -> Told {
        self.log.count_gap();
        Told::Gap
    }

    /// Takes entries from the hub, apart from those that were read already.
    fn take(&mut self, epoch: Arc<str>, entries: Vec<Arc<Entry>>) {
        let first = entries.first().map_or(0, |entry| entry.offset);
        let known = match &self.cursor {
            Some(cursor) if cursor.epoch == epoch => cursor.offset,
            // It had everything, so a new log begins right here.
            _ => first.saturating_sub(1),
        };
        self.cursor = Some(Cursor {
            epoch,
            offset: known,
        });
        let new = entries.into_iter().filter(|entry| entry.offset > known);
        self.ready.extend(new);
    }

    fn has_expired(&self, entry: &Entry) -> bool {
        match &entry.event {
            Event::Message(message) => {
                let until = message.expires_at;
                until.is_some_and(|until| until <= self.log.now())
            }
            Event::Decided(_) | Event::Job(_) => false,
        }
    }
}
