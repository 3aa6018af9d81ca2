//! What workers say of their calls, and what of it is believed.

use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use super::breaker::Verdict;
use super::table::{Key, Slot, Table};
use super::words::SentAway;
use crate::domain::{CallFault, CallFaultCode, CallId, Ran, SessionId, Value};
use crate::telemetry::Discarded;

/// Whose call it is that a worker speaks of.
enum Whose {
    /// Its own.
    Its,
    /// Its own until the server ended it just now.
    Late,
    /// Not its own.
    Strange,
}

impl Table {
    /// # Errors
    /// It has said what cannot be once too often.
    pub(super) fn result(
        &mut self,
        key: Key,
        id: &CallId,
        value: Option<Value>,
    ) -> Result<(), SentAway> {
        let Some(slot) = self.own(key, id)? else {
            return Ok(());
        };
        match (slot.streaming, value) {
            (true, None | Some(Value::Null)) => {}
            (true, Some(_)) => {
                return self.broken(key, id, "a streaming call ended with a value");
            }
            (false, value) => {
                let value = value.unwrap_or_default();
                let bytes = value.bytes();
                // There is room for the one that there is.
                let _ = slot.chunks.try_send(value);
                self.metrics.worker_received(bytes);
            }
        }
        self.release(id, Verdict::Answered);
        self.finish(id, Ok(()));
        Ok(())
    }

    /// # Errors
    /// As [`Self::result`].
    pub(super) fn chunk(
        &mut self,
        key: Key,
        id: &CallId,
        sequence: i64,
        value: Value,
    ) -> Result<(), SentAway> {
        let Some(slot) = self.own(key, id)? else {
            return Ok(());
        };
        if !slot.streaming {
            return self.broken(key, id, "a chunk of a call that has one result");
        }
        if sequence != slot.next {
            return self.broken(key, id, "a chunk out of order");
        }
        if slot.credit == 0 {
            return self.broken(key, id, "more chunks than were allowed");
        }
        slot.next += 1;
        slot.credit -= 1;
        let bytes = value.bytes();
        let sent = slot.chunks.try_send(value);
        debug_assert!(
            !matches!(sent, Err(TrySendError::Full(_))),
            "there is room for what is allowed"
        );
        self.metrics.worker_received(bytes);
        Ok(())
    }

    /// # Errors
    /// As [`Self::result`].
    pub(super) fn failure(
        &mut self,
        key: Key,
        id: &CallId,
        fault: CallFault,
    ) -> Result<(), SentAway> {
        let Some(slot) = self.own(key, id)? else {
            return Ok(());
        };
        if fault.ran == Ran::Maybe {
            self.release(id, verdict(fault.code));
            self.finish(id, Err(fault));
            return Ok(());
        }
        if slot.next > 0 {
            return self.broken(key, id, "a call never ran that has sent chunks");
        }
        slot.tried.push(key);
        let name = slot.call.tool.clone();
        self.release(id, verdict(fault.code));
        let tried = self.slots.get(id).map(|slot| slot.tried.clone());
        let others = self.tools.get(&name).map(|tool| &tool.workers);
        let tried = tried.unwrap_or_default();
        let others = others
            .into_iter()
            .flatten()
            .any(|other| !tried.contains(other));
        if others {
            self.stand_in_line(id);
            self.dispatch(&name);
            self.sift(&name);
        } else {
            // Nobody can say more than this one has.
            self.finish(id, Err(fault));
        }
        Ok(())
    }

    /// # Errors
    /// As [`Self::result`].
    pub(super) fn progress(&mut self, key: Key, id: &CallId) -> Result<(), SentAway> {
        if let Some(slot) = self.own(key, id)? {
            let later = Instant::now() + slot.time;
            slot.deadline = slot.deadline.max(later.min(slot.latest));
        }
        Ok(())
    }

    /// The session that a call of this worker is for.
    pub(super) fn session(&self, key: Key, id: &CallId) -> Option<SessionId> {
        let slot = self.slots.get(id).filter(|slot| slot.is_with(key))?;
        Some(slot.call.context.session.clone())
    }

    /// A worker has said what cannot be of its own call, which ends with it.
    ///
    /// # Errors
    /// As [`Self::result`].
    pub(super) fn broken(&mut self, key: Key, id: &CallId, why: &str) -> Result<(), SentAway> {
        if self.own(key, id)?.is_none() {
            return Ok(());
        }
        self.tell_cancel(id, "What was said of it cannot be.");
        self.release(id, Verdict::Failed);
        let message = format!("The tool's worker broke its contract: {why}.");
        let fault = CallFault::may_have_run(CallFaultCode::Broken, message);
        self.finish(id, Err(fault));
        self.lied(key, Discarded::Broken, why)
    }

    /// # Errors
    /// That was once too often.
    pub(super) fn lied(&mut self, key: Key, kind: Discarded, why: &str) -> Result<(), SentAway> {
        self.metrics.worker_event_discarded(kind);
        let Some(worker) = self.workers.get_mut(&key) else {
            return Ok(());
        };
        worker.lies += 1;
        let (lies, most) = (worker.lies, self.options.lies);
        tracing::warn!(
            worker.name = worker.name,
            worker.id = worker.id,
            lies,
            why,
            "a tool worker said what cannot be"
        );
        match lies >= most {
            true => Err(SentAway(lies, why.to_owned())),
            false => Ok(()),
        }
    }

    /// The consumer has taken so many chunks.
    pub(super) fn credit(&mut self, id: &CallId, taken: u32) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        slot.credit += taken;
        slot.due += taken;
        let key = slot.with.as_ref().map(|with| with.worker);
        if let Some(worker) = key.and_then(|key| self.workers.get_mut(&key)) {
            worker.outbox.credit(id);
            worker.wake.notify_one();
        }
    }

    /// The call, if it is this worker's.
    fn own(&mut self, key: Key, id: &CallId) -> Result<Option<&mut Slot>, SentAway> {
        match self.whose(key, id) {
            Whose::Its => Ok(self.slots.get_mut(id)),
            Whose::Late => {
                self.metrics.worker_event_discarded(Discarded::Late);
                Ok(None)
            }
            Whose::Strange => {
                let why = "it spoke of a call that it does not have";
                self.lied(key, Discarded::Stranger, why)?;
                Ok(None)
            }
        }
    }

    fn whose(&self, key: Key, id: &CallId) -> Whose {
        if self.slots.get(id).is_some_and(|slot| slot.is_with(key)) {
            return Whose::Its;
        }
        let worker = self.workers.get(&key);
        match worker.is_some_and(|worker| worker.ended.contains(id)) {
            true => Whose::Late,
            false => Whose::Strange,
        }
    }
}

impl Slot {
    /// Whether this worker has been handed it.
    fn is_with(&self, key: Key) -> bool {
        let with = self.with.as_ref();
        with.is_some_and(|with| with.handed && with.worker == key)
    }
}

/// Whether a failure is one of the worker, not of the tool or its arguments.
fn verdict(code: CallFaultCode) -> Verdict {
    match code {
        CallFaultCode::Unavailable | CallFaultCode::Timeout | CallFaultCode::Broken => {
            Verdict::Failed
        }
        CallFaultCode::InvalidArguments
        | CallFaultCode::NotFound
        | CallFaultCode::NotAllowed
        | CallFaultCode::Cancelled
        | CallFaultCode::Exhausted
        | CallFaultCode::Unimplemented
        | CallFaultCode::Failed
        // Of devices alone.
        | CallFaultCode::GoingAway => Verdict::Answered,
    }
}
