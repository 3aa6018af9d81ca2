//! Which worker a call goes to: the one with the most room, equals in turn; and who
//! waits, first come, first served.

use std::cmp::Ordering;

use tokio::time::Instant;

use super::breaker::Verdict;
use super::table::{Key, Slot, Table, Tool, With, Worker};
use crate::domain::{CallFault, CallFaultCode, CallId};
use crate::telemetry::WorkerCall;

/// What there is for a call.
enum Choice {
    /// This worker takes it.
    Worker(Key),
    /// Those who could are full.
    Full,
    /// Nobody who has not been tried can be asked.
    Nobody,
}

impl Table {
    /// How many can be asked for this tool now, be they busy.
    pub(super) fn askable(&self, tool: &Tool, now: Instant) -> usize {
        let workers = tool.workers.iter().filter_map(|key| self.workers.get(key));
        workers.filter(|worker| worker.can_be_asked(now)).count()
    }

    /// Gives a new call to a worker, or puts it in line.
    ///
    /// # Errors
    /// Nobody can be asked, or the line is too long.
    pub(super) fn admit(&mut self, id: CallId, slot: Slot) -> Result<(), CallFault> {
        let name = slot.call.tool.clone();
        let choice = match self.tools.get(&name) {
            Some(tool) => self.choose(tool, &slot.tried),
            None => Choice::Nobody,
        };
        let waiting = self.tools.get(&name).map_or(0, |tool| tool.waiting.len());
        let refused = match choice {
            Choice::Nobody => Some(nobody()),
            Choice::Full if waiting >= self.options.waiting => Some(CallFault::never_ran(
                CallFaultCode::Exhausted,
                "Too many calls of this tool wait for a worker.",
            )),
            Choice::Worker(_) | Choice::Full => None,
        };
        if let Some(fault) = refused {
            // A name that nobody has declared is the model's, or a mistake: no label.
            if self.tools.contains_key(&name) {
                self.count_call(&slot, WorkerCall::of(fault.code));
            }
            return Err(fault);
        }
        self.slots.insert(id.clone(), slot);
        self.stand_in_line(&id);
        self.dispatch(&name);
        Ok(())
    }

    /// Gives the calls of this tool that wait to those who have room, in order.
    pub(super) fn dispatch(&mut self, name: &str) {
        while let Some(tool) = self.tools.get(name) {
            let mut found = None;
            for id in &tool.waiting {
                let Some(slot) = self.slots.get(id) else {
                    continue;
                };
                match self.choose(tool, &slot.tried) {
                    Choice::Worker(key) => {
                        found = Some((id.clone(), key));
                        break;
                    }
                    // Who has tried nobody could take anybody: those behind find no more.
                    Choice::Full | Choice::Nobody if slot.tried.is_empty() => break,
                    Choice::Full | Choice::Nobody => {}
                }
            }
            let Some((id, key)) = found else { return };
            self.give(&id, key);
        }
    }

    /// Gives a worker that has room what has waited longest, whatever the tool.
    pub(super) fn fill(&mut self, key: Key) {
        loop {
            let Some(worker) = self.workers.get(&key) else {
                return;
            };
            if !worker.has_room(Instant::now()) {
                return;
            }
            let tools = worker.tools.iter().filter_map(|name| self.tools.get(name));
            let firsts = tools.filter_map(|tool| {
                let mut slots = tool
                    .waiting
                    .iter()
                    .filter_map(|id| Some((id, self.slots.get(id)?)));
                slots.find(|(_, slot)| !slot.tried.contains(&key))
            });
            let longest = firsts.min_by_key(|(_, slot)| slot.ticket);
            let Some(id) = longest.map(|(id, _)| id.clone()) else {
                return;
            };
            self.give(&id, key);
        }
    }

    /// Ends those who wait for a tool and whom nobody can take any more.
    pub(super) fn sift(&mut self, name: &str) {
        let Some(tool) = self.tools.get(name) else {
            return;
        };
        let waiting = tool.waiting.iter();
        let lost: Vec<_> = waiting
            .filter(|id| {
                let slot = self.slots.get(*id);
                slot.is_none_or(|slot| matches!(self.choose(tool, &slot.tried), Choice::Nobody))
            })
            .cloned()
            .collect();
        for id in lost {
            self.leave_line(&id);
            self.finish(&id, Err(nobody()));
        }
    }

    /// The same for all tools of a worker.
    pub(super) fn sift_all(&mut self, key: Key) {
        let tools = self.workers.get(&key).map(|worker| worker.tools.clone());
        for name in tools.into_iter().flatten() {
            self.dispatch(&name);
            self.sift(&name);
        }
    }

    /// Takes a call out of the line that it stands in, if it does.
    pub(super) fn leave_line(&mut self, id: &CallId) {
        let Some(slot) = self.slots.get(id) else {
            return;
        };
        let Some(tool) = self.tools.get_mut(&slot.call.tool) else {
            return;
        };
        if let Some(at) = tool.waiting.iter().position(|other| other == id) {
            tool.waiting.remove(at);
            self.metrics.worker_call_waits_no_more();
        }
    }

    /// A new call is the last; one that was not begun, and goes to somebody else, has the
    /// place that it had.
    pub(super) fn stand_in_line(&mut self, id: &CallId) {
        let Some(slot) = self.slots.get(id) else {
            return;
        };
        let (ticket, name) = (slot.ticket, &slot.call.tool);
        let Some(tool) = self.tools.get_mut(name) else {
            return;
        };
        let slots = &self.slots;
        let before = |other: &CallId| slots.get(other).is_some_and(|it| it.ticket < ticket);
        let at = tool.waiting.partition_point(before);
        tool.waiting.insert(at, id.clone());
        self.metrics.worker_call_waits();
    }

    fn choose(&self, tool: &Tool, tried: &[Key]) -> Choice {
        let now = Instant::now();
        let workers = tool.workers.iter().filter(|key| !tried.contains(key));
        let workers = workers.filter_map(|key| Some((*key, self.workers.get(key)?)));
        let mut choice = Choice::Nobody;
        let mut best: Option<&Worker> = None;
        for (key, worker) in workers.filter(|(_, worker)| worker.can_be_asked(now)) {
            if !worker.has_room(now) {
                if best.is_none() {
                    choice = Choice::Full;
                }
            } else if best.is_none_or(|best| worker.load(best) == Ordering::Less) {
                best = Some(worker);
                choice = Choice::Worker(key);
            }
        }
        choice
    }

    fn give(&mut self, id: &CallId, key: Key) {
        self.leave_line(id);
        let turn = self.number();
        let (Some(slot), Some(worker)) = (self.slots.get_mut(id), self.workers.get_mut(&key))
        else {
            return;
        };
        worker.turn = turn;
        worker.under_way += 1;
        slot.with = Some(With {
            worker: key,
            era: worker.breaker.admit(),
            given: Instant::now(),
            handed: false,
        });
        worker.outbox.execute(id.clone());
        worker.wake.notify_one();
    }

    /// Ends a call at its deadline, unless that has moved: until when it may go on.
    pub(super) fn expire(&mut self, id: &CallId) -> Option<Instant> {
        let slot = self.slots.get(id)?;
        let now = Instant::now();
        if slot.deadline > now {
            return Some(slot.deadline);
        }
        let fault = match &slot.with {
            Some(with) if with.handed => {
                // One that had waited most of its time may have had too little.
                let verdict = match now - with.given >= slot.time / 2 {
                    true => Verdict::Failed,
                    false => Verdict::Unknown,
                };
                self.tell_cancel(id, "Its time is over.");
                self.release(id, verdict);
                CallFault::may_have_run(CallFaultCode::Timeout, "The tool did not answer in time.")
            }
            Some(_) | None => {
                self.leave_line(id);
                self.release(id, Verdict::Unknown);
                CallFault::never_ran(CallFaultCode::Timeout, "No worker had room in time.")
            }
        };
        self.finish(id, Err(fault));
        None
    }

    /// Whoever waited for a call does so no more.
    pub(super) fn give_up(&mut self, id: &CallId) {
        self.leave_line(id);
        self.tell_cancel(id, "Nobody waits for it any more.");
        self.release(id, Verdict::Unknown);
        if let Some(slot) = self.slots.remove(id) {
            self.count_call(&slot, WorkerCall::Cancelled);
        }
    }
}

impl Worker {
    pub(super) fn can_be_asked(&self, now: Instant) -> bool {
        !self.leaving && self.breaker.passes(now)
    }

    fn has_room(&self, now: Instant) -> bool {
        self.can_be_asked(now) && self.under_way < self.at_once
    }

    /// Who has more room, as a part of what it can do, comes first; then whose turn
    /// is longest ago.
    fn load(&self, other: &Self) -> Ordering {
        let own = self.under_way * other.at_once;
        let others = other.under_way * self.at_once;
        own.cmp(&others).then(self.turn.cmp(&other.turn))
    }
}

pub(super) fn nobody() -> CallFault {
    CallFault::never_ran(
        CallFaultCode::Unavailable,
        "No worker that has this tool can be asked now.",
    )
}
