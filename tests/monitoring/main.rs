//! The dashboard, the alert rules and the autoscaler's metric: they name only what
//! the server has, they are PromQL, they fire when they should, they have something
//! to show, and each alert has its advice. And the page of all metrics, docs/metrics.md.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

/// A label's values with their meanings, from the enum behind it.
macro_rules! all {
    ($name:ident) => {
        $name::ALL
            .iter()
            .map(|value| (value.as_str().to_owned(), value.meaning().to_owned()))
            .collect()
    };
}

mod adapter;
mod dashboard;
mod drawn;
mod local_workers;
mod paper;
mod prometheus;
#[path = "../support/mod.rs"]
mod support;
mod user_logs;
mod workers;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use adapter::yaml;
use dashboard::{dashboard, queries};
use proactive::domain::Usage;
use proactive::telemetry::Metrics;
use serde_json::{Value, json};
use support::tools::{passed, promtool, python_with_yaml};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The page of a server whose model calls have ended in every way.
fn page() -> String {
    let metrics = Metrics::new();
    let model: Arc<str> = "m".into();
    for (code, _) in paper::CODES {
        metrics.model_call(&model, code, Duration::from_secs(1));
    }
    metrics.model_billed(&model, Usage::default(), 1.0);
    metrics.circuit_made(&model);
    workers::name_tool(&metrics);
    metrics.render()
}

/// Names of series as Prometheus stores them.
fn series(page: &str) -> BTreeSet<&str> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .collect()
}

/// Each `proactive_…` with the selector behind it, empty if it has none.
fn selectors(text: &str) -> Vec<(&str, &str)> {
    let name_end = |rest: &str| {
        rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric())
            .unwrap_or(rest.len())
    };
    let starts = text.match_indices("proactive_").map(|(at, _)| at);
    starts
        .map(|at| {
            let (name, rest) = text[at..].split_at(name_end(&text[at..]));
            let selector = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
            (name, selector.map_or("", |(selector, _)| selector))
        })
        .collect()
}

/// The values that a selector asks of a label: `a|b` is two.
fn asked<'a>(selector: &'a str, label: &str) -> Vec<&'a str> {
    let values = |part: &'a str| {
        let (name, values) = part.split_once(['=', '!'])?;
        let values = values.trim_start_matches(['=', '~']).trim_matches('"');
        (name == label).then(|| values.split('|'))
    };
    selector.split(',').filter_map(values).flatten().collect()
}

#[test]
fn every_metric_and_label_value_that_is_watched_exists() {
    let page = page();
    let series = series(&page);
    let watched = [
        queries(&dashboard(), "5m").join("\n"),
        read("deploy/monitoring/alerts.yaml"),
        read("deploy/monitoring/alerts_test.yaml"),
        paper::queries().join("\n"),
    ]
    .join("\n");
    let selectors = selectors(&watched);
    assert!(selectors.len() > 60, "{}", selectors.len());
    for (name, selector) in selectors {
        assert!(series.contains(name), "the server has no {name}");
        for label in ["result", "end", "limit"] {
            for value in asked(selector, label) {
                let labelled = format!("{label}=\"{value}\"");
                let mut lines = page.lines().filter(|line| line.starts_with(name));
                assert!(
                    lines.any(|line| line.contains(&labelled)),
                    "{name} has no {labelled}"
                );
            }
        }
    }
}

#[test]
fn selectors_are_read_as_prometheus_reads_them() {
    let text = r#"rate(proactive_frames_total{job=~".+",result=~"a|b"}[5m]) / proactive_sessions"#;
    let found = selectors(text);
    assert_eq!(found[1], ("proactive_sessions", ""));
    assert_eq!(found[0].0, "proactive_frames_total");
    assert_eq!(asked(found[0].1, "result"), ["a", "b"]);
    assert_eq!(asked(r#"code!~"200|429""#, "code"), ["200", "429"]);
}

#[test]
fn each_alert_has_its_advice_and_each_advice_its_alert() {
    let rules = read("deploy/monitoring/alerts.yaml");
    let alerts: BTreeSet<_> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    let page = read("docs/operations.md");
    let advice: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|heading| heading.starts_with("Proactive"))
        .collect();
    assert!(alerts.len() > 10);
    assert_eq!(alerts, advice);
}

/// Whether promtool takes these as queries.
fn are_promql(queries: &[String]) {
    let Some(promtool) = promtool() else { return };
    let rules: Vec<Value> = queries
        .iter()
        .enumerate()
        .map(|(at, query)| json!({ "record": format!("query:{at}"), "expr": query }))
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    // JSON is YAML.
    let groups = json!({ "groups": [{ "name": "queries", "rules": rules }] });
    fs::write(file.path(), groups.to_string()).unwrap();
    judged(&promtool, &["check", "rules"], file.path());
}

/// promtool, run in the folder of the rules.
fn judged(promtool: &std::ffi::OsStr, arguments: &[&str], file: &Path) {
    let mut command = Command::new(promtool);
    let output = command
        .args(arguments)
        .arg(file)
        .current_dir(root().join("deploy/monitoring"))
        .output()
        .unwrap();
    passed(&output);
}

#[test]
fn the_rules_are_sound_and_fire_when_they_should() {
    let Some(promtool) = promtool() else { return };
    judged(&promtool, &["check", "rules"], Path::new("alerts.yaml"));
    judged(&promtool, &["test", "rules"], Path::new("alerts_test.yaml"));
}

#[test]
fn the_queries_of_the_dashboard_are_promql() {
    are_promql(&queries(&dashboard(), "5m"));
}

#[test]
fn the_page_of_metrics_is_one_that_prometheus_likes() {
    let Some(promtool) = promtool() else { return };
    let file = tempfile::NamedTempFile::new().unwrap();
    // This check knows the older text format: without the end mark, and with a
    // counter's help under its whole name.
    fs::write(file.path(), page().replace("# EOF\n", "")).unwrap();
    let output = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(fs::File::open(file.path()).unwrap())
        .output()
        .unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let mut complaints = told.lines().filter(|line| !line.trim().is_empty());
    assert!(
        complaints.all(|line| line.ends_with("_total no help text")),
        "{told}"
    );
}

/// The shell reads `docs/operations.md`, and kubectl tells what it was given.
#[test]
fn what_the_papers_give_to_the_cluster_are_the_dashboard_and_the_rules() {
    let Some(python) = python_with_yaml() else {
        return;
    };
    let page = read("docs/operations.md");
    let block = page
        .split("```sh\n")
        .find(|it| it.contains("PrometheusRule"));
    let block = block.unwrap().split("```").next().unwrap();
    let shell = |kubectl: &str| {
        let script = format!("set -eu; kubectl() {{ {kubectl}; }}\n{block}");
        let mut shell = Command::new("sh");
        passed(
            &shell
                .args(["-c", &script])
                .current_dir(root())
                .output()
                .unwrap(),
        )
    };
    let words = shell(r#"echo "$@""#);
    let file = words.split("--from-file=").nth(1).unwrap().lines().next();
    assert_eq!(file, Some("deploy/monitoring/dashboard.json"));

    let folder = tempfile::tempdir().unwrap();
    let given = folder.path().join("given.yaml");
    let given_to_apply = r#"case "$*" in *apply*) cat ;; esac"#;
    fs::write(&given, shell(given_to_apply)).unwrap();
    let [rule, rules] = [given, root().join("deploy/monitoring/alerts.yaml")]
        .map(|file| yaml(&python, fs::File::open(file).unwrap().into()).remove(0));
    assert_eq!(rule["kind"], "PrometheusRule");
    assert_eq!(rule["spec"], rules);
    assert!(rules["groups"][0]["rules"].as_array().unwrap().len() > 10);
}
