//! The description of the HTTP door is a good one, and is true: the paths, methods,
//! names of problems and every answer are those of a real server.

mod answers;
mod described;
mod edges;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use reqwest::Method;

use crate::support::TestApp;
use crate::support::tools::{passed, python_with};
use described::{Answer, Described, request};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Somebody's path, where the description has a name for a part of it.
fn filled(path: &str) -> String {
    path.replace("{id}", "an-id")
}

#[tokio::test]
async fn a_path_takes_the_methods_described_and_no_other() {
    let app = TestApp::new().start().await;
    let described = Described::by(&app).await;
    for (path, methods) in described.paths() {
        let mut allowed: BTreeSet<String> = methods.iter().map(|it| it.to_uppercase()).collect();
        if allowed.contains("GET") {
            allowed.insert("HEAD".to_owned());
        }
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"] {
            let name: Method = method.parse().unwrap();
            let sent = request(&app, name, &filled(path)).send();
            let answer = Answer::of(sent.await.unwrap()).await;
            let is_taken = allowed.contains(method);
            assert_eq!(answer.status != 405, is_taken, "{method} {path}");
            if !is_taken {
                let told = answer.header("allow").split(',').map(str::to_owned);
                assert_eq!(told.collect::<BTreeSet<_>>(), allowed, "{path}");
                if method != "HEAD" {
                    assert_eq!(answer.json()["type"], "about:blank");
                }
            }
        }
    }
}

/// Every name of a problem in a text.
fn names(text: &str) -> BTreeSet<String> {
    let after = text.split("urn:proactive:").skip(1);
    let of_name = |c: char| c.is_ascii_lowercase() || c == '-';
    let names = after.map(|rest| rest.split(|c| !of_name(c)).next().unwrap().to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

/// All Rust below a folder.
fn code(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &code(&path);
        } else if path.extension().is_some_and(|it| it == "rs") {
            all += &fs::read_to_string(&path).unwrap();
        }
    }
    all
}

#[tokio::test]
async fn every_name_of_a_problem_is_described_and_no_other_is() {
    let app = TestApp::new().start().await;
    let described = Described::by(&app).await;
    let document = described.document();
    let listed = &document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"];
    let in_code = names(&code(&Path::new(ROOT).join("src")));
    assert_eq!(names(&listed.to_string()), in_code);
    // Each stands with the answers that have it, too.
    let answers = [&document["paths"], &document["components"]["responses"]];
    assert_eq!(names(&format!("{answers:?}")), in_code);
    let paper = fs::read_to_string(Path::new(ROOT).join("docs/websocket.md")).unwrap();
    assert!(names(&paper).is_subset(&in_code));
}

#[tokio::test]
async fn a_validator_of_others_takes_the_description() {
    let Some(python) = python_with("openapi_spec_validator") else {
        return;
    };
    let app = TestApp::new().start().await;
    let described = Described::by(&app).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openapi.json");
    let mut judge = Command::new(python);
    judge.args(["-m", "openapi_spec_validator", "--schema", "3.1"]);
    judge.arg(&file);
    fs::write(&file, described.document().to_string()).unwrap();
    passed(&judge.output().unwrap());
    // And it can tell a bad one.
    let bad = described
        .document()
        .to_string()
        .replace("\"responses\"", "\"answers\"");
    fs::write(&file, bad).unwrap();
    assert!(!judge.output().unwrap().status.success());
}
