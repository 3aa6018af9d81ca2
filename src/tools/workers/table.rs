//! Who is connected, which calls there are, and with whom: one table behind one lock,
//! which nobody holds while waiting.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::breaker::{Breaker, Change, Verdict};
use super::hello::{Checked, Declared, ToolRefused};
use super::options::Options;
use super::outbox::Outbox;
use super::words::Call;
use crate::domain::{CallFault, CallFaultCode, CallId, Ran, Value, clip};
use crate::telemetry::{Metrics, WorkerCall, WorkerTool};

/// Calls that the server has ended, of which a worker may not know yet: what it still
/// says of them is late, not wrong. More than it may have under way.
const ENDED: usize = 512;
/// Characters of what the log is told of tools that were refused.
const REFUSED_CHARS: usize = 1_000;

/// A worker's stream: the number of its arrival.
pub(super) type Key = u64;

/// The table, cheap to clone.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Table>>);

pub(super) struct Table {
    pub(super) options: Options,
    pub(super) metrics: Metrics,
    /// In the order of their arrival.
    pub(super) workers: BTreeMap<Key, Worker>,
    pub(super) tools: HashMap<String, Tool>,
    pub(super) slots: HashMap<CallId, Slot>,
    /// Numbers whatever has an order: arrivals, calls, turns.
    pub(super) count: u64,
    /// Streams that are open, whether they have said hello or not.
    pub(super) places: usize,
}

pub(super) struct Worker {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) at_once: usize,
    pub(super) tools: Vec<String>,
    pub(super) under_way: usize,
    /// When it was given a call last, so that equals take turns.
    pub(super) turn: u64,
    pub(super) leaving: bool,
    pub(super) breaker: Breaker,
    pub(super) outbox: Outbox,
    /// Its stream looks into the outbox then.
    pub(super) wake: Arc<Notify>,
    pub(super) lies: u32,
    pub(super) ended: VecDeque<CallId>,
}

pub(super) struct Tool {
    pub(super) declared: Arc<Declared>,
    pub(super) label: WorkerTool,
    /// Who has declared it. At least one.
    pub(super) workers: Vec<Key>,
    /// Who came first is the first.
    pub(super) waiting: VecDeque<CallId>,
}

/// A call that somebody waits for.
pub(super) struct Slot {
    pub(super) call: Arc<Call>,
    /// Its place in all lines: one that comes back is not behind the others.
    pub(super) ticket: u64,
    pub(super) begun: Instant,
    /// What it was given at first, and again with each sign of progress.
    pub(super) time: Duration,
    pub(super) deadline: Instant,
    /// The deadline moves up to here.
    pub(super) latest: Instant,
    /// Who has said that it was not begun.
    pub(super) tried: Vec<Key>,
    pub(super) with: Option<With>,
    pub(super) streaming: bool,
    pub(super) chunks: mpsc::Sender<Value>,
    /// Chunks that have come.
    pub(super) next: i64,
    /// Chunks that may come.
    pub(super) credit: u32,
    /// Credit that the worker has not been told of.
    pub(super) due: u32,
    pub(super) end: oneshot::Sender<Result<(), CallFault>>,
}

/// Whose call it is.
pub(super) struct With {
    pub(super) worker: Key,
    /// Of its breaker.
    pub(super) era: u64,
    pub(super) given: Instant,
    /// It has gone out to the worker, which may have begun it.
    pub(super) handed: bool,
}

impl Shared {
    pub(super) fn new(options: Options, metrics: Metrics) -> Self {
        Self(Arc::new(Mutex::new(Table {
            options,
            metrics,
            workers: BTreeMap::new(),
            tools: HashMap::new(),
            slots: HashMap::new(),
            count: 0,
            places: 0,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    pub(super) fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Lets a worker in with those of its tools that can be used.
    pub(super) fn join(
        &mut self,
        id: String,
        checked: Checked,
        tools: Vec<Declared>,
        refused: &[ToolRefused],
    ) -> (Key, Arc<Notify>) {
        let Checked {
            name,
            version,
            at_once,
            tools: _,
        } = checked;
        let key = self.number();
        let names: Vec<_> = tools.iter().map(|tool| tool.name.clone()).collect();
        for declared in tools {
            let metrics = &self.metrics;
            let tool = self.tools.entry(declared.name.clone());
            let tool = tool.or_insert_with(|| Tool {
                label: metrics.worker_tool(&declared.name),
                declared: Arc::new(declared),
                workers: Vec::new(),
                waiting: VecDeque::new(),
            });
            tool.workers.push(key);
        }
        let wake = Arc::new(Notify::new());
        tracing::info!(
            worker.name = name,
            worker.id = id,
            worker.version = version,
            tools = names.join(" "),
            at_once,
            refused = told(refused),
            "a tool worker is connected"
        );
        let worker = Worker {
            name,
            id,
            at_once,
            tools: names,
            under_way: 0,
            turn: 0,
            leaving: false,
            breaker: Breaker::new(self.options.failures, self.options.pause),
            outbox: Outbox::default(),
            wake: wake.clone(),
            lies: 0,
            ended: VecDeque::new(),
        };
        self.workers.insert(key, worker);
        self.metrics.worker_came();
        self.fill(key);
        (key, wake)
    }

    /// Why this tool cannot be used, beyond what is wrong with it alone.
    pub(super) fn clashes(&self, declared: &Declared, new: usize) -> Option<ToolRefused> {
        let refused = |reason: &str| {
            Some(ToolRefused {
                name: declared.name.clone(),
                reason: reason.to_owned(),
            })
        };
        match self.tools.get(&declared.name) {
            Some(tool) if *tool.declared != *declared => refused(
                "Another worker that is connected has declared this tool in another way: all \
                 must declare it alike.",
            ),
            None if self.tools.len() + new >= self.options.tools_at_most => {
                refused("There are as many tools as this server takes.")
            }
            Some(_) | None => None,
        }
    }

    /// Lets a worker go, and ends its calls, or gives them to others.
    pub(super) fn part(&mut self, key: Key, why: &str) {
        let Some(worker) = self.workers.remove(&key) else {
            return;
        };
        self.metrics.worker_left();
        if !worker.breaker.is_closed() {
            self.metrics.worker_circuit_closed();
        }
        let of_worker = |slot: &Slot| slot.with.as_ref().is_some_and(|it| it.worker == key);
        let slots = self.slots.iter();
        let mut calls: Vec<_> = slots
            .filter(|(_, slot)| of_worker(slot))
            .map(|(id, slot)| (slot.ticket, id.clone()))
            .collect();
        calls.sort();
        tracing::info!(
            worker.name = worker.name,
            worker.id = worker.id,
            calls_under_way = calls.len(),
            why,
            "a tool worker has gone"
        );
        for (_, id) in calls.into_iter().rev() {
            let with = self.slots.get_mut(&id).and_then(|slot| slot.with.take());
            if with.is_some_and(|with| with.handed) {
                self.finish(
                    &id,
                    Err(CallFault::may_have_run(
                        CallFaultCode::Unavailable,
                        "The tool's worker went away while it had the call.",
                    )),
                );
            } else {
                self.stand_in_line(&id);
            }
        }
        for name in &worker.tools {
            if let Some(tool) = self.tools.get_mut(name) {
                tool.workers.retain(|other| *other != key);
            }
            self.dispatch(name);
            self.sift(name);
            if self.tools.get(name).is_some_and(|it| it.workers.is_empty()) {
                self.tools.remove(name);
            }
        }
    }

    /// Takes a call out of the table and tells whoever waits for it. It must be with
    /// nobody, and in no line.
    pub(super) fn finish(&mut self, id: &CallId, how: Result<(), CallFault>) {
        let Some(slot) = self.slots.remove(id) else {
            return;
        };
        let result = match &how {
            Ok(()) => WorkerCall::Answered,
            Err(fault) => WorkerCall::of(fault.code),
        };
        self.count_call(&slot, result);
        if let Err(CallFault { code, message, ran }) = &how {
            let ran = *ran == Ran::Maybe;
            let code = code.as_str();
            let tool = &*slot.call.tool;
            tracing::debug!(call.id = %id, tool.name = tool, code, message, may_have_run = ran, "a worker's call failed");
        }
        // Nobody listens if it has been given up.
        let _ = slot.end.send(how);
    }

    pub(super) fn count_call(&self, slot: &Slot, result: WorkerCall) {
        let label = self.tools.get(&slot.call.tool).map(|tool| &tool.label);
        let label = match label {
            Some(label) => label.clone(),
            None => self.metrics.worker_tool(&slot.call.tool),
        };
        self.metrics
            .worker_call(&label, result, slot.begun.elapsed());
    }

    /// Frees the place that a call has with its worker, and gives it to who waits.
    pub(super) fn release(&mut self, id: &CallId, verdict: Verdict) {
        let Some(with) = self.slots.get_mut(id).and_then(|slot| slot.with.take()) else {
            return;
        };
        let Some(worker) = self.workers.get_mut(&with.worker) else {
            return;
        };
        worker.under_way -= 1;
        if !with.handed {
            worker.outbox.forget(id);
        }
        let change = worker.breaker.record(with.era, verdict, Instant::now());
        let opened = match change {
            Change::None => false,
            Change::Opened => {
                tracing::warn!(
                    worker.name = worker.name,
                    worker.id = worker.id,
                    pause_s = self.options.pause.as_secs(),
                    "a tool worker keeps failing, and is asked no more for a while"
                );
                self.metrics.worker_circuit_opened();
                true
            }
            Change::Closed => {
                tracing::info!(
                    worker.name = worker.name,
                    worker.id = worker.id,
                    "a tool worker answers again"
                );
                self.metrics.worker_circuit_closed();
                false
            }
        };
        if opened || !self.workers[&with.worker].breaker.is_closed() {
            self.sift_all(with.worker);
        }
        self.fill(with.worker);
    }

    /// Tells the worker that nobody waits for a call that it was handed.
    pub(super) fn tell_cancel(&mut self, id: &CallId, reason: &'static str) {
        let with = self.slots.get(id).and_then(|slot| slot.with.as_ref());
        let Some(with) = with.filter(|with| with.handed) else {
            return;
        };
        if let Some(worker) = self.workers.get_mut(&with.worker) {
            worker.outbox.forget(id);
            worker.outbox.cancel(id.clone(), reason);
            worker.remember(id);
            worker.wake.notify_one();
        }
    }
}

impl Worker {
    /// What it still says of this call is late, not wrong.
    fn remember(&mut self, id: &CallId) {
        if self.ended.len() == ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(id.clone());
    }
}

/// The tools that cannot be used and why, for the log; nothing if all can.
fn told(refused: &[ToolRefused]) -> Option<String> {
    let each = refused
        .iter()
        .map(|tool| format!("{}: {}", tool.name, tool.reason));
    let all = each.collect::<Vec<_>>().join(" ");
    (!all.is_empty()).then(|| clip(&all, REFUSED_CHARS).into_owned())
}
