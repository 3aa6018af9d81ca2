//! How many calls to the model are under way at once in this process, and whose
//! turn is next: beyond the limit users take turns, whatever each of them sends.
//!
//! While a call waits, every other user begins at most one before it. So if one
//! user floods, another's call begins after at most two of the flood's calls have
//! ended: one that was under way, and one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Error;
use crate::domain::Uid;
use crate::telemetry::Metrics;
use crate::world::World;

/// A number of places, each for one call.
pub(super) struct Gate {
    world: World,
    metrics: Metrics,
    held: Mutex<Held>,
}

/// There are free places, or calls that wait, never both.
struct Held {
    free: usize,
    /// The calls of each user who waits, none of these queues being empty. A frame
    /// has one call at a time, so there are no more than frames in flight.
    waiting: HashMap<Uid, VecDeque<Waiting>>,
    /// Each user who waits, once. The first has the next place, and goes to the end.
    turns: VecDeque<Uid>,
    /// The number of the next call that waits.
    next: u64,
}

struct Waiting {
    number: u64,
    begin: oneshot::Sender<()>,
}

impl Gate {
    pub(super) fn new(places: usize, world: World, metrics: Metrics) -> Self {
        let held = Mutex::new(Held {
            free: places,
            waiting: HashMap::new(),
            turns: VecDeque::new(),
            next: 0,
        });
        Self {
            world,
            metrics,
            held,
        }
    }

    /// A place for one call of this user. It is waited for until half of the time
    /// to the deadline is over, so that a call has at least as much time as it has
    /// waited: calls begun later would most likely end with the frame, for their
    /// money and the places of others. Dropping the future leaves nothing.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if there was none in that time.
    pub(super) async fn enter<'a>(
        &'a self,
        user: &'a Uid,
        deadline: Instant,
    ) -> Result<Place<'a>, Error> {
        let (mut place, begin) = {
            let mut held = self.held();
            let (ticket, begin) = match held.free.checked_sub(1) {
                Some(free) => {
                    held.free = free;
                    (None, None)
                }
                None => {
                    let (number, begin) = held.queue(user);
                    (Some((user, number)), Some(begin))
                }
            };
            (Place { gate: self, ticket }, begin)
        };
        if let Some(begin) = begin {
            let wait = Wait::new(&self.metrics);
            let until = wait.since + deadline.saturating_duration_since(wait.since) / 2;
            if timeout_at(until, begin).await.is_err() {
                let waited = wait.since.elapsed();
                // In proportion, and not all at once.
                let retry_after = waited + self.world.up_to(waited);
                return Err(Error::Overloaded { retry_after });
            }
            place.ticket = None;
        }
        Ok(place)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn queue(&mut self, user: &Uid) -> (u64, oneshot::Receiver<()>) {
        let (begin, told) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        let queue = self.waiting.entry(user.clone()).or_insert_with(|| {
            self.turns.push_back(user.clone());
            VecDeque::new()
        });
        queue.push_back(Waiting { number, begin });
        (number, told)
    }

    /// Takes a call out of its queue; false if it is not there any more.
    fn leave(&mut self, user: &Uid, number: u64) -> bool {
        let Some(queue) = self.waiting.get_mut(user) else {
            return false;
        };
        let Ok(at) = queue.binary_search_by_key(&number, |waiting| waiting.number) else {
            return false;
        };
        queue.remove(at);
        if queue.is_empty() {
            self.waiting.remove(user);
            self.turns.retain(|other| other != user);
        }
        true
    }

    /// Gives a place that is free now to whose turn it is.
    fn pass_on(&mut self) {
        let Some(user) = self.turns.pop_front() else {
            self.free += 1;
            return;
        };
        let queue = self.waiting.get_mut(&user).expect("it waits");
        let first = queue.pop_front().expect("no queue is empty");
        if queue.is_empty() {
            self.waiting.remove(&user);
        } else {
            self.turns.push_back(user);
        }
        // Should it have just been dropped, its place comes back at once.
        let _ = first.begin.send(());
    }
}

/// A place, or the wait for one. Dropped, it is the next one's.
pub(super) struct Place<'a> {
    gate: &'a Gate,
    /// While it may stand in a queue: in whose, and its number.
    ticket: Option<(&'a Uid, u64)>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut held = self.gate.held();
        let waited = self
            .ticket
            .is_some_and(|(user, number)| held.leave(user, number));
        if !waited {
            held.pass_on();
        }
    }
}

/// Counts a call that waits, for as long as it does.
struct Wait<'a> {
    metrics: &'a Metrics,
    since: Instant,
}

impl<'a> Wait<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.model_wait_began();
        let since = Instant::now();
        Self { metrics, since }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.metrics.model_wait_ended(self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::Arc;
    use std::time::Duration;

    use futures::FutureExt;
    use jiff::Timestamp;
    use tokio::task::{JoinSet, yield_now};
    use tokio::time::sleep;

    use super::*;

    const CALL: Duration = Duration::from_secs(2);
    const FRAME: Duration = Duration::from_secs(600);

    fn gate(places: usize) -> Arc<Gate> {
        let world = World::fixed(Timestamp::UNIX_EPOCH, 7);
        Arc::new(Gate::new(places, world, Metrics::new()))
    }

    /// A call of 2 s; how long it waited.
    fn call(gate: &Arc<Gate>, user: &str) -> impl Future<Output = Duration> + Send + 'static {
        let (gate, user, began) = (gate.clone(), Uid::new(user), Instant::now());
        async move {
            let place = gate.enter(&user, Instant::now() + FRAME).await;
            let _place = place.expect("there is time enough");
            let waited = began.elapsed();
            sleep(CALL).await;
            waited
        }
    }

    fn assert_empty(gate: &Gate, places: usize) {
        let held = gate.held();
        assert_eq!((held.free, held.waiting.len()), (places, 0));
        assert!(held.turns.is_empty());
        assert!(waiting(gate, 0));
    }

    fn waiting(gate: &Gate, calls: usize) -> bool {
        let page = gate.metrics.render();
        page.contains(&format!("\nproactive_model_calls_waiting {calls}\n"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_delays_another_users_call_by_at_most_one_call_more() {
        for places in [1, 3] {
            let gate = gate(places);
            let mut flood = JoinSet::new();
            for _ in 0..100 {
                flood.spawn(call(&gate, "flood"));
            }
            yield_now().await;
            for _ in 0..20 {
                // At any moment of the calls under way, also the worst: just begun.
                sleep(Duration::from_millis(1)).await;
                let waited = call(&gate, "somebody").await;
                assert!(waited <= 2 * CALL, "{waited:?} with {places} places");
            }
            assert_eq!(flood.join_all().await.len(), 100);
            assert_empty(&gate, places);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn users_take_turns_and_a_users_own_calls_keep_their_order() {
        let gate = gate(1);
        let mut calls = JoinSet::new();
        for user in ["a", "a", "a", "b", "b", "c"] {
            let waited = call(&gate, user);
            calls.spawn(async move { (waited.await.as_secs(), user) });
            yield_now().await;
        }
        let mut calls = calls.join_all().await;
        calls.sort_unstable();
        let users: Vec<_> = calls.iter().map(|(_, user)| *user).collect();
        assert_eq!(users, ["a", "a", "b", "c", "a", "b"]);
        let waits: Vec<_> = calls.iter().map(|(waited, _)| *waited).collect();
        assert_eq!(waits, [0, 2, 4, 6, 8, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_half_of_what_its_frame_has_and_is_told_when_to_come_back() {
        let (gate, user) = (gate(1), Uid::new("a"));
        let _taken = gate.enter(&user, Instant::now()).await.unwrap();
        let began = Instant::now();
        let refused = gate.enter(&user, began + Duration::from_secs(60)).await;
        let Err(Error::Overloaded { retry_after }) = refused.map(|_| ()) else {
            panic!("it found a place");
        };
        assert_eq!(began.elapsed().as_secs(), 30);
        assert!(
            (30..=60).contains(&retry_after.as_secs()),
            "{retry_after:?}"
        );
        // What has no time left is told at once.
        assert!(gate.enter(&user, began).await.is_err());
        assert!(waiting(&gate, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_dropped_leaves_nothing_at_any_moment() {
        let gate = gate(1);
        let [a, b] = ["a", "b"].map(Uid::new);
        let deadline = Instant::now() + FRAME;
        let enter = |user| Box::pin(gate.enter(user, deadline));
        let taken = gate.enter(&a, deadline).await.unwrap();
        // In the middle of a queue, alone in one, and just given a place.
        let (mut first, mut middle, mut alone, mut last) =
            (enter(&a), enter(&a), enter(&b), enter(&a));
        for wait in [&mut first, &mut middle, &mut alone, &mut last] {
            assert!(wait.now_or_never().is_none());
        }
        assert!(waiting(&gate, 4));
        drop(middle);
        drop(alone);
        assert!(waiting(&gate, 2));
        assert_eq!(gate.held().turns, std::slice::from_ref(&a));
        drop(taken);
        drop(first);
        let place = last.now_or_never().expect("the place was passed on");
        drop(place);
        assert_empty(&gate, 1);
    }
}
