//! Searches that the model asks for and the desktop carries out.

/// The two ways to search a user's tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SearchKind {
    /// By meaning.
    Similar,
    /// By words.
    Keywords,
}

impl SearchKind {
    /// Both kinds, in the order in which they are offered.
    pub const ALL: [Self; 2] = [Self::Similar, Self::Keywords];

    /// The one that is asked for by this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.function_name() == name)
    }

    /// The function's name as the model knows it.
    pub fn function_name(self) -> &'static str {
        match self {
            Self::Similar => "search_similar",
            Self::Keywords => "search_keywords",
        }
    }
}

/// One task that a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The desktop's number for the task.
    pub task_id: i64,
    /// What is, or was, to be done.
    pub description: String,
    /// Where the task stands; `None` if the desktop did not say.
    pub status: Option<TaskStatus>,
    /// 0.0 to 1.0.
    pub similarity: f64,
    /// How it was found; `None` if the desktop did not say.
    pub match_type: Option<MatchType>,
    /// 1 is most important; `None` if it has none.
    pub score: Option<i32>,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskStatus {
    /// To be done.
    Active,
    /// Done.
    Completed,
    /// Deleted by the user.
    Deleted,
}

/// How a search found a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchType {
    /// By meaning.
    Vector,
    /// By words.
    FullText,
    /// By both.
    Both,
}
