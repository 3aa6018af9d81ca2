//! The wall clock, ids and chance, as arguments: real in the product, fixed in
//! tests. Waiting is not here: that is `tokio::time`, which tests can pause.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

mod backoff;

pub use backoff::Backoff;

/// The world as one handle, cheap to clone.
#[derive(Clone)]
pub struct World(Arc<dyn Source>);

/// Where time and chance come from.
trait Source: Send + Sync {
    fn now(&self) -> Timestamp;
    fn bits(&self) -> u128;
}

impl World {
    /// The operating system's clock and randomness.
    pub fn real() -> Self {
        Self(Arc::new(Real))
    }

    /// A clock that stands still and chance that repeats for the same seed.
    pub fn fixed(now: Timestamp, seed: u64) -> Self {
        Self::with_clock(move || now, seed)
    }

    /// A clock of the caller's, which may jump, and chance that repeats for the same
    /// seed.
    pub fn with_clock(now: impl Fn() -> Timestamp + Send + Sync + 'static, seed: u64) -> Self {
        let dice = Mutex::new(StdRng::seed_from_u64(seed));
        Self(Arc::new(Repeatable { now, dice }))
    }

    /// The time of day, for stamps and token checks.
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// A new UUID, version 4.
    pub fn uuid(&self) -> String {
        uuid::Builder::from_random_bytes(self.0.bits().to_le_bytes())
            .into_uuid()
            .to_string()
    }

    /// A duration between zero and `most`, evenly spread.
    pub fn up_to(&self, most: Duration) -> Duration {
        let share = (self.0.bits() as u32) as f64 / f64::from(u32::MAX);
        most.mul_f64(share)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

struct Real;

impl Source for Real {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system's clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn bits(&self) -> u128 {
        rand::rng().random()
    }
}

struct Repeatable<C> {
    now: C,
    dice: Mutex<StdRng>,
}

impl<C: Fn() -> Timestamp + Send + Sync> Source for Repeatable<C> {
    fn now(&self) -> Timestamp {
        (self.now)()
    }

    fn bits(&self) -> u128 {
        self.dice
            .lock()
            .expect("no holder of this lock panics")
            .random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_world_repeats_itself() {
        let [one, two] = [(); 2].map(|()| World::fixed(Timestamp::UNIX_EPOCH, 7));
        assert_eq!(one.uuid(), two.uuid());
        assert_ne!(one.uuid(), one.uuid());
        assert!(one.up_to(Duration::from_secs(3)) <= Duration::from_secs(3));
        assert_eq!(one.now(), Timestamp::UNIX_EPOCH);
    }
}
