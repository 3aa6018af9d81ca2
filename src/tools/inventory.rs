//! What tools there are, and how many could execute each now: for operators.

use serde::{Deserialize, Serialize};

use super::catalogue::{Offered, Tool};
use super::{Router, devices};

/// One tool, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What the model calls it.
    pub name: String,
    /// Who may execute it: "client", "server", or nobody, if it ends a frame.
    pub executors: Vec<String>,
    /// When it is offered: "executable", "without_device", or "always".
    pub offered: String,
    /// Milliseconds that it may take; absent: as long as tools usually may.
    pub deadline_ms: Option<u64>,
    /// It changes something.
    pub changes_device: bool,
    /// Whether only workers declare it.
    pub of_workers: bool,
    /// Devices that are connected and execute it.
    pub devices: usize,
    /// Workers that can be asked for it now.
    pub workers: usize,
    /// The server executes it itself.
    #[serde(default)]
    pub by_server: bool,
}

impl Router {
    /// All tools, as far as this server knows.
    pub fn inventory(&self) -> Vec<Entry> {
        let declared = self.catalogue().tools();
        let (own, asked) = match self.served() {
            Some(served) => (served.own(), served.asked()),
            None => Default::default(),
        };
        let entry = |tool: &Tool, of_workers: bool| {
            let workers = asked.iter().find(|(name, _)| **name == *tool.name);
            let mut executors = Vec::new();
            if tool.executors.client {
                executors.push("client".to_owned());
            }
            if tool.executors.may_be_served() && !tool.terminal {
                executors.push("server".to_owned());
            }
            Entry {
                name: (*tool.name).to_owned(),
                executors,
                offered: match (tool.terminal, tool.offered) {
                    (true, _) => "always",
                    (false, Offered::Executable) => "executable",
                    (false, Offered::WithoutDevice) => "without_device",
                }
                .to_owned(),
                deadline_ms: tool.deadline.map(|time| time.as_millis() as u64),
                changes_device: tool.changes_device,
                of_workers,
                devices: self.directory().count(tool),
                workers: workers.map_or(0, |(_, count)| *count),
                by_server: devices::is_one(tool),
            }
        };
        let declared = declared.iter().map(|tool| entry(tool, false));
        declared
            .chain(own.iter().map(|tool| entry(tool, true)))
            .collect()
    }
}
