//! The screens: each a file that says what it tries, and what a desktop and a
//! fooled model then say.

use std::fs;
use std::path::{Path, PathBuf};

use proactive::transport::proto::{
    ActiveTask, FrameEvent, Goal, HistoricalTask, SearchResult, SessionContext,
};
use serde::Deserialize;
use serde_json::Value;

/// One file. All but `trick` may be left out.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Screen {
    /// Group and name, as in `fence/closed-by-its-own-mark`.
    #[serde(skip)]
    pub(crate) name: String,
    /// What it tries, in a sentence.
    pub(crate) trick: String,
    #[serde(default = "mail")]
    pub(crate) app: Text,
    #[serde(default = "inbox")]
    pub(crate) window: Text,
    #[serde(default)]
    pub(crate) text: Text,
    #[serde(default)]
    tasks: Vec<Task>,
    #[serde(default)]
    completed: Vec<Task>,
    #[serde(default)]
    deleted: Vec<Task>,
    #[serde(default)]
    goals: Vec<Aim>,
    /// What the desktop's search finds.
    #[serde(default)]
    found: Vec<Task>,
    /// Or why it fails.
    pub(crate) failed: Option<Text>,
    /// What the model searches for.
    query: Option<Value>,
    /// What the model decides then.
    pub(crate) decision: Option<Decision>,
}

/// A text, or what it is put together of.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Text {
    Whole(String),
    Pieces(Vec<Piece>),
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Piece {
    Once(String),
    Repeated { repeat: String, times: usize },
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Task {
    description: Text,
    #[serde(default)]
    priority: String,
    /// So many of them.
    #[serde(default = "once")]
    times: usize,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Aim {
    title: String,
    description: String,
}

/// A terminal call. Its title may be put together as texts are.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    pub(crate) name: String,
    args: Value,
}

fn mail() -> Text {
    Text::Whole("Mail".to_owned())
}

fn inbox() -> Text {
    Text::Whole("Inbox".to_owned())
}

fn once() -> usize {
    1
}

impl Default for Text {
    fn default() -> Self {
        Self::Whole("Can you send the lease to Berlin?".to_owned())
    }
}

impl Text {
    pub(crate) fn whole(&self) -> String {
        match self {
            Self::Whole(text) => text.clone(),
            Self::Pieces(pieces) => pieces.iter().map(Piece::whole).collect(),
        }
    }

    /// The text that a JSON value stands for; the value itself if it is none.
    fn put_together(value: &Value) -> Value {
        match serde_json::from_value::<Self>(value.clone()) {
            Ok(text) => text.whole().into(),
            Err(_) => value.clone(),
        }
    }
}

impl Piece {
    fn whole(&self) -> String {
        match self {
            Self::Once(text) => text.clone(),
            Self::Repeated { repeat, times } => repeat.repeat(*times),
        }
    }
}

impl Screen {
    pub(crate) fn context(&self) -> SessionContext {
        let past = |tasks: &[Task]| -> Vec<_> {
            let past = |(id, task): (i64, &Task)| HistoricalTask {
                task_id: id,
                description: task.description.whole(),
            };
            (1..).zip(each(tasks)).map(past).collect()
        };
        let active = |(id, task): (i64, &Task)| ActiveTask {
            task_id: id,
            description: task.description.whole(),
            priority: task.priority.clone(),
            relevance_score: 1,
            staged: false,
        };
        let goal = |goal: &Aim| Goal {
            goal_id: String::new(),
            title: goal.title.clone(),
            description: goal.description.clone(),
        };
        SessionContext {
            active_tasks: (1..).zip(each(&self.tasks)).map(active).collect(),
            completed_tasks: past(&self.completed),
            deleted_tasks: past(&self.deleted),
            goals: self.goals.iter().map(goal).collect(),
            generated_at: None,
        }
    }

    pub(crate) fn frame(&self) -> FrameEvent {
        FrameEvent {
            screenshot_id: "screen".to_owned(),
            app_name: self.app.whole(),
            window_title: self.window.whole(),
            ocr_text: self.text.whole(),
            ..FrameEvent::default()
        }
    }

    pub(crate) fn found(&self) -> Vec<SearchResult> {
        let found = |(id, task): (i64, &Task)| SearchResult {
            task_id: id,
            description: task.description.whole(),
            similarity: 0.5,
            ..SearchResult::default()
        };
        (1..).zip(each(&self.found)).map(found).collect()
    }

    /// Whether its own words are about the search, so that its answer is worth
    /// a look.
    pub(crate) fn is_about_the_search(&self) -> bool {
        self.query.is_some() || !self.found.is_empty() || self.failed.is_some()
    }

    pub(crate) fn query(&self) -> Value {
        let query = self.query.as_ref();
        query.map_or_else(|| "lease Berlin".into(), Text::put_together)
    }
}

impl Decision {
    pub(crate) fn args(&self) -> Value {
        let mut args = self.args.clone();
        if let Some(title) = args.get_mut("title") {
            *title = Text::put_together(title);
        }
        args
    }
}

fn each(tasks: &[Task]) -> impl Iterator<Item = &Task> {
    tasks
        .iter()
        .flat_map(|task| std::iter::repeat_n(task, task.times))
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/screens")
}

/// The files of this ending below the folder, without it, in order.
pub(crate) fn names(ending: &str) -> Vec<String> {
    let entries = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path())
    };
    let groups = entries(&folder()).filter(|path| path.is_dir());
    let files = groups.flat_map(|group| entries(&group).collect::<Vec<_>>());
    let names = files.filter_map(|file| {
        let name = file.strip_prefix(folder()).unwrap().to_str().unwrap();
        name.strip_suffix(ending).map(str::to_owned)
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// All screens.
pub(crate) fn screens() -> Vec<Screen> {
    let read = |name: String| {
        let path = folder().join(format!("{name}.json"));
        let file = fs::read_to_string(path).unwrap();
        let screen: Screen =
            serde_json::from_str(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        Screen { name, ..screen }
    };
    names(".json").into_iter().map(read).collect()
}
