//! The demo user's tasks in an embedded SQLite, and the two searches over them.
//!
//! The database lives in memory and is tiny, so its calls, though synchronous,
//! are made directly from async code: none takes longer than a poll may.

use rusqlite::{Connection, ErrorCode, Row, ToSql, params};

use super::likeness::{self, Gist};
use super::tasks::{Goal, Status, TaskFile};
use crate::transport::proto::{
    self, ActiveTask, ExtractedTask, HistoricalTask, MatchType, SearchResult, SessionContext,
    TaskPriority, TaskStatus,
};

/// A search answers with at most so many tasks.
const MOST_HITS: usize = 5;
/// Tasks less alike than this are not found by meaning.
const LEAST_LIKENESS: f64 = 0.25;
/// Words of a query that are looked up; SQLite bounds the depth of a query.
const MOST_WORDS: usize = 64;

/// The words of a description are indexed as this program splits them, so that
/// scripts without spaces can be searched; stems make "figure" find "figures".
const SCHEMA: &str = "
    CREATE TABLE tasks (
        id INTEGER PRIMARY KEY,
        description TEXT NOT NULL,
        status INTEGER NOT NULL,
        priority TEXT NOT NULL,
        score INTEGER,
        staged INTEGER NOT NULL
    );
    CREATE VIRTUAL TABLE word_index USING fts5 (words, tokenize = 'porter unicode61');
";

/// The tasks of one user.
pub struct Store {
    db: Connection,
    goals: Vec<Goal>,
    /// Counts the changes since the file was read.
    changes: u64,
}

/// The tasks could not be kept or searched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two tasks of the file have the same id; correct one.
    #[error("the id {0} is given to two tasks")]
    SameId(i64),
    /// SQLite failed; a fault of this program.
    #[error("the task database failed: {0}")]
    Database(#[from] rusqlite::Error),
}

impl Store {
    /// Takes the tasks of a file in.
    ///
    /// # Errors
    /// [`Error::SameId`] if two tasks have one id.
    pub fn load(file: TaskFile) -> Result<Self, Error> {
        let db = Connection::open_in_memory()?;
        db.execute_batch(SCHEMA)?;
        let mut store = Self {
            db,
            goals: file.goals,
            changes: 0,
        };
        // Numbered tasks first, so that those without a number get a free one.
        let (numbered, others): (Vec<_>, _) = file.tasks.into_iter().partition(|t| t.id.is_some());
        let all = store.db.transaction()?;
        for task in numbered.into_iter().chain(others) {
            let entry = Entry {
                id: task.id,
                description: &task.description,
                status: match task.status {
                    Status::Active => TaskStatus::Active,
                    Status::Completed => TaskStatus::Completed,
                    Status::Deleted => TaskStatus::Deleted,
                },
                priority: &task.priority,
                score: task.relevance_score.map(i32::from),
                staged: false,
            };
            entry
                .add(&all)
                .map_err(|error| match (error.sqlite_error_code(), task.id) {
                    (Some(ErrorCode::ConstraintViolation), Some(id)) => Error::SameId(id),
                    (_, _) => error.into(),
                })?;
        }
        all.commit()?;
        Ok(store)
    }

    /// The tasks nearest in meaning, best first, with the likeness as their
    /// similarity: at most 5, none below 0.25.
    ///
    /// # Errors
    /// [`Error::Database`] only.
    pub fn search_similar(&self, query: &str) -> Result<Vec<SearchResult>, Error> {
        let mut hits = self.found("SELECT * FROM tasks", params![], query, MatchType::Vector)?;
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
    /// [`Error::Database`] only.
    pub fn search_keywords(&self, query: &str) -> Result<Vec<SearchResult>, Error> {
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

    /// Keeps a task that was just extracted, as one the user has yet to confirm.
    /// Returns its id.
    ///
    /// # Errors
    /// [`Error::Database`] only.
    pub fn insert(&mut self, task: &ExtractedTask) -> Result<i64, Error> {
        let priority = match task.priority() {
            TaskPriority::PriorityHigh => "high",
            TaskPriority::PriorityMedium => "medium",
            TaskPriority::PriorityLow => "low",
            TaskPriority::Unspecified => "",
        };
        let entry = Entry {
            id: None,
            description: &task.title,
            status: TaskStatus::Active,
            priority,
            score: (task.relevance_score > 0).then_some(task.relevance_score),
            staged: true,
        };
        let id = entry.add(&self.db)?;
        self.changes += 1;
        Ok(id)
    }

    /// The name of the tasks' present state; it changes when they do.
    pub fn version(&self) -> String {
        format!("tasks-{}", self.changes)
    }

    /// What a session is told of the tasks: as much as the contract says the
    /// server keeps.
    ///
    /// # Errors
    /// [`Error::Database`] only.
    pub fn context(&self) -> Result<SessionContext, Error> {
        Ok(SessionContext {
            active_tasks: self.active()?,
            completed_tasks: self.past(TaskStatus::Completed)?,
            deleted_tasks: self.past(TaskStatus::Deleted)?,
            goals: self.goals.iter().take(20).map(wire_goal).collect(),
            generated_at: None,
        })
    }

    /// How many tasks there are.
    ///
    /// # Errors
    /// [`Error::Database`] only.
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
        let rows = select.query_map([TaskStatus::Active as i32], |row| {
            Ok(ActiveTask {
                task_id: row.get("id")?,
                description: row.get("description")?,
                priority: row.get("priority")?,
                relevance_score: row.get::<_, Option<i32>>("score")?.unwrap_or_default(),
                staged: row.get("staged")?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn past(&self, status: TaskStatus) -> Result<Vec<HistoricalTask>, Error> {
        let mut select = self
            .db
            .prepare("SELECT * FROM tasks WHERE status = ?1 ORDER BY id DESC LIMIT 50")?;
        let rows = select.query_map([status as i32], |row| {
            Ok(HistoricalTask {
                task_id: row.get("id")?,
                description: row.get("description")?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn found(
        &self,
        sql: &str,
        params: &[&dyn ToSql],
        query: &str,
        how: MatchType,
    ) -> Result<Vec<SearchResult>, Error> {
        let query = Gist::of(query);
        let hit = |row: &Row<'_>| -> rusqlite::Result<SearchResult> {
            let description: String = row.get("description")?;
            Ok(SearchResult {
                task_id: row.get("id")?,
                status: row.get("status")?,
                similarity: query.likeness(&Gist::of(&description)),
                description,
                match_type: how as i32,
                relevance_score: row.get::<_, Option<i32>>("score")?.unwrap_or_default(),
            })
        };
        let mut select = self.db.prepare(sql)?;
        let rows = select.query_map(params, hit)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// A task as it goes into the database.
struct Entry<'a> {
    id: Option<i64>,
    description: &'a str,
    status: TaskStatus,
    priority: &'a str,
    score: Option<i32>,
    staged: bool,
}

impl Entry<'_> {
    fn add(&self, db: &Connection) -> rusqlite::Result<i64> {
        let status = self.status as i32;
        db.execute(
            "INSERT INTO tasks VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                self.id,
                self.description,
                status,
                self.priority,
                self.score,
                self.staged
            ],
        )?;
        let id = db.last_insert_rowid();
        let words = likeness::words(self.description).join(" ");
        db.execute(
            "INSERT INTO word_index (rowid, words) VALUES (?1, ?2)",
            params![id, words],
        )?;
        Ok(id)
    }
}

fn wire_goal(goal: &Goal) -> proto::Goal {
    proto::Goal {
        goal_id: goal.id.clone(),
        title: goal.title.clone(),
        description: goal.description.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(descriptions: &[&str]) -> Store {
        let tasks = serde_json::to_string(descriptions).unwrap();
        let tasks = tasks.replace("\",\"", "\"},{\"description\":\"");
        let tasks = tasks
            .replacen('[', "[{\"description\":", 1)
            .replace(']', "}]");
        Store::load(TaskFile::read(&tasks).unwrap()).unwrap()
    }

    fn bundled() -> Store {
        let file = TaskFile::read(include_str!("../../examples/tasks.json")).unwrap();
        Store::load(file).unwrap()
    }

    const LEASE: &str = "Hi, can you send the Berlin office the signed lease before Tuesday?";

    #[test]
    fn a_task_of_that_meaning_is_found_by_a_request_and_others_are_not() {
        let store = store(&[
            "Order new badges for the Lisbon team",
            "Send signed lease to the Berlin office",
            "Review the spring budget",
        ]);
        let hits = store.search_similar(LEASE).unwrap();
        assert_eq!(hits.len(), 1);
        assert_eq!(hits[0].task_id, 2);
        assert_eq!(hits[0].status(), TaskStatus::Active);
        assert_eq!(hits[0].match_type(), MatchType::Vector);
        assert!(hits[0].similarity >= 0.6, "{}", hits[0].similarity);
    }

    #[test]
    fn the_bundled_tasks_hold_nothing_like_the_requests_of_the_demo() {
        for request in [
            LEASE,
            "Could you send the Q3 figures to the Berlin office by Friday?",
        ] {
            for hit in bundled().search_keywords(request).unwrap() {
                assert!(hit.similarity < 0.4, "{hit:?}");
            }
            let near = bundled().search_similar(request).unwrap();
            assert!(near.iter().all(|hit| hit.similarity < 0.4), "{near:?}");
        }
        let tracked = bundled()
            .search_similar("please renew the staging TLS certificate")
            .unwrap();
        assert_eq!(tracked[0].task_id, 5);
        assert!(tracked[0].similarity >= 0.6);
    }

    #[test]
    fn keywords_find_any_word_in_any_form_best_match_first() {
        let store = store(&[
            "Figures for Oslo",
            "Q3 figures for Berlin",
            "Call the dentist",
        ]);
        let hits = store.search_keywords("figure AND berlin").unwrap();
        let ids: Vec<_> = hits.iter().map(|hit| hit.task_id).collect();
        assert_eq!(ids, [2, 1]);
        assert_eq!(hits[0].match_type(), MatchType::Fts);
        assert!(hits[0].similarity > hits[1].similarity);
    }

    #[test]
    fn scripts_without_spaces_and_texts_without_words_are_searched_too() {
        let store = store(&[
            "把合同发给柏林办公室",
            "Party 🎉 for Bo",
            "Zürich Öffnungszeiten",
        ]);
        assert_eq!(store.search_keywords("柏林").unwrap()[0].task_id, 1);
        assert_eq!(store.search_keywords("🎉").unwrap()[0].task_id, 2);
        assert_eq!(store.search_keywords("zurich").unwrap()[0].task_id, 3);
        assert_eq!(store.search_keywords("").unwrap(), []);
        assert_eq!(store.search_keywords("  ").unwrap(), []);
    }

    #[test]
    fn hostile_queries_never_fail() {
        let store = bundled();
        let long = "lease AND ".repeat(10_000);
        for query in [
            "\"",
            "'",
            "\"\"\"",
            "a\"b",
            "x OR",
            "AND",
            "NOT NOT",
            "NEAR(a b, 5)",
            "words:x",
            "^a*",
            "(((",
            "-1",
            "{a b}: c",
            "a + b",
            "'; DROP TABLE tasks; --",
            "%",
            "_",
            "\0",
            "a\0b",
            "א\"ב",
            "👩‍👩‍👧",
            "\u{202e}x",
            "ﬁ",
            "１２３",
            "the of to",
            &long,
        ] {
            let found = store.search_keywords(query).unwrap();
            assert!(found.len() <= MOST_HITS, "{query}");
            let found = store.search_similar(query).unwrap();
            assert!(found.len() <= MOST_HITS, "{query}");
        }
        assert_eq!(store.count().unwrap(), 11);
    }

    #[test]
    fn the_context_lists_what_matters_first_and_its_version_changes_with_the_tasks() {
        let mut store = bundled();
        let before = store.version();
        let id = store
            .insert(&ExtractedTask {
                title: "Send the signed lease to the Berlin office".into(),
                priority: TaskPriority::PriorityHigh as i32,
                ..ExtractedTask::default()
            })
            .unwrap();
        assert_ne!(store.version(), before);
        let context = store.context().unwrap();
        assert_eq!(context.active_tasks[0].task_id, 5);
        let last = context.active_tasks.last().unwrap();
        assert_eq!(
            (last.task_id, last.staged, &*last.priority),
            (id, true, "high")
        );
        let ids = |tasks: &[HistoricalTask]| tasks.iter().map(|t| t.task_id).collect::<Vec<_>>();
        assert_eq!(ids(&context.completed_tasks), [8, 3, 2]);
        assert_eq!(ids(&context.deleted_tasks), [4, 1]);
        assert_eq!(context.goals.len(), 2);
        assert!(store.search_similar(LEASE).unwrap()[0].similarity >= 0.6);
    }

    #[test]
    fn two_tasks_with_one_id_are_refused_and_unnumbered_ones_get_a_free_one() {
        let read = |json| Store::load(TaskFile::read(json).unwrap());
        let twice = r#"[{"id": 3, "description": "a"}, {"id": 3, "description": "b"}]"#;
        assert!(matches!(read(twice), Err(Error::SameId(3))));
        let mixed = r#"[{"description": "a"}, {"id": 1, "description": "b"}]"#;
        assert_eq!(read(mixed).unwrap().count().unwrap(), 2);
    }
}
