//! Removes what is kept no more, a little at a time, between the groups of calls.

use rusqlite::{Connection, params};

/// Rows of one kind that one sweep removes.
const ROWS: usize = 256;
/// Logs that one sweep looks at.
const LOGS: usize = 16;

/// What a sweep has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// Entries that were removed.
    pub(super) entries: usize,
    /// Whether there may be more to remove.
    pub(super) more: bool,
    /// Whether all users with nothing left were forgotten.
    pub(super) forgot: bool,
}

/// Removes some of what is of the cutoff or before. If it is wanted, users are
/// forgotten as well, once everything else is removed.
pub(super) fn sweep(db: &mut Connection, cutoff: i64, forget: bool) -> rusqlite::Result<Swept> {
    let group = db.transaction()?;
    let rows = ROWS as i64;
    let mut swept = Swept::default();
    let old: Vec<i64> = group
        .prepare_cached("SELECT id FROM logs WHERE oldest_at <= ?1 ORDER BY oldest_at LIMIT ?2")?
        .query_map(params![cutoff, LOGS as i64], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    swept.more = old.len() == LOGS;
    for log in old {
        // Up to the first that is kept, however old those behind it are, as after a clock
        // that stepped back: a hole in the middle would be told to nobody.
        let entries = group
            .prepare_cached(
                "DELETE FROM entries WHERE log = ?1 AND offset IN (SELECT offset FROM
                (SELECT offset, max(at) OVER (ORDER BY offset) AS newest FROM
                (SELECT offset, at FROM entries WHERE log = ?1 ORDER BY offset LIMIT ?3))
                WHERE newest <= ?2)",
            )?
            .execute([log, cutoff, rows])?;
        group
            .prepare_cached(
                "UPDATE logs SET oldest_at = (SELECT at FROM entries WHERE log = ?1
                ORDER BY offset LIMIT 1) WHERE id = ?1",
            )?
            .execute([log])?;
        swept.entries += entries;
        swept.more |= entries == ROWS;
    }
    let keys = group
        .prepare_cached(
            "DELETE FROM message_keys WHERE (log, key) IN (SELECT log, key FROM message_keys
            WHERE at <= ?1 LIMIT ?2)",
        )?
        .execute([cutoff, rows])?;
    let jobs = group
        .prepare_cached(
            "DELETE FROM jobs WHERE (log, number) IN (SELECT log, number FROM jobs
            WHERE state >= 2 AND changed_at <= ?1 LIMIT ?2)",
        )?
        .execute([cutoff, rows])?;
    swept.more |= [keys, jobs].contains(&ROWS);
    if forget && !swept.more {
        let logs = forget_users(&group, cutoff)?;
        swept.more = logs == ROWS;
        swept.forgot = !swept.more;
    }
    group.commit()?;
    Ok(swept)
}

/// Forgets some of the users who have nothing left; how many.
fn forget_users(db: &Connection, cutoff: i64) -> rusqlite::Result<usize> {
    let logs = db
        .prepare_cached(
            "DELETE FROM logs WHERE id IN (SELECT id FROM logs l
            WHERE oldest_at IS NULL AND last_at <= ?1
            AND NOT EXISTS (SELECT 1 FROM jobs WHERE log = l.id)
            AND NOT EXISTS (SELECT 1 FROM message_keys WHERE log = l.id) LIMIT ?2)",
        )?
        .execute([cutoff, ROWS as i64])?;
    if logs > 0 {
        // A cursor of a log that is forgotten must not be good for the user's next one.
        db.execute("UPDATE house SET forgotten = forgotten + 1", [])?;
    }
    Ok(logs)
}
