//! What the adapter tells the autoscaler, asked of a real Prometheus as it asks.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::drawn::{prometheus, values};
use crate::root;
use crate::support::tools::{helms, passed, python_with_yaml};

/// The YAML of a file, or of what a program writes.
pub(crate) fn yaml(python: &std::ffi::OsStr, from: Stdio) -> Vec<Value> {
    let read = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)";
    let mut reading = Command::new(python);
    let read = reading.args(["-c", read]).stdin(from).output();
    serde_json::from_str(&passed(&read.unwrap())).unwrap()
}

#[tokio::test]
async fn the_adapters_rule_tells_the_sessions_of_each_pod_by_the_name_that_the_chart_asks_for() {
    let (Some([helm, _]), Some(python)) = (helms(), python_with_yaml()) else {
        return;
    };
    let Some(prometheus) = prometheus().await else {
        return;
    };
    let file = root().join("deploy/monitoring/prometheus-adapter.yaml");
    let values_of_chart = yaml(&python, std::fs::File::open(file).unwrap().into());
    let rules = &values_of_chart[0]["rules"];
    assert_eq!(rules["default"], false, "each rule costs queries");
    let [rule] = rules["custom"].as_array().unwrap().as_slice() else {
        panic!("one rule: {rules}");
    };

    // What it finds becomes a metric of the objects that labels name.
    let found = prometheus
        .series(rule["seriesQuery"].as_str().unwrap())
        .await;
    assert_eq!(found.len(), 2, "of two pods: {found:?}");
    let resources = &rule["resources"]["overrides"];
    let labels: BTreeMap<_, _> = resources
        .as_object()
        .unwrap()
        .iter()
        .map(|(label, of)| (of["resource"].as_str().unwrap(), label.as_str()))
        .collect();
    assert_eq!(
        labels.keys().copied().collect::<Vec<_>>(),
        ["namespace", "pod"]
    );
    for series in &found {
        assert!(
            labels.values().all(|label| series[*label].is_string()),
            "{series}"
        );
    }

    // By the series' name, unless the rule has another.
    assert_eq!(rule["name"], Value::Null);
    let mut rendering = Command::new(helm)
        .args(["template", "trial"])
        .arg(root().join("deploy/helm/proactive"))
        .args(["--set", "autoscaling.targetSessionsPerPod=10"])
        .args(["--show-only", "templates/hpa.yaml"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let scaler = yaml(&python, rendering.stdout.take().unwrap().into());
    assert!(rendering.wait().unwrap().success());
    let metrics = scaler[0]["spec"]["metrics"].as_array().unwrap();
    let asked = metrics.iter().find(|it| it["type"] == "Pods").unwrap();
    let name = &asked["pods"]["metric"]["name"];
    assert_eq!(*name, "proactive_sessions");
    assert!(found.iter().all(|series| series["__name__"] == *name));

    let [namespace, pod] = ["namespace", "pod"].map(|resource| labels[resource]);
    let query = rule["metricsQuery"].as_str().unwrap();
    let query = query
        .replace("<<.Series>>", name.as_str().unwrap())
        .replace(
            "<<.LabelMatchers>>",
            &format!(r#"{namespace}="proactive",{pod}=~"one|two""#),
        )
        .replace("<<.GroupBy>>", pod);
    assert!(!query.contains("<<"), "{query}");
    let told = prometheus.graph(&query).await;
    let pods: Vec<_> = told.iter().map(|it| &it["metric"]).collect();
    assert_eq!(pods, [&json!({ pod: "one" }), &json!({ pod: "two" })]);
    // One session on each, all the time.
    assert!(told.iter().flat_map(values).all(|sessions| sessions == 1.0));
}
