//! The tables of a store, made and checked when it is opened.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::Error;

/// Marks a file as a store of this program: "pAId".
const APPLICATION: i32 = 0x7041_4964;
/// The version of the tables below.
const VERSION: i32 = 1;
/// Answered frames that are remembered: more than a folder may hold files.
const MOST_FRAMES: i64 = 100_000;

/// How long to wait for another program when the store is opened.
const OPENING: Duration = Duration::from_secs(5);
/// How long afterwards: nothing else happens in the meantime.
const IN_USE: Duration = Duration::from_millis(100);

/// The words of a description are indexed as this program splits them, so that
/// scripts without spaces can be searched; stems make "figure" find "figures".
/// Whoever else writes to the store only clears `indexed`, by a trigger, and the
/// next search catches up.
const TABLES: &str = "
    CREATE TABLE tasks (
        id INTEGER PRIMARY KEY,
        description TEXT NOT NULL,
        status TEXT NOT NULL DEFAULT 'active'
            CHECK (status IN ('active', 'completed', 'deleted')),
        priority TEXT NOT NULL DEFAULT '',
        score INTEGER,
        staged INTEGER NOT NULL DEFAULT 0,
        details TEXT NOT NULL DEFAULT '',
        deadline TEXT NOT NULL DEFAULT '',
        source_app TEXT NOT NULL DEFAULT '',
        indexed INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX tasks_by_status ON tasks (status);
    CREATE INDEX tasks_to_index ON tasks (id) WHERE NOT indexed;
    CREATE TABLE goals (
        id TEXT NOT NULL DEFAULT '',
        title TEXT NOT NULL,
        description TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE TABLE frames (
        frame_id TEXT PRIMARY KEY,
        source TEXT UNIQUE,
        ending TEXT
    ) STRICT;
    CREATE VIRTUAL TABLE word_index USING fts5 (words, tokenize = 'porter unicode61');
    CREATE TRIGGER task_changed AFTER UPDATE OF id, description ON tasks BEGIN
        DELETE FROM word_index WHERE rowid = old.id;
        UPDATE tasks SET indexed = 0 WHERE id = new.id;
    END;
    CREATE TRIGGER task_removed AFTER DELETE ON tasks BEGIN
        DELETE FROM word_index WHERE rowid = old.id;
    END;
";

/// A store that ends with the program.
pub(super) fn in_memory() -> Result<Connection, Error> {
    let db = Connection::open_in_memory()?;
    make(&db)?;
    Ok(db)
}

/// A store in a file, which is made if there is none; nobody but its owner may
/// read it.
pub(super) fn in_file(path: &Path) -> Result<Connection, Error> {
    let unusable = |cause: String| Error::Unusable {
        path: path.to_owned(),
        cause,
    };
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(|cause| unusable(cause.to_string()))?;
    let foreign = || unusable("it is a file of something else; name another".to_owned());
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => foreign(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            unusable("another program holds it; end that one, and try again".to_owned())
        }
        _ => unusable(error.to_string()),
    };
    let mut db = Connection::open(path).map_err(failed)?;
    db.busy_timeout(OPENING).map_err(failed)?;
    let mut kind = Kind::of(&db).map_err(failed)?;
    if kind == Kind::New {
        // Two desks may open a new store at the same time: one of them makes it.
        let making = db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        kind = Kind::of(&making).map_err(failed)?;
        if kind == Kind::New {
            make(&making).map_err(failed)?;
            kind = Kind::Ours;
        }
        making.commit().map_err(failed)?;
    }
    match kind {
        Kind::Ours => {}
        Kind::New | Kind::Foreign => return Err(foreign()),
        Kind::OfVersion(newer) => {
            let what = format!(
                "it has tables of version {newer}, and this program knows {VERSION}: use the \
                 program that made it, or name another file"
            );
            return Err(unusable(what));
        }
    }
    // Others may read while this program writes.
    let wal = db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()));
    wal.map_err(failed)?;
    db.busy_timeout(IN_USE).map_err(failed)?;
    let forget = "DELETE FROM frames WHERE rowid <= (SELECT max(rowid) - ?1 FROM frames)";
    match db.execute(forget, [MOST_FRAMES]).map_err(Error::from) {
        // Then the next start does it.
        Ok(_) | Err(Error::Held) => Ok(db),
        Err(error) => Err(error),
    }
}

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    New,
    Ours,
    OfVersion(i32),
    Foreign,
}

impl Kind {
    fn of(db: &Connection) -> rusqlite::Result<Self> {
        let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let objects = "SELECT count(*) FROM sqlite_schema";
        let objects: i64 = db.query_row(objects, [], |row| row.get(0))?;
        Ok(match (pragma("application_id")?, pragma("user_version")?) {
            (0, 0) if objects == 0 => Self::New,
            (APPLICATION, VERSION) => Self::Ours,
            (APPLICATION, version) => Self::OfVersion(version),
            _ => Self::Foreign,
        })
    }
}

fn make(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(TABLES)?;
    db.pragma_update(None, "application_id", APPLICATION)?;
    db.pragma_update(None, "user_version", VERSION)
}
