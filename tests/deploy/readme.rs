//! The commands of the chart's README: a shell reads them all, one after the
//! other, and what they name exists. tests/cli pastes those of the trial.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::chart::{chart, documents, kind, root, server};
use crate::support::tools::{helms, passed, python_with_yaml};

/// The commands, each as its words, as a shell gives them to a program.
fn commands() -> Vec<Vec<String>> {
    let page = fs::read_to_string(chart().join("README.md")).unwrap();
    let blocks = page.split("```sh\n").skip(1);
    let blocks: Vec<_> = blocks
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() > 5);
    // In a folder of its own, since the commands write files, with the
    // repository's below it.
    let folder = tempfile::tempdir().unwrap();
    for name in ["deploy", "examples"] {
        std::os::unix::fs::symlink(root().join(name), folder.path().join(name)).unwrap();
    }
    let mut script = String::from("note() { printf '%s\\037' \"$@\" >> noted; echo >> noted; }\n");
    for program in ["docker", "kubectl", "helm", "grpcurl", "cargo", "gcloud"] {
        script += &format!("{program}() {{ note {program} \"$@\"; }}\n");
    }
    script += &blocks.concat();
    let mut shell = Command::new("sh");
    shell.args(["-euc", &script]).current_dir(folder.path());
    // What an operator has by himself.
    shell.env("GEMINI_API_KEY", "a-secret");
    passed(&shell.output().unwrap());
    let noted = fs::read_to_string(folder.path().join("noted")).unwrap();
    let words = |line: &str| {
        let words = line.strip_suffix('\u{1f}').unwrap().split('\u{1f}');
        words.map(str::to_owned).collect()
    };
    noted.lines().map(words).collect()
}

/// The commands of a program, without its name.
fn of<'a>(program: &str, commands: &'a [Vec<String>]) -> Vec<&'a [String]> {
    let commands = commands.iter().filter(|words| words[0] == program);
    commands.map(|words| &words[1..]).collect()
}

/// Each installation as both Helms render it.
fn installed(commands: &[Vec<String>]) -> Option<Vec<Vec<Value>>> {
    let (helms, python) = (helms()?, python_with_yaml()?);
    let mut installed = Vec::new();
    for words in of("helm", commands) {
        let at = words
            .iter()
            .position(|it| it == "install" || it == "upgrade");
        let mut words = words.to_vec();
        words[at.unwrap()] = "template".into();
        let [three, four] = helms.each_ref().map(|program| {
            let mut render = Command::new(program);
            let rendered = render.args(&words).current_dir(root()).output();
            documents(&python, &passed(&rendered.unwrap()))
        });
        assert_eq!(three, four, "{words:?}");
        installed.push(three);
    }
    Some(installed)
}

#[test]
fn what_is_built_and_pushed_is_what_the_chart_asks_for() {
    let commands = commands();
    let docker = of("docker", &commands);
    let [build, push] = docker.as_slice() else {
        panic!("build, and push: {docker:?}");
    };
    assert_eq!((build[0].as_str(), push[0].as_str()), ("build", "push"));
    assert_eq!((&build[1], &build[2]), (&"--tag".to_owned(), &push[1]));
    let Some(installed) = installed(&commands) else {
        return;
    };
    for documents in &installed {
        assert_eq!(server(documents).1["image"], push[1]);
    }
}

#[test]
fn an_installation_names_nothing_that_was_an_example() {
    let commands = commands();
    let Some(installed) = installed(&commands) else {
        return;
    };
    let mut accounts = BTreeSet::new();
    for documents in &installed {
        let text = Value::from(documents.clone()).to_string();
        for example in ["MY-PROJECT", "REGISTRY"] {
            assert!(!text.contains(example), "{example} in {text}");
        }
        let account = kind(documents, "ServiceAccount").unwrap();
        let google = &account["metadata"]["annotations"]["iam.gke.io/gcp-service-account"];
        if let Some(google) = google.as_str() {
            let name = account["metadata"]["name"].as_str().unwrap();
            let namespace = account["metadata"]["namespace"].as_str().unwrap();
            accounts.insert((google.to_owned(), format!("[{namespace}/{name}]")));
        }
    }
    let gcloud = of("gcloud", &commands);
    let [[_iam, _accounts, _bind, google, .., member]] = gcloud.as_slice() else {
        panic!("one binding: {gcloud:?}");
    };
    let (_, pods) = member.split_once(".svc.id.goog").unwrap();
    let bound = (google.clone(), pods.to_owned());
    assert_eq!(accounts, BTreeSet::from([bound]));
}

#[test]
fn each_of_the_charts_files_of_values_is_installed() {
    let commands = commands();
    let helm = of("helm", &commands).concat();
    for entry in fs::read_dir(chart()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with("values-") {
            let file = format!("deploy/helm/proactive/{name}");
            assert!(helm.contains(&file), "no command with {file}");
        }
    }
}

#[test]
fn what_kubectl_is_asked_for_is_what_was_installed() {
    let commands = commands();
    let Some(installed) = installed(&commands) else {
        return;
    };
    let mut metrics_asked = BTreeSet::new();
    let mut deployments = BTreeSet::new();
    let mut secrets = BTreeSet::new();
    let mut ports = BTreeSet::new();
    for documents in &installed {
        let deployment = kind(documents, "Deployment").unwrap();
        let name = deployment["metadata"]["name"].as_str().unwrap();
        deployments.insert(format!("deployment/{name}"));
        let scaler = kind(documents, "HorizontalPodAutoscaler");
        for metric in scaler.map_or(&Vec::new(), |it| it["spec"]["metrics"].as_array().unwrap()) {
            if let Some(name) = metric["pods"]["metric"]["name"].as_str() {
                metrics_asked.insert(format!("/{name}"));
            }
        }
        let (_, container) = server(documents);
        for port in container["ports"].as_array().unwrap() {
            ports.insert(port["containerPort"].to_string());
        }
        for variable in container["env"].as_array().unwrap() {
            let from = &variable["valueFrom"]["secretKeyRef"];
            if let (Some(name), Some(key)) = (from["name"].as_str(), from["key"].as_str()) {
                secrets.insert((name.to_owned(), key.to_owned()));
            }
        }
    }
    let mut verbs = BTreeSet::new();
    for words in of("kubectl", &commands) {
        let words = match words {
            [flag, namespace, words @ ..] if flag == "--namespace" => {
                assert_eq!(namespace, "proactive");
                words
            }
            words => words,
        };
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        verbs.insert(words[0]);
        match words.as_slice() {
            ["create" | "delete", "namespace", name] => assert_eq!(*name, "proactive"),
            ["create", "secret", "generic", name, from] => {
                let (_, literal) = from.split_once("--from-literal=").unwrap();
                let (key, value) = literal.split_once('=').unwrap();
                assert_eq!(value, "a-secret");
                assert!(secrets.contains(&((*name).to_owned(), key.to_owned())));
            }
            ["rollout", "status" | "restart", deployment] | ["logs", deployment] => {
                assert!(deployments.contains(*deployment), "{deployment}");
            }
            ["port-forward", deployment, forwarded @ ..] => {
                assert!(deployments.contains(*deployment), "{deployment}");
                assert!(forwarded.iter().all(|port| ports.contains(*port)));
            }
            ["get", "--raw", path] => {
                let metrics = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/proactive/pods/*";
                assert!(metrics_asked.contains(path.strip_prefix(metrics).unwrap()));
            }
            other => panic!("nothing judges {other:?}"),
        }
    }
    let expected = ["create", "delete", "get", "logs", "port-forward", "rollout"];
    assert_eq!(verbs, BTreeSet::from(expected));
}
