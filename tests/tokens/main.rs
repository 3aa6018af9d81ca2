//! Tokens that others made or judged: firebase-admin's verdict on a table of
//! valid and forged ones, and real ones of the Firebase Auth emulator.

#![expect(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod emulator;
mod mint;
mod table;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use jiff::Timestamp;
use proactive::auth::{Options, Verifier};
use proactive::world::World;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use mint::{Keys, NOW, PROJECT};
use table::{Case, Expected};

#[tokio::test]
async fn a02_firebase_admin_thinks_the_same_of_every_token() {
    let keys = Keys::new();
    let cases = table::all(&keys);
    assert!(cases.len() >= 40, "only {} tokens", cases.len());

    let mut servers = JoinSet::new();
    let certificates = serve(&mut servers, keys.certificates()).await;
    let jwks = serve(&mut servers, keys.jwks()).await;
    for url in [&certificates, &jwks] {
        let verifier = verifier(url, false);
        let judging = ours_are_as_expected(&verifier, &cases);
        tokio::select! {
            () = judging => {}
            () = verifier.keep_fresh() => unreachable!("it runs without end"),
        }
    }
    theirs_are_as_expected(&cases, certificates, false).await;
}

#[tokio::test]
async fn a02_firebase_admin_thinks_the_same_in_emulator_mode() {
    let cases = table::emulator(&Keys::new());
    let nowhere = "http://127.0.0.1:1/";
    ours_are_as_expected(&verifier(nowhere, true), &cases).await;
    theirs_are_as_expected(&cases, nowhere.to_owned(), true).await;
}

async fn ours_are_as_expected(verifier: &Verifier, cases: &[Case]) {
    for case in cases {
        let verdict = verifier.verify(&case.token).await;
        if let Err(error) = &verdict {
            assert!(!error.is_unavailable(), "{}", case.name);
        }
        let accepted = verdict.is_ok();
        let expected = case.expected == Expected::Valid;
        assert_eq!(accepted, expected, "{}: {verdict:?}", case.name);
    }
}

/// Asks firebase-admin about all of them.
async fn theirs_are_as_expected(cases: &[Case], keys_url: String, emulator: bool) {
    let Some(python) = python_with("firebase_admin") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.json");
    let tokens: Vec<_> = cases.iter().map(|case| &case.token).collect();
    let content = json!({
        "project": PROJECT,
        "keys_url": keys_url,
        "now": NOW,
        "clock_skew": table::SKEW,
        "tokens": tokens,
    });
    std::fs::write(&table, content.to_string()).unwrap();

    let mut command = Command::new(python);
    command
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/python/verify_tokens.py"
        ))
        .arg(&table)
        .env("NO_PROXY", "*")
        .env_remove("FIREBASE_AUTH_EMULATOR_HOST");
    if emulator {
        command.env("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099");
    }
    let output = run(command).await;
    let verdicts: Vec<Option<String>> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdicts.len(), cases.len());
    for (case, refusal) in cases.iter().zip(verdicts) {
        let accepted = refusal.is_none();
        let expected = case.expected != Expected::Forged;
        let says = refusal.unwrap_or("accepted".into());
        assert_eq!(accepted, expected, "{}: firebase-admin: {says}", case.name);
        if let Expected::Stricter(reason) = case.expected {
            println!("stricter than firebase-admin: {}: {reason}", case.name);
        }
    }
}

fn verifier(keys_url: &str, emulator: bool) -> Verifier {
    let options = Options {
        project_id: PROJECT.to_owned(),
        keys_url: keys_url.to_owned(),
        emulator,
        clock_skew: Duration::from_secs(table::SKEW as u64),
        max_stale: Duration::ZERO,
    };
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let now = Timestamp::from_second(NOW).unwrap();
    Verifier::new(options, http, World::fixed(now, 1))
}

/// Serves a key document on loopback and returns its URL.
async fn serve(servers: &mut JoinSet<()>, document: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/keys", get(async move || document));
    servers.spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://{address}/keys")
}

/// Runs a program to its end while the servers of the test go on.
async fn run(mut command: Command) -> Output {
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().expect("the program starts");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A Python that has the module: PROACTIVE_PYTHON, else python3.
fn python_with(module: &str) -> Option<PathBuf> {
    let python = PathBuf::from(variable("PROACTIVE_PYTHON").unwrap_or("python3".into()));
    let found = Command::new(&python)
        .args(["-c", &format!("import {module}")])
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        skip(&format!(
            "no Python with {module}: install tests/python/requirements.txt and set PROACTIVE_PYTHON"
        ));
    }
    found.then_some(python)
}

/// Says that part of a test is left out; in CI nothing is.
fn skip(reason: &str) {
    assert_ne!(variable("CI").as_deref(), Some("true"), "{reason}");
    eprintln!("\n*** SKIPPED: {reason} ***\n");
}

#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
