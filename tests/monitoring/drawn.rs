//! The dashboard before a real Prometheus, with what a real server showed.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::dashboard::{dashboard, labels, panels, query, targets};
use crate::prometheus::Prometheus;
use crate::support::{App, Desk, TestApp};

const REQUEST: &str = "Hi, can you send the Berlin office the signed lease before Tuesday?";

/// The page, as Prometheus fetches it.
async fn page(app: &App) -> String {
    let url = format!("http://{}/metrics", app.service.server.admin_addr());
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

/// A screen with a request, one without, and a session that ends.
async fn work(app: &App, desk: &mut Desk, round: &str) {
    desk.frame(&format!("{round}-request"), REQUEST).await;
    for _ in 0..2 {
        let search = desk.search().await;
        desk.answer(&search, Vec::new()).await;
    }
    desk.outcome().await;
    desk.frame(&format!("{round}-code"), "fn main() {}").await;
    desk.outcome().await;
    let mut other = app.greeted().await;
    other.close().await;
    assert_eq!(other.next().await.unwrap(), None);
}

/// What two pods of a server showed that is well, before and after some work.
pub(crate) async fn prometheus() -> Option<Prometheus> {
    let app = TestApp::new().start().await;
    let mut desk = app.greeted().await;
    work(&app, &mut desk, "first").await;
    app.metric_becomes("proactive_sessions 1").await;
    let before = page(&app).await;
    work(&app, &mut desk, "second").await;
    app.metric_becomes("proactive_sessions 1").await;
    let after = page(&app).await;
    Prometheus::with([&before, &after]).await
}

/// The finite values of a series.
pub(crate) fn values(series: &Value) -> Vec<f64> {
    let values = series["values"].as_array().unwrap().iter();
    let value = |it: &Value| it[1].as_str().unwrap().parse::<f64>().unwrap();
    values.map(value).filter(|it| it.is_finite()).collect()
}

#[tokio::test]
async fn every_panel_has_something_to_show_of_a_server_that_is_well() {
    let Some(prometheus) = prometheus().await else {
        return;
    };
    let mut at_zero = BTreeSet::new();
    let dashboard = dashboard();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        let mut shown = Vec::new();
        for target in targets(panel) {
            // The least that Grafana makes of it: two scrapes of the chart's 30 s.
            let query = query(target, "1m");
            let lines = prometheus.graph(&query).await;
            for line in &lines {
                for label in labels(target["legendFormat"].as_str().unwrap()) {
                    assert!(line["metric"][label].is_string(), "{title}: no {label}");
                }
            }
            let values: Vec<_> = lines.iter().flat_map(values).collect();
            assert!(!values.is_empty(), "{title}: nothing to draw of {query}");
            shown.extend(values);
        }
        if shown.iter().all(|it| *it == 0.0) {
            at_zero.insert(title);
        }
    }
    let nothing_happened = [
        "Calls not made, the model being out of order",
        "Calls of workers' tools",
        "Calls refused for quota",
        "Calls that wait",
        "Frames in flight",
        "Frames sent twice, events refused, results discarded",
        "Frames that failed, last hour",
        "Model out of order",
        "Refused, by limit",
        "Tool workers by pod",
        "Tool workers out of order, calls that wait for one",
    ];
    assert_eq!(at_zero, BTreeSet::from(nothing_happened));
}
