//! What the desktops have seen, together.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Since it was last taken.
#[derive(Default)]
pub(crate) struct Seen {
    /// Frames, each once.
    pub(crate) sent: u64,
    pub(crate) sent_again: u64,
    /// Frames with a decision.
    pub(crate) answered: u64,
    /// Frames that ended with an error for good.
    pub(crate) failed: u64,
    /// Answers to frames that had one.
    pub(crate) answered_twice: u64,
    /// Answers under a number that had come before, which a client ignores.
    pub(crate) repeated: u64,
    pub(crate) heartbeats: u64,
    /// Frames that were answered by an error, and streams that ended or could not be
    /// opened, by what the server said.
    pub(crate) troubles: BTreeMap<String, u64>,
    /// From the first sending of a frame to its answer.
    pub(crate) waits: Vec<Duration>,
    /// When each desktop had its session, by its number, and whether it was resumed.
    pub(crate) arrivals: HashMap<usize, (Instant, bool)>,
}

impl Seen {
    /// A quantile of the frames' waits, in milliseconds.
    pub(crate) fn wait(&self, quantile: f64) -> f64 {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        let last = waits.len().saturating_sub(1) as f64;
        let wait = waits.get((last * quantile).round() as usize);
        wait.map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e3)
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.sent_again += other.sent_again;
        self.answered += other.answered;
        self.failed += other.failed;
        self.answered_twice += other.answered_twice;
        self.repeated += other.repeated;
        self.heartbeats += other.heartbeats;
        self.waits.extend(other.waits);
        for (what, count) in other.troubles {
            *self.troubles.entry(what).or_default() += count;
        }
        self.arrivals.extend(other.arrivals);
    }

    pub(crate) fn trouble(&mut self, what: impl Into<String>) {
        *self.troubles.entry(what.into()).or_default() += 1;
    }

    /// How many there were, and of what.
    pub(crate) fn told_troubles(&self) -> (u64, String) {
        let each = self.troubles.iter();
        let told: Vec<_> = each
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        (self.troubles.values().sum(), told.join(", "))
    }
}

#[derive(Default)]
pub(crate) struct Tally(Mutex<(Seen, u64)>);

impl Tally {
    pub(crate) fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.lock().0);
    }

    /// A desktop has a frame to be answered.
    pub(crate) fn frame_begins(&self) {
        self.lock().1 += 1;
    }

    /// It has been answered.
    pub(crate) fn frame_ends(&self) {
        self.lock().1 -= 1;
    }

    /// Frames that are not yet answered.
    pub(crate) fn open(&self) -> u64 {
        self.lock().1
    }

    pub(crate) fn arrived(&self) -> usize {
        self.lock().0.arrivals.len()
    }

    /// Begins anew.
    pub(crate) fn take(&self) -> Seen {
        mem::take(&mut self.lock().0)
    }

    fn lock(&self) -> MutexGuard<'_, (Seen, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
