//! A line of the log that many causes share, and that is written now and then.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Says when such a line is due. What can be caused from outside must not fill
/// the log; metrics count each.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// At most one line in this time.
    pub fn new(every: Duration) -> Self {
        let state = Mutex::default();
        Self { every, state }
    }

    /// If a line is due: how often it was not, since the last one.
    pub fn line(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| last.elapsed() < self.every) {
            state.unsaid += 1;
            return None;
        }
        state.last = Some(Instant::now());
        Some(std::mem::take(&mut state.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_in_its_time_and_the_next_says_how_many_it_stands_for() {
        let seldom = Seldom::new(Duration::from_secs(10));
        assert_eq!(seldom.line(), Some(0));
        for _ in 0..7 {
            assert_eq!(seldom.line(), None);
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!((seldom.line(), seldom.line()), (Some(7), None));
    }
}
