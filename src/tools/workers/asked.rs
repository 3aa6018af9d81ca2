//! A call as whoever makes it sees it: what comes of it, in order, until it has ended.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::table::{Shared, Slot};
use super::words::Call;
use crate::domain::{CallFault, CallFaultCode, CallId, MOST_LEVELS, Value};

/// Chunks are paid back in such parts of what may lie unread: so that a worker is told
/// seldom, and long before it has to stop.
const PARTS: u32 = 4;

/// What a call returns, piece by piece. Dropping it gives the call up: its worker is
/// told at once.
pub struct Chunks {
    id: CallId,
    table: Shared,
    chunks: mpsc::Receiver<Value>,
    end: oneshot::Receiver<Result<(), CallFault>>,
    deadline: Instant,
    over: bool,
    batch: u32,
    /// Chunks that the worker has not been told of.
    taken: u32,
    streaming: bool,
}

impl Chunks {
    /// Asks for a call that moves its deadline up to `latest`.
    ///
    /// # Errors
    /// It is not begun: nobody can be asked, or too many wait.
    pub(super) fn new(
        table: Shared,
        id: CallId,
        call: Call,
        deadline: Instant,
        latest: Instant,
    ) -> Result<Self, CallFault> {
        let now = Instant::now();
        let mut locked = table.lock();
        fits(&call, locked.options.result_bytes)?;
        let tool = locked.tools.get(&call.tool);
        let streaming = tool.is_some_and(|tool| tool.declared.streaming);
        let credit = if streaming { locked.options.credit } else { 1 };
        let (send, chunks) = mpsc::channel(credit as usize);
        let (ended, end) = oneshot::channel();
        let slot = Slot {
            call: Arc::new(call),
            ticket: locked.number(),
            begun: now,
            time: deadline.saturating_duration_since(now),
            deadline,
            latest,
            tried: Vec::new(),
            with: None,
            streaming,
            chunks: send,
            next: 0,
            credit,
            due: 0,
            end: ended,
        };
        locked.admit(id.clone(), slot)?;
        drop(locked);
        Ok(Self {
            id,
            table,
            chunks,
            end,
            deadline,
            over: false,
            batch: (credit / PARTS).max(1),
            taken: 0,
            streaming,
        })
    }

    /// The next piece, in order; a fault is the last one. `None` is the end: then
    /// everything has come.
    pub async fn next(&mut self) -> Option<Result<Value, CallFault>> {
        if self.over {
            return None;
        }
        loop {
            // Also of who finds something each time: what lies here is still read.
            if self.deadline <= Instant::now()
                && let Some(later) = self.table.lock().expire(&self.id)
            {
                self.deadline = later;
            }
            tokio::select! {
                biased;
                chunk = self.chunks.recv() => return match chunk {
                    Some(value) => {
                        self.pay_back();
                        Some(Ok(value))
                    }
                    None => self.last(),
                },
                () = sleep_until(self.deadline), if self.deadline > Instant::now() => {}
            }
        }
    }

    /// Everything at once: a streaming tool's chunks as a list.
    ///
    /// # Errors
    /// Why there is no result.
    pub(super) async fn whole(mut self, most_bytes: usize) -> Result<Value, CallFault> {
        let mut bytes = 0;
        let mut values = Vec::new();
        while let Some(chunk) = self.next().await {
            let value = chunk?;
            bytes += value.bytes();
            // One result is as large as one event can be.
            if self.streaming && bytes > most_bytes {
                let message = "The tool returned more than a call may.";
                return Err(CallFault::may_have_run(CallFaultCode::Exhausted, message));
            }
            values.push(value);
        }
        match self.streaming {
            true => Ok(Value::List(values)),
            false => Ok(values.pop().unwrap_or_default()),
        }
    }

    /// How many chunks lie here unread.
    pub fn unread(&self) -> usize {
        self.chunks.len()
    }

    /// Without a wait, in which it could be dropped: the end is told before the chunks
    /// are over.
    fn last(&mut self) -> Option<Result<Value, CallFault>> {
        self.over = true;
        // Were it lost, the call may have run.
        let lost = || CallFault::may_have_run(CallFaultCode::Broken, "The call was lost.");
        match self.end.try_recv().unwrap_or_else(|_| Err(lost())) {
            Ok(()) => None,
            Err(fault) => Some(Err(fault)),
        }
    }

    fn pay_back(&mut self) {
        if !self.streaming {
            return;
        }
        self.taken += 1;
        if self.taken >= self.batch {
            let taken = std::mem::take(&mut self.taken);
            self.table.lock().credit(&self.id, taken);
        }
    }
}

/// Whether the contract with workers has room for the arguments.
fn fits(call: &Call, most_bytes: usize) -> Result<(), CallFault> {
    let bytes: usize = call.arguments.values().map(Value::bytes).sum();
    let what = if bytes > most_bytes {
        "The arguments are too large."
    } else if !call.arguments.values().all(|it| nests(it, MOST_LEVELS)) {
        "The arguments are nested too deeply."
    } else {
        return Ok(());
    };
    let code = CallFaultCode::InvalidArguments;
    Err(CallFault::never_ran(code, what))
}

/// Whether a value has at most so many levels, itself included.
fn nests(value: &Value, levels: usize) -> bool {
    let Some(inside) = levels.checked_sub(1) else {
        return false;
    };
    match value {
        Value::List(items) => items.iter().all(|it| nests(it, inside)),
        Value::Object(fields) => fields.values().all(|it| nests(it, inside)),
        Value::Null
        | Value::Bool(_)
        | Value::Integer(_)
        | Value::Number(_)
        | Value::Text(_)
        | Value::Binary(_) => true,
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.table.lock().give_up(&self.id);
    }
}
