//! The metrics of local workers.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Inner, Metrics, put};

#[derive(Debug)]
pub(super) struct LocalWorkers {
    running: Gauge,
    started: Counter,
    ended: Counter,
}

impl LocalWorkers {
    pub(super) fn new(r: &mut Registry) -> Self {
        Self {
            running: put(
                r,
                "local_workers",
                "Local workers that run now",
                Gauge::default(),
            ),
            started: put(
                r,
                "local_workers_started",
                "Times that a local worker was started",
                Counter::default(),
            ),
            ended: put(
                r,
                "local_workers_ended",
                "Times that a local worker ended",
                Counter::default(),
            ),
        }
    }
}

/// A local worker that runs, until this is dropped.
pub struct RunningWorker(Arc<Inner>);

impl Metrics {
    /// A local worker was started.
    pub fn local_worker(&self) -> RunningWorker {
        self.0.local_workers.running.inc();
        self.0.local_workers.started.inc();
        RunningWorker(self.0.clone())
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.0.local_workers.running.dec();
        self.0.local_workers.ended.inc();
    }
}
