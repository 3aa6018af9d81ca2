//! What a session has yet to tell its client. The session never waits for a
//! slow client; it stops taking input while too much is unsaid, and ends when
//! nothing moves for too long.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::{Instant, sleep_until};

use super::ServerMessage;

/// Beyond this no more input is taken: each input causes at most a few
/// messages, so the queue stays near this bound.
const FULL: usize = 32;

/// What happened while flushing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flush {
    /// A message left.
    Sent,
    /// The client is gone.
    Lost,
    /// Nothing moved for too long.
    Stuck,
}

pub(super) struct Outbox {
    /// Boxed, because the queue reserves room for 32 messages in every session.
    to_client: mpsc::Sender<Box<ServerMessage>>,
    unsaid: VecDeque<Box<ServerMessage>>,
    /// When the oldest unsaid message became the oldest.
    since: Instant,
    limit: Duration,
}

impl Outbox {
    pub(super) fn new(to_client: mpsc::Sender<Box<ServerMessage>>, limit: Duration) -> Self {
        let (unsaid, since) = (VecDeque::new(), Instant::now());
        Self {
            to_client,
            unsaid,
            since,
            limit,
        }
    }

    pub(super) fn push(&mut self, message: ServerMessage) {
        let message = Box::new(message);
        if !self.unsaid.is_empty() {
            return self.unsaid.push_back(message);
        }
        // Straight through, if there is room. That the client is gone is told
        // by the next flush.
        if let Err(TrySendError::Full(message)) = self.to_client.try_send(message) {
            self.since = Instant::now();
            self.unsaid.push_back(message);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unsaid.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.unsaid.len() >= FULL
    }

    /// Moves one message on, or notices that the client is gone; waits for that
    /// as long as it takes if nothing is unsaid. Cancel-safe.
    pub(super) async fn flush(&mut self) -> Flush {
        if self.unsaid.is_empty() {
            self.to_client.closed().await;
            return Flush::Lost;
        }
        let place = tokio::select! {
            biased;
            place = self.to_client.reserve() => place,
            () = sleep_until(self.since + self.limit) => return Flush::Stuck,
        };
        match (place, self.unsaid.pop_front()) {
            (Ok(place), Some(message)) => {
                place.send(message);
                self.since = Instant::now();
                Flush::Sent
            }
            _ => Flush::Lost,
        }
    }

    /// Says what still fits, when there is no time to wait.
    pub(super) fn say_what_fits(&mut self) {
        while let Some(message) = self.unsaid.pop_front() {
            if self.to_client.try_send(message).is_err() {
                break;
            }
        }
    }
}
