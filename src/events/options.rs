//! How the logs are kept, and why they cannot be.

use std::path::PathBuf;
use std::time::Duration;

/// How the logs are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The folder they are kept in; without one they are in memory, and go with the
    /// process.
    pub folder: Option<PathBuf>,
    /// Entries are kept so long, and keys at least.
    pub age: Duration,
    /// So many entries of one user are kept, the newest.
    pub entries_per_user: usize,
    /// Bytes of all logs together, when they are in memory.
    pub memory: usize,
    /// How long to wait for another process to leave the folder.
    pub wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            folder: None,
            age: Duration::from_secs(24 * 60 * 60),
            entries_per_user: 1_000,
            memory: 64 << 20,
            // A process that leaves in good order is gone soon after its successor began.
            wait: Duration::from_secs(5),
        }
    }
}

impl Options {
    /// So many jobs that have ended are kept of one user: a key that is sent again is
    /// known by its job, so that even a short log has some.
    pub(super) fn jobs_per_user(&self) -> usize {
        self.entries_per_user.max(1_000)
    }
}

/// Why the logs cannot be opened: what is wrong with which file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {}
