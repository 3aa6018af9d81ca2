//! What a session has to do with its user's log: its decisions are written there, and
//! its client is told what is new.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::domain::{Decided, Event, FrameId, Outcome, SessionId, Uid};
use crate::events::{Error, Log, News, Start, Subscription, What};

/// How long a decision waits to be written down before its client is told all the
/// same.
const WRITING: Duration = Duration::from_secs(2);
/// Between two attempts to read a log.
const RETRY: Duration = Duration::from_secs(1);

/// Writes a decision into the user's log. Its client's answer comes after it, so that
/// what a client knows is in the log; but no log, however slow, keeps it back for long.
pub(super) async fn write_down(
    log: &Log,
    user: &Uid,
    session: SessionId,
    frame: FrameId,
    outcome: Outcome,
) {
    let decided = Event::Decided(Box::new(Decided {
        session,
        frame,
        outcome,
    }));
    match timeout(WRITING, log.append(user, decided, None)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "a decision is not in its user's log"),
        Err(_) => tracing::warn!("a decision may not be in its user's log: writing takes too long"),
    }
}

/// What a session's client is told of its user's log.
#[derive(Default)]
pub(super) struct Following(Option<Box<Open>>);

struct Open {
    subscription: Subscription,
    /// Messages alone, for a client that did not ask for more.
    messages_only: bool,
    /// When the log is read again, after it could not be.
    retry: Option<Instant>,
}

impl Following {
    /// From there on everything is told.
    pub(super) fn everything(&mut self, log: &Log, user: &Uid, start: Start) {
        self.0 = Some(Box::new(Open {
            subscription: log.subscribe(user, start),
            messages_only: false,
            retry: None,
        }));
    }

    /// Messages are told; if they were already, from where that was.
    pub(super) fn messages(&mut self, log: &Log, user: &Uid) {
        match &mut self.0 {
            Some(open) if open.messages_only => open.subscription.set_away(false),
            _ => {
                self.0 = Some(Box::new(Open {
                    subscription: log.listen(user),
                    messages_only: true,
                    retry: None,
                }));
            }
        }
    }

    /// Its client is away: nobody is told until it says hello again.
    pub(super) fn rest(&mut self) {
        match &mut self.0 {
            Some(open) if open.messages_only => open.subscription.set_away(true),
            // Who asked for more brings a cursor.
            _ => self.0 = None,
        }
    }

    pub(super) fn nothing(&mut self) {
        self.0 = None;
    }

    /// What is new; waits for it as long as it takes. Cancel-safe.
    pub(super) async fn news(&mut self) -> News {
        let Some(open) = &mut self.0 else {
            return pending().await;
        };
        loop {
            if let Some(retry) = open.retry {
                sleep_until(retry).await;
                open.retry = None;
            }
            match open.subscription.next().await {
                Ok(news) if !open.messages_only || is_for_everybody(&news) => return news,
                Ok(_) => {}
                // It goes on where it was.
                Err(Error::Unavailable) => open.retry = Some(Instant::now() + RETRY),
                Err(Error::Closed) => pending().await,
            }
        }
    }
}

/// Whether a client is told that did not ask for the log.
fn is_for_everybody(news: &News) -> bool {
    match &news.what {
        What::Entry(entry) => matches!(entry.event, Event::Message(_)),
        What::Gap => true,
        What::Start => false,
    }
}
