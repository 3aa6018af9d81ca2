//! The database's tables: made and brought up to date when it is opened.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, ffi, params};

use super::{OpenError, log_name};
use crate::world::World;

/// Marks a file as logs of this program: "pAIl".
const APPLICATION: i64 = 0x7041_496c;
/// What makes each version of the one before.
const MIGRATIONS: &[&str] = &[include_str!("0001.sql")];
/// How long to wait for a person who looks at the database with a tool.
const BUSY: Duration = Duration::from_secs(2);
/// The database is looked through at the start if it is not larger: that takes about
/// a second.
const LOOKED_THROUGH: u64 = 256 << 20;
/// The journal is cut to this when it was larger.
const JOURNAL: i64 = 32 << 20;

/// Opens the database for the one who writes.
pub(super) fn open(file: &Path, world: &World) -> Result<Connection, OpenError> {
    let failed = |error| why(file, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(file, flags).map_err(failed)?;
    db.busy_timeout(BUSY).map_err(failed)?;
    db.set_prepared_statement_cache_capacity(64);
    let version = version(&db).map_err(failed)?;
    let known = MIGRATIONS.len() as i64;
    match version {
        Version::Ours(found) if found > known => {
            let file = file.to_owned();
            return Err(OpenError::Newer { file, found, known });
        }
        Version::Ours(_) => {}
        Version::Foreign => {
            return Err(OpenError::Damaged {
                file: file.to_owned(),
                cause: "it has another program's mark".to_owned(),
            });
        }
    }
    keep_journal(&db, file)?;
    // What was deleted is overwritten, as far as that costs nothing more.
    let safe = "PRAGMA synchronous = FULL; PRAGMA secure_delete = FAST;";
    db.execute_batch(safe).map_err(failed)?;
    db.pragma_update(None, "journal_size_limit", JOURNAL)
        .map_err(failed)?;
    if std::fs::metadata(file).is_ok_and(|meta| meta.len() <= LOOKED_THROUGH) {
        let look = "PRAGMA quick_check(1)";
        let found: String = db.query_row(look, [], |row| row.get(0)).map_err(failed)?;
        if found != "ok" {
            return Err(OpenError::Damaged {
                file: file.to_owned(),
                cause: found,
            });
        }
    }
    migrate(&mut db, version, world).map_err(failed)?;
    Ok(db)
}

/// Has changes written to a journal beside the file, so that who reads and who writes
/// do not wait for each other. Where that cannot be, SQLite goes on without it and says
/// so.
fn keep_journal(db: &Connection, file: &Path) -> Result<(), OpenError> {
    let mode = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
    let mode: String = mode.map_err(|error| why(file, &error))?;
    if mode == "wal" {
        return Ok(());
    }
    Err(OpenError::Failed {
        file: file.to_owned(),
        cause: format!("no write-ahead log can be kept beside it, only a journal \"{mode}\""),
    })
}

/// Opens the database for one who reads.
pub(super) fn open_reader(file: &Path) -> Result<Connection, OpenError> {
    let failed = |error| why(file, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags).map_err(failed)?;
    db.busy_timeout(BUSY).map_err(failed)?;
    Ok(db)
}

/// Whose database it is.
#[derive(Clone, Copy)]
enum Version {
    Ours(i64),
    Foreign,
}

fn version(db: &Connection) -> rusqlite::Result<Version> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let objects = "SELECT count(*) FROM sqlite_schema";
    let objects: i64 = db.query_row(objects, [], |row| row.get(0))?;
    Ok(match (pragma("application_id")?, pragma("user_version")?) {
        (0, 0) if objects == 0 => Version::Ours(0),
        (APPLICATION, version) => Version::Ours(version),
        _ => Version::Foreign,
    })
}

fn migrate(db: &mut Connection, version: Version, world: &World) -> rusqlite::Result<()> {
    let Version::Ours(from) = version else {
        return Ok(());
    };
    for (version, migration) in (1_i64..).zip(MIGRATIONS) {
        if version <= from {
            continue;
        }
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step.execute_batch(migration)?;
        step.pragma_update(None, "application_id", APPLICATION)?;
        step.pragma_update(None, "user_version", version)?;
        if version == 1 {
            let insert = "INSERT INTO house (name, forgotten) VALUES (?1, 0)";
            step.execute(insert, params![log_name(world)])?;
        }
        step.commit()?;
    }
    Ok(())
}

/// What is wrong with the file, as SQLite says it.
pub(super) fn why(file: &Path, error: &rusqlite::Error) -> OpenError {
    let cause = error.to_string();
    let file = file.to_owned();
    let extended = error.sqlite_error().map(|error| error.extended_code);
    match (error.sqlite_error_code(), extended) {
        // A read beyond the end is a file that was cut off.
        (_, Some(ffi::SQLITE_IOERR_SHORT_READ))
        | (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _) => {
            OpenError::Damaged { file, cause }
        }
        // The journal's index cannot grow.
        (_, Some(ffi::SQLITE_IOERR_SHMSIZE)) | (Some(ErrorCode::DiskFull), _) => {
            OpenError::Full { file, cause }
        }
        (Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied), _) => {
            OpenError::ReadOnly { file, cause }
        }
        // Tables that are not there, or not ours.
        (Some(ErrorCode::Unknown), _) => OpenError::Damaged { file, cause },
        _ => OpenError::Failed { file, cause },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_cannot_have_a_write_ahead_log_is_refused() {
        // In memory there is none.
        let db = Connection::open_in_memory().unwrap();
        let refused = keep_journal(&db, Path::new("logs.db")).unwrap_err();
        let told = refused.to_string();
        assert!(told.contains("only a journal \"memory\""), "{told}");
    }
}
