//! How long to wait before something that failed is tried again.

use std::time::Duration;

use crate::world::World;

/// 2 s doubling to 32 s, with full jitter: each wait is anything between nothing and
/// that, so that many desktops do not come back as one.
#[derive(Clone, Debug)]
pub struct Backoff {
    /// The bound of the first wait; the longest is 16 times that.
    first: Duration,
    /// In a row.
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::from(Self::FIRST)
    }
}

impl From<Duration> for Backoff {
    fn from(first: Duration) -> Self {
        let failures = 0;
        Self { first, failures }
    }
}

impl Backoff {
    /// The bound of the first wait.
    pub const FIRST: Duration = Duration::from_secs(2);
    /// The bound of all waits from the fifth on.
    pub const MOST: Duration = Duration::from_secs(32);

    /// Counts a failure, and says how long to wait after it.
    pub fn after_failure(&mut self, world: &World) -> Duration {
        let bound = self.first * (1 << self.failures.min(4));
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn b07_waits_double_from_2_s_to_32_s_with_full_jitter() {
        let bounds = [2, 4, 8, 16, 32, 32, 32].map(Duration::from_secs);
        let mut largest = [Duration::ZERO; 7];
        let mut least = [Duration::MAX; 7];
        for seed in 0..200 {
            let world = World::fixed(Timestamp::UNIX_EPOCH, seed);
            let mut backoff = Backoff::default();
            for nth in 0..bounds.len() {
                let wait = backoff.after_failure(&world);
                largest[nth] = largest[nth].max(wait);
                least[nth] = least[nth].min(wait);
            }
            backoff.reset();
            assert!(backoff.after_failure(&world) <= Backoff::FIRST);
        }
        for nth in 0..bounds.len() {
            assert!(largest[nth] <= bounds[nth]);
            assert!(largest[nth] > bounds[nth].mul_f64(0.9), "all of it is used");
            assert!(least[nth] < bounds[nth].mul_f64(0.1), "from nothing on");
        }
    }
}
