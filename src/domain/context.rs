//! What a desktop knows of its user's tasks, bounded when it is taken in.

use super::text::clip;

/// Longest description, title or id kept of one entry, in characters.
const ENTRY_CHARS: usize = 300;
const MAX_ACTIVE: usize = 100;
const MAX_PAST: usize = 50;
const MAX_GOALS: usize = 20;

/// The task context of a session. Holds what a prompt can show and counts the
/// rest, so that a client with thousands of tasks costs no more memory or
/// tokens than one with a hundred.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// The client's name for this state of its tasks.
    pub version: String,
    /// Tasks to do, most important first.
    pub active: Shelf<ActiveTask>,
    /// Tasks done, most recent first.
    pub completed: Shelf<PastTask>,
    /// Tasks the user deleted, most recent first.
    pub deleted: Shelf<PastTask>,
    /// What the user wants to reach.
    pub goals: Shelf<Goal>,
}

/// A list cut to its bound, and how many entries were left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Shelf<T> {
    /// The entries kept.
    pub items: Vec<T>,
    /// How many were not kept.
    pub omitted: usize,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            omitted: 0,
        }
    }
}

impl<T> Shelf<T> {
    fn cut(mut items: Vec<T>, limit: usize) -> Self {
        let omitted = items.len().saturating_sub(limit);
        items.truncate(limit);
        items.shrink_to_fit();
        Self { items, omitted }
    }
}

/// A task still to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveTask {
    /// The desktop's number for it.
    pub id: i64,
    /// What is to be done.
    pub description: String,
    /// The desktop's word for its priority, or empty.
    pub priority: String,
    /// 1 is most important; `None` if unknown.
    pub score: Option<i32>,
    /// Proposed, but not yet confirmed by the user.
    pub staged: bool,
}

/// A task that was completed or deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct PastTask {
    /// The desktop's number for it.
    pub id: i64,
    /// What was to be done.
    pub description: String,
}

/// Something the user wants to reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// A short name.
    pub title: String,
    /// More about it, or empty.
    pub description: String,
}

impl Context {
    /// Keeps the most important of each list within the bounds stated in the
    /// wire contract, and clips every text to 300 characters.
    pub fn bounded(
        version: &str,
        mut active: Vec<ActiveTask>,
        mut completed: Vec<PastTask>,
        mut deleted: Vec<PastTask>,
        mut goals: Vec<Goal>,
    ) -> Self {
        // Unscored tasks come last; the sort keeps the client's order otherwise.
        active.sort_by_key(|task| task.score.unwrap_or(i32::MAX));
        for task in active.iter_mut().take(MAX_ACTIVE) {
            shorten(&mut task.description);
            shorten(&mut task.priority);
        }
        for task in completed.iter_mut().take(MAX_PAST) {
            shorten(&mut task.description);
        }
        for task in deleted.iter_mut().take(MAX_PAST) {
            shorten(&mut task.description);
        }
        for goal in goals.iter_mut().take(MAX_GOALS) {
            shorten(&mut goal.title);
            shorten(&mut goal.description);
        }
        Self {
            version: version.to_owned(),
            active: Shelf::cut(active, MAX_ACTIVE),
            completed: Shelf::cut(completed, MAX_PAST),
            deleted: Shelf::cut(deleted, MAX_PAST),
            goals: Shelf::cut(goals, MAX_GOALS),
        }
    }
}

fn shorten(text: &mut String) {
    if text.len() > ENTRY_CHARS {
        *text = clip(text, ENTRY_CHARS).into_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_of_thousands_keeps_the_most_important_and_counts_the_rest() {
        let active = (0..5_000)
            .map(|id| ActiveTask {
                id,
                description: "x".repeat(10_000),
                priority: String::new(),
                score: (id != 7).then_some(5_000 - id as i32),
                staged: false,
            })
            .collect();
        let context = Context::bounded("v1", active, vec![], vec![], vec![]);
        assert_eq!(context.active.items.len(), 100);
        assert_eq!(context.active.omitted, 4_900);
        assert_eq!(context.active.items[0].id, 4_999);
        let longest = context
            .active
            .items
            .iter()
            .map(|t| t.description.chars().count());
        assert_eq!(longest.max(), Some(300));
    }
}
