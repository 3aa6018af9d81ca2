//! The file that lists a user's tasks, and what is wrong with it in one sentence.

use serde::Deserialize;

/// What the file holds.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskFile {
    /// In any order; of completed and deleted ones a higher id is more recent.
    pub tasks: Vec<Task>,
    /// What the user wants to reach.
    #[serde(default)]
    pub goals: Vec<Goal>,
}

/// One task of the user.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The desktop's number for it; the next free one if it has none.
    #[serde(alias = "task_id")]
    pub id: Option<i64>,
    /// What is, or was, to be done.
    #[serde(alias = "title")]
    pub description: String,
    /// Where it stands; active if it does not say.
    #[serde(default)]
    pub status: Status,
    /// How urgent, in the user's word; may be empty.
    #[serde(default)]
    pub priority: String,
    /// 1 is most important.
    pub relevance_score: Option<u16>,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// To be done.
    #[default]
    Active,
    /// Done.
    Completed,
    /// Deleted by the user.
    Deleted,
}

/// Something the user wants to reach.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    /// The desktop's name for it; may be empty.
    #[serde(default, alias = "goal_id")]
    pub id: String,
    /// In a few words.
    pub title: String,
    /// More about it; may be empty.
    #[serde(default)]
    pub description: String,
}

/// The file cannot be used; correct it.
#[derive(Debug, thiserror::Error)]
#[error("line {line}, {place}: {what}")]
pub struct Error {
    line: usize,
    place: String,
    what: String,
}

impl TaskFile {
    /// Reads `{"tasks": […], "goals": […]}`, or a bare list of tasks.
    ///
    /// # Errors
    /// [`Error`] names the line, the field nearest to the mistake, and what a
    /// field may hold.
    pub fn read(json: &str) -> Result<Self, Error> {
        let file = if json.trim_start().starts_with('[') {
            serde_json::from_str(json).map(|tasks| Self {
                tasks,
                goals: vec![],
            })
        } else {
            serde_json::from_str(json)
        };
        file.map_err(|error| Error::locate(json, &error))
    }
}

impl Error {
    fn locate(json: &str, error: &serde_json::Error) -> Self {
        let what = error.to_string();
        // serde_json ends its sentence with the place, which we say first.
        let what = what
            .rsplit_once(" at line ")
            .map_or(&*what, |(what, _)| what);
        let lines = json
            .split_inclusive('\n')
            .take(error.line().saturating_sub(1));
        let offset = lines.map(str::len).sum::<usize>() + error.column();
        let place = match field_before(json, offset) {
            Some(field) => format!("field \"{field}\""),
            None => format!("column {}", error.column()),
        };
        Self {
            line: error.line(),
            place,
            what: what.to_owned(),
        }
    }
}

/// The last field whose name begins before a place in a JSON text.
fn field_before(json: &str, place: usize) -> Option<&str> {
    let mut field = None;
    let mut rest = 0;
    while let Some(quote) = json.get(rest..)?.find('"').map(|quote| rest + quote)
        && quote < place
        && let Some(length) = string_length(&json[quote + 1..])
    {
        let (name, after) = json[quote + 1..].split_at(length);
        if after[1..].trim_start().starts_with(':') {
            field = Some(name);
        }
        rest = quote + 1 + length + 1;
    }
    field
}

/// The length of a JSON string whose opening quote is just behind us, if it is
/// ever closed.
fn string_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_a_list_and_leave_out_all_but_the_descriptions() {
        let bare = TaskFile::read(r#"[{"description": "Send the lease"}]"#).unwrap();
        let full =
            r#"{"tasks": [{"title": "Send the lease", "status": "active", "priority": ""}]}"#;
        assert_eq!(TaskFile::read(full).unwrap(), bare);
        assert_eq!(bare.tasks[0].status, Status::Active);
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_field() {
        for (json, sentence) in [
            (
                "{\"tasks\": [\n  {\"description\": \"x\", \"status\": \"done\"}\n]}",
                "line 2, field \"status\": unknown variant `done`, expected one of `active`, `completed`, `deleted`",
            ),
            (
                "[\n\n{\"id\": \"seven\",\n \"description\": \"x\"}]",
                "line 3, field \"id\": invalid type: string \"seven\", expected i64",
            ),
            (
                "[{\"id\": 7}]",
                "line 1, field \"id\": missing field `description`",
            ),
            (
                "{\"tasks\": 7}",
                "line 1, field \"tasks\": invalid type: integer `7`, expected a sequence",
            ),
            ("", "line 1, column 0: EOF while parsing a value"),
            ("nonsense", "line 1, column 2: expected ident"),
        ] {
            assert_eq!(
                TaskFile::read(json).unwrap_err().to_string(),
                sentence,
                "{json}"
            );
        }
        let unknown = TaskFile::read("[{\"description\": \"x\",\n \"scor\": 3}]")
            .unwrap_err()
            .to_string();
        assert!(
            unknown.starts_with("line 2, field \"scor\": unknown field `scor`, expected "),
            "{unknown}"
        );
    }
}
