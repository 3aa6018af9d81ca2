//! A follower who is told first where it begins, so that it has a cursor to come back
//! with although nothing happens for long.

use std::sync::Arc;

use super::follower::Reading;
use super::{Cursor, Entry, Error, Follower, Log, Page, Start, Told};
use crate::domain::Uid;

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// Behind it; `None` with a gap after which nothing is kept.
    pub cursor: Option<Cursor>,
    /// What it is.
    pub what: What,
}

/// What is new in a log.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Everything after the cursor will be told.
    Start,
    /// An entry.
    Entry(Arc<Entry>),
    /// Entries are missing here.
    Gap,
}

/// One who follows a user's log from a place of its choice.
pub struct Subscription {
    log: Log,
    user: Uid,
    /// It has not been told yet that it begins there.
    start: Option<Start>,
    reading: Reading,
    follower: Follower,
}

impl Subscription {
    pub(super) fn new(log: Log, user: Uid, start: Option<Start>) -> Self {
        // Until it has begun it only takes its seat.
        let follower = log.follow(&user, Start::Now);
        Self {
            log,
            user,
            start,
            reading: Reading::default(),
            follower,
        }
    }

    /// What is new, as soon as there is something. Nothing is lost if the future is
    /// dropped, and after [`Error::Unavailable`] it may be called again.
    ///
    /// # Errors
    /// The log cannot be read, or is closed.
    pub async fn next(&mut self) -> Result<News, Error> {
        if let Some(start) = &self.start {
            let cursor = self.place(start.clone()).await?;
            let start = Start::After(cursor.clone());
            self.follower = self.log.follow(&self.user, start);
            self.start = None;
            return Ok(News {
                cursor: Some(cursor),
                what: What::Start,
            });
        }
        let what = match self.follower.next().await? {
            Told::Gap => What::Gap,
            Told::Entry(entry) => What::Entry(entry),
        };
        let cursor = self.follower.cursor().cloned();
        Ok(News { cursor, what })
    }

    /// Whether its client is away: it keeps its place, and is not counted among those
    /// who follow.
    pub fn set_away(&mut self, away: bool) {
        self.follower.set_away(away);
    }

    /// The cursor that this start means.
    async fn place(&mut self, start: Start) -> Result<Cursor, Error> {
        if let Start::After(cursor) = start {
            return Ok(cursor);
        }
        let (log, user) = (&self.log, &self.user);
        let page = self.reading.page(|| {
            let (log, user) = (log.clone(), user.clone());
            async move { log.read(&user, start, 1).await }
        });
        let Page {
            entries, cursor, ..
        } = page.await?;
        let offset = entries.first().map_or(cursor.offset, |it| it.offset - 1);
        Ok(Cursor { offset, ..cursor })
    }
}
