//! A store that another program holds: it is asked again after a while, and the user
//! is told once.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::desk::Step;
use crate::desk::store::Error;

/// Between two tries to write into a store that another program holds.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether the store is held, as far as the last try told.
#[derive(Default)]
pub(in crate::desk) struct Lock {
    /// When to try again.
    again: Option<Instant>,
}

impl Lock {
    /// Whether it is too early to try again.
    pub(super) fn is_on(&self) -> bool {
        self.until().is_some()
    }

    /// When to try again, if that is not now.
    pub(super) fn until(&self) -> Option<Instant> {
        self.again.filter(|again| *again > Instant::now())
    }

    /// Waits until it is time to try again.
    pub(super) async fn wait(&self) {
        if let Some(until) = self.until() {
            sleep_until(until).await;
        }
    }

    /// Takes note of what came of a try; `None` if the store is held.
    pub(super) fn tried<T>(
        &mut self,
        result: Result<T, Error>,
        observe: &mut impl FnMut(Step),
    ) -> Result<Option<T>, Error> {
        let before = self.again.take();
        match result {
            Err(Error::Held) => {
                self.again = Some(Instant::now() + PAUSE);
                if before.is_none() {
                    observe(Step::StoreHeld);
                }
                Ok(None)
            }
            other => other.map(Some),
        }
    }
}
