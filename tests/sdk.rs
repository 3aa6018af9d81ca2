//! Google's official SDK as a judge: of the stand-in's answers, as its client,
//! and of recorded requests, by its types.
//!
//! Needs Python with `tests/python/requirements.txt`: see `support::tools`.
#![expect(
    clippy::unwrap_used,
    reason = "clippy sees tests only, not their helpers"
)]

#[path = "support/mod.rs"]
mod support;

use std::ffi::{OsStr, OsString};
use std::process::Output;

use proactive::stand_in::{Call, Move, Options, Recorded, StandIn};
use proactive::transport::proto::OutcomeKind;
use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::server_event::Event;
use proactive::world::World;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use support::tools::{passed, python_with, script};
use support::{TestApp, frame};

/// An interpreter that has the SDK.
fn python() -> Option<OsString> {
    python_with("google.genai")
}

/// Runs one of the scripts in `tests/python`. They bound their own time.
fn run(python: &OsStr, name: &str, argument: impl AsRef<OsStr>) -> Output {
    script(python, name).arg(argument).output().unwrap()
}

/// Has recorded bodies judged by the SDK's types.
fn judge(python: &OsStr, requests: &[Recorded]) -> Output {
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
    passed(&output.unwrap());
    assert_eq!(stand_in.unplayed(), 0);
}

#[test]
fn the_judge_of_requests_refuses_bad_ones() {
    let Some(python) = python() else { return };
    passed(&run(&python, "judge_requests.py", "--self-test"));
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
    let (accepted, refused) =
        spawn_blocking(move || (judge(&python, &recorded[..1]), judge(&python, &recorded)))
            .await
            .unwrap();
    passed(&accepted);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8_lossy(&refused.stdout);
    assert_eq!(
        told,
        "000.json: ok\n001.json: REFUSED: contents[0].parts[0].test: no field of Part\n"
    );
}

#[tokio::test]
async fn every_request_of_a_real_conversation_is_one_that_the_sdk_could_have_sent() {
    let Some(python) = python() else { return };
    let app = TestApp::new()
        .with(|set| {
            set.gemini_thinking_level = "low".into();
            set.gemini_media_resolution = "high".into();
        })
        .start()
        .await;
    let search = |name, id| Call::new(name, json!({"query": "signed lease"})).id(id);
    let decision = json!({"context_summary": "A chat.", "current_activity": "Reading."});
    app.script([
        // Refused: nothing was searched for yet.
        Move::call(
            "extract_task",
            task("Send the signed lease to the Berlin office"),
        ),
        Move::calls([
            search("search_similar", "call-1").signature("c2lnbmF0dXJlLTE="),
            search("search_keywords", "call-2"),
        ]),
        // Refused: nobody knows from it what to do.
        Move::call("extract_task", task("Do it")).with("/candidates/0/unknownField", json!(1)),
        Move::calls([search("search_similar", "call-3").signature("c2lnbmF0dXJlLTM=")]),
        // The last turn, in which only a decision is allowed.
        Move::call(
            "extract_task",
            task("Send the signed lease to the Berlin office"),
        ),
        // The next frame, without a picture.
        Move::call("no_task_found", decision),
    ]);
    let mut desk = app.greeted().await;
    let mut screen = frame("1", REQUEST);
    screen.jpeg_bytes = include_bytes!("../examples/frames/new-request.jpg")
        .to_vec()
        .into();
    desk.say(Said::FrameEvent(screen)).await;
    let outcome = loop {
        match desk.event().await {
            Event::ToolCallRequest(request) => desk.answer(&request, vec![]).await,
            Event::AnalysisOutcome(outcome) => break outcome,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(outcome.outcome_kind(), OutcomeKind::ExtractTask);
    let mut text = frame("2", "fn main() {}");
    text.jpeg_bytes.clear();
    desk.say(Said::FrameEvent(text)).await;
    assert_eq!(
        desk.outcome().await.outcome_kind(),
        OutcomeKind::NoTaskFound
    );

    let recorded = app.model.recorded();
    let sent = |request: &Recorded| String::from_utf8(request.body.to_vec()).unwrap();
    let told = sent(&recorded[4]);
    for part in [
        "allowedFunctionNames",
        "c2lnbmF0dXJlLTE=",
        "c2lnbmF0dXJlLTM=",
        "call-2",
        "MEDIA_RESOLUTION_HIGH",
        r#""thinkingLevel":"LOW""#,
        "inlineData",
    ] {
        assert!(
            told.contains(part),
            "the last request of the frame has no {part}"
        );
    }
    assert!(!sent(&recorded[5]).contains("inlineData"));
    let judged = spawn_blocking(move || judge(&python, &recorded))
        .await
        .unwrap();
    let expected: String = (0..6).map(|n| format!("{n:03}.json: ok\n")).collect();
    assert_eq!(passed(&judged), expected);
}

const REQUEST: &str = "Anna: can you send the Berlin office the signed lease before Tuesday?";

/// The arguments of extract_task.
fn task(title: &str) -> Value {
    json!({
        "title": title,
        "description": "Anna asks for it.",
        "priority": "medium",
        "tags": ["lease"],
        "source_app": "Huddle",
        "inferred_deadline": "",
        "confidence": 0.9,
        "source_category": "direct_request",
        "source_subcategory": "message",
        "relevance_score": 3,
        "context_summary": "A chat.",
        "current_activity": "Reading.",
    })
}
