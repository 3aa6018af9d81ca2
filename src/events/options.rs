//! How the logs are kept, and why they cannot be.

use std::path::PathBuf;
use std::time::Duration;

/// Jobs of a user that are kept, though its log is shorter: keys are known by them.
const JOBS: usize = 1_000;
/// A message's key is known until so many entries came after it, though the log is
/// shorter.
const KEYS: usize = 10_000;

/// How the logs are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The folder they are kept in; without one they are in memory, and go with the
    /// process.
    pub folder: Option<PathBuf>,
    /// Entries are kept so long, and keys and jobs that have ended as well.
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
    /// A job that has ended is kept until so many were submitted after it.
    pub(super) fn jobs_per_user(&self) -> usize {
        self.entries_per_user.max(JOBS)
    }

    /// A message's key is known until so many entries came after it: never for less
    /// than the message is kept.
    pub(super) fn keys_per_user(&self) -> usize {
        self.entries_per_user.max(KEYS)
    }
}

/// Why the logs cannot be opened: what is wrong with which file, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made or used.
    #[error(
        "DATA_DIR {}: {cause}; name a folder that this user may write to, in one that is there",
        folder.display()
    )]
    Folder {
        /// Which folder.
        folder: PathBuf,
        /// Why not.
        cause: String,
    },
    /// Another process has the folder.
    #[error(
        "DATA_DIR {}: {} keeps its logs there, and one process at a time can; stop that one, or \
         name another folder", folder.display(), who(*.process)
    )]
    InUse {
        /// Which folder.
        folder: PathBuf,
        /// The process, if it has said who it is.
        process: Option<u32>,
    },
    /// A file cannot be written.
    #[error(
        "{}: it cannot be written ({cause}); let this user write it, or name another folder as \
         DATA_DIR", file.display()
    )]
    ReadOnly {
        /// Which file.
        file: PathBuf,
        /// Why not.
        cause: String,
    },
    /// There is no room.
    #[error(
        "{}: the disk is full ({cause}); make room, or name another folder as DATA_DIR",
        file.display()
    )]
    Full {
        /// Which file.
        file: PathBuf,
        /// What was said.
        cause: String,
    },
    /// A file is damaged, or of something else.
    #[error(
        "{}: it is damaged, or not a log of this program ({cause}); restore it from a backup, or \
         move it and the files beside it that begin with its name away to begin with empty logs",
        file.display()
    )]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A later version of this program wrote it.
    #[error(
        "{}: it is of version {found}, and this program knows versions up to {known}; start the \
         program that wrote it or a later one, or name another folder as DATA_DIR",
        file.display()
    )]
    Newer {
        /// Which file.
        file: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// Something else failed.
    #[error("{}: it cannot be used ({cause}); look after its disk, then start again", file.display())]
    Failed {
        /// Which file.
        file: PathBuf,
        /// What was said.
        cause: String,
    },
}

fn who(process: Option<u32>) -> String {
    process.map_or("another process".to_owned(), |id| format!("process {id}"))
}
