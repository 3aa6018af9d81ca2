//! Whether a model is asked at all: not while its server keeps failing. Frames are
//! told so at once then, instead of spending their time.
//!
//! Closed, calls pass and are counted. Open, none does for a while; then one may
//! try, and closes the circuit or opens it for as long again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Error;
use crate::telemetry::{CircuitState, Metrics};
use crate::world::World;

/// So much longer than said may a pause be by chance, as a part of it: so that not
/// all replicas try at the same time, nor all desktops come back.
const SPREAD: u32 = 4;
/// When to come back, at the earliest, while a call tries.
const WHILE_TRYING: Duration = Duration::from_secs(1);

/// When a model is not asked.
#[derive(Clone, Copy, Debug)]
pub struct CircuitOptions {
    /// So many outages within the window, if they are at least half of its calls,
    /// open the circuit; 0: nothing does.
    pub failures: u32,
    /// How long a call counts, give or take a half.
    pub window: Duration,
    /// How long the circuit is open before a call may try, and up to a quarter more.
    pub open: Duration,
}

impl Default for CircuitOptions {
    fn default() -> Self {
        Self {
            failures: 5,
            window: Duration::from_secs(60),
            open: Duration::from_secs(30),
        }
    }
}

/// The circuit of one model at one endpoint.
pub(super) struct Circuit {
    model: Arc<str>,
    options: CircuitOptions,
    world: World,
    metrics: Metrics,
    held: Mutex<Held>,
}

struct Held {
    state: State,
    /// Grows with each change of state. What comes of a call that began in another
    /// state says nothing of this one.
    era: u64,
    /// When the circuit opened first since it was closed last.
    opened: Instant,
}

enum State {
    Closed(Tally),
    /// No call may try before this.
    Open(Instant),
    /// One call tries: that of this era.
    Trying,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The model's server answered, whatever it said.
    Answered,
    /// It failed.
    Outage,
    /// Nothing is known of the server: the call was given up, or had little time.
    Unknown,
}

impl Verdict {
    /// What a call says that ended with this error, or none. `little` if it was
    /// given less than half of the usual time.
    pub(super) fn of(error: Option<&Error>, little: bool) -> Self {
        match error {
            // Its frame had no more, which is no fault of the model.
            Some(Error::Timeout | Error::NoToken) if little => Self::Unknown,
            // The model was not asked.
            Some(Error::NoAccess) => Self::Unknown,
            Some(error) if error.is_outage() => Self::Outage,
            // A quota is an answer as well: its server is there, and says when to come.
            Some(_) | None => Self::Answered,
        }
    }
}

impl Circuit {
    pub(super) fn new(
        model: Arc<str>,
        options: CircuitOptions,
        world: World,
        metrics: Metrics,
    ) -> Self {
        metrics.circuit_made(&model);
        let now = Instant::now();
        let held = Mutex::new(Held {
            state: State::Closed(Tally::new(now)),
            era: 0,
            opened: now,
        });
        Self {
            model,
            options,
            world,
            metrics,
            held,
        }
    }

    /// Whether a call would be let through now.
    ///
    /// # Errors
    /// [`Error::Outage`] if not.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.passes(&self.held())
    }

    /// Lets a call through, or not; the first one after a pause is the one that
    /// tries. What becomes of it is to be said.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(super) fn admit(&self) -> Result<Passage<'_>, Error> {
        let mut held = self.held();
        self.passes(&held)?;
        if let State::Open(_) = held.state {
            held.turn(State::Trying);
            self.metrics.circuit_is(&self.model, CircuitState::Trying);
        }
        Ok(Passage {
            circuit: self,
            era: held.era,
            verdict: Verdict::Unknown,
        })
    }

    fn passes(&self, held: &Held) -> Result<(), Error> {
        let now = Instant::now();
        let left = match held.state {
            State::Closed(_) => return Ok(()),
            State::Open(until) if until <= now => return Ok(()),
            State::Open(until) => until - now,
            State::Trying => WHILE_TRYING,
        };
        let spread = self.world.up_to(self.options.open / SPREAD);
        let retry_after = left + spread;
        Err(Error::Outage { retry_after })
    }

    fn record(&self, era: u64, verdict: Verdict) {
        let mut held = self.held();
        if held.era != era {
            return;
        }
        let now = Instant::now();
        match (&mut held.state, verdict) {
            (State::Closed(tally), Verdict::Answered | Verdict::Outage) => {
                let outage = verdict == Verdict::Outage;
                if tally.is_too_much(now, outage, &self.options) {
                    held.opened = now;
                    tracing::warn!(
                        model = &*self.model,
                        pause_s = self.options.open.as_secs(),
                        "the model keeps failing, and is asked no more for a while: its circuit is open"
                    );
                    self.metrics.circuit_opened(&self.model);
                    self.open(&mut held, now);
                }
            }
            (State::Trying, Verdict::Answered) => {
                tracing::info!(
                    model = &*self.model,
                    open_s = held.opened.elapsed().as_secs(),
                    "the model answers again: its circuit is closed"
                );
                held.turn(State::Closed(Tally::new(now)));
                self.metrics.circuit_is(&self.model, CircuitState::Closed);
            }
            (State::Trying, Verdict::Outage) => self.open(&mut held, now),
            // The next call may try.
            (State::Trying, Verdict::Unknown) => held.turn(State::Open(now)),
            // No call is of the era of an open circuit.
            (State::Closed(_) | State::Open(_), _) => {}
        }
    }

    fn open(&self, held: &mut Held, now: Instant) {
        let open = self.options.open;
        let pause = open + self.world.up_to(open / SPREAD);
        held.turn(State::Open(now + pause));
        self.metrics.circuit_is(&self.model, CircuitState::Open);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn turn(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }
}

/// A call that was let through. Dropped, it is over.
pub(super) struct Passage<'a> {
    circuit: &'a Circuit,
    era: u64,
    /// What became of it.
    pub(super) verdict: Verdict,
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        self.circuit.record(self.era, self.verdict);
    }
}

/// The calls of a window, in two halves: when the newer one is over, it is the older.
struct Tally {
    since: Instant,
    older: Calls,
    newer: Calls,
}

#[derive(Clone, Copy, Default)]
struct Calls {
    all: u32,
    outages: u32,
}

impl Tally {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            older: Calls::default(),
            newer: Calls::default(),
        }
    }

    /// Counts a call, and says whether the circuit is to be opened.
    fn is_too_much(&mut self, now: Instant, outage: bool, options: &CircuitOptions) -> bool {
        let half = options.window / 2;
        let passed = now.saturating_duration_since(self.since);
        if passed >= half {
            let newer = std::mem::take(&mut self.newer);
            self.older = if passed < options.window {
                newer
            } else {
                Calls::default()
            };
            self.since = now;
        }
        self.newer.all = self.newer.all.saturating_add(1);
        self.newer.outages = self.newer.outages.saturating_add(outage.into());
        let outages = self.older.outages.saturating_add(self.newer.outages);
        let all = self.older.all.saturating_add(self.newer.all);
        options.failures > 0 && outages >= options.failures && outages >= all - outages
    }
}

#[cfg(test)]
mod tests;
