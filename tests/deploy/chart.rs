//! The chart, rendered, and the server it is for.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::tools::{helms, passed, python_with_yaml};

pub(crate) const KUBERNETES: &str = "1.33";
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn chart() -> PathBuf {
    root().join("deploy/helm/proactive")
}

/// Ways to install the chart, by name: what is given to helm.
pub(crate) fn ways() -> BTreeMap<&'static str, Vec<String>> {
    let file = |name: &str| vec!["--values".into(), chart().join(name).display().to_string()];
    let sets = [
        "tls.existingSecret=certificate",
        "googleCredentials.existingSecret=google",
        "ingress.enabled=true",
        "gateway.enabled=true",
        "gateway.kind=HTTPRoute",
        "gateway.parentRefs[0].name=public",
        "serviceAccount.create=false",
        "image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ];
    let sets = sets.iter().flat_map(|set| ["--set".into(), (*set).into()]);
    BTreeMap::from([
        ("default", vec![]),
        ("dev", file("values-dev.yaml")),
        ("logs", file("values-logs.yaml")),
        ("prod", file("values-prod.yaml")),
        ("variants", sets.collect()),
        ("vertex", file("values-vertex.yaml")),
    ])
}

pub(crate) fn helm(helm: &OsStr, verb: &[&str], way: &[String]) -> Output {
    let mut command = Command::new(helm);
    command.args(verb).arg(chart()).args(way);
    command.output().unwrap()
}

pub(crate) fn render(program: &OsStr, way: &[String]) -> String {
    let verb = ["template", "trial", "--namespace", "proactive"];
    let version = format!("{KUBERNETES}.0");
    let verb = [&verb[..], &["--kube-version", &version]].concat();
    passed(&helm(program, &verb, way))
}

/// A stream of YAML documents as JSON.
pub(crate) fn documents(python: &OsStr, yaml: &str) -> Vec<Value> {
    let read = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)";
    let mut reading = Command::new(python)
        .args(["-c", read])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = reading.stdin.take().unwrap();
    stdin.write_all(yaml.as_bytes()).unwrap();
    drop(stdin);
    let read = passed(&reading.wait_with_output().unwrap());
    serde_json::from_str(&read).unwrap()
}

/// The chart, rendered in each way; `None` if a program is missing.
pub(crate) fn rendered() -> Option<BTreeMap<&'static str, Vec<Value>>> {
    let ([helm, _], python) = (helms()?, python_with_yaml()?);
    let ways = ways().into_iter();
    Some(
        ways.map(|(name, way)| (name, documents(&python, &render(&helm, &way))))
            .collect(),
    )
}

pub(crate) fn kind<'a>(documents: &'a [Value], kind: &str) -> Option<&'a Value> {
    documents.iter().find(|document| document["kind"] == kind)
}

/// The pod, and the server's container in it.
pub(crate) fn server(documents: &[Value]) -> (&Value, &Value) {
    let pod = &kind(documents, "Deployment").unwrap()["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["name"], "proactive");
    (pod, container)
}

/// The container's environment: values, or none for those from a Secret.
pub(crate) fn environment(container: &Value) -> BTreeMap<String, Option<String>> {
    let variables = container["env"].as_array().unwrap().iter();
    let variable = |it: &Value| {
        let name = it["name"].as_str().unwrap().to_owned();
        (name, it["value"].as_str().map(str::to_owned))
    };
    variables.map(variable).collect()
}

pub(crate) fn proactive(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proactive"));
    command.args(arguments).env_clear();
    command
}

/// The names of all settings, as the server tells them.
pub(crate) fn settings() -> BTreeSet<String> {
    let names: BTreeSet<_> = told_settings().into_keys().collect();
    assert!(names.contains("GRPC_PORT") && names.contains("RUST_LOG"));
    names
}

/// Those whose value is such a thing: `URL`, `FILE`.
pub(crate) fn settings_of_kind(kind: &str) -> BTreeSet<String> {
    let told = told_settings().into_iter();
    told.filter(|(_, of)| of == kind)
        .map(|(name, _)| name)
        .collect()
}

/// Each setting, and what its value is, out of the server's help.
fn told_settings() -> BTreeMap<String, String> {
    let help = passed(&proactive(&["serve", "--help"]).output().unwrap());
    let mut kind = "";
    let mut told = BTreeMap::new();
    for line in help.lines().map(str::trim) {
        if line.starts_with("--") {
            kind = line.split(['<', '>']).nth(1).unwrap_or_default();
        } else if let Some(rest) = line.strip_prefix("[env: ") {
            let name = rest.split(['=', ']']).next().unwrap();
            told.insert(name.to_owned(), kind.to_owned());
        }
    }
    told
}
