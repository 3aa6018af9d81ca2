//! The time one frame has, and how inner deadlines fit into it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::Options;

/// Inner deadlines end this much before the frame's own, so that the inner
/// one's answer, not a race, decides what the client is told.
const MARGIN: Duration = Duration::from_millis(250);
const NOT_SEARCHING: u64 = u64::MAX;
/// With less left than this, a model call is not worth its money.
const LEAST_FOR_A_CALL: Duration = Duration::from_secs(1);

/// The clock of one frame.
#[derive(Debug)]
pub(super) struct Budget {
    options: Options,
    accepted: Instant,
    started: Instant,
    /// Milliseconds that it stood still. Atomic, because the loop and the net
    /// around it look at the same clock.
    stood_still: AtomicU64,
    /// While it searches: how long time had stood still when it began to.
    searches_since: AtomicU64,
    has_changed: AtomicBool,
}

impl Budget {
    pub(super) fn new(options: Options, accepted: Instant) -> Self {
        Self {
            options,
            accepted,
            started: Instant::now(),
            stood_still: AtomicU64::new(0),
            searches_since: AtomicU64::new(NOT_SEARCHING),
            has_changed: AtomicBool::new(false),
        }
    }

    /// It begins to search. So long has time stood still by now for whoever searches.
    pub(super) fn begins_to_search(&self, stood_still: Duration) {
        self.searches_since
            .store(stood_still.as_millis() as u64, Relaxed);
    }

    /// It has searched. The frame gets back the time that stood still meanwhile.
    pub(super) fn has_searched(&self, stood_still: Duration) {
        let sum = self.credit(stood_still);
        self.stood_still.store(sum.as_millis() as u64, Relaxed);
        self.searches_since.store(NOT_SEARCHING, Relaxed);
    }

    /// How long the frame's clock has stood still by now.
    fn credit(&self, stood_still: Duration) -> Duration {
        let before = Duration::from_millis(self.stood_still.load(Relaxed));
        let now = match self.searches_since.load(Relaxed) {
            NOT_SEARCHING => Duration::ZERO,
            since => stood_still.saturating_sub(Duration::from_millis(since)),
        };
        (before + now).min(self.options.longest_pause)
    }

    /// When the frame ends, as far as is known now. Waiting for its turn counts: the
    /// frames it waits for were accepted earlier and are over by then.
    pub(super) fn deadline(&self, stood_still: Duration) -> Instant {
        self.accepted + self.options.frame_timeout + self.credit(stood_still)
    }

    /// When the model must have answered; `None` if too little is left.
    pub(super) fn for_model(&self) -> Option<Instant> {
        let deadline = self.inner();
        (Instant::now() + self.least() <= deadline).then_some(deadline)
    }

    /// When a tool that is called now must have answered; it may have a time of its own,
    /// which leaves the model time to hear what came of it.
    pub(super) fn for_tool(&self, own: Option<Duration>) -> Instant {
        let now = Instant::now();
        match own {
            None => self.inner().min(now + self.options.tool_timeout),
            Some(own) => (self.inner() - self.least()).min(now + own).max(now),
        }
    }

    /// The least time that is worth a call to the model.
    fn least(&self) -> Duration {
        LEAST_FOR_A_CALL.min(self.options.frame_timeout / 4)
    }

    /// Whether something was changed for this frame, or may have been: it must not be
    /// analysed a second time.
    pub(super) fn changes(&self, any: bool) {
        self.has_changed.store(any, Relaxed);
    }

    pub(super) fn has_changed(&self) -> bool {
        self.has_changed.load(Relaxed)
    }

    pub(super) fn max_iterations(&self) -> u32 {
        self.options.max_iterations
    }

    /// Since the analysis began.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Since the frame was accepted, waiting for its turn included.
    pub(super) fn since_accepted(&self) -> Duration {
        self.accepted.elapsed()
    }

    fn inner(&self) -> Instant {
        // Nothing is searched for just now.
        self.deadline(Duration::ZERO) - MARGIN.min(self.options.frame_timeout / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn inner_deadlines_nest_and_shrink_with_what_is_left() {
        let budget = Budget::new(Options::default(), Instant::now());
        assert_eq!(
            budget.for_tool(None),
            Instant::now() + Duration::from_secs(10)
        );
        tokio::time::advance(Duration::from_secs(55)).await;
        assert!(budget.for_tool(None) < budget.deadline(Duration::ZERO));
        assert_eq!(
            budget.for_model(),
            Some(budget.deadline(Duration::ZERO) - MARGIN)
        );
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(budget.for_model(), None, "no call is begun that cannot end");
    }
}
