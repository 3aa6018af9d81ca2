//! The five functions the model may call, as Gemini's function declarations
//! (the OpenAPI subset of `Schema`, <https://ai.google.dev/api/caching#Schema>).

use serde_json::{Value, json};

use crate::domain::{Category, Priority, SearchKind, Subcategory};

pub(super) const EXTRACT: &str = "extract_task";
pub(super) const REJECT: &str = "reject_task";
pub(super) const NO_TASK: &str = "no_task_found";

/// The functions that end a frame.
pub(super) const TERMINAL: [&str; 3] = [EXTRACT, REJECT, NO_TASK];

/// What a function's name asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Search(SearchKind),
    Extract,
    Reject,
    NoTask,
}

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        let search = SearchKind::ALL
            .into_iter()
            .find(|kind| kind.function_name() == name);
        search.map(Self::Search).or(match name {
            EXTRACT => Some(Self::Extract),
            REJECT => Some(Self::Reject),
            NO_TASK => Some(Self::NoTask),
            _ => None,
        })
    }
}

/// All declarations, the same bytes every time.
pub(super) fn declarations() -> Value {
    json!([
        search(
            SearchKind::Similar,
            "Searches the user's tasks (active, completed and deleted) by meaning. Call it before \
             you extract a task, with a short description of the task you have in mind.",
        ),
        search(
            SearchKind::Keywords,
            "Searches the user's tasks by words. Use it for names, numbers and other words that \
             must match exactly.",
        ),
        function(
            EXTRACT,
            EXTRACT_TEXT,
            &[
                (
                    "title",
                    string(
                        "At least six words: a verb, what exactly, and for or with whom. It names the \
                 person, project or thing, so that it makes sense tomorrow, without the screen. In \
                 the language of the screen.",
                    )
                ),
                (
                    "description",
                    string("One to three sentences: what is asked, by whom, and why.")
                ),
                (
                    "priority",
                    words(
                        "high: due within a day, or blocking somebody. medium: the default. low: optional.",
                        Priority::ALL.iter().map(|word| word.as_str()),
                    )
                ),
                (
                    "tags",
                    json!({
                        "type": "ARRAY",
                        "items": { "type": "STRING" },
                        "description": "One to five short tags, in lower case."
                    })
                ),
                (
                    "source_app",
                    string("The application in which the request was seen.")
                ),
                (
                    "inferred_deadline",
                    string(
                        "The day it is due as yyyy-MM-dd, worked out from today's date; empty if the \
                 screen names none.",
                    )
                ),
                (
                    "confidence",
                    json!({
                        "type": "NUMBER",
                        "description": "0.0 to 1.0: how sure you are that the user has to do this."
                    })
                ),
                (
                    "source_category",
                    words(
                        "Where the request comes from.",
                        Category::ALL.iter().map(|word| word.as_str()),
                    )
                ),
                (
                    "source_subcategory",
                    words(
                        "More exactly where it comes from.",
                        Subcategory::ALL.iter().map(|word| word.as_str()),
                    )
                ),
                (
                    "relevance_score",
                    json!({
                        "type": "INTEGER",
                        "description": "Its rank among the active tasks, whose scores you are shown: a \
                                        positive integer, 1 is most important."
                    })
                ),
            ]
        ),
        function(
            REJECT,
            "The screen shows a request to the user, but it must not become a task: it is already \
             tracked, already done, was deleted by the user, or is not the user's to do.",
            &[(
                "reason",
                string("Why, in one sentence; name the existing task if there is one.",)
            )],
        ),
        function(
            NO_TASK,
            "The screen asks nothing of the user. This is the answer for most screens.",
            &[],
        ),
    ])
}

const EXTRACT_TEXT: &str = "Proposes a new task. Only after a search of this screen has shown that \
                            nothing similar exists.";

/// A terminal function: its own fields, and the two that all of them share.
fn function(name: &str, description: &str, own: &[(&str, Value)]) -> Value {
    let shared = [
        (
            "context_summary",
            string("One or two sentences on what the screen shows."),
        ),
        (
            "current_activity",
            string("What the user is doing, in a few words."),
        ),
    ];
    let fields = || own.iter().chain(&shared);
    let properties: serde_json::Map<_, _> = fields()
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    let required: Vec<_> = fields().map(|(name, _)| *name).collect();
    declaration(name, description, properties.into(), &required)
}

fn search(kind: SearchKind, description: &str) -> Value {
    let query = string("What to search for: a few words, at most 512 characters.");
    declaration(
        kind.function_name(),
        description,
        json!({ "query": query }),
        &["query"],
    )
}

fn declaration(name: &str, description: &str, properties: Value, required: &[&str]) -> Value {
    json!({
        "name": name,
        "description": description,
        "parameters": { "type": "OBJECT", "properties": properties, "required": required }
    })
}

fn string(description: &str) -> Value {
    json!({ "type": "STRING", "description": description })
}

fn words<'a>(description: &str, words: impl Iterator<Item = &'a str>) -> Value {
    json!({ "type": "STRING", "description": description, "enum": words.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a09_gone_missing_schema_fields_all_five_functions_require_what_they_must() {
        let declared = declarations();
        let names: Vec<_> = (0..5)
            .map(|i| declared[i]["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "search_similar",
                "search_keywords",
                EXTRACT,
                REJECT,
                NO_TASK
            ]
        );
        assert!(declared.get(5).is_none());
        for name in &names {
            assert!(Function::named(name).is_some());
        }
        let required = |i: usize| declared[i]["parameters"]["required"].clone();
        assert_eq!(required(0), json!(["query"]));
        assert_eq!(required(1), json!(["query"]));
        let twelve = json!([
            "title",
            "description",
            "priority",
            "tags",
            "source_app",
            "inferred_deadline",
            "confidence",
            "source_category",
            "source_subcategory",
            "relevance_score",
            "context_summary",
            "current_activity"
        ]);
        assert_eq!(required(2), twelve);
        assert_eq!(
            required(3),
            json!(["reason", "context_summary", "current_activity"])
        );
        assert_eq!(required(4), json!(["context_summary", "current_activity"]));
        for i in 0..5 {
            let parameters = &declared[i]["parameters"];
            for name in parameters["required"].as_array().unwrap() {
                assert!(parameters["properties"][name.as_str().unwrap()]["type"].is_string());
            }
        }
        let words = |field: &str| declared[2]["parameters"]["properties"][field]["enum"].clone();
        assert_eq!(words("priority"), json!(["high", "medium", "low"]));
        let categories =
            "direct_request self_generated calendar_driven reactive external_system other";
        assert_eq!(
            words("source_category"),
            json!(categories.split(' ').collect::<Vec<_>>())
        );
        let subcategories = "message meeting mention commitment idea reminder goal_subtask event_prep \
                             recurring deadline error notification observation project_tool alert \
                             documentation other";
        assert_eq!(
            words("source_subcategory"),
            json!(subcategories.split_whitespace().collect::<Vec<_>>())
        );
    }
}
