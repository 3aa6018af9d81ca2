//! One user's log in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::jobs::Jobs;
use crate::domain::{Event, MessageId};
use crate::events::{Cursor, Entry, Key, Options, PAGE_BYTES, Page, Start, weight};

/// Bytes of a log with nothing in it.
const LOG: usize = 512;
/// Bytes of a key apart from its text.
const KEY: usize = 192;

pub(super) struct User {
    pub(super) jobs: Jobs,
    /// Its place in the order of eviction.
    pub(super) turn: u64,
    /// What it counted for when it was last written to.
    pub(super) counted: usize,
    epoch: Arc<str>,
    /// The offset of the last entry there ever was.
    head: u64,
    entries: VecDeque<Arc<Entry>>,
    keys: HashMap<Key, (u64, MessageId)>,
    /// The same, oldest first.
    keys_in_turn: VecDeque<(Timestamp, Key)>,
    bytes: usize,
}

impl User {
    pub(super) fn new(epoch: Arc<str>, turn: u64) -> Self {
        Self {
            jobs: Jobs::default(),
            turn,
            counted: 0,
            epoch,
            head: 0,
            entries: VecDeque::new(),
            keys: HashMap::new(),
            keys_in_turn: VecDeque::new(),
            bytes: LOG,
        }
    }

    /// Appends, and drops the oldest of more than so many: how many it dropped.
    pub(super) fn push(
        &mut self,
        event: Event,
        at: Timestamp,
        most: usize,
    ) -> (Arc<str>, Arc<Entry>, usize) {
        self.head += 1;
        let offset = self.head;
        self.bytes += weight::entry(&event);
        let entry = Arc::new(Entry { offset, at, event });
        self.entries.push_back(entry.clone());
        let over = self.entries.len().saturating_sub(most);
        for _ in 0..over {
            self.drop_oldest();
        }
        (self.epoch.clone(), entry, over)
    }

    pub(super) fn read(&self, start: Start, most: usize, cutoff: Timestamp) -> Page {
        let kept = self.entries.iter().position(|entry| entry.at > cutoff);
        let kept = kept.unwrap_or(self.entries.len());
        // What is missing at the front is older than the oldest that is kept.
        let before = self.head - (self.entries.len() - kept) as u64;
        let (gap, after) = match start {
            Start::Oldest => (false, before),
            Start::Now => (false, self.head),
            Start::After(Cursor { epoch, offset })
                if epoch == self.epoch && (before..=self.head).contains(&offset) =>
            {
                (false, offset)
            }
            Start::After(_) => (true, before),
        };
        let skipped = usize::try_from(after - before).expect("no more than there are entries");
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut more = false;
        for entry in self.entries.iter().skip(kept + skipped) {
            bytes += weight::entry(&entry.event);
            if entries.len() == most || (bytes > PAGE_BYTES && !entries.is_empty()) {
                more = true;
                break;
            }
            entries.push(entry.clone());
        }
        let offset = entries.last().map_or(after, |last| last.offset);
        Page {
            gap,
            entries,
            cursor: Cursor {
                epoch: self.epoch.clone(),
                offset,
            },
            more,
        }
    }

    /// The message that had this key, and where it stands.
    pub(super) fn message(&self, key: &Key) -> Option<(Cursor, MessageId)> {
        let (offset, id) = self.keys.get(key)?;
        let epoch = self.epoch.clone();
        let offset = *offset;
        Some((Cursor { epoch, offset }, id.clone()))
    }

    /// Keeps a message's key, and drops those with so many entries behind them.
    pub(super) fn keep_key(
        &mut self,
        key: Key,
        (offset, message): (u64, MessageId),
        at: Timestamp,
        most: usize,
    ) {
        self.bytes += key_bytes(&key);
        self.keys_in_turn.push_back((at, key.clone()));
        self.keys.insert(key, (offset, message));
        let too_old = self.head.saturating_sub(most as u64);
        while let Some((_, oldest)) = self.keys_in_turn.front()
            && self.keys.get(oldest).is_none_or(|kept| kept.0 <= too_old)
        {
            self.drop_key();
        }
    }

    /// Forgets what was appended, or has ended, before then; how many entries.
    pub(super) fn forget(&mut self, cutoff: Timestamp, options: &Options) -> usize {
        let before = self.entries.len();
        while self.entries.front().is_some_and(|entry| entry.at <= cutoff) {
            self.drop_oldest();
        }
        while self.keys_in_turn.front().is_some_and(|key| key.0 <= cutoff) {
            self.drop_key();
        }
        self.jobs.forget(cutoff, options.jobs_per_user());
        before - self.entries.len()
    }

    /// Frees so many bytes, if it has them: entries first, jobs under way never.
    /// How many entries.
    pub(super) fn evict(&mut self, bytes: usize) -> usize {
        let before = self.entries.len();
        let least = self.bytes().saturating_sub(bytes);
        while self.bytes() > least {
            if !self.entries.is_empty() {
                self.drop_oldest();
            } else if !self.keys.is_empty() {
                self.drop_key();
            } else if !self.jobs.evict() {
                break;
            }
        }
        before - self.entries.len()
    }

    /// Nothing is lost if it is forgotten.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.keys.is_empty() && self.jobs.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.jobs.bytes()
    }

    fn drop_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= weight::entry(&entry.event);
        }
    }

    fn drop_key(&mut self) {
        if let Some((_, key)) = self.keys_in_turn.pop_front() {
            self.bytes -= key_bytes(&key);
            self.keys.remove(&key);
        }
    }
}

fn key_bytes(key: &Key) -> usize {
    KEY + key.as_str().len()
}
