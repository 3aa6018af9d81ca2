//! What the metrics of users' logs and jobs count, and what they answer.

/// Of each metric: what is counted, and what it answers.
pub(crate) const ANSWERS: &[(&str, &str, &str)] = &[
    (
        "proactive_jobs",
        "jobs",
        "How much waits or is analysed outside of sessions? At `MAX_JOBS`, submissions are refused.",
    ),
    (
        "proactive_jobs_ended_total",
        "jobs",
        "Do jobs get their decision? Those that a lost process left behind are not counted here: they stand in `proactive_log_entries_total`.",
    ),
    (
        "proactive_jobs_refused_total",
        "submissions",
        "Are submissions turned away? Bad ones, those beyond a limit, and all while the log cannot be written.",
    ),
    (
        "proactive_log_entries_total",
        "entries",
        "How much is written? A job is an entry for each of its states.",
    ),
    (
        "proactive_log_failures_total",
        "calls",
        "Is the disk of `DATA_DIR` full or broken? Callers were told to try again; the log says what to do.",
    ),
    (
        "proactive_log_commit_seconds",
        "seconds",
        "Is the disk slow? Whoever appends waits for one to two of these. Nothing without `DATA_DIR`.",
    ),
    (
        "proactive_log_group",
        "calls",
        "How much does the disk carry at once? Groups of 256 are full: more waits than can be written.",
    ),
    (
        "proactive_log_followers",
        "followers",
        "How many listen? One for each client that is told of jobs and messages.",
    ),
    (
        "proactive_log_gaps_total",
        "gaps",
        "Do clients miss entries? They were away too long, or `LOG_RETENTION`, `LOG_ENTRIES_PER_USER` or `LOG_MEMORY` is too small for them.",
    ),
    (
        "proactive_log_entries_swept_total",
        "entries",
        "What goes, and why? Those that go for `memory` or `count` went before their time.",
    ),
    (
        "proactive_log_rows_unreadable_total",
        "rows",
        "Is the database damaged, or did a later version write it? Each time that one is met is counted.",
    ),
];
