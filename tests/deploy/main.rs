//! The chart and the image's recipe: valid, and true of the server they ship.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod chart;
mod doors;
mod logs;
mod network;
mod pods;
mod readme;
mod services;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use proactive::config::Settings;
use proactive::telemetry::Metrics;
use proactive::transport::grpc::ALIVE;
use serde_json::{Value, json};

use chart::{
    KUBERNETES, chart, documents, environment, helm, kind, proactive, render, rendered, root,
    server, settings, ways,
};
use support::TestApp;
use support::tools::{checkov, hadolint, helms, kubernetes_validate, passed, python_with_yaml};

/// Kinds that a cluster knows only with somebody's extension, and whose schemas
/// are not Kubernetes'.
const EXTENSIONS: [&str; 3] = ["GRPCRoute", "HTTPRoute", "ServiceMonitor"];
/// What the chart sets by itself, so that config and secrets need not; and a file that
/// it mounts nowhere, since `secrets.SERVICE_TOKENS` is the same.
const THE_CHARTS_OWN: [&str; 11] = [
    "ADMIN_PORT",
    "DATA_DIR",
    "DRAIN_GRACE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GRPC_PORT",
    "HTTP_PORT",
    // There a worker is a pod of its own.
    "LOCAL_WORKERS",
    "SERVICE_TOKENS_FILE",
    "TLS_CERT_FILE",
    "TLS_KEY_FILE",
    // A file that it mounts nowhere.
    "TOOLS_FILE",
];

#[test]
fn b08_helm_3_and_4_lint_the_chart_and_render_the_same_valid_objects() {
    let (Some(helms), Some(python)) = (helms(), python_with_yaml()) else {
        return;
    };
    let versions = helms.each_ref().map(|program| {
        let told = Command::new(program).args(["version", "--short"]).output();
        passed(&told.unwrap())
    });
    assert!(versions[0].starts_with("v3.") && versions[1].starts_with("v4."));
    let Some(validate) = kubernetes_validate() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for (name, way) in ways() {
        let [three, four] = helms.each_ref().map(|program| {
            passed(&helm(program, &["lint", "--strict"], &way));
            documents(&python, &render(program, &way))
        });
        assert_eq!(three, four, "{name}");
        let (extensions, known): (Vec<_>, Vec<_>) = three
            .into_iter()
            .partition(|it| EXTENSIONS.iter().any(|kind| it["kind"] == *kind));
        let apis = extensions
            .iter()
            .map(|it| it["apiVersion"].as_str().unwrap());
        assert!(
            apis.into_iter()
                .all(|api| api.contains("gateway.networking.k8s.io/")
                    || api.contains("monitoring.coreos.com/"))
        );
        // JSON is YAML.
        let texts: Vec<_> = known.iter().map(Value::to_string).collect();
        let file = folder.path().join(format!("{name}.yaml"));
        fs::write(&file, texts.join("\n---\n")).unwrap();
        let mut judging = Command::new(&validate);
        judging.args(["--strict", "-k", KUBERNETES]).arg(&file);
        passed(&judging.output().unwrap());
    }
}

#[test]
fn the_settings_that_the_chart_offers_are_the_servers() {
    let schema = fs::read_to_string(chart().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let offered = |of: &str| {
        let names = schema["properties"][of]["properties"].as_object().unwrap();
        names.keys().cloned().collect::<BTreeSet<_>>()
    };
    let (plain, secret) = (offered("config"), offered("secrets"));
    assert!(plain.is_disjoint(&secret), "a secret in plain sight");
    let mut all: BTreeSet<_> = plain.union(&secret).cloned().collect();
    all.extend(THE_CHARTS_OWN.map(str::to_owned));
    assert_eq!(
        all,
        settings(),
        "values.schema.json, and `proactive serve --help`"
    );
}

#[test]
fn the_server_takes_the_environment_that_the_chart_gives_it() {
    let Some(rendered) = rendered() else { return };
    for (name, documents) in rendered {
        let (pod, container) = server(&documents);
        let trial = name == "dev";
        let arguments = if trial {
            json!(["serve", "--dev"])
        } else {
            json!(["serve"])
        };
        assert_eq!(container["args"], arguments);
        let environment = environment(container);
        let known = settings();
        for name in environment.keys() {
            assert!(known.contains(name), "{name} is no setting of the server");
        }
        let mut checking = proactive(&["serve", "--check-config"]);
        for (name, value) in environment {
            let secret = || "a-secret".to_owned();
            // Files that are mounted.
            let mounted = name.starts_with("TLS_") || name == "GOOGLE_APPLICATION_CREDENTIALS";
            if !mounted {
                checking.env(name, value.unwrap_or_else(secret));
            }
        }
        if trial {
            // Which it has by itself.
            checking.env("GEMINI_API_KEY", "a-secret");
        }
        // The one thing that has no default; the examples have a word to be replaced.
        let missing = if name == "vertex" {
            "GOOGLE_CLOUD_PROJECT"
        } else {
            "FIREBASE_PROJECT_ID"
        };
        let refused = checking.output().unwrap();
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(
            told.starts_with(&format!("proactive: {missing}:")),
            "{told}"
        );
        assert_eq!(told.lines().count(), 1, "{told}");
        checking.env(missing, "demo-proactive");
        let in_force = passed(&checking.output().unwrap());
        let port = |wanted: &str| {
            let line = in_force.lines().find_map(|line| line.strip_prefix(wanted));
            line.unwrap().parse::<u64>().unwrap()
        };
        let ports = json!([
            { "name": "grpc", "containerPort": port("GRPC_PORT=") },
            { "name": "http", "containerPort": port("HTTP_PORT=") },
            { "name": "admin", "containerPort": port("ADMIN_PORT=") },
        ]);
        assert_eq!(container["ports"], ports);
        let drain = in_force
            .lines()
            .find_map(|line| line.strip_prefix("DRAIN_GRACE="));
        let drain = humantime::parse_duration(drain.unwrap()).unwrap();
        let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(
            Duration::from_secs(grace) >= drain + Duration::from_secs(5),
            "{name}: {grace} s do not hold a drain of {drain:?}"
        );
    }
}

#[tokio::test]
async fn the_probes_ask_what_the_server_answers() {
    let Some(rendered) = rendered() else { return };
    let app = TestApp::new().start().await;
    let admin = format!("http://{}", app.service.server.admin_addr());
    for (name, documents) in &rendered {
        let (_, container) = server(documents);
        let ports = &container["ports"];
        for (probe, pages, service) in [
            ("startupProbe", "/healthz", ALIVE),
            ("livenessProbe", "/healthz", ALIVE),
            ("readinessProbe", "/readyz", "proactive.v1.ProactiveAI"),
        ] {
            let (which, probe) = (probe, &container[probe]);
            // Kubernetes' gRPC probes speak no TLS, and a gRPC port that is full of
            // connections must not get its pod killed.
            if *name == "variants" || which == "livenessProbe" {
                assert_eq!(probe["httpGet"], json!({ "path": pages, "port": "admin" }));
                let answer = reqwest::get(format!("{admin}{pages}")).await.unwrap();
                assert_eq!(answer.status(), 200);
            } else {
                let asked = json!({ "port": ports[0]["containerPort"], "service": service });
                assert_eq!(probe["grpc"], asked);
                app.serves(service).await;
            }
        }
    }
}

#[test]
fn what_the_chart_measures_by_exists() {
    let Some(rendered) = rendered() else { return };
    let page = Metrics::new().render();
    let mut measured = BTreeSet::new();
    for documents in rendered.values() {
        let Some(scaling) = kind(documents, "HorizontalPodAutoscaler") else {
            continue;
        };
        for metric in scaling["spec"]["metrics"].as_array().unwrap() {
            if let Some(name) = metric["pods"]["metric"]["name"].as_str() {
                let gauge = format!("# TYPE {name} gauge");
                assert!(page.lines().any(|line| line == gauge), "{gauge}");
                measured.insert(name.to_owned());
            }
        }
    }
    assert!(!measured.is_empty(), "prod scales by sessions");
    let monitor = kind(&rendered["prod"], "ServiceMonitor").unwrap();
    assert_eq!(monitor["spec"]["endpoints"][0]["path"], "/metrics");
}

#[test]
fn no_secret_is_in_plain_sight_and_what_means_nothing_is_refused() {
    let Some(helms) = helms() else { return };
    for program in &helms {
        for (set, named) in [
            ("config.GEMINI_MODLE=x", "GEMINI_MODLE"),
            ("config.GEMINI_API_KEY=x", "GEMINI_API_KEY"),
            ("secrets.GEMINI_API_KEY=x", "GEMINI_API_KEY"),
            (
                "config.GEMINI_MAX_OUTPUT_TOKENS=8192",
                "GEMINI_MAX_OUTPUT_TOKENS",
            ),
            ("replicas=3", "replicas"),
            ("drainGraceSeconds=25s", "drainGraceSeconds"),
            ("gateway.enabled=true", "parentRefs"),
            // Of which nothing is left to write to but the disk of `persistence`.
            ("config.DATA_DIR=/data", "DATA_DIR"),
            ("persistence.accessMode=ReadWriteMany", "accessMode"),
        ] {
            let way = ["--set".to_owned(), set.to_owned()];
            let refused = helm(program, &["template", "trial"], &way);
            let told = String::from_utf8(refused.stderr).unwrap();
            assert!(
                !refused.status.success() && told.contains(named),
                "{set}: {told}"
            );
        }
    }
}

#[test]
fn checkov_finds_nothing_that_has_no_reason() {
    let (Some([helm, _]), Some(checkov)) = (helms(), checkov()) else {
        return;
    };
    let config = root().join("deploy/checkov.yaml");
    let lines = fs::read_to_string(&config).unwrap();
    let lines: Vec<_> = lines.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].contains("- CKV")) {
        assert!(
            pair[0].trim().starts_with("# "),
            "no reason for {}",
            pair[1]
        );
    }
    // With a name of its own: checkov looks into no folder that begins with a dot.
    let folder = tempfile::Builder::new().prefix("chart").tempdir().unwrap();
    for (name, way) in ways() {
        let file = folder.path().join(format!("{name}.yaml"));
        fs::write(file, render(&helm, &way)).unwrap();
    }
    fs::copy(root().join("Dockerfile"), folder.path().join("Dockerfile")).unwrap();
    let mut judging = Command::new(checkov);
    judging.arg("--config-file").arg(config);
    judging.args(["--output", "json", "-d"]).arg(folder.path());
    let judged = judging.output().unwrap();
    let judged: Value = serde_json::from_slice(&judged.stdout).unwrap();
    let judged = judged.as_array().unwrap();
    assert_eq!(judged.len(), 2, "the chart and the Dockerfile");
    for report in judged {
        let failed = &report["results"]["failed_checks"];
        let passed = report["summary"]["passed"].as_u64().unwrap();
        assert!(passed > 10, "checkov judged nothing: {}", report["summary"]);
        assert_eq!(report["summary"]["failed"], 0, "{failed:#}");
        assert_eq!(report["summary"]["parsing_errors"], 0);
    }
}

#[test]
fn hadolint_finds_nothing_in_the_dockerfile() {
    let Some(hadolint) = hadolint() else { return };
    passed(
        &Command::new(hadolint)
            .arg(root().join("Dockerfile"))
            .output()
            .unwrap(),
    );
}

#[test]
fn the_image_and_the_chart_are_of_this_server() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let dockerfile = read("Dockerfile");
    let defaults = Settings::defaults();
    let ports = [
        &*defaults.grpc_port,
        &defaults.http_port,
        &defaults.admin_port,
    ];
    let expose = format!("EXPOSE {}", ports.join(" "));
    let compiler = format!("FROM rust:{}.", env!("CARGO_PKG_RUST_VERSION"));
    for line in [expose.as_str(), &compiler, "USER 65532:65532"] {
        assert!(dockerfile.lines().any(|it| it.starts_with(line)), "{line}");
    }
    // All that the build copies is let into it.
    let let_in = read(".dockerignore");
    for line in dockerfile
        .lines()
        .filter(|line| line.starts_with("COPY ") && !line.contains("--from"))
    {
        let mut names: Vec<_> = line.split(' ').skip(1).collect();
        names.pop();
        for name in names {
            assert!(let_in.lines().any(|it| it == format!("!{name}")), "{name}");
            assert!(Path::new(&root()).join(name).exists(), "{name}");
        }
    }
    let version = format!("appVersion: \"{}\"", env!("CARGO_PKG_VERSION"));
    let chart = read("deploy/helm/proactive/Chart.yaml");
    assert!(chart.lines().any(|line| line == version), "{version}");
}
