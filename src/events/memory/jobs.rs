//! One user's jobs, in the order in which they were submitted.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::domain::{Job, JobId};
use crate::events::{Key, weight};

/// Bytes of a job's places in the maps.
const PLACES: usize = 128;

pub(super) struct Jobs {
    by_turn: BTreeMap<u64, Kept>,
    by_id: HashMap<JobId, u64>,
    by_key: HashMap<Key, u64>,
    turns: u64,
    /// How many have ended.
    ended: usize,
    /// None of them before that.
    first_end: Timestamp,
    bytes: usize,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            by_turn: BTreeMap::new(),
            by_id: HashMap::new(),
            by_key: HashMap::new(),
            turns: 0,
            ended: 0,
            first_end: Timestamp::MAX,
            bytes: 0,
        }
    }
}

struct Kept {
    job: Job,
    key: Option<Key>,
}

impl Kept {
    fn bytes(&self) -> usize {
        let key = self.key.as_ref().map_or(0, |key| key.as_str().len());
        PLACES + key + weight::job(&self.job)
    }
}

impl Jobs {
    pub(super) fn insert(&mut self, job: Job, key: Option<Key>) {
        self.turns += 1;
        self.by_id.insert(job.id.clone(), self.turns);
        if let Some(key) = &key {
            self.by_key.insert(key.clone(), self.turns);
        }
        let kept = Kept { job, key };
        self.bytes += kept.bytes();
        self.by_turn.insert(self.turns, kept);
    }

    pub(super) fn get(&self, id: &JobId) -> Option<&Job> {
        let turn = self.by_id.get(id)?;
        Some(&self.by_turn.get(turn)?.job)
    }

    pub(super) fn by_key(&self, key: &Key) -> Option<&Job> {
        let turn = self.by_key.get(key)?;
        Some(&self.by_turn.get(turn)?.job)
    }

    /// A job whose state has changed.
    pub(super) fn replace(&mut self, job: Job) {
        let turn = self.by_id.get(&job.id);
        if let Some(kept) = turn.and_then(|turn| self.by_turn.get_mut(turn)) {
            self.bytes -= kept.bytes();
            if job.state.is_terminal() {
                self.ended += 1;
                self.first_end = self.first_end.min(job.changed_at);
            }
            kept.job = job;
            self.bytes += kept.bytes();
        }
    }

    /// A job that has not ended, or not before then.
    pub(super) fn kept(&self, id: &JobId, cutoff: Timestamp) -> Option<&Job> {
        self.get(id).filter(|job| is_kept(job, cutoff))
    }

    pub(super) fn kept_by_key(&self, key: &Key, cutoff: Timestamp) -> Option<&Job> {
        self.by_key(key).filter(|job| is_kept(job, cutoff))
    }

    /// Newest first, before this one.
    pub(super) fn page(&self, before: Option<JobId>, most: usize, cutoff: Timestamp) -> Vec<Job> {
        let before = before.and_then(|id| self.by_id.get(&id).copied());
        let older = self.by_turn.range(..before.unwrap_or(u64::MAX)).rev();
        let jobs = older.map(|(_, kept)| &kept.job);
        let kept = jobs.filter(|job| is_kept(job, cutoff));
        kept.take(most).cloned().collect()
    }

    /// Forgets those that ended before then, and those that have ended and so many
    /// were submitted after.
    pub(super) fn forget(&mut self, cutoff: Timestamp, most: usize) {
        if self.ended > 0 && self.first_end <= cutoff {
            let all = self.by_turn.iter();
            let gone = all.filter(|(_, kept)| !is_kept(&kept.job, cutoff));
            let gone: Vec<_> = gone.map(|(turn, _)| *turn).collect();
            for turn in gone {
                self.remove(turn);
            }
            let kept = self.by_turn.values().map(|kept| &kept.job);
            let ended = kept.filter(|job| job.state.is_terminal());
            let first = ended.map(|job| job.changed_at).min();
            self.first_end = first.unwrap_or(Timestamp::MAX);
        }
        let too_old = self.turns.saturating_sub(most as u64);
        let all = self.by_turn.range(..=too_old);
        let gone = all.filter(|(_, kept)| kept.job.state.is_terminal());
        let gone: Vec<_> = gone.map(|(turn, _)| *turn).collect();
        for turn in gone {
            self.remove(turn);
        }
    }

    /// Forgets the oldest that has ended, if there is one.
    pub(super) fn evict(&mut self) -> bool {
        let mut all = self.by_turn.iter();
        let ended = all.find(|(_, kept)| kept.job.state.is_terminal());
        let Some(turn) = ended.map(|(turn, _)| *turn) else {
            return false;
        };
        self.remove(turn);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_turn.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn remove(&mut self, turn: u64) {
        if let Some(kept) = self.by_turn.remove(&turn) {
            self.bytes -= kept.bytes();
            self.ended -= usize::from(kept.job.state.is_terminal());
            self.by_id.remove(&kept.job.id);
            if let Some(key) = kept.key {
                self.by_key.remove(&key);
            }
        }
    }
}

fn is_kept(job: &Job, cutoff: Timestamp) -> bool {
    !job.state.is_terminal() || job.changed_at > cutoff
}
