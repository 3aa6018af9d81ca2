//! Whether one worker is asked: not while its calls fail one after the other.
//!
//! The model's circuit counts shares of a window, because thousands of calls go
//! there; a worker has few calls, and others to take its place, so that a row of
//! failures is enough.

use std::time::Duration;

use tokio::time::Instant;

/// One worker's.
#[derive(Debug)]
pub(super) struct Breaker {
    failures: u32,
    pause: Duration,
    state: State,
    /// Grows with each change of state. What comes of a call that began in another
    /// state says nothing of this one.
    era: u64,
}

#[derive(Debug)]
enum State {
    /// So many failures in a row.
    Closed(u32),
    /// Nobody may ask before this.
    Open(Instant),
    /// One call tries: that of this era.
    Trying,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The worker answered, be it that the tool has failed.
    Answered,
    /// It did not, or not what can be.
    Failed,
    /// Nothing is known: the call was given up.
    Unknown,
}

/// What a verdict has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The worker is asked no more.
    Opened,
    /// It is asked again.
    Closed,
    /// It may be tried again, or nothing has changed.
    None,
}

impl Breaker {
    pub(super) fn new(failures: u32, pause: Duration) -> Self {
        Self {
            failures,
            pause,
            state: State::Closed(0),
            era: 0,
        }
    }

    /// Whether a call would be let through now.
    pub(super) fn passes(&self, now: Instant) -> bool {
        match self.state {
            State::Closed(_) => true,
            State::Open(until) => until <= now,
            State::Trying => false,
        }
    }

    /// Whether calls are let through without a try.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }

    /// Lets a call through that [`passes`](Self::passes); its era is to be said with
    /// what becomes of it.
    pub(super) fn admit(&mut self) -> u64 {
        if let State::Open(_) = self.state {
            self.turn(State::Trying);
        }
        self.era
    }

    pub(super) fn record(&mut self, era: u64, verdict: Verdict, now: Instant) -> Change {
        if era != self.era {
            return Change::None;
        }
        match (&mut self.state, verdict) {
            (State::Closed(row), Verdict::Answered) => *row = 0,
            (State::Closed(row), Verdict::Failed) => {
                *row += 1;
                if self.failures > 0 && *row >= self.failures {
                    self.turn(State::Open(now + self.pause));
                    return Change::Opened;
                }
            }
            (State::Trying, Verdict::Answered) => {
                self.turn(State::Closed(0));
                return Change::Closed;
            }
            (State::Trying, Verdict::Failed) => self.turn(State::Open(now + self.pause)),
            // The next call may try.
            (State::Trying, Verdict::Unknown) => self.turn(State::Open(now)),
            // No call is of the era of an open circuit.
            (State::Closed(_), Verdict::Unknown) | (State::Open(_), _) => {}
        }
        Change::None
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    fn tell(breaker: &mut Breaker, verdict: Verdict) -> Change {
        assert!(breaker.passes(Instant::now()));
        let era = breaker.admit();
        breaker.record(era, verdict, Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn c08_five_failures_in_a_row_open_it_for_thirty_seconds_and_one_call_tries() {
        let mut breaker = Breaker::new(5, PAUSE);
        for _ in 0..4 {
            assert_eq!(tell(&mut breaker, Verdict::Failed), Change::None);
        }
        assert_eq!(tell(&mut breaker, Verdict::Answered), Change::None);
        for _ in 0..4 {
            assert_eq!(tell(&mut breaker, Verdict::Failed), Change::None);
        }
        // Given up by who asked: says nothing.
        assert_eq!(tell(&mut breaker, Verdict::Unknown), Change::None);
        assert_eq!(tell(&mut breaker, Verdict::Failed), Change::Opened);
        assert!(!breaker.passes(Instant::now()));
        advance(PAUSE - Duration::from_millis(1)).await;
        assert!(!breaker.passes(Instant::now()));
        advance(Duration::from_millis(1)).await;
        assert!(breaker.passes(Instant::now()));
        let era = breaker.admit();
        assert!(!breaker.passes(Instant::now()), "one call tries");
        let change = breaker.record(era, Verdict::Failed, Instant::now());
        assert_eq!(change, Change::None);
        assert!(!breaker.passes(Instant::now()), "for as long again");
        advance(PAUSE).await;
        assert_eq!(tell(&mut breaker, Verdict::Unknown), Change::None);
        assert_eq!(tell(&mut breaker, Verdict::Answered), Change::Closed);
        assert!(breaker.is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn c08_what_comes_of_a_call_of_before_says_nothing_of_now() {
        let mut breaker = Breaker::new(1, PAUSE);
        let old = breaker.admit();
        assert_eq!(tell(&mut breaker, Verdict::Failed), Change::Opened);
        advance(PAUSE).await;
        let _trying = breaker.admit();
        let late = breaker.record(old, Verdict::Answered, Instant::now());
        assert_eq!(late, Change::None);
        assert!(!breaker.is_closed());
    }
}
