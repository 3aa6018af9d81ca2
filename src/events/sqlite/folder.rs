//! The folder of the logs, and the lock that makes it this process's.
//!
//! Whoever has the lock is the only one, and every job in the database that has not
//! ended was some other process's, which is gone: the kernel gives a lock back when
//! its process ends, however it ends, and no clock is asked.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::OpenError;

const DATABASE: &str = "logs.db";
const LOCK: &str = "lock";
/// Between two looks at a lock that another process has.
const PAUSE: Duration = Duration::from_millis(50);

/// The folder, as long as it is this process's.
pub(super) struct Folder {
    path: PathBuf,
    /// Gives the lock back when it is closed.
    _lock: File,
}

impl Folder {
    /// Makes the folder if there is none, and waits so long for another process to
    /// leave it.
    pub(super) fn take(path: &Path, wait: Duration) -> Result<Self, OpenError> {
        let failed = |error| why(path, &error);
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            Ok(()) | Err(_) => {}
        }
        let mut lock = private(&path.join(LOCK)).map_err(failed)?;
        let until = Instant::now() + wait;
        let mut told = false;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                    return Err(OpenError::InUse {
                        folder: path.to_owned(),
                        process: holder(&mut lock),
                    });
                }
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        tracing::info!(
                            process = holder(&mut lock),
                            "another process keeps its logs in DATA_DIR; waiting for it to leave"
                        );
                        told = true;
                    }
                    sleep(PAUSE);
                }
            }
        }
        sign(&mut lock).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// The database's file, which is there: SQLite would let others read it.
    pub(super) fn database(&self) -> Result<PathBuf, OpenError> {
        let path = self.path.join(DATABASE);
        match private(&path) {
            Ok(_) => Ok(path),
            Err(error) => Err(OpenError::ReadOnly {
                file: path,
                cause: error.to_string(),
            }),
        }
    }
}

/// Says whose the lock is: to people who look, and to the next process. What counts is
/// the lock itself.
fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// Why the folder cannot be used.
fn why(folder: &Path, error: &io::Error) -> OpenError {
    let cause = error.to_string();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::Full {
            file: folder.join(LOCK),
            cause,
        },
        _ => OpenError::Folder {
            folder: folder.to_owned(),
            cause,
        },
    }
}

/// Opens a file that is made, if there is none, for this user alone.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// The process that wrote itself into the lock.
fn holder(lock: &mut File) -> Option<u32> {
    let mut name = String::new();
    lock.rewind().ok()?;
    lock.take(32).read_to_string(&mut name).ok()?;
    name.trim().parse().ok()
}
