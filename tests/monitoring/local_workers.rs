//! What the metrics of local workers count, and what they answer.

/// Of each metric: what is counted, and what it answers.
pub(crate) const ANSWERS: &[(&str, &str, &str)] = &[
    (
        "proactive_local_workers",
        "workers",
        "Do all of `LOCAL_WORKERS` run? Less than are configured: they fail, and wait to be started again.",
    ),
    (
        "proactive_local_workers_started_total",
        "starts",
        "Are workers started again and again? The first start of each counts as well.",
    ),
    (
        "proactive_local_workers_ended_total",
        "ends",
        "How often did one end? While the server runs, each is one that failed; the log says how.",
    ),
];
