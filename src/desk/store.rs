//! A user's tasks in an embedded SQLite, the two searches over them, and which
//! frames have had their answer.
//!
//! Its calls, though synchronous, are made directly from async code: the tables
//! are one person's, so none takes long, and whoever shares the file is waited
//! for only a moment.

mod schema;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, ToSql, TransactionBehavior, params};

use super::likeness::{self, Gist};
use super::tasks::{Goal, Status, Task, TaskFile};
use crate::domain::clip;
use crate::transport::proto::{
    self, ActiveTask, AnalysisOutcome, ExtractedTask, HistoricalTask, MatchType, OutcomeKind,
    SearchResult, SessionContext, TaskPriority, TaskStatus,
};

/// A search answers with at most so many tasks.
const MOST_HITS: usize = 5;
/// Tasks less alike than this are not found by meaning.
const LEAST_LIKENESS: f64 = 0.25;
/// Words of a query that are looked up; SQLite bounds the depth of a query.
const MOST_WORDS: usize = 64;
/// The newest tasks, which alone are compared with a query by meaning.
const MOST_COMPARED: usize = 5_000;
/// Content words of a query that each task is compared with. So bounded, a search over
/// 5,000 tasks of 100 words takes about 0.6 s, optimised, and over such of 8 words 0.1 s.
const MOST_COMPARED_WORDS: usize = 32;
/// Characters of a description that leave the desktop.
const MOST_TOLD: usize = 1_000;

/// The tasks of one user.
pub struct Store {
    db: Connection,
    /// Counts the changes of the tasks, by this program or another, since the
    /// store was opened.
    changes: u64,
    /// What SQLite called the state of others' changes when it was last asked.
    others: i64,
}

/// The tasks could not be kept or searched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two tasks of the file have the same id; correct one.
    #[error("the id {0} is given to two tasks")]
    SameId(i64),
    /// The file cannot be opened as a store; name another.
    #[error("the store {} cannot be used: {cause}", path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// Another program holds the store; try again when it lets go.
    #[error("another program holds the task store")]
    Held,
    /// SQLite failed: the disk is full or broken.
    #[error("the task database failed: {0}")]
    Database(#[source] rusqlite::Error),
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Held,
            _ => Self::Database(error),
        }
    }
}

impl Store {
    /// Opens the store in a file; makes it if there is none.
    ///
    /// # Errors
    /// [`Error::Unusable`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::over(schema::in_file(path)?)
    }

    /// Takes the tasks of a file in, into memory.
    ///
    /// # Errors
    /// [`Error::SameId`] if two tasks have one id.
    pub fn load(file: TaskFile) -> Result<Self, Error> {
        let mut store = Self::over(schema::in_memory()?)?;
        // Numbered tasks first, so that those without a number get a free one.
        let (numbered, others): (Vec<_>, _) = file.tasks.into_iter().partition(|t| t.id.is_some());
        let all = store.db.transaction()?;
        for task in numbered.iter().chain(&others) {
            add_listed(&all, task).map_err(|error| match (error.sqlite_error_code(), task.id) {
                (Some(ErrorCode::ConstraintViolation), Some(id)) => Error::SameId(id),
                (_, _) => error.into(),
            })?;
        }
        for Goal {
            id,
            title,
            description,
        } in &file.goals
        {
            let row = params![id, title, description];
            all.execute("INSERT INTO goals VALUES (?1, ?2, ?3)", row)?;
        }
        all.commit()?;
        Ok(store)
    }

    fn over(db: Connection) -> Result<Self, Error> {
        let mut store = Self {
            db,
            changes: 0,
            others: 0,
        };
        store.others = store.others_changes()?;
        Ok(store)
    }

    /// The tasks nearest in meaning, best first, with the likeness as their
    /// similarity: at most 5, none below 0.25.
    ///
    /// # Errors
    /// [`Error::Held`] or [`Error::Database`].
    pub fn search_similar(&self, query: &str) -> Result<Vec<SearchResult>, Error> {
        let newest = "SELECT * FROM (SELECT * FROM tasks ORDER BY id DESC LIMIT ?1) ORDER BY id";
        let most = params![MOST_COMPARED as i64];
        let mut hits = self.found(newest, most, query, MatchType::Vector)?;
        hits.retain(|hit| hit.similarity >= LEAST_LIKENESS);
        hits.sort_by(|one, two| two.similarity.total_cmp(&one.similarity));
        hits.truncate(MOST_HITS);
        Ok(hits)
    }

    /// The tasks that hold any word of the query, by BM25, at most 5. Their
    /// similarity means the same as in [`Self::search_similar`]. Every query is
    /// legal: operators and quotes are words or nothing, and a query without a
    /// word, such as an emoji, is looked for as it stands.
    ///
    /// # Errors
    /// [`Error::Held`] or [`Error::Database`].
    pub fn search_keywords(&mut self, query: &str) -> Result<Vec<SearchResult>, Error> {
        self.index()?;
        let quoted: Vec<String> = Gist::of(query)
            .words()
            .take(MOST_WORDS)
            .map(|word| format!("\"{}\"", word.replace('"', "\"\"")))
            .collect();
        let (sql, wanted) = if quoted.is_empty() {
            let by_text = "SELECT * FROM tasks WHERE ?1 <> '' AND instr(description, ?1) LIMIT ?2";
            (by_text, query.trim().to_owned())
        } else {
            let by_words =
                "SELECT tasks.* FROM word_index JOIN tasks ON tasks.id = word_index.rowid
                WHERE word_index MATCH ?1 ORDER BY bm25(word_index) LIMIT ?2";
            (by_words, quoted.join(" OR "))
        };
        self.found(
            sql,
            params![wanted, MOST_HITS as i64],
            query,
            MatchType::Fts,
        )
    }

    /// Keeps what a frame ended with and, if that is a task, the task, as one the
    /// user has yet to confirm; both or neither. Returns the task's id. A frame that
    /// has ended before is not kept again.
    ///
    /// # Errors
    /// [`Error::Held`] or [`Error::Database`].
    pub fn keep(
        &mut self,
        frame_id: &str,
        outcome: &AnalysisOutcome,
    ) -> Result<Option<i64>, Error> {
        let kind = outcome.outcome_kind();
        let all = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !end_frame(&all, frame_id, kind.as_str_name())? {
            return Ok(None);
        }
        let task = match (kind, &outcome.task) {
            (OutcomeKind::ExtractTask, Some(task)) => Some(add_extracted(&all, task)?),
            _ => None,
        };
        index_new(&all)?;
        all.commit()?;
        self.changes += u64::from(task.is_some());
        Ok(task)
    }

    /// Keeps that a frame ended with an error that will not pass.
    ///
    /// # Errors
    /// [`Error::Held`] or [`Error::Database`].
    pub fn give_up(&mut self, frame_id: &str, code: &str) -> Result<(), Error> {
        end_frame(&self.db, frame_id, code)?;
        Ok(())
    }

    /// The id of the frame that was made of this source: the one that it got when it
    /// was first seen, or this new one. `None` if that frame has ended.
    ///
    /// # Errors
    /// [`Error::Held`] or [`Error::Database`].
    pub fn frame_of(&mut self, source: &str, new: &str) -> Result<Option<String>, Error> {
        let seen = |db: &Connection| {
            let select = "SELECT frame_id, ending FROM frames WHERE source = ?1";
            db.query_row(select, [source], |row| {
                Ok((row.get(0)?, row.get::<_, Option<String>>(1)?))
            })
        };
        let (frame_id, ending) = match seen(&self.db).optional()? {
            Some(seen) => seen,
            None => {
                // Another desk may have been quicker.
                let insert = "INSERT INTO frames (frame_id, source) VALUES (?1, ?2)
                    ON CONFLICT (source) DO NOTHING";
                self.db.execute(insert, [new, source])?;
                seen(&self.db)?
            }
        };
        Ok(ending.is_none().then_some(frame_id))
    }

    /// The name of the tasks' present state; it changes when they do, whoever
    /// changes them.
    ///
    /// # Errors
    /// [`Error::Held`] or [`Error::Database`].
    pub fn version(&mut self) -> Result<String, Error> {
        let others = self.others_changes()?;
        if others != self.others {
            self.others = others;
            self.changes += 1;
        }
        Ok(format!("tasks-{}", self.changes))
    }

    /// What a session is told of the tasks: as much as the contract says the
    /// server keeps.
    ///
    /// # Errors
    /// [`Error::Held`] or [`Error::Database`].
    pub fn context(&self) -> Result<SessionContext, Error> {
        Ok(SessionContext {
            active_tasks: self.active()?,
            completed_tasks: self.past(TaskStatus::Completed)?,
            deleted_tasks: self.past(TaskStatus::Deleted)?,
            goals: self.goals()?,
            generated_at: None,
        })
    }

    /// How many tasks there are.
    ///
    /// # Errors
    /// [`Error::Held`] or [`Error::Database`].
    pub fn count(&self) -> Result<usize, Error> {
        let count: i64 = self
            .db
            .query_row("SELECT count(*) FROM tasks", [], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    fn active(&self) -> Result<Vec<ActiveTask>, Error> {
        let mut select = self.db.prepare(
            "SELECT * FROM tasks WHERE status = ?1 ORDER BY score NULLS LAST, id LIMIT 100",
        )?;
        let rows = select.query_map([word(TaskStatus::Active)], |row| {
            Ok(ActiveTask {
                task_id: row.get("id")?,
                description: told(row)?,
                priority: row.get("priority")?,
                relevance_score: score(row)?,
                staged: row.get("staged")?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn past(&self, status: TaskStatus) -> Result<Vec<HistoricalTask>, Error> {
        let mut select = self
            .db
            .prepare("SELECT * FROM tasks WHERE status = ?1 ORDER BY id DESC LIMIT 50")?;
        let rows = select.query_map([word(status)], |row| {
            Ok(HistoricalTask {
                task_id: row.get("id")?,
                description: told(row)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn goals(&self) -> Result<Vec<proto::Goal>, Error> {
        let mut select = self.db.prepare("SELECT * FROM goals LIMIT 20")?;
        let rows = select.query_map([], |row| {
            Ok(proto::Goal {
                goal_id: row.get("id")?,
                title: row.get("title")?,
                description: description(row)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Indexes what was written since it was last called.
    fn index(&mut self) -> Result<(), Error> {
        let is_new = "SELECT EXISTS (SELECT 1 FROM tasks WHERE NOT indexed)";
        if !self.db.query_row(is_new, [], |row| row.get::<_, bool>(0))? {
            return Ok(());
        }
        // One that begins by reading would not wait for another program's to end.
        let all = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        index_new(&all)?;
        all.commit()?;
        Ok(())
    }

    fn others_changes(&self) -> Result<i64, Error> {
        let version = self
            .db
            .pragma_query_value(None, "data_version", |row| row.get(0))?;
        Ok(version)
    }

    fn found(
        &self,
        sql: &str,
        params: &[&dyn ToSql],
        query: &str,
        how: MatchType,
    ) -> Result<Vec<SearchResult>, Error> {
        let query = Gist::brief(query, MOST_COMPARED_WORDS);
        let hit = |row: &Row<'_>| -> rusqlite::Result<SearchResult> {
            let description = told(row)?;
            let status: String = row.get("status")?;
            Ok(SearchResult {
                task_id: row.get("id")?,
                status: status_of(&status) as i32,
                similarity: query.likeness(&Gist::of(&description)),
                description,
                match_type: how as i32,
                relevance_score: score(row)?,
            })
        };
        let mut select = self.db.prepare(sql)?;
        let rows = select.query_map(params, hit)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn add_listed(db: &Connection, task: &Task) -> rusqlite::Result<()> {
    let status = match task.status {
        Status::Active => TaskStatus::Active,
        Status::Completed => TaskStatus::Completed,
        Status::Deleted => TaskStatus::Deleted,
    };
    db.execute(
        "INSERT INTO tasks (id, description, status, priority, score)
        VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            task.id,
            task.description,
            word(status),
            task.priority,
            task.relevance_score
        ],
    )?;
    Ok(())
}

/// The id of the task, which may be there already: two frames that are analysed at
/// once cannot find what the other one comes to.
fn add_extracted(db: &Connection, task: &ExtractedTask) -> rusqlite::Result<i64> {
    let same = "SELECT id FROM tasks WHERE status = 'active' AND description = ?1 COLLATE NOCASE";
    let same = db
        .query_row(same, [&task.title], |row| row.get(0))
        .optional()?;
    if let Some(id) = same {
        return Ok(id);
    }
    let priority = match task.priority() {
        TaskPriority::PriorityHigh => "high",
        TaskPriority::PriorityMedium => "medium",
        TaskPriority::PriorityLow => "low",
        TaskPriority::Unspecified => "",
    };
    db.execute(
        "INSERT INTO tasks (description, priority, score, staged, details, deadline, source_app)
        VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6)",
        params![
            task.title,
            priority,
            (task.relevance_score > 0).then_some(task.relevance_score),
            task.description,
            task.inferred_deadline,
            task.source_app
        ],
    )?;
    Ok(db.last_insert_rowid())
}

/// Indexes what is not, so that a search need not write.
fn index_new(all: &Connection) -> rusqlite::Result<()> {
    let new: Vec<(i64, String)> = all
        .prepare("SELECT id, description FROM tasks WHERE NOT indexed")?
        .query_map([], |row| Ok((row.get("id")?, description(row)?)))?
        .collect::<Result<_, _>>()?;
    for (id, description) in new {
        let words = likeness::words(&description).join(" ");
        all.execute("DELETE FROM word_index WHERE rowid = ?1", [id])?;
        let insert = "INSERT INTO word_index (rowid, words) VALUES (?1, ?2)";
        all.execute(insert, params![id, words])?;
        all.execute("UPDATE tasks SET indexed = 1 WHERE id = ?1", [id])?;
    }
    Ok(())
}

/// Whether the frame had not ended before.
fn end_frame(db: &Connection, frame_id: &str, ending: &str) -> rusqlite::Result<bool> {
    let ended = db.execute(
        "INSERT INTO frames (frame_id, ending) VALUES (?1, ?2)
        ON CONFLICT (frame_id) DO UPDATE SET ending = excluded.ending WHERE ending IS NULL",
        [frame_id, ending],
    )?;
    Ok(ended > 0)
}

/// The description, as much of it as leaves the desktop.
fn told(row: &Row<'_>) -> rusqlite::Result<String> {
    Ok(clip(&description(row)?, MOST_TOLD).into_owned())
}

/// Other programs write it, and SQLite takes any bytes for a text.
fn description(row: &Row<'_>) -> rusqlite::Result<String> {
    let description = row.get_ref("description")?.as_bytes()?;
    Ok(String::from_utf8_lossy(description).into_owned())
}

fn score(row: &Row<'_>) -> rusqlite::Result<i32> {
    let score: Option<i64> = row.get("score")?;
    Ok(score
        .and_then(|score| i32::try_from(score).ok())
        .unwrap_or_default())
}

fn word(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Active | TaskStatus::Unspecified => "active",
        TaskStatus::Completed => "completed",
        TaskStatus::Deleted => "deleted",
    }
}

fn status_of(word: &str) -> TaskStatus {
    match word {
        "completed" => TaskStatus::Completed,
        "deleted" => TaskStatus::Deleted,
        _ => TaskStatus::Active,
    }
}

#[cfg(test)]
mod tests;
