//! How many jobs have not ended, of each user and of all, and how they are given up.
//! Whoever takes a place holds a guard that gives it back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::{Options, Refused};
use crate::domain::{JobId, Uid};
use crate::telemetry::Metrics;

/// All places; cheap to clone.
#[derive(Clone)]
pub(super) struct Places(Arc<All>);

struct All {
    options: Options,
    metrics: Metrics,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    taken: usize,
    users: HashMap<Uid, User>,
}

struct User {
    open: HashMap<JobId, CancellationToken>,
    turns: Arc<Semaphore>,
}

impl Places {
    pub(super) fn new(options: Options, metrics: Metrics) -> Self {
        Self(Arc::new(All {
            options,
            metrics,
            table: Mutex::default(),
        }))
    }

    /// Takes a place, until the guard is dropped.
    pub(super) fn take(&self, user: &Uid, id: &JobId) -> Result<Place, Refused> {
        let options = self.0.options;
        let mut table = self.table();
        if table.taken >= options.at_all {
            return Err(Refused::Full);
        }
        let known = table.users.entry(user.clone()).or_insert_with(|| User {
            open: HashMap::new(),
            turns: Arc::new(Semaphore::new(options.at_once)),
        });
        if known.open.len() >= options.per_user {
            return Err(Refused::UserFull(options.per_user));
        }
        let given_up = CancellationToken::new();
        known.open.insert(id.clone(), given_up.clone());
        let turns = known.turns.clone();
        table.taken += 1;
        self.0.metrics.job_opened();
        Ok(Place {
            places: self.clone(),
            user: user.clone(),
            id: id.clone(),
            given_up,
            turns,
        })
    }

    /// Tells whoever holds the place of this job, if there is somebody.
    pub(super) fn cancel(&self, user: &Uid, id: &JobId) {
        let table = self.table();
        let open = table.users.get(user).and_then(|known| known.open.get(id));
        if let Some(given_up) = open {
            given_up.cancel();
        }
    }

    #[cfg(test)]
    fn taken(&self) -> usize {
        self.table().taken
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one job.
pub(super) struct Place {
    places: Places,
    user: Uid,
    id: JobId,
    given_up: CancellationToken,
    turns: Arc<Semaphore>,
}

impl Place {
    /// The user's turn, in the order in which they asked.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        let turn = self.turns.acquire().await;
        turn.expect("nobody closes this semaphore")
    }

    /// Ends when the job is given up.
    pub(super) async fn given_up(&self) {
        self.given_up.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.metrics.job_closed();
        let mut table = self.places.table();
        table.taken -= 1;
        if let Some(known) = table.users.get_mut(&self.user) {
            known.open.remove(&self.id);
            if known.open.is_empty() {
                table.users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_for_each_user_and_for_all_and_given_back() {
        let options = Options {
            per_user: 2,
            at_all: 3,
            ..Options::default()
        };
        let places = Places::new(options, Metrics::new());
        let (ada, bob) = (Uid::new("ada"), Uid::new("bob"));
        let take = |user, id: &str| places.take(user, &JobId::new(id));
        let one = take(&ada, "1").unwrap();
        let _two = take(&ada, "2").unwrap();
        assert!(matches!(take(&ada, "3"), Err(Refused::UserFull(2))));
        let three = take(&bob, "3").unwrap();
        assert!(matches!(take(&bob, "4"), Err(Refused::Full)));
        drop(one);
        take(&ada, "5").unwrap();
        drop(three);
        assert_eq!(places.taken(), 1);
        assert_eq!(places.table().users.len(), 1, "bob is forgotten");
    }
}
