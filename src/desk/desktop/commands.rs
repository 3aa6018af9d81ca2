//! The tools that a desktop is executing for its server, beside everything else.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::wire::millis;
use crate::desk::executes::{Executes, run};
use crate::transport::proto::{ToolCallRequest, ToolResult};

/// At once. A server asks for a few.
const MOST: usize = 32;

/// Commands that run, each until it is answered or called off.
pub(super) struct Commands {
    pub(super) executes: Executes,
    tasks: JoinSet<ToolResult>,
    running: HashMap<String, AbortHandle>,
    /// What the server is yet to be told.
    results: VecDeque<ToolResult>,
}

impl Commands {
    /// None runs yet.
    pub(super) fn new(executes: Executes) -> Self {
        Self {
            executes,
            tasks: JoinSet::new(),
            running: HashMap::new(),
            results: VecDeque::new(),
        }
    }

    /// Begins to execute a tool, if that is meant for this desktop.
    pub(super) fn begin(&mut self, call: ToolCallRequest, is_known: bool) {
        let id = call.request_id.clone();
        // It may be asked for again on the next stream.
        if self.running.contains_key(&id) {
            return;
        }
        let command = self.executes.command(&call.tool_name).map(str::to_owned);
        let refused = match (&command, is_known) {
            (None, _) => Some("this desktop executes no such tool"),
            (Some(_), false) => Some("no frame of that frame_id is being analysed"),
            (Some(_), true) if self.running.len() >= MOST => Some("too many tools at once"),
            (Some(_), true) => None,
        };
        if let Some(why) = refused {
            let result = answer(&call, Err(why.to_owned()), Duration::ZERO);
            self.results.push_back(result);
            return;
        }
        let command = command.unwrap_or_default();
        let handle = self.tasks.spawn(async move {
            let began = Instant::now();
            let time = millis(call.deadline_ms);
            let result = run(&command, &call.arguments_json, time).await;
            answer(&call, result, began.elapsed())
        });
        self.running.insert(id, handle);
    }

    /// Nobody waits for it any more.
    pub(super) fn call_off(&mut self, id: &str) {
        if let Some(command) = self.running.remove(id) {
            command.abort();
        }
    }

    /// The next result that the server is to be told; it is the same one until
    /// [`Self::is_told`]. Never, while none runs. Cancel-safe.
    pub(super) async fn next(&mut self) -> ToolResult {
        loop {
            if let Some(result) = self.results.front() {
                return result.clone();
            }
            match self.tasks.join_next().await {
                Some(Ok(result)) => {
                    self.running.remove(&result.request_id);
                    self.results.push_back(result);
                }
                // It was called off.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// The server was told what [`Self::next`] gave.
    pub(super) fn is_told(&mut self) {
        self.results.pop_front();
    }
}

fn answer(call: &ToolCallRequest, result: Result<String, String>, took: Duration) -> ToolResult {
    let (result_json, error) = match result {
        Ok(json) => (json, String::new()),
        Err(why) => (String::new(), why),
    };
    ToolResult {
        request_id: call.request_id.clone(),
        frame_id: call.frame_id.clone(),
        result_json,
        error,
        execution_ms: i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
        ..ToolResult::default()
    }
}
