//! Every engine there is, with a clock that tests move.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{
    Bill, Decided, Decision, Event, FrameId, Message, MessageId, Outcome, SessionId, Uid,
};
use crate::events::sqlite::tests::sweep_all;
use crate::events::{Cursor, Entry, Key, Log, Options, Page, Start};
use crate::telemetry::Metrics;
use crate::world::World;

/// 2025-11-22 in milliseconds.
const BEGINNING: i64 = 1_763_769_600_000;

/// One engine, opened.
pub(in crate::events) struct House {
    pub(in crate::events) engine: &'static str,
    pub(in crate::events) log: Log,
    pub(in crate::events) clock: Clock,
    pub(in crate::events) metrics: Metrics,
    folder: Option<PathBuf>,
}

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub(in crate::events) struct Clock(Arc<AtomicI64>);

impl Clock {
    pub(in crate::events) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(BEGINNING)))
    }

    pub(in crate::events) fn world(&self, seed: u64) -> World {
        let clock = self.clone();
        World::with_clock(move || clock.now(), seed)
    }

    pub(in crate::events) fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap()
    }

    pub(in crate::events) fn advance(&self, time: Duration) {
        let time = i64::try_from(time.as_millis()).unwrap();
        self.0.fetch_add(time, Ordering::SeqCst);
    }

    /// As when a clock that went ahead is corrected.
    pub(in crate::events) fn step_back(&self, time: Duration) {
        let time = i64::try_from(time.as_millis()).unwrap();
        self.0.fetch_sub(time, Ordering::SeqCst);
    }
}

/// Runs a test on every engine.
pub(in crate::events) async fn on_each_engine(options: Options, test: impl AsyncFn(&House)) {
    for engine in ["memory", "SQLite"] {
        println!("on {engine}");
        let scratch = tempfile::tempdir().unwrap();
        let clock = Clock::new();
        let metrics = Metrics::new();
        let mut options = options.clone();
        if engine == "SQLite" {
            options.folder = Some(scratch.path().to_owned());
        }
        let folder = options.folder.clone();
        let log = Log::open(options, clock.world(7), metrics.clone());
        let house = House {
            engine,
            log: log.await.unwrap(),
            clock,
            metrics,
            folder,
        };
        test(&house).await;
        house.log.close().await;
    }
}

impl House {
    /// Appends a decision; where it stands.
    pub(in crate::events) async fn decide(&self, user: &Uid, frame: impl ToString) -> Cursor {
        let appended = self.log.append(user, decided(frame), None).await.unwrap();
        appended.cursor
    }

    pub(in crate::events) async fn read(&self, user: &Uid, start: Start) -> Page {
        self.log.read(user, start, 10_000).await.unwrap()
    }

    /// The offsets of all entries that are kept.
    pub(in crate::events) async fn offsets(&self, user: &Uid) -> Vec<u64> {
        offsets(&self.read(user, Start::Oldest).await.entries)
    }

    /// Has removed by now what is too old, with the age that logs usually have.
    pub(in crate::events) async fn sweep(&self) {
        match &self.folder {
            Some(folder) => {
                let now = self.clock.now().as_millisecond();
                let age = i64::try_from(Options::default().age.as_millis()).unwrap();
                sweep_all(folder, now - age);
            }
            // Each entry has it look at some users.
            None => drop(self.decide(&uid("somebody else"), 0).await),
        }
    }
}

pub(in crate::events) fn offsets(entries: &[Arc<Entry>]) -> Vec<u64> {
    entries.iter().map(|entry| entry.offset).collect()
}

pub(in crate::events) fn uid(name: &str) -> Uid {
    Uid::new(name)
}

pub(in crate::events) fn key(key: &str) -> Key {
    Key::new(key)
}

pub(in crate::events) fn outcome(reason: impl ToString) -> Outcome {
    Outcome {
        decision: Decision::NoTask {
            reason: reason.to_string(),
        },
        context_summary: "An inbox.".to_owned(),
        current_activity: "Reading".to_owned(),
        bill: Bill::default(),
    }
}

pub(in crate::events) fn decided(frame: impl ToString) -> Event {
    Event::Decided(Box::new(Decided {
        session: SessionId::new("a session"),
        frame: FrameId::new(frame.to_string()),
        outcome: outcome(""),
    }))
}

pub(in crate::events) fn message(id: &str, expires_at: Option<Timestamp>) -> Event {
    Event::Message(Box::new(Message {
        id: MessageId::new(id),
        kind: "news".to_owned(),
        title: "A title".to_owned(),
        body: "A body".to_owned(),
        data: r#"{"a":1}"#.to_owned(),
        sent_at: Timestamp::from_millisecond(BEGINNING).unwrap(),
        expires_at,
    }))
}
