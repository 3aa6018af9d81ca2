//! The metrics of jobs.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Metrics, put};
use crate::telemetry::labels::JobEnd;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    result: JobEnd,
}

#[derive(Debug)]
pub(super) struct Jobs {
    open: Gauge,
    ended: Family<EndLabels, Counter>,
    refused: Counter,
}

impl Jobs {
    pub(super) fn new(r: &mut Registry) -> Self {
        let jobs = Self {
            open: put(
                r,
                "jobs",
                "Jobs that were taken and have not ended",
                Gauge::default(),
            ),
            ended: put(
                r,
                "jobs_ended",
                "Jobs that have ended, by result",
                Family::default(),
            ),
            refused: put(
                r,
                "jobs_refused",
                "Submissions that were not taken",
                Counter::default(),
            ),
        };
        for &result in JobEnd::ALL {
            let _ = jobs.ended.get_or_create(&EndLabels { result });
        }
        jobs
    }
}

impl Metrics {
    /// A job has a place.
    pub fn job_opened(&self) {
        self.0.jobs.open.inc();
    }

    /// A job's place is free again.
    pub fn job_closed(&self) {
        self.0.jobs.open.dec();
    }

    /// A job has ended.
    pub fn job_ended(&self, result: JobEnd) {
        self.0.jobs.ended.get_or_create(&EndLabels { result }).inc();
    }

    /// A submission was not taken.
    pub fn job_refused(&self) {
        self.0.jobs.refused.inc();
    }
}
