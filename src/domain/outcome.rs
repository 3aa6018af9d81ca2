//! The decision about one frame.

use super::Bill;

/// What a frame's analysis came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The decision.
    pub decision: Decision,
    /// One or two sentences on what the screen shows.
    pub context_summary: String,
    /// What the user is doing.
    pub current_activity: String,
    /// What it cost.
    pub bill: Bill,
}

impl Outcome {
    /// How much of memory its texts take.
    pub fn bytes(&self) -> usize {
        let decision = match &self.decision {
            Decision::Extract(task) => {
                let tags: usize = task.tags.iter().map(String::len).sum();
                task.title.len() + task.description.len() + task.source_app.len() + tags
            }
            Decision::Reject { reason } | Decision::NoTask { reason } => reason.len(),
        };
        decision + self.context_summary.len() + self.current_activity.len()
    }
}

/// The three possible decisions.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The screen asks for something new.
    Extract(Box<Task>),
    /// The screen asks for something, but it should not become a task.
    Reject {
        /// Why not.
        reason: String,
    },
    /// The screen asks for nothing.
    NoTask {
        /// Set when the server ended the frame without the model's decision, or when the
        /// user's tasks could not be searched.
        reason: String,
    },
}

impl Decision {
    /// Whether the screen asked for something.
    pub fn is_about_a_task(&self) -> bool {
        match self {
            Self::Extract(_) | Self::Reject { .. } => true,
            Self::NoTask { .. } => false,
        }
    }
}

/// A task that the model found on a screen.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// At least six words, naming a person, project or thing.
    pub title: String,
    /// More about it.
    pub description: String,
    /// How urgent.
    pub priority: Priority,
    /// At most 10.
    pub tags: Vec<String>,
    /// The application it was seen in.
    pub source_app: String,
    /// The day it is due.
    pub deadline: Option<jiff::civil::Date>,
    /// 0.0 to 1.0.
    pub confidence: f64,
    /// Where the request comes from.
    pub category: Category,
    /// More exactly.
    pub subcategory: Subcategory,
    /// 1 is most important.
    pub score: i32,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, default $default:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the words explain themselves")]
        pub enum $name { $($variant),+ }

        impl $name {
            /// All of them, in the order in which the model is offered them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word on the wire and in the model's function schema.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Reads the model's word in any case; anything unknown is the
            /// default.
            pub fn read(word: &str) -> Self {
                let word = word.trim();
                Self::ALL
                    .iter()
                    .copied()
                    .find(|known| known.as_str().eq_ignore_ascii_case(word))
                    .unwrap_or(Self::$default)
            }
        }
    };
}

words! {
    /// How urgent a task is; unknown words read as medium.
    Priority, default Medium { High = "high", Medium = "medium", Low = "low" }
}
words! {
    /// Where a request comes from; unknown words read as other.
    Category, default Other {
        DirectRequest = "direct_request",
        SelfGenerated = "self_generated",
        CalendarDriven = "calendar_driven",
        Reactive = "reactive",
        ExternalSystem = "external_system",
        Other = "other",
    }
}
words! {
    /// More exactly where a request comes from; unknown words read as other.
    Subcategory, default Other {
        Message = "message",
        Meeting = "meeting",
        Mention = "mention",
        Commitment = "commitment",
        Idea = "idea",
        Reminder = "reminder",
        GoalSubtask = "goal_subtask",
        EventPrep = "event_prep",
        Recurring = "recurring",
        Deadline = "deadline",
        Error = "error",
        Notification = "notification",
        Observation = "observation",
        ProjectTool = "project_tool",
        Alert = "alert",
        Documentation = "documentation",
        Other = "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a20_unknown_words_read_as_the_documented_default() {
        assert_eq!(Priority::read(" HIGH "), Priority::High);
        assert_eq!(Priority::read("urgent!!"), Priority::Medium);
        assert_eq!(Category::read("gossip"), Category::Other);
        assert_eq!(Subcategory::read(""), Subcategory::Other);
        assert_eq!(Category::ALL.len(), 6);
        assert_eq!(Subcategory::ALL.len(), 17);
    }
}
