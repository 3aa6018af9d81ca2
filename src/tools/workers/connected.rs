//! A worker that is connected, as the door that it came through sees it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::hello::ToolRefused;
use super::outbox::Order;
use super::table::{Key, Shared, Table};
use super::variables::{Told, VariableFault, Variables};
use super::words::{Command, Said, SentAway};
use crate::domain::{CallFault, CallId, Ran, Value, clip};
use crate::telemetry::Discarded;

/// Characters of a failure's message that are read.
const MESSAGE_CHARS: usize = 300;

/// One worker, until it is dropped: then its calls end, or go to others.
pub struct Connected {
    pub(super) table: Shared,
    pub(super) variables: Variables,
    pub(super) key: Key,
    pub(super) wake: Arc<Notify>,
    /// Room for another answer.
    pub(super) read: Notify,
    /// A UUID, for this stream.
    pub id: String,
    /// Tools of its hello that cannot be used.
    pub refused: Vec<ToolRefused>,
}

impl Connected {
    /// Waits until there is something to tell the worker.
    pub async fn pending(&self) {
        while !self.has_news() {
            self.wake.notified().await;
        }
    }

    /// Takes what is to be told next, if there is something. From then on the worker
    /// may know of it: take it only when it can be sent.
    pub fn next(&self) -> Option<Command> {
        let command = self.table.lock().command(self.key);
        self.read.notify_one();
        command
    }

    /// Takes in what the worker says. Waits while it leaves answers unread.
    ///
    /// # Errors
    /// It is to be sent away.
    pub async fn said(&self, said: Said) -> Result<(), SentAway> {
        if let Said::Variable { .. } = said {
            while self.is_full() {
                self.read.notified().await;
            }
        }
        let mut table = self.table.lock();
        match said {
            Said::Result { id, value } => table.result(self.key, &id, value),
            Said::Chunk {
                id,
                sequence,
                value,
            } => table.chunk(self.key, &id, sequence, value),
            Said::Failure {
                id,
                code,
                message,
                never_ran,
            } => {
                let ran = if never_ran { Ran::Never } else { Ran::Maybe };
                let message = clip(&message, MESSAGE_CHARS).into_owned();
                let fault = CallFault { code, message, ran };
                table.failure(self.key, &id, fault)
            }
            Said::Progress { id } => table.progress(self.key, &id),
            Said::Variable { request, call, ask } => {
                let told = match table.session(self.key, &call) {
                    Some(session) => ask.and_then(|ask| self.variables.ask(&session, ask)),
                    None => Err(VariableFault::NotYours),
                };
                table.answer(self.key, request, told);
                Ok(())
            }
            Said::Leaving => {
                table.leave(self.key);
                Ok(())
            }
            Said::Nonsense { id: Some(id), why } => table.broken(self.key, &id, &why),
            Said::Nonsense { id: None, why } => table.lied(self.key, Discarded::Broken, &why),
        }
    }

    /// Gives it no new calls.
    pub fn leave(&self) {
        self.table.lock().leave(self.key);
    }

    /// How many calls it has under way.
    pub fn under_way(&self) -> usize {
        let table = self.table.lock();
        let worker = table.workers.get(&self.key);
        worker.map_or(0, |worker| worker.under_way)
    }

    /// Lets it go, for this reason.
    pub fn part(self, why: &str) {
        self.table.lock().part(self.key, why);
    }

    /// Whether there is something to tell.
    fn has_news(&self) -> bool {
        let table = self.table.lock();
        let worker = table.workers.get(&self.key);
        worker.is_some_and(|worker| !worker.outbox.is_empty())
    }

    fn is_full(&self) -> bool {
        let table = self.table.lock();
        let worker = table.workers.get(&self.key);
        worker.is_some_and(|worker| worker.outbox.is_full())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.table.lock().part(self.key, "its stream was dropped");
    }
}

impl Table {
    fn leave(&mut self, key: Key) {
        if let Some(worker) = self.workers.get_mut(&key) {
            worker.leaving = true;
        }
        self.sift_all(key);
    }

    fn answer(&mut self, key: Key, request: String, told: Told) {
        if let Some(worker) = self.workers.get_mut(&key) {
            worker.outbox.variable(request, told);
            worker.wake.notify_one();
        }
    }

    fn command(&mut self, key: Key) -> Option<Command> {
        loop {
            let order = self.workers.get_mut(&key)?.outbox.pop()?;
            let command = match order {
                Order::Execute(id) => self.execute(id),
                Order::Cancel(id, reason) => Some(Command::Cancel { id, reason }),
                Order::Credit(id) => self.credit_due(id),
                Order::Variable(request, told) => Some(Command::Variable { request, told }),
            };
            if command.is_some() {
                return command;
            }
        }
    }

    /// From here on the call may have run.
    fn execute(&mut self, id: CallId) -> Option<Command> {
        let slot = self.slots.get_mut(&id)?;
        let deadline = slot.deadline.saturating_duration_since(Instant::now());
        // Whoever waits finds out by itself.
        if deadline == Duration::ZERO {
            return None;
        }
        slot.with.as_mut()?.handed = true;
        let call = slot.call.clone();
        let bytes = call.arguments.values().map(Value::bytes).sum();
        let credit = slot.streaming.then_some(slot.credit);
        self.metrics.worker_sent(bytes);
        Some(Command::Execute {
            id,
            call,
            deadline,
            credit,
        })
    }

    fn credit_due(&mut self, id: CallId) -> Option<Command> {
        let slot = self.slots.get_mut(&id)?;
        let more = std::mem::take(&mut slot.due);
        (more > 0).then_some(Command::Credit { id, more })
    }
}
