//! The tools that a desk executes: the two searches in its store, and any other by a
//! command of its user's.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::group::{Group, shell};
use crate::domain::is_tool_name;
use crate::transport::proto::ToolKind;

/// What a command may print, as the contract has it.
const MOST_BYTES: u64 = 256 << 10;

/// What a desk executes, as the server knows it by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executes(BTreeMap<String, How>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum How {
    Search(ToolKind),
    Command(String),
}

/// What was said of tools cannot be meant.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// Only the searches need no command.
    #[error("{0} is no search of this desk: give a command, {0}=COMMAND")]
    NoCommand(String),
    /// No tool has such a name.
    #[error(
        "{0:?} is no tool's name: those are 1 to 64 of a-z, A-Z, 0-9 and '_', not beginning with a digit"
    )]
    NoName(String),
    /// There is nothing to run.
    #[error("{0}= has no command: give one, {0}=COMMAND")]
    Empty(String),
    /// Say it once.
    #[error("{0} is given twice")]
    Twice(String),
}

impl Default for Executes {
    fn default() -> Self {
        let both = KINDS.map(|(name, kind)| (name.to_owned(), How::Search(kind)));
        Self(both.into())
    }
}

const KINDS: [(&str, ToolKind); 2] = [
    ("search_similar", ToolKind::SearchSimilar),
    ("search_keywords", ToolKind::SearchKeywords),
];

impl Executes {
    /// Reads names of searches with commas between them, or NAME=COMMAND; "none" alone
    /// is nothing.
    ///
    /// # Errors
    /// What cannot be meant.
    pub(super) fn read(said: &[String]) -> Result<Self, Unknown> {
        if said.is_empty() {
            return Ok(Self::default());
        }
        let mut tools = BTreeMap::new();
        for said in said.iter().filter(|said| *said != "none") {
            let entries: Vec<(&str, How)> = match said.split_once('=') {
                Some((name, command)) => vec![(name.trim(), commanded(name.trim(), command)?)],
                None => said.split(',').map(search).collect::<Result<_, _>>()?,
            };
            for (name, how) in entries {
                if tools.insert(name.trim().to_owned(), how).is_some() {
                    return Err(Unknown::Twice(name.trim().to_owned()));
                }
            }
        }
        Ok(Self(tools))
    }

    /// The names, for the server.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// The names that are not among those of the tools that a server knows.
    pub(super) fn unknown_to(&self, known: &[String]) -> Vec<String> {
        let names = self.0.keys().filter(|name| !known.contains(name));
        names.cloned().collect()
    }

    /// Whether it executes this search.
    pub(super) fn searches(&self, kind: ToolKind) -> bool {
        self.0.values().any(|how| *how == How::Search(kind))
    }

    /// The command that executes this tool.
    pub(super) fn command(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            How::Command(command) => Some(command),
            How::Search(_) => None,
        }
    }
}

fn search(name: &str) -> Result<(&str, How), Unknown> {
    let known = KINDS.iter().find(|(known, _)| *known == name.trim());
    let (_, kind) = known.ok_or_else(|| Unknown::NoCommand(name.trim().to_owned()))?;
    Ok((name, How::Search(*kind)))
}

fn commanded(name: &str, command: &str) -> Result<How, Unknown> {
    if !is_tool_name(name) {
        return Err(Unknown::NoName(name.to_owned()));
    }
    if command.trim().is_empty() {
        return Err(Unknown::Empty(name.to_owned()));
    }
    Ok(How::Command(command.to_owned()))
}

/// Runs a command in a shell: the arguments are its input, what it prints is the result,
/// as JSON or as a text. It is ended when the time is over.
///
/// # Errors
/// Why there is no result, for the server: nothing of what the command printed.
pub(super) async fn run(command: &str, arguments: &str, time: Duration) -> Result<String, String> {
    let ran = timeout(time, printed_by(command, arguments)).await;
    let printed = ran.map_err(|_| "the command took too long".to_owned())??;
    Ok(match serde_json::from_str::<serde_json::Value>(&printed) {
        Ok(_) => printed,
        Err(_) => serde_json::Value::from(printed.trim_end()).to_string(),
    })
}

async fn printed_by(command: &str, arguments: &str) -> Result<String, String> {
    let broken = |_| "the command cannot be run".to_owned();
    let mut shell = shell(command)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(broken)?;
    // The shell leads it. It is dropped before the shell is, and reaped.
    let mut group = Group::led_by(shell.id());
    let mut input = shell.stdin.take().expect("it was asked for");
    let output = shell.stdout.take().expect("it was asked for");
    let mut printed = String::new();
    let mut output = output.take(MOST_BYTES + 1);
    let (_, read) = tokio::join!(
        async move {
            // A command that does not want them closes its end.
            let _ = input.write_all(arguments.as_bytes()).await;
        },
        output.read_to_string(&mut printed)
    );
    read.map_err(|_| "the command printed something else than text".to_owned())?;
    if printed.len() as u64 > MOST_BYTES {
        return Err(format!("the command printed more than {MOST_BYTES} bytes"));
    }
    let status = shell.wait().await.map_err(broken)?;
    group.dissolve();
    match status.success() {
        true => Ok(printed),
        false => Err(format!("the command failed ({status})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_desk_executes_is_said_by_name_or_with_a_command() {
        let read = |said: &[&str]| {
            let said: Vec<_> = said.iter().map(|&said| said.to_owned()).collect();
            Executes::read(&said)
        };
        assert_eq!(read(&[]).unwrap(), Executes::default());
        assert!(read(&["none"]).unwrap().names().is_empty());
        let some = read(&["search_keywords", "read_clipboard=pbpaste | head -n 1, x"]).unwrap();
        assert_eq!(some.names(), ["read_clipboard", "search_keywords"]);
        assert!(some.searches(ToolKind::SearchKeywords));
        assert!(!some.searches(ToolKind::SearchSimilar));
        assert_eq!(
            some.command("read_clipboard"),
            Some("pbpaste | head -n 1, x")
        );
        assert_eq!(some.command("search_keywords"), None);
        let known = ["search_keywords".to_owned()];
        assert_eq!(some.unknown_to(&known), ["read_clipboard"]);
        for (said, told) in [
            (&["search_similar,clipboard"][..], "clipboard is no search"),
            (&["a=x", "a=y"], "a is given twice"),
            (&["a="], "a= has no command"),
            (&["a-b=cat"], "\"a-b\" is no tool's name"),
            (&["2a=cat"], "\"2a\" is no tool's name"),
            (&["=cat"], "\"\" is no tool's name"),
        ] {
            let told_ = read(said).unwrap_err().to_string();
            assert!(told_.contains(told), "{told_}");
        }
    }

    #[tokio::test]
    async fn a_command_gets_the_arguments_and_its_output_is_the_result() {
        let run =
            async |command: &str| run(command, r#"{"most":3}"#, Duration::from_secs(20)).await;
        assert_eq!(run("cat").await.unwrap(), r#"{"most":3}"#);
        assert_eq!(run("echo two words").await.unwrap(), r#""two words""#);
        assert_eq!(run("true").await.unwrap(), r#""""#);
        for (command, told) in [
            ("echo secret; exit 3", "the command failed (exit status: 3)"),
            ("yes", "the command printed more than 262144 bytes"),
            ("printf '\\377'", "something else than text"),
        ] {
            assert!(run(command).await.unwrap_err().contains(told), "{command}");
        }
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_ended() {
        let short = Duration::from_millis(50);
        let told = run("sleep 600 & wait", "{}", short).await.unwrap_err();
        assert_eq!(told, "the command took too long");
    }
}
