//! A call as it is told to a program that has the server within it, and watches.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::domain::{CallFault, FrameId};

/// Where calls are told. As many as frames make: whoever watches reads them.
pub type Watcher = mpsc::Sender<Executed>;

/// A call of a tool on the server's side that has ended. It holds what was on a user's
/// screen, so it is nothing for logs, and cannot be printed as it is.
pub struct Executed {
    /// For which frame.
    pub frame: FrameId,
    /// The tool's name.
    pub tool: String,
    /// What was asked.
    pub arguments: Arc<Map<String, Json>>,
    /// What was answered, as the model gets it, or why nothing was.
    pub result: Result<Json, CallFault>,
    /// From the call to its end.
    pub took: Duration,
}

impl Executed {
    /// How it ended, in a word: `answered`, or what kind of failure it was.
    pub fn status(&self) -> &'static str {
        match &self.result {
            Ok(_) => "answered",
            Err(fault) => fault.code.as_str(),
        }
    }
}
