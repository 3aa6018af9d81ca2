//! Tools that the operator's own processes execute. A worker comes, declares its
//! tools, and is given calls; this is where calls and workers meet, whatever wire the
//! workers speak.
//!
//! A call is with at most one worker at a time, and once it has been handed out it is
//! nobody else's: it may have run.

mod answers;
mod asked;
mod breaker;
mod connected;
mod dispatch;
mod executed;
mod hello;
mod options;
mod outbox;
mod table;
#[cfg(test)]
mod tests;
mod variables;
mod words;

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::{CallFault, CallId, Value};
use crate::telemetry::Metrics;
use crate::world::World;
use table::Shared;
use variables::Variables;

pub use asked::Chunks;
pub use connected::Connected;
pub use executed::{Executed, Watcher};
pub use hello::{Declaration, Declared, Hello, Refused, ToolRefused};
pub use options::{Options, VariableOptions};
pub use variables::{Ask, Told, Variable, VariableFault};
pub use words::{Call, CallContext, Command, Said, SentAway};

/// The workers that are connected and the calls that they have; cheap to clone.
#[derive(Clone)]
pub struct Workers {
    options: Options,
    world: World,
    table: Shared,
    variables: Variables,
    /// Who watches, if anybody does.
    watcher: Arc<OnceLock<Watcher>>,
}

/// A tool that somebody has declared.
#[derive(Clone, Debug)]
pub struct Offered {
    /// As all of its workers have it.
    pub tool: Arc<Declared>,
    /// How many workers can be asked now, be they busy.
    pub workers: usize,
}

/// Says why a tool that is in order by itself cannot be used, in a sentence for its
/// worker's author.
pub type Accepts = dyn Fn(&Declared) -> Result<(), String> + Send + Sync;

/// A stream's place among those that may be open, until it is dropped.
pub struct Place(Shared);

impl Workers {
    /// Nobody is connected.
    pub fn new(options: Options, world: World, metrics: Metrics) -> Self {
        Self {
            options,
            table: Shared::new(options, metrics),
            variables: Variables::new(options.variables, world.clone()),
            world,
            watcher: Arc::default(),
        }
    }

    /// From now on, each call that is made for a frame is told here when it ends, with what
    /// was asked and answered. For a program that has the server within it and shows that
    /// to its own user; only the first watcher is told.
    pub fn watch(&self, watcher: Watcher) {
        let _ = self.watcher.set(watcher);
    }

    /// Tells whoever watches.
    pub(super) fn tell(&self, executed: impl FnOnce() -> Executed) {
        if let Some(watcher) = self.watcher.get() {
            // Who watched may have seen enough.
            let _ = watcher.send(executed());
        }
    }

    /// The bounds that hold here.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What is declared now, by name.
    pub fn tools(&self) -> Vec<Offered> {
        let now = Instant::now();
        let table = self.table.lock();
        let tools = table.tools.values().map(|tool| Offered {
            tool: tool.declared.clone(),
            workers: table.askable(tool, now),
        });
        let mut tools: Vec<_> = tools.collect();
        drop(table);
        tools.sort_by(|a, b| a.tool.name.cmp(&b.tool.name));
        tools
    }

    /// Whether somebody can be asked for this tool now.
    pub fn has(&self, name: &str) -> bool {
        let table = self.table.lock();
        let tool = table.tools.get(name);
        tool.is_some_and(|tool| table.askable(tool, Instant::now()) > 0)
    }

    /// Whether the tool of this name answers in chunks.
    pub fn streams(&self, name: &str) -> bool {
        let table = self.table.lock();
        let tool = table.tools.get(name);
        tool.is_some_and(|tool| tool.declared.streaming)
    }

    /// How many workers are connected.
    pub fn connected(&self) -> usize {
        self.table.lock().workers.len()
    }

    /// Has a worker execute a call, and waits for it until `deadline`. A worker that
    /// tells of progress moves that, up to `latest`. Dropping the future gives the call
    /// up. A streaming tool's chunks come as a list.
    ///
    /// # Errors
    /// Why there is no result, and whether the call may have run.
    pub async fn call(
        &self,
        call: Call,
        deadline: Instant,
        latest: Instant,
    ) -> Result<Value, CallFault> {
        let chunks = self.ask(call, deadline, latest)?;
        chunks.whole(self.options.result_bytes).await
    }

    /// Has a worker execute a call, and gives what it returns as it comes; a tool that
    /// does not stream has one chunk. The deadline is one for all of it, and progress
    /// moves it up to `latest`. Dropping the chunks gives the call up.
    ///
    /// # Errors
    /// It is not begun: nobody can be asked, or too many wait.
    pub fn stream(
        &self,
        call: Call,
        deadline: Instant,
        latest: Instant,
    ) -> Result<Chunks, CallFault> {
        self.ask(call, deadline, latest)
    }

    fn ask(&self, call: Call, deadline: Instant, latest: Instant) -> Result<Chunks, CallFault> {
        let id = CallId::new(self.world.uuid());
        Chunks::new(self.table.clone(), id, call, deadline, latest)
    }

    /// A place for a stream that has opened, if there is one.
    ///
    /// # Errors
    /// [`Refused::Full`].
    pub fn place(&self) -> Result<Place, Refused> {
        let mut table = self.table.lock();
        if table.places >= self.options.at_most {
            return Err(Refused::Full);
        }
        table.places += 1;
        drop(table);
        Ok(Place(self.table.clone()))
    }

    /// Lets a worker in, if one of its tools can be used: those that `accepts` has
    /// nothing to say against.
    ///
    /// # Errors
    /// Why it is not let in.
    pub fn connect(&self, hello: Hello, accepts: &Accepts) -> Result<Connected, Refused> {
        let mut checked = hello.check()?;
        let mut refused = Vec::new();
        let mut tools = Vec::new();
        for declaration in std::mem::take(&mut checked.tools) {
            let accepted = declaration.check().and_then(|tool| match accepts(&tool) {
                Ok(()) => Ok(tool),
                Err(reason) => Err(ToolRefused {
                    name: tool.name,
                    reason,
                }),
            });
            match accepted {
                Ok(tool) => tools.push(tool),
                Err(tool) => refused.push(tool),
            }
        }
        // From the look to the entry the table stays as it is.
        let mut table = self.table.lock();
        let mut new = 0;
        tools.retain(|tool| match table.clashes(tool, new) {
            Some(clash) => {
                refused.push(clash);
                false
            }
            None => {
                new += usize::from(!table.tools.contains_key(&tool.name));
                true
            }
        });
        if tools.is_empty() {
            let first = refused.first();
            let told = first.map(|tool| format!("{:?}: {}", tool.name, tool.reason));
            let told = told.unwrap_or_default();
            let message = format!("None of its tools can be used. {told}");
            return Err(Refused::Invalid(message));
        }
        let id = self.world.uuid();
        let (key, wake) = table.join(id.clone(), checked, tools, &refused);
        drop(table);
        Ok(Connected {
            table: self.table.clone(),
            variables: self.variables.clone(),
            key,
            wake,
            read: Notify::new(),
            id,
            refused,
        })
    }

    /// Removes variables whose time is over, as long as it is polled.
    pub async fn keep_clean(&self) {
        self.variables.keep_clean().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.lock().places -= 1;
    }
}
