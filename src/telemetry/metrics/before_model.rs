//! The metrics of what stands before the model: calls wait where there are more than
//! may be, and are not made where the model keeps failing.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Metrics, ModelLabel, put, put_seconds};

/// 10 ms to half a frame.
const BUCKETS: [f64; 10] = [0.01, 0.05, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0];

/// Whether a model is asked, as the gauge of its circuit says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// It is.
    Closed = 0,
    /// One call finds out.
    Trying = 1,
    /// It is not: it keeps failing.
    Open = 2,
}

#[derive(Debug)]
pub(super) struct BeforeModel {
    waiting: Gauge,
    wait_seconds: Histogram,
    refused: Family<ModelLabel, Counter>,
    circuit: Family<ModelLabel, Gauge>,
    opened: Family<ModelLabel, Counter>,
}

impl BeforeModel {
    pub(super) fn new(r: &mut Registry) -> Self {
        Self {
            waiting: put(
                r,
                "model_calls_waiting",
                "Calls to the model that wait for others to end",
                Gauge::default(),
            ),
            wait_seconds: put_seconds(
                r,
                "model_wait",
                "Time that calls to the model waited for others to end",
                &BUCKETS,
            ),
            refused: put(
                r,
                "model_calls_refused",
                "Calls to the model that were not made, its circuit being open",
                Family::default(),
            ),
            circuit: put(
                r,
                "model_circuit",
                "0 while the model is asked, 2 while it is not because it keeps failing, 1 while one call tries",
                Family::default(),
            ),
            opened: put(
                r,
                "model_circuit_opened",
                "Times that the model failed so often that it was asked no more for a while",
                Family::default(),
            ),
        }
    }
}

impl Metrics {
    /// A call to the model has to wait for others.
    pub fn model_wait_began(&self) {
        self.0.before_model.waiting.inc();
    }

    /// It waits no more, after so long.
    pub fn model_wait_ended(&self, time: Duration) {
        let before = &self.0.before_model;
        before.waiting.dec();
        before.wait_seconds.observe(time.as_secs_f64());
    }

    /// A call to the model was not made, its circuit being open.
    pub fn model_call_refused(&self, model: &Arc<str>) {
        let refused = &self.0.before_model.refused;
        refused.get_or_create(&of(model)).inc();
    }

    /// There is a circuit of this model, closed. All of its figures are there from
    /// then on, which they must be for Prometheus to see the first one grow.
    pub fn circuit_made(&self, model: &Arc<str>) {
        let before = &self.0.before_model;
        let _ = before.refused.get_or_create(&of(model));
        let _ = before.opened.get_or_create(&of(model));
        self.circuit_is(model, CircuitState::Closed);
    }

    /// The model's circuit is in this state now.
    pub fn circuit_is(&self, model: &Arc<str>, state: CircuitState) {
        let circuit = &self.0.before_model.circuit;
        circuit.get_or_create(&of(model)).set(state as i64);
    }

    /// The model's circuit was closed, and opens.
    pub fn circuit_opened(&self, model: &Arc<str>) {
        let opened = &self.0.before_model.opened;
        opened.get_or_create(&of(model)).inc();
    }
}

fn of(model: &Arc<str>) -> ModelLabel {
    let model = model.clone();
    ModelLabel { model }
}
