//! How long a worker that ended waits until it is started again.

use std::time::Duration;

use crate::world::{Backoff, World};

const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(60);
/// A worker that ran for so long had begun well: what ended it is something new.
const SOUND: Duration = Duration::from_secs(60);

/// 1 s, doubling to 60 s.
pub(super) fn usual() -> Backoff {
    Backoff::new(FIRST, MOST)
}

/// How long to wait after it ran for so long.
pub(super) fn after(ran: Duration, backoff: &mut Backoff, world: &World) -> Duration {
    if ran >= SOUND {
        backoff.reset();
    }
    backoff.after_failure(world)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    /// The longest of many waits, each the one after so many starts in vain.
    fn longest(starts: usize) -> Duration {
        let world = World::fixed(Timestamp::UNIX_EPOCH, 1);
        let waits = (0..400).map(|_| {
            let mut backoff = usual();
            let waits = (0..starts).map(|_| after(Duration::ZERO, &mut backoff, &world));
            waits.last().unwrap()
        });
        waits.max().unwrap()
    }

    #[test]
    fn c09_waits_double_from_1_s_to_60_s_each_a_random_part() {
        for (starts, most) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (30, 60)] {
            let (longest, most) = (longest(starts), Duration::from_secs(most));
            assert!(longest <= most && longest > most * 9 / 10, "{longest:?}");
        }
        let world = World::fixed(Timestamp::UNIX_EPOCH, 1);
        let shortest = (0..400).map(|_| after(Duration::ZERO, &mut usual(), &world));
        assert!(shortest.min().unwrap() < Duration::from_millis(100));
    }

    #[test]
    fn c09_a_worker_that_ran_for_a_minute_is_soon_back() {
        let world = World::fixed(Timestamp::UNIX_EPOCH, 1);
        let mut backoff = usual();
        for _ in 0..10 {
            after(SOUND - Duration::from_millis(1), &mut backoff, &world);
        }
        assert_eq!(backoff.failures(), 10, "almost a minute is too short");
        assert!(after(SOUND, &mut backoff, &world) <= FIRST);
        assert_eq!(backoff.failures(), 1);
    }
}
