//! How long a desk waits before it tries again what failed.

use std::time::Duration;

use crate::world::Backoff;

/// The bound of the first wait.
pub const FIRST: Duration = Duration::from_secs(2);
/// The bound of all waits from the fifth on.
pub const MOST: Duration = Duration::from_secs(32);

/// 2 s doubling to 32 s, so that many desktops do not come back as one.
pub fn usual() -> Backoff {
    Backoff::new(FIRST, MOST)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::world::World;

    #[test]
    fn b07_waits_double_from_2_s_to_32_s_with_full_jitter() {
        let bounds = [2, 4, 8, 16, 32, 32, 32].map(Duration::from_secs);
        let mut largest = [Duration::ZERO; 7];
        let mut least = [Duration::MAX; 7];
        for seed in 0..200 {
            let world = World::fixed(Timestamp::UNIX_EPOCH, seed);
            let mut backoff = usual();
            for nth in 0..bounds.len() {
                let wait = backoff.after_failure(&world);
                largest[nth] = largest[nth].max(wait);
                least[nth] = least[nth].min(wait);
            }
            backoff.reset();
            assert!(backoff.after_failure(&world) <= FIRST);
        }
        for nth in 0..bounds.len() {
            assert!(largest[nth] <= bounds[nth]);
            assert!(largest[nth] > bounds[nth].mul_f64(0.9), "all of it is used");
            assert!(least[nth] < bounds[nth].mul_f64(0.1), "from nothing on");
        }
    }
}
