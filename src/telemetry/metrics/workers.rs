//! The metrics of tool workers. Tools are named by the operator's programs: so many
//! names are kept apart, and the others counted together.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{Metrics, put, put_seconds};
use crate::telemetry::labels::{Discarded, PayloadWay, WorkerCall};

/// Each has a series for every way to end, for the life of a server.
const MOST_NAMES: usize = 64;
/// What the others are called.
const OTHER: &str = "other";
/// A millisecond to five minutes.
const BUCKETS: [f64; 12] = [
    0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 300.0,
];

/// A tool's name as a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkerTool(Arc<str>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    tool: Arc<str>,
    result: WorkerCall,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WayLabels {
    way: PayloadWay,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DiscardedLabels {
    why: Discarded,
}

#[derive(Debug)]
pub(super) struct Workers {
    names: Mutex<BTreeSet<Arc<str>>>,
    connected: Gauge,
    calls: Family<CallLabels, Counter>,
    waiting: Gauge,
    seconds: Histogram,
    payload: Family<WayLabels, Counter>,
    circuits_open: Gauge,
    discarded: Family<DiscardedLabels, Counter>,
}

impl Workers {
    pub(super) fn new(r: &mut Registry) -> Self {
        let payload = Family::default();
        r.register_with_unit(
            "worker_payload",
            "What tool workers' arguments and results take in memory, by way",
            Unit::Bytes,
            payload.clone(),
        );
        let workers = Self {
            names: Mutex::default(),
            connected: put(r, "workers", "Tool workers connected now", Gauge::default()),
            calls: put(
                r,
                "worker_calls",
                "Calls of workers' tools that have ended, by tool and result",
                Family::default(),
            ),
            waiting: put(
                r,
                "worker_calls_waiting",
                "Calls that wait until a tool worker has room",
                Gauge::default(),
            ),
            seconds: put_seconds(
                r,
                "worker_call",
                "Time of one call of a worker's tool, waiting included",
                &BUCKETS,
            ),
            payload,
            circuits_open: put(
                r,
                "worker_circuits_open",
                "Tool workers that are not asked now because they keep failing",
                Gauge::default(),
            ),
            discarded: put(
                r,
                "worker_events_discarded",
                "Things that tool workers said and that were not used, by reason",
                Family::default(),
            ),
        };
        for &way in PayloadWay::ALL {
            let _ = workers.payload.get_or_create(&WayLabels { way });
        }
        for &why in Discarded::ALL {
            let _ = workers.discarded.get_or_create(&DiscardedLabels { why });
        }
        workers
    }
}

impl Metrics {
    /// A tool's name as a label. Its figures are there from then on, which they must
    /// be for Prometheus to see the first one grow.
    pub fn worker_tool(&self, name: &str) -> WorkerTool {
        let workers = &self.0.workers;
        let mut names = workers.names.lock().unwrap_or_else(PoisonError::into_inner);
        let name = match names.get(name) {
            Some(name) => name.clone(),
            None if names.len() < MOST_NAMES => {
                let name: Arc<str> = name.into();
                names.insert(name.clone());
                name
            }
            None => OTHER.into(),
        };
        drop(names);
        for &result in WorkerCall::ALL {
            let tool = name.clone();
            let _ = workers.calls.get_or_create(&CallLabels { tool, result });
        }
        WorkerTool(name)
    }

    /// A worker was let in.
    pub fn worker_came(&self) {
        self.0.workers.connected.inc();
    }

    /// A worker has gone.
    pub fn worker_left(&self) {
        self.0.workers.connected.dec();
    }

    /// A call of a worker's tool has ended.
    pub fn worker_call(&self, tool: &WorkerTool, result: WorkerCall, time: Duration) {
        let workers = &self.0.workers;
        let tool = tool.0.clone();
        let labels = CallLabels { tool, result };
        workers.calls.get_or_create(&labels).inc();
        workers.seconds.observe(time.as_secs_f64());
    }

    /// A call has to wait for a worker.
    pub fn worker_call_waits(&self) {
        self.0.workers.waiting.inc();
    }

    /// It waits no more.
    pub fn worker_call_waits_no_more(&self) {
        self.0.workers.waiting.dec();
    }

    /// Arguments went out.
    pub fn worker_sent(&self, bytes: usize) {
        self.payload(PayloadWay::Arguments, bytes);
    }

    /// A result came, or a part of one.
    pub fn worker_received(&self, bytes: usize) {
        self.payload(PayloadWay::Results, bytes);
    }

    fn payload(&self, way: PayloadWay, bytes: usize) {
        let payload = &self.0.workers.payload;
        payload
            .get_or_create(&WayLabels { way })
            .inc_by(bytes as u64);
    }

    /// A worker is asked no more for a while.
    pub fn worker_circuit_opened(&self) {
        self.0.workers.circuits_open.inc();
    }

    /// It is asked again, or has gone.
    pub fn worker_circuit_closed(&self) {
        self.0.workers.circuits_open.dec();
    }

    /// A worker said something that is not used.
    pub fn worker_event_discarded(&self, why: Discarded) {
        let discarded = &self.0.workers.discarded;
        discarded.get_or_create(&DiscardedLabels { why }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c10_so_many_tools_have_names_and_the_others_are_counted_together() {
        let metrics = Metrics::new();
        for number in 0..MOST_NAMES + 6 {
            let tool = metrics.worker_tool(&format!("t{number}"));
            metrics.worker_call(&tool, WorkerCall::Answered, Duration::ZERO);
        }
        let again = metrics.worker_tool("t0");
        metrics.worker_call(&again, WorkerCall::Answered, Duration::ZERO);
        let page = metrics.render();
        let of = |tool: &str, count: u32| {
            format!("proactive_worker_calls_total{{tool=\"{tool}\",result=\"answered\"}} {count}\n")
        };
        assert!(page.contains(&of("t0", 2)), "{page}");
        assert!(page.contains(&of(OTHER, 6)), "{page}");
    }
}
