//! What the metrics of tool workers count, and what they answer.

use proactive::telemetry::{Discarded, Metrics, PayloadWay, WorkerCall};

/// Of each metric: what is counted, and what it answers.
pub(crate) const ANSWERS: &[(&str, &str, &str)] = &[
    (
        "proactive_worker_payload_bytes_total",
        "bytes",
        "How much goes to tools and comes back? Chunks are counted as they come.",
    ),
    (
        "proactive_workers",
        "workers",
        "Are the processes that execute tools there? Each is one stream.",
    ),
    (
        "proactive_worker_calls_total",
        "calls",
        "Do tools answer? A call counts once, however many workers it was offered to.",
    ),
    (
        "proactive_worker_calls_waiting",
        "calls",
        "Are there enough workers? 100 of a tool may wait; more are `exhausted`.",
    ),
    (
        "proactive_worker_call_seconds",
        "seconds",
        "Are tools slow, or too few?",
    ),
    (
        "proactive_worker_circuits_open",
        "workers",
        "Which is broken? The log says its name: \"a tool worker keeps failing\".",
    ),
    (
        "proactive_worker_events_discarded_total",
        "events",
        "Do workers break the contract? Those that are `late` are none of their faults.",
    ),
];

/// Names a tool: its calls are shown from then on.
pub(crate) fn name_tool(metrics: &Metrics) {
    let _ = metrics.worker_tool("date_math");
}

/// A label's values with their meanings, from the enum behind it.
pub(crate) fn values(metric: &str, label: &str) -> Vec<(String, String)> {
    match (metric, label) {
        ("proactive_worker_calls_total", "result") => all!(WorkerCall),
        ("proactive_worker_payload_bytes_total", "way") => all!(PayloadWay),
        ("proactive_worker_events_discarded_total", "why") => all!(Discarded),
        other => panic!("whose label is {other:?}?"),
    }
}
