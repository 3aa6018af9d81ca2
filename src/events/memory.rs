//! The logs in memory, bounded in all: when they are too large, the user who was
//! written to longest ago loses its oldest entries.

mod jobs;
mod user;

use std::collections::{BTreeMap, HashMap};
use std::future::{pending, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::hub::Hubs;
use super::{
    Appended, Cursor, Engine, Error, Key, Options, Page, Start, Submitted, may_become, stamp,
};
use crate::domain::{Event, FrameId, Job, JobId, JobState, Uid};
use crate::telemetry::{EntryLoss, Metrics};
use crate::world::World;
use user::User;

/// Users whose time may be over that are looked at with each entry.
const LOOKED_AT: usize = 4;

/// The engine in memory.
pub(super) struct Memory {
    options: Options,
    world: World,
    metrics: Metrics,
    hubs: Hubs,
    state: Mutex<State>,
}

struct State {
    /// Names this process's logs.
    name: String,
    /// Counts the users that were forgotten: the next log of one of them must have
    /// another epoch.
    forgotten: u64,
    users: HashMap<Uid, User>,
    /// Who was written to longest ago is first.
    order: BTreeMap<u64, Uid>,
    turns: u64,
    bytes: usize,
    closed: bool,
}

impl Memory {
    pub(super) fn new(options: Options, world: World, metrics: Metrics, hubs: Hubs) -> Self {
        let state = State {
            name: super::log_name(&world),
            forgotten: 0,
            users: HashMap::new(),
            order: BTreeMap::new(),
            turns: 0,
            bytes: 0,
            closed: false,
        };
        Self {
            options,
            world,
            metrics,
            hubs,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(Error::Closed);
        }
        Ok(state)
    }

    /// What was appended before is kept no more.
    fn cutoff(&self, now: Timestamp) -> Timestamp {
        now.saturating_sub(self.options.age)
            .expect("a Duration is no calendar unit")
    }

    /// Appends to the log; whoever follows is told under the same lock, and so in the
    /// order of offsets.
    fn push(&self, state: &mut State, user: &Uid, event: Event, now: Timestamp) -> (Cursor, usize) {
        let log = state.user(user);
        let (epoch, entry, over) = log.push(event, now, self.options.entries_per_user);
        self.metrics.log_swept(EntryLoss::Count, over);
        let followers = self.hubs.announce(user, &epoch, &entry);
        let offset = entry.offset;
        (Cursor { epoch, offset }, followers)
    }

    fn forget(&self, log: &mut User, cutoff: Timestamp) {
        let old = log.forget(cutoff, &self.options);
        self.metrics.log_swept(EntryLoss::Age, old);
    }

    /// After something was written to this user's log: its turn to be evicted comes
    /// last, and there is as much in memory as may be.
    fn settle(&self, state: &mut State, user: &Uid, cutoff: Timestamp) {
        state.written(user);
        let oldest: Vec<_> = state.order.values().take(LOOKED_AT).cloned().collect();
        for user in oldest {
            state.shrink(&user, |log| self.forget(log, cutoff));
        }
        let most = self.options.memory;
        let mut from = 0;
        while state.bytes > most {
            let Some((turn, user)) = state.order.range(from..).next() else {
                // What is left is jobs under way.
                return;
            };
            from = turn + 1;
            let (user, over) = (user.clone(), state.bytes - most);
            state.shrink(&user, |log| {
                let evicted = log.evict(over);
                self.metrics.log_swept(EntryLoss::Memory, evicted);
            });
        }
    }

    fn append_now(&self, user: &Uid, event: Event, key: Option<Key>) -> Result<Appended, Error> {
        let mut state = self.state()?;
        let now = stamp(&self.world);
        let cutoff = self.cutoff(now);
        let known = state.users.get_mut(user).and_then(|log| {
            self.forget(log, cutoff);
            log.message(key.as_ref()?)
        });
        if let Some((cursor, message)) = known {
            let followers = self.hubs.followers(user);
            return Ok(Appended {
                cursor,
                earlier: Some(message),
                followers,
            });
        }
        let message = match &event {
            Event::Message(message) => Some(message.id.clone()),
            Event::Decided(_) | Event::Job(_) => None,
        };
        let (cursor, followers) = self.push(&mut state, user, event, now);
        if let (Some(key), Some(message)) = (key, message) {
            let most = self.options.keys_per_user();
            let named = (cursor.offset, message);
            state.user(user).keep_key(key, named, now, most);
        }
        self.settle(&mut state, user, cutoff);
        Ok(Appended {
            cursor,
            earlier: None,
            followers,
        })
    }

    fn submit_now(
        &self,
        user: &Uid,
        id: JobId,
        frame: FrameId,
        key: Option<Key>,
    ) -> Result<Submitted, Error> {
        let mut state = self.state()?;
        let now = stamp(&self.world);
        let cutoff = self.cutoff(now);
        let log = state.user(user);
        self.forget(log, cutoff);
        let same = key.as_ref().and_then(|key| log.jobs.by_key(key));
        if let Some(job) = same.or_else(|| log.jobs.get(&id)) {
            return Ok(Submitted {
                job: job.clone(),
                repeated: true,
            });
        }
        let job = Job {
            id,
            frame,
            state: JobState::Pending,
            submitted_at: now,
            changed_at: now,
        };
        log.jobs.insert(job.clone(), key);
        self.push(&mut state, user, Event::Job(Box::new(job.clone())), now);
        self.settle(&mut state, user, cutoff);
        Ok(Submitted {
            job,
            repeated: false,
        })
    }

    fn advance_now(&self, user: &Uid, id: &JobId, next: JobState) -> Result<Option<Job>, Error> {
        let mut state = self.state()?;
        let now = stamp(&self.world);
        let cutoff = self.cutoff(now);
        let Some(log) = state.users.get_mut(user) else {
            return Ok(None);
        };
        self.forget(log, cutoff);
        let Some(job) = log.jobs.get(id) else {
            return Ok(None);
        };
        if !may_become(&job.state, &next) {
            return Ok(Some(job.clone()));
        }
        let moved = Job {
            state: next,
            changed_at: now,
            ..job.clone()
        };
        log.jobs.replace(moved.clone());
        self.push(&mut state, user, Event::Job(Box::new(moved.clone())), now);
        self.settle(&mut state, user, cutoff);
        Ok(Some(moved))
    }

    fn read_now(&self, user: &Uid, start: Start, most: usize) -> Result<Page, Error> {
        let state = self.state()?;
        let cutoff = self.cutoff(stamp(&self.world));
        Ok(match state.users.get(user) {
            Some(log) => log.read(start, most, cutoff),
            None => {
                let epoch = state.epoch();
                let here = |cursor: &Cursor| cursor.epoch == epoch && cursor.offset == 0;
                Page {
                    gap: matches!(&start, Start::After(cursor) if !here(cursor)),
                    entries: Vec::new(),
                    cursor: Cursor { epoch, offset: 0 },
                    more: false,
                }
            }
        })
    }

    /// Reads of a user's jobs, of those that are kept still.
    fn with_jobs<T: Default>(
        &self,
        user: &Uid,
        read: impl FnOnce(&jobs::Jobs, Timestamp) -> T,
    ) -> Result<T, Error> {
        let state = self.state()?;
        let cutoff = self.cutoff(stamp(&self.world));
        let log = state.users.get(user);
        Ok(log.map(|log| read(&log.jobs, cutoff)).unwrap_or_default())
    }
}

impl State {
    /// The epoch of a log that begins now.
    fn epoch(&self) -> Arc<str> {
        super::epoch(&self.name, self.forgotten)
    }

    /// This user's log, which is made if there is none.
    fn user(&mut self, user: &Uid) -> &mut User {
        let (name, forgotten) = (&self.name, self.forgotten);
        let (turns, order) = (&mut self.turns, &mut self.order);
        self.users.entry(user.clone()).or_insert_with(|| {
            *turns += 1;
            order.insert(*turns, user.clone());
            User::new(super::epoch(name, forgotten), *turns)
        })
    }

    /// This user was written to last.
    fn written(&mut self, user: &Uid) {
        if let Some(log) = self.users.get_mut(user) {
            self.turns += 1;
            self.order.remove(&log.turn);
            log.turn = self.turns;
            self.order.insert(self.turns, user.clone());
            let bytes = log.bytes();
            self.bytes = self.bytes + bytes - std::mem::replace(&mut log.counted, bytes);
        }
    }

    /// Makes a log smaller, and forgets its user if nothing is left.
    fn shrink(&mut self, user: &Uid, how: impl FnOnce(&mut User)) {
        let Some(log) = self.users.get_mut(user) else {
            return;
        };
        how(log);
        let bytes = log.bytes();
        self.bytes = self.bytes + bytes - std::mem::replace(&mut log.counted, bytes);
        if log.is_empty() {
            self.bytes -= log.counted;
            self.order.remove(&log.turn);
            self.users.remove(user);
            self.forgotten += 1;
        }
    }
}

impl Engine for Memory {
    fn append(
        &self,
        user: &Uid,
        event: Event,
        key: Option<Key>,
    ) -> BoxFuture<'_, Result<Appended, Error>> {
        ready(self.append_now(user, event, key)).boxed()
    }

    fn read(&self, user: &Uid, start: Start, most: usize) -> BoxFuture<'_, Result<Page, Error>> {
        ready(self.read_now(user, start, most)).boxed()
    }

    fn submit(
        &self,
        user: &Uid,
        id: JobId,
        frame: FrameId,
        key: Option<Key>,
    ) -> BoxFuture<'_, Result<Submitted, Error>> {
        ready(self.submit_now(user, id, frame, key)).boxed()
    }

    fn submitted(&self, user: &Uid, key: &Key) -> BoxFuture<'_, Result<Option<Job>, Error>> {
        let job = self.with_jobs(user, |jobs, cutoff| jobs.kept_by_key(key, cutoff).cloned());
        ready(job).boxed()
    }

    fn advance(
        &self,
        user: &Uid,
        id: &JobId,
        state: JobState,
    ) -> BoxFuture<'_, Result<Option<Job>, Error>> {
        ready(self.advance_now(user, id, state)).boxed()
    }

    fn job(&self, user: &Uid, id: &JobId) -> BoxFuture<'_, Result<Option<Job>, Error>> {
        let job = self.with_jobs(user, |jobs, cutoff| jobs.kept(id, cutoff).cloned());
        ready(job).boxed()
    }

    fn jobs(
        &self,
        user: &Uid,
        before: Option<JobId>,
        most: usize,
    ) -> BoxFuture<'_, Result<Vec<Job>, Error>> {
        let page = self.with_jobs(user, |jobs, cutoff| jobs.page(before, most, cutoff));
        ready(page).boxed()
    }

    fn crashed(&self) -> BoxFuture<'_, ()> {
        pending().boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        if let Ok(mut state) = self.state() {
            state.closed = true;
        }
        ready(()).boxed()
    }
}
