//! How long to wait before something that failed is tried again.

use std::time::Duration;

use super::World;

/// Doubling from the first bound to the last, with full jitter: each wait is anything
/// between nothing and that, so that what one cause ended does not all come back at once.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    /// In a row.
    failures: u32,
}

impl Backoff {
    /// One that has seen no failure. `first` is the bound of the first wait, `most` that
    /// of all.
    pub fn new(first: Duration, most: Duration) -> Self {
        let failures = 0;
        Self {
            first,
            most,
            failures,
        }
    }

    /// Counts a failure, and says how long to wait after it.
    pub fn after_failure(&mut self, world: &World) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures);
        let bound = self.first.saturating_mul(doubled).min(self.most);
        self.failures = self.failures.saturating_add(1);
        world.up_to(bound)
    }

    /// Starts anew.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}
