//! Every tool is declared once, in TOML: what it does, what it takes, who may execute
//! it. Those that all servers have are compiled in; an operator's own come from files
//! of the same form.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Schema;
use crate::domain::{TOOL_NAME_CHARS, is_tool_name};

const BUILTIN: &str = include_str!("builtin.toml");
/// Each device says which of them it executes, in a set of this many bits; and a model
/// that is offered more chooses worse.
pub const MOST_TOOLS: usize = 64;
pub(super) const DESCRIPTION_CHARS: usize = 1_024;
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(600);

/// A tool as it is declared.
#[derive(Clone, Debug)]
pub struct Tool {
    /// What the model calls it.
    pub name: Arc<str>,
    /// What it does and when to call it, for the model.
    pub description: String,
    /// What it takes.
    pub schema: Schema,
    /// Who may execute it.
    pub executors: Executors,
    /// It ends the frame, and nobody executes it.
    pub terminal: bool,
    /// If it is terminal: one of these must have succeeded before.
    pub after_any: Vec<Arc<str>>,
    /// How long it may take; `None`: as long as tools usually may.
    pub deadline: Option<Duration>,
    /// How long in all, if it says that it goes on; at least its deadline.
    pub longest: Option<Duration>,
    /// It changes something, so that it must not be done twice.
    pub changes_device: bool,
    /// Which assistants see it.
    pub assistants: Vec<Assistant>,
    /// When it is offered.
    pub offered: Offered,
    /// It alone, among the tools of its catalogue; empty if it is in none.
    bit: ToolSet,
}

/// Who may execute a tool (D8). Neither: the server's side alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Executors {
    /// A user's devices.
    pub client: bool,
    /// The server, or a worker that serves it.
    pub server: bool,
}

impl Executors {
    /// Whether the server's side may execute it.
    pub(super) fn may_be_served(self) -> bool {
        self.server || !self.client
    }
}

/// Who works with the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assistant {
    /// Looks for tasks on frames.
    Task,
}

/// When a tool is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offered {
    /// When somebody can execute it.
    #[default]
    Executable,
    /// While no device has been chosen, to choose one (D5).
    WithoutDevice,
}

/// A tool as TOML has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    description: String,
    parameters: Value,
    #[serde(default)]
    executors: Vec<Executor>,
    #[serde(default)]
    terminal: bool,
    #[serde(default)]
    after_any: Vec<String>,
    #[serde(default, deserialize_with = "duration")]
    deadline: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    longest: Option<Duration>,
    #[serde(default)]
    changes_device: bool,
    #[serde(default = "every_assistant")]
    assistants: Vec<Assistant>,
    #[serde(default)]
    offered: Offered,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Executor {
    Client,
    Server,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    tool: Vec<Entry>,
}

/// A name is declared once.
impl PartialEq for Tool {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Tool {
    /// One that only workers declare, and execute.
    pub(super) fn of_worker(
        name: &str,
        description: String,
        schema: Schema,
        changes: bool,
    ) -> Self {
        Self {
            name: name.into(),
            description,
            schema,
            executors: Executors {
                client: false,
                server: true,
            },
            terminal: false,
            after_any: Vec::new(),
            deadline: None,
            longest: None,
            changes_device: changes,
            assistants: every_assistant(),
            offered: Offered::default(),
            bit: ToolSet::default(),
        }
    }
}

/// All tools that are declared; cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalogue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tools: Vec<Arc<Tool>>,
    places: HashMap<Arc<str>, usize>,
}

impl Catalogue {
    /// The tools that every server has.
    pub fn builtin() -> Self {
        Self::with(&[]).expect("the tools compiled in are checked by a test")
    }

    /// Those, and the ones of these TOML texts, each with the name it is known by.
    ///
    /// # Errors
    /// Everything that is wrong, a sentence each, for whoever wrote it.
    pub fn with(files: &[(String, String)]) -> Result<Self, Vec<String>> {
        let builtin = ("the built-in tools".to_owned(), BUILTIN.to_owned());
        let mut wrong = Vec::new();
        let mut tools: Vec<Arc<Tool>> = Vec::new();
        let mut places = HashMap::new();
        for (at, (name, text)) in [builtin].iter().chain(files).enumerate() {
            let file: File = match toml::from_str(text) {
                Ok(file) => file,
                Err(error) => {
                    wrong.push(format!("{name}: {}", error.to_string().trim()));
                    continue;
                }
            };
            for entry in file.tool {
                let entry_name = entry.name.clone();
                let ends = entry.terminal && at > 0;
                let chooses = entry.offered == Offered::WithoutDevice && at > 0;
                let told = |what: String| format!("{name}: tool \"{entry_name}\": {what}");
                match tool(entry) {
                    Ok(_) if ends => {
                        wrong.push(told("only the built-in tools end a frame".to_owned()));
                    }
                    Ok(_) if chooses => {
                        wrong.push(told("only the built-in tools choose a device".to_owned()));
                    }
                    Ok(tool) if places.contains_key(&tool.name) => {
                        wrong.push(told("there is another one of this name".to_owned()));
                    }
                    Ok(mut tool) => {
                        // One too many is told below.
                        tool.bit = ToolSet(1u64.checked_shl(tools.len() as u32).unwrap_or(0));
                        places.insert(tool.name.clone(), tools.len());
                        tools.push(Arc::new(tool));
                    }
                    Err(flaws) => wrong.extend(flaws.into_iter().map(told)),
                }
            }
        }
        if tools.len() > MOST_TOOLS {
            wrong.push(format!("there are more than {MOST_TOOLS} tools"));
        }
        match wrong.is_empty() {
            true => Ok(Self(Arc::new(Inner { tools, places }))),
            false => Err(wrong),
        }
    }

    /// All of them, in the order in which they were declared.
    pub fn tools(&self) -> &[Arc<Tool>] {
        &self.0.tools
    }

    /// The tool of this name, if there is one.
    pub fn find(&self, name: &str) -> Option<&Arc<Tool>> {
        Some(&self.0.tools[*self.0.places.get(name)?])
    }

    /// Which of these names are tools that a client can execute.
    pub fn executable<'a>(&self, names: impl Iterator<Item = &'a str>) -> ToolSet {
        let tools = names.filter_map(|name| self.find(name));
        let local = tools.filter(|tool| tool.executors.client);
        ToolSet(local.fold(0, |set, tool| set | tool.bit.0))
    }

    /// The names of those that clients can execute.
    pub fn of_clients(&self) -> Vec<Arc<str>> {
        let local = self.tools().iter().filter(|tool| tool.executors.client);
        local.map(|tool| tool.name.clone()).collect()
    }

    /// The tools in a set.
    pub fn in_set(&self, set: ToolSet) -> impl Iterator<Item = &Arc<Tool>> {
        self.tools().iter().filter(move |tool| set.holds(tool))
    }
}

/// Some tools of one catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ToolSet(u64);

impl ToolSet {
    /// Whether there is none in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are not in the other one.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether this tool is in it.
    pub fn holds(self, tool: &Tool) -> bool {
        self.0 & tool.bit.0 != 0
    }
}

fn tool(entry: Entry) -> Result<Tool, Vec<String>> {
    let Entry {
        name,
        description,
        parameters,
        executors,
        terminal,
        after_any,
        deadline,
        longest,
        changes_device,
        assistants,
        offered,
    } = entry;
    let mut wrong = Vec::new();
    if !is_tool_name(&name) {
        wrong.push(format!(
            "the name must be 1 to {TOOL_NAME_CHARS} of a-z, A-Z, 0-9 and '_', and not begin with a \
             digit"
        ));
    }
    if description.trim().is_empty() || description.chars().count() > DESCRIPTION_CHARS {
        wrong.push(format!(
            "the description must have 1 to {DESCRIPTION_CHARS} characters"
        ));
    }
    if terminal && !executors.is_empty() {
        wrong.push("it is terminal, and so nobody executes it: leave executors out".to_owned());
    }
    if !terminal && !after_any.is_empty() {
        wrong.push("after_any is for terminal tools".to_owned());
    }
    if let (Some(deadline), Some(longest)) = (deadline, longest)
        && longest < deadline
    {
        wrong.push("longest is shorter than deadline".to_owned());
    }
    match Schema::new(&parameters) {
        Ok(schema) if wrong.is_empty() => Ok(Tool {
            name: name.into(),
            description,
            schema,
            executors: Executors {
                client: executors.contains(&Executor::Client),
                server: executors.contains(&Executor::Server),
            },
            terminal,
            after_any: after_any.into_iter().map(Arc::from).collect(),
            deadline,
            longest,
            changes_device,
            assistants,
            offered,
            bit: ToolSet::default(),
        }),
        Ok(_) => Err(wrong),
        Err(flaw) => {
            wrong.push(flaw);
            Err(wrong)
        }
    }
}

fn every_assistant() -> Vec<Assistant> {
    vec![Assistant::Task]
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let said = String::deserialize(from)?;
    let read = humantime::parse_duration(&said);
    match read {
        Ok(duration) if (SHORTEST..=LONGEST).contains(&duration) => Ok(Some(duration)),
        _ => Err(serde::de::Error::custom(format!(
            "\"{said}\" is no duration such as 10s, from 1ms to 10m"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Category, Priority, SearchKind, Subcategory};

    #[test]
    fn a09_gone_missing_schema_fields_the_built_in_tools_require_what_they_must() {
        let catalogue = Catalogue::builtin();
        let required = |name: &str| {
            let declared = catalogue.find(name).unwrap().schema.declared();
            let required = declared["required"].as_array().unwrap().iter();
            for name in required.clone() {
                let property = &declared["properties"][name.as_str().unwrap()];
                assert!(property["type"].is_string(), "{name}");
            }
            let names: Vec<_> = required
                .map(|name| name.as_str().unwrap().to_owned())
                .collect();
            names.join(" ")
        };
        for kind in SearchKind::ALL {
            assert_eq!(required(kind.function_name()), "query");
        }
        assert_eq!(
            required("extract_task"),
            "title description priority tags source_app inferred_deadline confidence \
             source_category source_subcategory relevance_score context_summary current_activity"
        );
        assert_eq!(
            required("reject_task"),
            "reason context_summary current_activity"
        );
        assert_eq!(
            required("no_task_found"),
            "context_summary current_activity"
        );
        let extract = catalogue.find("extract_task").unwrap().schema.declared();
        let words = |field: &str| {
            let words = extract["properties"][field]["enum"].as_array().unwrap();
            words
                .iter()
                .map(|word| word.as_str().unwrap())
                .collect::<Vec<_>>()
        };
        assert!(
            words("priority")
                .into_iter()
                .eq(Priority::ALL.iter().map(|it| it.as_str()))
        );
        let categories = Category::ALL.iter().map(|it| it.as_str());
        assert!(words("source_category").into_iter().eq(categories));
        let subcategories = Subcategory::ALL.iter().map(|it| it.as_str());
        assert!(words("source_subcategory").into_iter().eq(subcategories));
    }

    #[test]
    fn what_a_terminal_tool_depends_on_is_there_and_can_be_executed() {
        let catalogue = Catalogue::builtin();
        for tool in catalogue.tools() {
            for name in &tool.after_any {
                assert!(tool.terminal && !catalogue.find(name).unwrap().terminal);
            }
        }
    }

    #[test]
    fn an_operators_mistakes_are_told_all_at_once() {
        let file = r#"
            [[tool]]
            name = "search_similar"
            description = "Again."
            parameters = { type = "object" }
            [[tool]]
            name = "2nd"
            description = ""
            parameters = { type = "object", oneOf = [] }
            terminal = true
            executors = ["client"]
            [[tool]]
            name = "late"
            description = "Ends before it begins."
            parameters = { type = "object" }
            deadline = "10s"
            longest = "5s"
            after_any = ["nothing"]
            [[tool]]
            name = "end"
            description = "Ends a frame."
            parameters = { type = "object" }
            terminal = true
        "#;
        let files = [
            ("own.toml".to_owned(), file.to_owned()),
            ("odd.toml".to_owned(), "[[tool]]\nexecutor = 1".to_owned()),
        ];
        let wrong = Catalogue::with(&files).unwrap_err().join("\n");
        for told in [
            "own.toml: tool \"search_similar\": there is another one of this name",
            "own.toml: tool \"2nd\": the name must be",
            "own.toml: tool \"2nd\": the description must",
            "own.toml: tool \"2nd\": it is terminal",
            "own.toml: tool \"2nd\": parameters.oneOf: Gemini knows no such keyword",
            "own.toml: tool \"late\": longest is shorter than deadline",
            "own.toml: tool \"late\": after_any is for terminal tools",
            "own.toml: tool \"end\": only the built-in tools end a frame",
            "odd.toml: TOML parse error",
        ] {
            assert!(wrong.contains(told), "{told} is missing in\n{wrong}");
        }
    }

    #[test]
    fn a_set_holds_what_a_client_can_execute_and_nothing_else() {
        let catalogue = Catalogue::builtin();
        let said = ["search_keywords", "extract_task", "resolve_date", "unknown"];
        let set = catalogue.executable(said.into_iter());
        let names: Vec<_> = catalogue.in_set(set).map(|tool| &*tool.name).collect();
        assert_eq!(names, ["search_keywords"]);
        assert!(!set.holds(catalogue.find("search_similar").unwrap()));
        assert!(catalogue.executable([].into_iter()).is_empty());
    }
}
