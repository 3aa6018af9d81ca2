//! Who follows whose log. Each user with followers has a hub, which goes with the
//! last of them; the engine announces there what it has kept.
//!
//! A hub counts what was announced, and keeps the newest entries until every
//! follower has taken them: a thousand who are up to date read nothing from the
//! disk. That is bounded, and who is behind it reads the engine. Two moments matter:
//! a follower has its seat before it reads, so that nothing falls in between; and an
//! engine announces in the order of offsets, so that what was announced since a
//! follower had everything is exactly what it lacks.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Cursor, Entry, weight};
use crate::domain::{Event, Uid};
use crate::telemetry::{EntryKind, Metrics};

/// Entries that a hub keeps for those who have not taken them yet.
const RING: usize = 64;
/// And bytes of them: a few of the largest messages.
const RING_BYTES: usize = 128 << 10;
/// Bytes of all hubs: ten thousand followers that do not listen would hold a
/// gigabyte. Beyond, followers read the engine.
const ALL_BYTES: usize = 32 << 20;

/// All hubs; cheap to clone.
#[derive(Clone)]
pub(super) struct Hubs(Arc<All>);

struct All {
    metrics: Metrics,
    users: Mutex<HashMap<Uid, Arc<Hub>>>,
    bytes: AtomicUsize,
    closed: AtomicBool,
}

struct Hub {
    user: Uid,
    news: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    followers: usize,
    /// Of them, those whose clients are away.
    away: usize,
    /// Entries announced since there is this hub.
    announced: u64,
    /// The last of them.
    last: Option<Cursor>,
    /// The newest of them, without a hole.
    ring: VecDeque<Slot>,
    bytes: usize,
}

struct Slot {
    epoch: Arc<str>,
    entry: Arc<Entry>,
    bytes: usize,
    /// Followers that have not taken it yet.
    waiting: usize,
}

/// What a follower finds at its hub.
pub(super) enum Found {
    /// The next entries, of one epoch.
    Entries(Arc<str>, Vec<Arc<Entry>>),
    /// It has everything.
    Nothing,
    /// It lacks what the hub has no more.
    Behind,
}

impl Hubs {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self(Arc::new(All {
            metrics,
            users: Mutex::default(),
            bytes: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }))
    }

    /// Tells a user's followers of the next entry of its log, which is kept by now.
    /// How many they are, without those whose clients are away.
    pub(super) fn announce(&self, user: &Uid, epoch: &Arc<str>, entry: &Arc<Entry>) -> usize {
        self.0.metrics.log_appended(match &entry.event {
            Event::Decided(_) => EntryKind::Decision,
            Event::Job(_) => EntryKind::Job,
            Event::Message(_) => EntryKind::Message,
        });
        let hub = self.users().get(user).cloned();
        hub.map_or(0, |hub| {
            let followers = hub.state().announce(&self.0.bytes, epoch, entry);
            hub.news.notify_waiters();
            followers
        })
    }

    /// How many follow this user's log.
    pub(super) fn followers(&self, user: &Uid) -> usize {
        let hub = self.users().get(user).cloned();
        hub.map_or(0, |hub| hub.state().followers)
    }

    /// Takes a seat: whatever is announced from now on can be taken from it.
    pub(super) fn join(&self, user: &Uid) -> Seat {
        let mut users = self.users();
        let hub = users.entry(user.clone()).or_insert_with(|| {
            Arc::new(Hub {
                user: user.clone(),
                news: Notify::new(),
                state: Mutex::default(),
            })
        });
        // Under the lock of the map, so that it does not go in the meantime.
        let mut state = hub.state();
        state.followers += 1;
        self.0.metrics.log_follower_came();
        let next = state.announced;
        drop(state);
        Seat {
            hubs: self.clone(),
            hub: hub.clone(),
            next,
            away: false,
        }
    }

    /// Nothing is announced any more, and whoever waits is told.
    pub(super) fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        for hub in self.users().values() {
            hub.news.notify_waiters();
        }
    }

    fn users(&self) -> MutexGuard<'_, HashMap<Uid, Arc<Hub>>> {
        self.0.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn announce(&mut self, all: &AtomicUsize, epoch: &Arc<str>, entry: &Arc<Entry>) -> usize {
        self.announced += 1;
        self.last = Some(Cursor {
            epoch: epoch.clone(),
            offset: entry.offset,
        });
        if self.followers == 0 {
            // The last one has just left, and nobody will take it.
            return 0;
        }
        let bytes = weight::entry(&entry.event);
        while self.ring.len() >= RING || (self.bytes + bytes > RING_BYTES && !self.ring.is_empty())
        {
            self.drop_oldest(all);
        }
        if all.load(Ordering::Relaxed) + bytes > ALL_BYTES {
            while !self.ring.is_empty() {
                self.drop_oldest(all);
            }
        } else {
            self.bytes += bytes;
            all.fetch_add(bytes, Ordering::Relaxed);
            self.ring.push_back(Slot {
                epoch: epoch.clone(),
                entry: entry.clone(),
                bytes,
                waiting: self.followers,
            });
        }
        self.followers - self.away
    }

    fn drop_oldest(&mut self, all: &AtomicUsize) {
        if let Some(slot) = self.ring.pop_front() {
            self.bytes -= slot.bytes;
            all.fetch_sub(slot.bytes, Ordering::Relaxed);
        }
    }

    /// The place of this entry in the ring; `None` if it is there no more.
    fn place(&self, next: u64) -> Option<usize> {
        let oldest = self.announced - self.ring.len() as u64;
        let place = next.checked_sub(oldest)?;
        Some(usize::try_from(place).expect("no more than the ring has"))
    }

    /// A follower that was to take `next` will take `then`.
    fn pass(&mut self, all: &AtomicUsize, next: u64, then: u64) {
        let oldest = self.announced - self.ring.len() as u64;
        for place in next.max(oldest)..then.max(oldest) {
            let place = usize::try_from(place - oldest).expect("no more than the ring has");
            self.ring[place].waiting -= 1;
        }
        while self.ring.front().is_some_and(|slot| slot.waiting == 0) {
            self.drop_oldest(all);
        }
        if self.ring.is_empty() {
            // Most hubs have one follower, which has everything most of the time.
            self.ring = VecDeque::new();
        }
    }
}

/// A follower's seat at its user's hub; given back when it is dropped.
pub(super) struct Seat {
    hubs: Hubs,
    hub: Arc<Hub>,
    /// The entry it takes next, as the hub counts them.
    next: u64,
    away: bool,
}

impl Seat {
    /// Whose hub it is.
    pub(super) fn user(&self) -> &Uid {
        &self.hub.user
    }

    /// Whether the follower's client is away: it misses nothing, but nobody is told
    /// just now, and it is not counted among those who follow.
    pub(super) fn set_away(&mut self, away: bool) {
        if self.away == away {
            return;
        }
        self.away = away;
        let mut state = self.hub.state();
        if away {
            state.away += 1;
            self.hubs.0.metrics.log_follower_left();
        } else {
            state.away -= 1;
            self.hubs.0.metrics.log_follower_came();
        }
    }

    /// Takes at most so many entries.
    pub(super) fn take(&mut self, most: usize) -> Found {
        let mut state = self.hub.state();
        if self.next == state.announced {
            return Found::Nothing;
        }
        let Some(place) = state.place(self.next) else {
            return Found::Behind;
        };
        let epoch = state.ring[place].epoch.clone();
        let of_epoch = |slot: &&Slot| slot.epoch == epoch;
        let slots = state.ring.range(place..).take_while(of_epoch).take(most);
        let entries: Vec<_> = slots.map(|slot| slot.entry.clone()).collect();
        let then = self.next + entries.len() as u64;
        state.pass(&self.hubs.0.bytes, self.next, then);
        self.next = then;
        Found::Entries(epoch, entries)
    }

    /// Leaves out what was announced so far, to read it from the engine.
    pub(super) fn skip(&mut self) {
        let mut state = self.hub.state();
        let announced = state.announced;
        state.pass(&self.hubs.0.bytes, self.next, announced);
        self.next = announced;
    }

    /// The cursor before the entry that it takes next, if that has been announced and
    /// the log is still the same one.
    pub(super) fn cursor(&self) -> Option<Cursor> {
        let state = self.hub.state();
        let last = state.last.as_ref()?;
        // Offsets begin anew with the epoch, so those of another do not go back so far.
        let offset = last.offset.checked_sub(state.announced - self.next)?;
        let epoch = last.epoch.clone();
        Some(Cursor { epoch, offset })
    }

    /// Waits until there is something to take, or nothing will come: then it is
    /// `false`.
    pub(super) async fn wait(&self) -> bool {
        let mut news = pin!(self.hub.news.notified());
        loop {
            // Before looking, so that nothing falls in between.
            news.as_mut().enable();
            if self.hub.state().announced != self.next {
                return true;
            }
            if self.hubs.0.closed.load(Ordering::SeqCst) {
                return false;
            }
            news.as_mut().await;
            news.set(self.hub.news.notified());
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Under the lock of the map, so that nobody joins in the meantime.
        let mut users = self.hubs.users();
        // What is announced from here on does not wait for this follower, and what was
        // announced before waits no more.
        let mut state = self.hub.state();
        let announced = state.announced;
        state.pass(&self.hubs.0.bytes, self.next, announced);
        state.followers -= 1;
        if self.away {
            state.away -= 1;
        } else {
            self.hubs.0.metrics.log_follower_left();
        }
        if state.followers == 0 {
            drop(state);
            users.remove(&self.hub.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::events::tests::house::{decided, uid};

    /// Followers that take, skip, come and go at random: each takes the entries in
    /// order as far as it was not behind, and at the end nothing is held.
    #[test]
    fn a_hub_holds_what_somebody_has_to_take_and_no_more() {
        for seed in 0..200 {
            let mut dice = StdRng::seed_from_u64(seed);
            let hubs = Hubs::new(Metrics::new());
            let (ada, epoch): (_, Arc<str>) = (uid("ada"), "e".into());
            let mut announced = 0;
            let mut seats: Vec<(Seat, u64)> = Vec::new();
            for _ in 0..1_000 {
                match dice.random_range(0..11) {
                    0 if seats.len() < 5 => seats.push((hubs.join(&ada), announced)),
                    1 if !seats.is_empty() => {
                        seats.swap_remove(dice.random_range(0..seats.len()));
                    }
                    10 if !seats.is_empty() => {
                        let place = dice.random_range(0..seats.len());
                        seats[place].0.set_away(dice.random_range(0..2) == 0);
                    }
                    2..5 if !seats.is_empty() => {
                        let place = dice.random_range(0..seats.len());
                        let (seat, last) = &mut seats[place];
                        match seat.take(dice.random_range(1..100)) {
                            Found::Entries(_, entries) => {
                                for entry in entries {
                                    *last += 1;
                                    assert_eq!(entry.offset, *last, "seed {seed}");
                                }
                            }
                            Found::Nothing => assert_eq!(*last, announced, "seed {seed}"),
                            Found::Behind => {
                                assert_eq!(seat.cursor().unwrap().offset, *last);
                                seat.skip();
                                *last = announced;
                            }
                        }
                    }
                    _ => {
                        announced += 1;
                        let text = "x".repeat(dice.random_range(0..5_000));
                        let entry = Arc::new(Entry {
                            offset: announced,
                            at: Timestamp::UNIX_EPOCH,
                            event: decided(text),
                        });
                        let followers = hubs.announce(&ada, &epoch, &entry);
                        let here = seats.iter().filter(|(seat, _)| !seat.away);
                        assert_eq!(followers, here.count());
                    }
                }
                let held = hubs.0.bytes.load(Ordering::Relaxed);
                assert!(held <= RING_BYTES, "seed {seed}: {held}");
                let everything = seats.iter().all(|(_, last)| *last == announced);
                assert!(!everything || held == 0, "seed {seed}: {held}");
            }
            drop(seats);
            assert_eq!(hubs.0.bytes.load(Ordering::Relaxed), 0, "seed {seed}");
            assert!(hubs.users().is_empty());
        }
    }

    #[test]
    fn who_leaves_while_something_is_announced_leaves_nothing_behind() {
        let hubs = Hubs::new(Metrics::new());
        let (ada, epoch): (_, Arc<str>) = (uid("ada"), "e".into());
        let entry = Arc::new(Entry {
            offset: 1,
            at: Timestamp::UNIX_EPOCH,
            event: decided(1),
        });
        let held = || hubs.0.bytes.load(Ordering::Relaxed);
        for _ in 0..10 {
            let seat = hubs.join(&ada);
            let hub = seat.hub.clone();
            hubs.announce(&ada, &epoch, &entry);
            std::thread::scope(|scope| {
                // Who announces has found the hub, and the last follower leaves.
                let users = hubs.users();
                scope.spawn(|| drop(seat));
                for _ in 0..10_000 {
                    if held() == 0 {
                        break;
                    }
                    std::thread::yield_now();
                }
                hub.state().announce(&hubs.0.bytes, &epoch, &entry);
                drop(users);
            });
            assert_eq!(held(), 0);
        }
    }

    #[test]
    fn all_hubs_together_are_bounded_and_who_is_left_out_is_behind() {
        let hubs = Hubs::new(Metrics::new());
        let epoch: Arc<str> = "e".into();
        let users: Vec<_> = (0..400).map(|n| uid(&n.to_string())).collect();
        let mut seats: Vec<_> = users.iter().map(|user| hubs.join(user)).collect();
        for offset in 1..=10 {
            let event = decided("x".repeat(20_000));
            let at = Timestamp::UNIX_EPOCH;
            let entry = Arc::new(Entry { offset, at, event });
            for user in &users {
                hubs.announce(user, &epoch, &entry);
            }
        }
        let held = hubs.0.bytes.load(Ordering::Relaxed);
        assert!(held <= ALL_BYTES && held > ALL_BYTES / 2, "{held}");
        assert!(matches!(seats[0].take(1), Found::Behind));
        drop(seats);
        assert_eq!(hubs.0.bytes.load(Ordering::Relaxed), 0);
    }
}
