//! What became of every picture: by what its desk printed and, apart from that, by what
//! is in its store.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use crate::desks::{Shown, picture};

const DECISIONS: [&str; 3] = ["EXTRACT_TASK", "REJECT_TASK", "NO_TASK_FOUND"];

/// The sum over all desks.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Pictures that were sent at least once.
    pub(crate) sent: usize,
    /// Pictures with one decision, told once and kept once.
    pub(crate) once: usize,
    /// Pictures with more, or tasks without a decision.
    pub(crate) twice: usize,
    /// Pictures without one, or decisions without their task.
    pub(crate) unanswered: usize,
    /// Between the first time that a picture was sent and its decision.
    pub(crate) longest: Duration,
    /// Pictures that were sent again.
    pub(crate) again: usize,
    /// Streams that were lost, or left because the server went away.
    pub(crate) lost: usize,
    /// What is wrong, in words.
    pub(crate) wrong: Vec<String>,
}

/// What a desk's store holds.
struct Kept {
    /// Source and ending of each frame.
    frames: Vec<(String, Option<String>)>,
    tasks: usize,
}

impl Ledger {
    /// Adds what a desk came to that had so many pictures.
    pub(crate) fn add(&mut self, shown: &Shown, pictures: usize) {
        let kept = Kept::read(shown);
        let mut files = HashMap::new();
        let mut sent: HashMap<&str, Vec<Instant>> = HashMap::new();
        let mut decided: HashMap<&str, Vec<Instant>> = HashMap::new();
        for (at, line) in &shown.lines {
            let text = |name: &str| line[name].as_str().unwrap_or_default();
            match text("event") {
                "frame" => {
                    files.insert(text("frame_id"), text("file"));
                    sent.entry(text("file")).or_default().push(*at);
                }
                "outcome" => {
                    let file = files.get(text("frame_id")).expect("it was sent before");
                    decided.entry(file).or_default().push(*at);
                }
                "disconnected" => self.lost += 1,
                "left_out" => self.wrong.push("lines were left out".to_owned()),
                "error" => self.wrong.push(line.to_string()),
                _ => {}
            }
        }
        for file in (0..pictures).map(picture) {
            let times =
                |by: &HashMap<&str, Vec<Instant>>| by.get(&*file).cloned().unwrap_or_default();
            let (sent, decided) = (times(&sent), times(&decided));
            self.sent += usize::from(!sent.is_empty());
            self.again += sent.len().saturating_sub(1);
            let kept = kept.decisions(&file);
            match (decided.len(), kept) {
                (1, 1) => self.once += 1,
                (told, kept) if told > 1 || kept > 1 => self.twice += 1,
                (_, _) => self.unanswered += 1,
            }
            if (decided.len(), kept) != (1, 1) {
                let told = decided.len();
                let what = format!(
                    "{}: {file} was sent {} times, answered {told} times, and is kept {kept} times",
                    shown.store.display(),
                    sent.len(),
                );
                self.wrong.push(what);
            }
            if let (Some(sent), Some(decided)) = (sent.first(), decided.first()) {
                self.longest = self.longest.max(*decided - *sent);
            }
        }
        let extracted = kept.endings("EXTRACT_TASK").count();
        self.twice += kept.tasks.saturating_sub(extracted);
        self.unanswered += extracted.saturating_sub(kept.tasks);
        if kept.tasks != extracted {
            let tasks = kept.tasks;
            let what = format!("{extracted} frames became {tasks} tasks");
            self.wrong.push(what);
        }
        if shown.code != Some(0) {
            let (store, code) = (shown.store.display(), shown.code);
            self.wrong
                .push(format!("{store}: its desk ended with {code:?}"));
        }
    }
}

impl Kept {
    fn read(shown: &Shown) -> Self {
        let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let store = Connection::open_with_flags(&shown.store, read_only).unwrap();
        let mut frames = store.prepare("SELECT source, ending FROM frames").unwrap();
        let rows = frames.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        let count = "SELECT count(*) FROM tasks";
        let tasks: i64 = store.query_row(count, [], |row| row.get(0)).unwrap();
        Self {
            frames: rows.unwrap().collect::<Result<_, _>>().unwrap(),
            tasks: tasks.try_into().unwrap(),
        }
    }

    fn endings(&self, ending: &str) -> impl Iterator<Item = &str> {
        let ended = self.frames.iter();
        ended.filter_map(move |(source, ended)| {
            (ended.as_deref() == Some(ending)).then_some(&**source)
        })
    }

    /// How often a decision about this file is kept. A source begins with its name.
    fn decisions(&self, file: &str) -> usize {
        let kept = DECISIONS.iter().flat_map(|kind| self.endings(kind));
        kept.filter(|source| source.split(' ').next() == Some(file))
            .count()
    }
}
