//! The dashboard as Grafana reads it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::read;

/// Of Grafana's units (`@grafana/data`, getValueFormats) those that are used.
const UNITS: [&str; 5] = ["cps", "currencyUSD", "percentunit", "s", "short"];

pub(crate) fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/monitoring/dashboard.json")).unwrap()
}

/// The panels that show something.
pub(crate) fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row")
}

pub(crate) fn targets(panel: &Value) -> &[Value] {
    panel["targets"].as_array().unwrap()
}

/// What a panel asks, its variables filled in.
pub(crate) fn query(target: &Value, rate_interval: &str) -> String {
    let query = target["expr"].as_str().unwrap();
    query
        .replace("$__rate_interval", rate_interval)
        .replace("$job", ".+")
}

/// Every query of the dashboard.
pub(crate) fn queries(dashboard: &Value, rate_interval: &str) -> Vec<String> {
    let targets = panels(dashboard).flat_map(targets);
    targets.map(|target| query(target, rate_interval)).collect()
}

/// Names of variables: `$name` or `${name}`.
fn variables(text: &str) -> BTreeSet<&str> {
    let found = text.split('$').skip(1).map(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
        &rest[..end.unwrap_or(rest.len())]
    });
    found.collect()
}

/// The labels that a legend shows: `{{name}}`.
pub(crate) fn labels(legend: &str) -> Vec<&str> {
    let found = legend.split("{{").skip(1);
    found
        .map(|rest| rest.split_once("}}").unwrap().0.trim())
        .collect()
}

#[test]
fn every_panel_can_be_drawn() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        if panel["type"] == "row" {
            assert_eq!(panel["collapsed"], false, "its panels stand behind it");
            continue;
        }
        assert!(
            ["stat", "timeseries"].iter().any(|it| panel["type"] == *it),
            "{title}"
        );
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap();
        assert!(UNITS.contains(&unit), "{title}: {unit}");
        let mut names = BTreeSet::new();
        for target in targets(panel) {
            assert!(names.insert(target["refId"].as_str().unwrap()), "{title}");
            assert_eq!(target["datasource"], panel["datasource"], "{title}");
            let legend = target["legendFormat"].as_str().unwrap();
            assert!(!legend.is_empty(), "{title}");
        }
        assert!(!names.is_empty(), "{title}");
    }
    assert!(ids.len() > 15);
}

#[test]
fn a_panel_of_rates_says_that_they_are_of_a_second() {
    for panel in panels(&dashboard()) {
        let title = panel["title"].as_str().unwrap();
        let per_second = targets(panel).iter().all(|target| {
            let query = target["expr"].as_str().unwrap();
            query.contains("rate(") && !query.contains('/') && !query.contains("quantile(")
        });
        let unit = &panel["fieldConfig"]["defaults"]["unit"];
        if per_second && unit != "currencyUSD" {
            assert_eq!(unit, "cps", "{title}");
        } else {
            assert_ne!(unit, "cps", "{title}");
        }
    }
}

#[test]
fn no_panel_lies_on_another() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        let (left, top, width, height) = (at("x"), at("y"), at("w"), at("h"));
        assert!(width > 0 && height > 0 && left + width <= 24);
        for place in (left..left + width).flat_map(|x| (top..top + height).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{} lies on another", panel["title"]);
        }
    }
}

#[test]
fn the_variables_that_are_used_are_there_and_the_others_are_not() {
    let dashboard = dashboard();
    let there = dashboard["templating"]["list"].as_array().unwrap().iter();
    let mut there: BTreeSet<_> = there.map(|it| it["name"].as_str().unwrap()).collect();
    assert!(there.contains("datasource") && there.contains("job"));
    // Which Grafana has by itself; `__all` is a value.
    there.extend(["__rate_interval", "__all"]);
    let text = dashboard.to_string();
    assert_eq!(variables(&text), there);
    assert_eq!(
        variables("a{job=~\"$job\"}[$__rate_interval] ${datasource}"),
        BTreeSet::from(["job", "__rate_interval", "datasource"])
    );
    // Grafana 10.4; older ones are brought up to date when they are loaded.
    assert_eq!(dashboard["schemaVersion"], 39);
}
