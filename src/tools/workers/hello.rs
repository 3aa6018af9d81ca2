//! Who a worker is and what it executes, checked before it is let in.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::domain::{TOOL_NAME_CHARS, clip, is_tool_name};
use crate::tools::catalogue::DESCRIPTION_CHARS;

const NAME_CHARS: usize = 64;
const VERSION_CHARS: usize = 64;
const MOST_TOOLS: usize = 64;
const PARAMETERS_BYTES: usize = 16 << 10;
const MOST_AT_ONCE: usize = 256;
const USUAL_AT_ONCE: usize = 8;

/// What a worker says of itself, as it came.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The kind of worker.
    pub name: String,
    /// Of it, any text.
    pub version: String,
    /// What it executes.
    pub tools: Vec<Declaration>,
    /// How many calls it executes at once; 0: the usual number.
    pub calls_at_once: i32,
}

/// A tool as a worker declares it.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// What the model calls it.
    pub name: String,
    /// For the model.
    pub description: String,
    /// A JSON Schema.
    pub parameters_json: String,
    /// It answers in chunks.
    pub streaming: bool,
    /// It changes something.
    pub changes: bool,
}

/// A tool that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// What the model calls it.
    pub name: String,
    /// What it does and when to call it, for the model.
    pub description: String,
    /// Its parameters: a JSON Schema of type object.
    pub parameters: Json,
    /// It answers in chunks.
    pub streaming: bool,
    /// It changes something: a call of it is not made twice.
    pub changes: bool,
}

/// A tool of a hello that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolRefused {
    /// What it was called, or the beginning of that.
    pub name: String,
    /// A sentence for the worker's author.
    pub reason: String,
}

/// Why a worker is not let in. What it says is for its author.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Correct the hello.
    #[error("{0}")]
    Invalid(String),
    /// Come back when another has gone.
    #[error("There are as many workers as this server takes.")]
    Full,
    /// Another server takes the worker.
    #[error("The server is shutting down; reconnect.")]
    ShuttingDown,
}

/// A hello whose own fields are in order. Its tools are still to be looked at.
pub(super) struct Checked {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) at_once: usize,
    pub(super) tools: Vec<Declaration>,
}

impl Hello {
    /// # Errors
    /// Which field is wrong, and how.
    pub(super) fn check(self) -> Result<Checked, Refused> {
        let Self {
            name,
            version,
            tools,
            calls_at_once,
        } = self;
        let of_kind = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
        if name.is_empty() || name.len() > NAME_CHARS || !name.chars().all(of_kind) {
            return invalid("name must be 1 to 64 of a-z, 0-9, '.', '_' and '-'.");
        }
        if version.chars().count() > VERSION_CHARS || version.chars().any(char::is_control) {
            return invalid("version may have 64 characters, and no control characters.");
        }
        if tools.is_empty() || tools.len() > MOST_TOOLS {
            return invalid("tools must be 1 to 64.");
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = tools.iter().find(|tool| !seen.insert(&*tool.name)) {
            let name = shown(&twice.name);
            return invalid(&format!("tools has {name:?} twice."));
        }
        let at_once = match usize::try_from(calls_at_once) {
            Ok(0) => USUAL_AT_ONCE,
            Ok(calls @ 1..=MOST_AT_ONCE) => calls,
            Ok(_) | Err(_) => return invalid("calls_at_once must be 0 to 256."),
        };
        Ok(Checked {
            name,
            version,
            at_once,
            tools,
        })
    }
}

impl Declaration {
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn check(self) -> Result<Declared, ToolRefused> {
        let refused = |reason: &str| ToolRefused {
            name: shown(&self.name),
            reason: reason.to_owned(),
        };
        if !is_tool_name(&self.name) {
            return Err(refused(
                "name must be 1 to 64 of a-z, A-Z, 0-9 and '_', and not begin with a digit.",
            ));
        }
        match self.description.chars().count() {
            0 => return Err(refused("description is missing.")),
            1..=DESCRIPTION_CHARS => {}
            _ => return Err(refused("description may have 1,024 characters.")),
        }
        if self.parameters_json.len() > PARAMETERS_BYTES {
            return Err(refused("parameters_json may have 16 KiB."));
        }
        let parameters = match serde_json::from_str::<Json>(&self.parameters_json) {
            Ok(parameters) if parameters.is_object() => parameters,
            Ok(_) => return Err(refused("parameters_json must be an object: a JSON Schema.")),
            Err(wrong) => {
                let (line, column) = (wrong.line(), wrong.column());
                return Err(refused(&format!(
                    "parameters_json is not JSON: line {line}, column {column}."
                )));
            }
        };
        Ok(Declared {
            name: self.name,
            description: self.description,
            parameters,
            streaming: self.streaming,
            changes: self.changes,
        })
    }
}

/// A name in a sentence: not longer than names are.
pub(super) fn shown(name: &str) -> String {
    clip(name, TOOL_NAME_CHARS).into_owned()
}

fn invalid<T>(message: &str) -> Result<T, Refused> {
    Err(Refused::Invalid(message.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str) -> Declaration {
        Declaration {
            name: name.to_owned(),
            description: "Adds days to a date.".to_owned(),
            parameters_json: r#"{"type":"object","properties":{}}"#.to_owned(),
            streaming: false,
            changes: false,
        }
    }

    fn hello(tools: Vec<Declaration>) -> Hello {
        Hello {
            name: "dates".to_owned(),
            version: "1.4.0".to_owned(),
            tools,
            calls_at_once: 0,
        }
    }

    #[test]
    fn a_hello_says_by_the_field_what_is_wrong_with_it() {
        assert_eq!(hello(vec![tool("add")]).check().unwrap().at_once, 8);
        let wrong = |change: fn(&mut Hello)| {
            let mut hello = hello(vec![tool("add")]);
            change(&mut hello);
            let refused = hello.check().map(|_| ()).unwrap_err();
            refused.to_string()
        };
        assert!(wrong(|it| it.name = "Dates".into()).starts_with("name "));
        assert!(wrong(|it| it.name = "x".repeat(65)).starts_with("name "));
        assert!(wrong(|it| it.version = "1\n".into()).starts_with("version "));
        assert!(wrong(|it| it.tools.clear()).starts_with("tools "));
        assert!(wrong(|it| it.calls_at_once = -1).starts_with("calls_at_once "));
        assert!(wrong(|it| it.calls_at_once = 257).starts_with("calls_at_once "));
        let twice = wrong(|it| it.tools.push(tool("add")));
        assert_eq!(twice, "tools has \"add\" twice.");
    }

    #[test]
    fn a_tool_says_by_the_field_what_is_wrong_with_it() {
        let wrong = |change: fn(&mut Declaration)| {
            let mut tool = tool("add");
            change(&mut tool);
            tool.check().unwrap_err().reason
        };
        for name in ["", "2add", "add-days", "ädd"] {
            assert!(tool(name).check().is_err(), "{name}");
        }
        assert_eq!(tool(&"x".repeat(65)).check().unwrap_err().name.len(), 66);
        assert!(wrong(|it| it.description.clear()).starts_with("description "));
        assert!(wrong(|it| it.description = "ä".repeat(1_025)).starts_with("description "));
        assert!(wrong(|it| it.parameters_json = "[]".into()).contains("object"));
        assert!(wrong(|it| it.parameters_json = "{".into()).contains("not JSON"));
        assert!(wrong(|it| it.parameters_json = " ".repeat(16_385)).contains("16 KiB"));
    }
}
