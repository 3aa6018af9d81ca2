//! docs/metrics.md is what the code says: names, types, helps and labels come from a
//! server's own page, who watches them from the alert rules and the dashboard.
//! `UPDATE=1 cargo test --test monitoring` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::time::Duration;

use proactive::telemetry::{
    AuthResult, EntryKind, EntryLoss, FrameResult, JobEnd, Limit, Metrics, ModelCode, SessionEnd,
    SessionReturn, TokenKind, ToolLabel, ToolResult,
};

use crate::dashboard::{dashboard, panels};
use crate::support::tools::variable;
use crate::{are_promql, local_workers, page, read, root, selectors, user_logs, workers};

const PAPER: &str = "docs/metrics.md";

const QUESTIONS: &str = r#"# Metrics

<!-- Made of the code by tests/monitoring: UPDATE=1 cargo test --test monitoring -->

What a server shows at `/metrics` on `ADMIN_PORT`, as OpenMetrics 1.0 text: its own figures since its start, so add up all
pods. The dashboard and the alert rules that use them are in `deploy/monitoring`; what to do about an alert is in
[operations.md](operations.md#alerts-and-what-to-do). There is no label with a user, a device or a session: who is behind a
figure is in the log, where each line of a session has the first 8 characters of its `user.id`.

## The questions

### What does a user's day cost?

On average, what was spent over the sessions that were open, for 24 hours; a desktop holds one session, and one that is open
for eight hours costs a third of it. Panel "Cost per session and day" draws it by the hour:

```promql
sum(increase(proactive_model_cost_usd_total[1d])) / avg_over_time(sum(proactive_sessions)[1d:])
```

For one user: the sum of `cost_micro_usd` over the lines "session ended" with that `user.id`. What drives it: panel "Calls
per frame" (each search is a call more) and panel "Tokens" (`cached` ones cost about a tenth). Dollars are those of
`GEMINI_PRICES`; Google's invoice is the truth.

### What is slow?

A frame's time is that of its model calls (two or three, one after the other), of its calls on the user's device, of the server
itself, and of the wait for its turn. Panel "A frame" is what the user waits for, panel "A model call", panel "A call on a
device" and panel "The server itself" are the parts; the first of these that rose with it is the cause:

```promql
histogram_quantile(0.95, sum by (le) (rate(proactive_frame_seconds_bucket[10m])))
```

If only the frame's own rose, frames wait: for their turn, because a desktop sends more than `FRAMES_PER_SESSION` at once, or
between two tries of a call that the model refused. One frame's time is in its trace and in its line "frame decided".

### Who is throttled?

Google throttles a project, so all of its users at once: panel "Calls refused for quota".

```promql
sum(rate(proactive_model_calls_total{code="429"}[10m])) / sum(rate(proactive_model_calls_total[10m]))
```

A call that is refused is made again if the frame's time allows; users notice the frames that end as `rate_limited`. Whom it
met: the lines "the model's server refused a call" with `status=429`. The server itself throttles a desktop: of frames that
would wait the older is `superseded`, those beyond `FRAMES_PER_MINUTE` are `throttled`, and those for which there is no room
`overloaded` (panel "Frames by result"); a session whose client does not read ends as `slow_client` (panel "Sessions ended, by
reason"). Panel "Refused, by limit" says which limit of [operations.md](operations.md#limits) it was.

### Is the model healthy?

Panel "Model calls by code": `200` is an answer that could be used, `429` is quota and `cancelled` is a frame that was given
up; everything else is a fault, and this is its part:

```promql
sum(rate(proactive_model_calls_total{code!~"200|429|cancelled"}[10m])) / sum(rate(proactive_model_calls_total[10m]))
```

A model that answers but is slow shows in panel "A model call" before frames end as `timeout`. One that keeps failing is not
asked for a while (panel "Model out of order"): its frames end at once as `gemini_error`, or are answered by
`GEMINI_FALLBACK_MODEL`, whose calls are counted under its own name.

## The metrics

A histogram has `_bucket`, `_sum` and `_count`. Counters begin at 0, but for those of calls to a `model` that were made: they
appear with the first.

"#;

/// Of each metric: what is counted, and what it answers.
const ANSWERS: &[(&str, &str, &str)] = &[
    (
        "proactive_sessions",
        "sessions",
        "How many desktops are connected? Also what the chart scales on, if told to.",
    ),
    (
        "proactive_sessions_ended_total",
        "sessions",
        "Why do desktops leave: by themselves, by a broken line, by us?",
    ),
    (
        "proactive_sessions_away",
        "sessions",
        "How many desktops have lost their stream and may still come back? A wave of them is a \
         network or a balancer that broke.",
    ),
    (
        "proactive_session_returns_total",
        "clients",
        "Do desktops find their sessions again? Many `unknown`: they come back after \
         `RESUME_GRACE`, or to another pod.",
    ),
    (
        "proactive_frames_in_flight",
        "frames",
        "How much is being worked on? Memory follows it.",
    ),
    (
        "proactive_frames_total",
        "frames",
        "How many frames are there, and what becomes of them? Each counts once.",
    ),
    (
        "proactive_duplicate_frames_total",
        "frames",
        "Do clients send a frame again before it is answered? Such a frame is analysed once.",
    ),
    (
        "proactive_refused_events_total",
        "events",
        "Do clients send what the contract does not allow?",
    ),
    (
        "proactive_model_calls_total",
        "calls",
        "Is the model healthy, and who is throttled? Each HTTP call counts, so more than one per frame.",
    ),
    (
        "proactive_model_calls_waiting",
        "calls",
        "Is the server at its limit, `MODEL_CALLS_AT_ONCE`? Each is a frame that waits.",
    ),
    (
        "proactive_model_calls_refused_total",
        "calls",
        "Of how many frames was the model not asked because it keeps failing? A fallback may have been.",
    ),
    (
        "proactive_model_circuit",
        "state",
        "Is the model asked at all? Its server decides by its own calls, each for itself.",
    ),
    (
        "proactive_model_circuit_opened_total",
        "times",
        "How often was it out of order? A try that fails is not counted again.",
    ),
    (
        "proactive_model_tokens_total",
        "tokens",
        "What is the cost made of? Only of calls that were billed.",
    ),
    (
        "proactive_model_cost_usd_total",
        "US dollars",
        "What does it cost? By `GEMINI_PRICES`; a model without a price costs 0.",
    ),
    (
        "proactive_tool_calls_total",
        "calls",
        "Do devices answer? A search that is not answered is a task missed. Those that workers are asked for are in \
         `proactive_worker_calls_total`.",
    ),
    (
        "proactive_discarded_tool_results_total",
        "results",
        "Do answers come too late, or twice?",
    ),
    (
        "proactive_repeated_searches_total",
        "calls",
        "Does the model go round in circles? Nobody is asked for these.",
    ),
    (
        "proactive_stream_auth_total",
        "streams",
        "Can users sign in? A wrong project, expired tokens and attacks show here.",
    ),
    (
        "proactive_keys_usable",
        "1 or 0",
        "Can tokens be judged at all? At 0 the server is not ready.",
    ),
    (
        "proactive_limits_met_total",
        "refusals",
        "Does a limit keep honest users out, or a flood? Who met it is in the log: \"a limit was met\".",
    ),
    (
        "proactive_connections",
        "connections",
        "Do balancers and clients leave connections behind?",
    ),
    (
        "proactive_accounted_bytes",
        "bytes",
        "How full is the server's memory? What idle connections and the allocator hold is not in it.",
    ),
    (
        "proactive_accounted_most_bytes",
        "bytes",
        "The same for the life of a server.",
    ),
    (
        "proactive_model_seconds",
        "seconds",
        "Is the model slow? One call, without the pauses between two.",
    ),
    (
        "proactive_model_wait_seconds",
        "seconds",
        "Do frames wait for each other's calls? Calls that began at once are not in it.",
    ),
    (
        "proactive_tool_seconds",
        "seconds",
        "Are devices slow to answer? One call, a search for the most part.",
    ),
    (
        "proactive_frame_seconds",
        "seconds",
        "How long does a user wait for a decision? Frames that were given up are not in it.",
    ),
    (
        "proactive_frame_overhead_seconds",
        "seconds",
        "Is the server itself slow? About a millisecond, unless the CPU is too small. Frames that ran out of time are not in it.",
    ),
];

/// How a call to the model can end. `code_is_listed` knows all of them.
pub(crate) const CODES: [(ModelCode, &str); 7] = [
    (ModelCode::Status(200), "An answer that can be used."),
    (
        ModelCode::Status(429),
        "Quota. Every other HTTP status is a value as well, such as `400`, `403`, `404`, `503`.",
    ),
    (
        ModelCode::Unusable,
        "Status 200 and an answer that cannot be used: cut off, blocked, or not to be understood.",
    ),
    (
        ModelCode::Timeout,
        "`MODEL_TIMEOUT` passed, or the frame's time.",
    ),
    (ModelCode::Connection, "The connection failed."),
    (
        ModelCode::NoToken,
        "It was not sent, for want of an access token (Vertex AI).",
    ),
    (
        ModelCode::Cancelled,
        "The frame ended first: cancelled, or its client left.",
    ),
];

/// Stops the build when there is a new one, which belongs into [`CODES`].
fn code_is_listed(code: ModelCode) -> bool {
    match code {
        ModelCode::Status(_)
        | ModelCode::Unusable
        | ModelCode::Timeout
        | ModelCode::Connection
        | ModelCode::NoToken
        | ModelCode::Cancelled => CODES.iter().any(|(listed, _)| *listed == code),
    }
}

fn answers() -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
    let beside = [user_logs::ANSWERS, local_workers::ANSWERS, workers::ANSWERS];
    ANSWERS.iter().chain(beside.into_iter().flatten())
}

/// A metric as a server shows it.
#[derive(Default)]
struct Shown {
    name: String,
    kind: String,
    help: String,
    /// Each label with its values, in the order of the page.
    labels: BTreeMap<String, Vec<String>>,
}

fn shown() -> Vec<Shown> {
    let page = page();
    let mut metrics: Vec<Shown> = Vec::new();
    for line in page.lines().filter(|line| *line != "# EOF") {
        if let Some(line) = line.strip_prefix("# HELP ") {
            let (name, help) = line.split_once(' ').unwrap();
            metrics.push(Shown {
                name: name.into(),
                help: help.into(),
                ..Shown::default()
            });
            continue;
        }
        let metric = metrics.last_mut().unwrap();
        if let Some(line) = line.strip_prefix("# TYPE ") {
            metric.kind = line.split(' ').nth(1).unwrap().into();
            if metric.kind == "counter" {
                metric.name += "_total";
            }
        } else if let Some((_, labels)) = line.split_once('{') {
            for label in labels.split_once('}').unwrap().0.split(',') {
                let (name, value) = label.split_once('=').unwrap();
                let values = metric.labels.entry(name.into()).or_default();
                let value = value.trim_matches('"').to_owned();
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
    }
    metrics
}

/// The alerts and panels that name a metric, its parts included.
fn watchers(metric: &str) -> Vec<String> {
    let parts = ["", "_bucket", "_sum", "_count"].map(|part| format!("{metric}{part}"));
    let names = |text: &str| {
        let found = selectors(text);
        found
            .iter()
            .any(|(name, _)| parts.iter().any(|part| part == name))
    };
    let rules = read("deploy/monitoring/alerts.yaml");
    let alerts = rules.split("- alert: ").skip(1).filter_map(|rule| {
        let (alert, rule) = rule.split_once('\n').unwrap();
        let rule = rule.split("annotations:").next().unwrap();
        names(rule).then(|| format!("[{alert}](operations.md#{})", alert.to_lowercase()))
    });
    let dashboard = dashboard();
    let drawn = panels(&dashboard).filter_map(|panel| {
        let title = panel["title"].as_str().unwrap();
        names(&panel["targets"].to_string()).then(|| format!("\"{title}\""))
    });
    alerts.chain(drawn).collect()
}

/// A code as a server writes it.
fn written(code: ModelCode) -> String {
    let metrics = Metrics::new();
    metrics.model_call(&"m".into(), code, Duration::ZERO);
    let page = metrics.render();
    let (_, value) = page.split_once("code=\"").unwrap();
    value.split('"').next().unwrap().to_owned()
}

/// A label's values with their meanings, from the enum behind it.
fn values(metric: &str, label: &str) -> Vec<(String, String)> {
    match (metric, label) {
        ("proactive_sessions_ended_total", "end") => all!(SessionEnd),
        ("proactive_session_returns_total", "result") => all!(SessionReturn),
        ("proactive_frames_total", "result") => all!(FrameResult),
        ("proactive_model_tokens_total", "kind") => all!(TokenKind),
        ("proactive_tool_calls_total", "tool") => all!(ToolLabel),
        ("proactive_tool_calls_total", "result") => all!(ToolResult),
        ("proactive_stream_auth_total", "result") => all!(AuthResult),
        ("proactive_limits_met_total", "limit") => all!(Limit),
        ("proactive_jobs_ended_total", "result") => all!(JobEnd),
        ("proactive_log_entries_total", "kind") => all!(EntryKind),
        ("proactive_log_entries_swept_total", "why") => all!(EntryLoss),
        ("proactive_model_calls_total", "code") => CODES
            .iter()
            .map(|(code, meaning)| (written(*code), (*meaning).to_owned()))
            .collect(),
        (metric, label) => workers::values(metric, label),
    }
}

fn paper() -> String {
    let mut table = String::from(
        "| metric | type, unit | labels | what it is, what it answers | watched by |\n|---|---|---|---|---|\n",
    );
    let mut labels = String::from(
        "\n## The labels\n\n`model` is a model's name as `GEMINI_MODEL` or `GEMINI_FALLBACK_MODEL` has it, the same for the life of a server; a worker's `tool` is called as the worker declares it, and `other` beyond the first 64 of a server; `le` is a bucket's upper bound.\n",
    );
    for metric in shown() {
        let Shown {
            name,
            kind,
            help,
            labels: own,
        } = &metric;
        let (_, unit, answers) = answers()
            .find(|(told, ..)| told == name)
            .unwrap_or_else(|| panic!("say in ANSWERS what {name} answers"));
        let mut cells = Vec::new();
        for (label, values_seen) in own {
            cells.push(match label.as_str() {
                "model" => "`model`".to_owned(),
                "tool" if name.contains("worker") => "`tool`, a worker's".to_owned(),
                "le" => {
                    let bounds: Vec<_> = values_seen
                        .iter()
                        .filter(|bound| *bound != "+Inf")
                        .collect();
                    format!("`le`: {} to {}", bounds[0], bounds[bounds.len() - 1])
                }
                _ => {
                    let values = values(name, label);
                    let listed: BTreeSet<_> = values.iter().map(|(value, _)| value).collect();
                    assert_eq!(listed, values_seen.iter().collect(), "{name} {label}");
                    write!(
                        labels,
                        "\n### `{label}` of `{name}`\n\n| value | meaning |\n|---|---|\n"
                    )
                    .unwrap();
                    for (value, meaning) in &values {
                        writeln!(labels, "| `{value}` | {meaning} |").unwrap();
                    }
                    format!("[`{label}`](#{label}-of-{name})")
                }
            });
        }
        let watchers = watchers(name);
        writeln!(
            table,
            "| `{name}` | {kind}, {unit} | {} | {help} {answers} | {} |",
            cells.join(", "),
            watchers.join(", ")
        )
        .unwrap();
    }
    format!("{QUESTIONS}{table}{labels}")
}

/// The queries that answer the questions.
pub(crate) fn queries() -> Vec<String> {
    let blocks = QUESTIONS.split("```promql\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_paper_is_what_the_code_says() {
    let paper = paper();
    if variable("UPDATE").is_some() {
        fs::write(root().join(PAPER), &paper).unwrap();
    }
    let written = fs::read_to_string(root().join(PAPER)).unwrap_or_default();
    let first_difference = paper.lines().zip(written.lines()).find(|(a, b)| a != b);
    assert!(
        written == paper,
        "{PAPER} is out of date; run UPDATE=1 cargo test --test monitoring: {first_difference:#?}"
    );
}

#[test]
fn every_metric_has_its_line_and_every_line_its_metric() {
    let shown: BTreeSet<_> = shown().into_iter().map(|metric| metric.name).collect();
    let told: BTreeSet<_> = answers().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(shown, told);
    assert!(CODES.iter().all(|(code, _)| code_is_listed(*code)));
}

#[test]
fn the_questions_name_panels_that_there_are_and_ask_in_promql() {
    let dashboard = dashboard();
    let titles: BTreeSet<_> = panels(&dashboard)
        .map(|panel| panel["title"].as_str().unwrap())
        .collect();
    let text = QUESTIONS.split_whitespace().collect::<Vec<_>>().join(" ");
    let named: Vec<_> = text
        .to_lowercase()
        .match_indices("panel \"")
        .map(|(at, found)| at + found.len())
        .collect();
    assert!(named.len() > 8, "{}", named.len());
    for start in named {
        let title = text[start..].split('"').next().unwrap();
        assert!(titles.contains(title), "the dashboard has no panel {title}");
    }
    let queries = queries();
    assert_eq!(queries.len(), 4);
    are_promql(&queries);
}
