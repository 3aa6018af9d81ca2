//! Google's official SDK as a judge: of the stand-in's answers, as its client,
//! and of recorded requests, by its types.
//!
//! Needs Python with `tests/python/requirements.txt`: the interpreter that
//! PROACTIVE_PYTHON names, else `python3`. Without it the tests say that they
//! are skipped; with CI=true they fail.
#![expect(
    clippy::unwrap_used,
    reason = "clippy sees tests only, not their helpers"
)]

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use proactive::stand_in::{Move, Options, Recorded, StandIn};
use proactive::world::World;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

#[expect(
    clippy::disallowed_methods,
    reason = "the config is the product's; this names a tool of the tests"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// An interpreter that has the SDK, or `None` after saying so loudly.
fn python() -> Option<String> {
    let python = variable("PROACTIVE_PYTHON").unwrap_or_else(|| "python3".to_owned());
    let tried = Command::new(&python)
        .args(["-c", "import google.genai"])
        .output();
    if tried.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let why = format!(
        "{python} cannot import google.genai: install tests/python/requirements.txt and name the \
         interpreter in PROACTIVE_PYTHON"
    );
    assert!(variable("CI").as_deref() != Some("true"), "{why}");
    eprintln!("SKIPPED: {why}");
    None
}

/// Runs one of the scripts in `tests/python`. They bound their own time.
fn run(python: &str, script: &str, argument: impl AsRef<OsStr>) -> Output {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    Command::new(python)
        // No cache directories in the source tree.
        .arg("-B")
        .arg(scripts.join(script))
        .arg(argument)
        .output()
        .unwrap()
}

fn assert_passed(output: &Output) {
    let told = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{}{}", told[0], told[1]);
}

/// Has recorded bodies judged by the SDK's types.
fn judge(python: &str, requests: &[Recorded]) -> Output {
    let bodies = tempfile::tempdir().unwrap();
    for (number, request) in requests.iter().enumerate() {
        let file = bodies.path().join(format!("{number:03}.json"));
        std::fs::write(file, &request.body).unwrap();
    }
    run(python, "judge_requests.py", bodies.path())
}

async fn served(options: Options) -> (StandIn, String, JoinSet<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stand_in = StandIn::new(options, World::real());
    let mut server = JoinSet::new();
    let serving = stand_in.clone();
    server.spawn(serving.serve(listener, CancellationToken::new()));
    (stand_in, base, server)
}

#[tokio::test]
async fn the_official_sdk_accepts_the_stand_ins_answers() {
    let Some(python) = python() else { return };
    let (stand_in, base, _server) = served(Options {
        // The SDK writes some names in snake_case, and URL-safe base64.
        canonical: false,
        ..Options::default()
    })
    .await;
    stand_in.script([
        Move::rules(),
        Move::rules(),
        Move::rules(),
        Move::blocked("SAFETY"),
        Move::status(429).retry_info("1.5s"),
    ]);
    let output = spawn_blocking(move || run(&python, "sdk_client.py", base)).await;
    assert_passed(&output.unwrap());
    assert_eq!(stand_in.unplayed(), 0);
}

#[test]
fn the_judge_of_requests_refuses_bad_ones() {
    let Some(python) = python() else { return };
    assert_passed(&run(&python, "judge_requests.py", "--self-test"));
}

#[tokio::test]
async fn recorded_requests_are_judged_by_the_sdks_types() {
    let Some(python) = python() else { return };
    let (stand_in, base, _server) = served(Options {
        record: true,
        ..Options::default()
    })
    .await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let good = json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]});
    let bad = json!({"contents": [{"role": "user", "parts": [{"test": "hello"}]}]});
    for body in [good, bad] {
        http.post(format!("{base}/v1beta/models/m:generateContent"))
            .header("x-goog-api-key", "key-of-a-test")
            .body(body.to_string())
            .send()
            .await
            .unwrap();
    }
    let recorded = stand_in.recorded();
    assert_eq!(recorded.len(), 2);
    let (passed, refused) =
        spawn_blocking(move || (judge(&python, &recorded[..1]), judge(&python, &recorded)))
            .await
            .unwrap();
    assert_passed(&passed);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8_lossy(&refused.stdout);
    assert_eq!(
        told,
        "000.json: ok\n001.json: REFUSED: contents[0].parts[0].test: no field of Part\n"
    );
}
