//! A model that is out of order: frames are told at once, or another model is asked.

use std::time::Duration;

use proactive::config::Settings;
use proactive::stand_in::Move;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{AnalysisOutcome, Bill, OutcomeKind, ServerError};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{App, Desk, Door, MODEL, TestApp};

crate::both_doors![
    while_a_model_keeps_failing_frames_are_told_at_once_when_to_come_back,
    a_model_that_answers_again_is_asked_again,
    what_is_wrong_with_a_screen_a_quota_or_a_key_is_no_outage,
    a_frame_whose_model_is_out_of_order_is_shown_to_the_fallback,
    a_model_that_fails_in_the_middle_leaves_a_frame_that_begins_anew,
    when_both_are_out_of_order_frames_are_told_at_once,
];

const FALLBACK: &str = "gemini-3.8-flash";

/// One outage opens the circuit, for ten minutes.
fn touchy(set: &mut Settings) {
    set.model_circuit_failures = "1".into();
    set.model_circuit_open = "10m".into();
}

fn with_fallback(set: &mut Settings) {
    touchy(set);
    set.gemini_fallback_model = Some(FALLBACK.into());
}

fn nothing() -> Move {
    Move::call("no_task_found", json!({}))
}

fn search() -> Move {
    Move::call("search_similar", json!({ "query": "lease" }))
}

fn extract() -> Move {
    let title = "Send the signed lease to the Berlin office";
    Move::call("extract_task", json!({ "title": title }))
}

/// The frame's terminal event, and how many searches came before it.
async fn sent(desk: &mut Desk, id: &str) -> (Event, usize) {
    desk.frame(id, "x").await;
    let mut searches = 0;
    loop {
        match desk.event().await {
            Event::ToolCallRequest(request) => desk.answer(&request, vec![]).await,
            event => return (event, searches),
        }
        searches += 1;
    }
}

async fn error(desk: &mut Desk, id: &str) -> ServerError {
    match sent(desk, id).await {
        (Event::ServerError(error), _) => error,
        other => panic!("not ServerError: {other:?}"),
    }
}

async fn outcome(desk: &mut Desk, id: &str) -> (AnalysisOutcome, Bill, usize) {
    match sent(desk, id).await {
        (Event::AnalysisOutcome(mut outcome), searches) => {
            let bill = outcome.bill.take().unwrap();
            (outcome, bill, searches)
        }
        other => panic!("not AnalysisOutcome: {other:?}"),
    }
}

/// The models that were asked, and how many turns each was shown.
fn asked(app: &App) -> Vec<(String, usize)> {
    let requests = app.model.recorded();
    let asked = requests.iter().map(|request| {
        let (_, model) = request.path.split_once("models/").unwrap();
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let turns = body["contents"].as_array().unwrap().len();
        (model.split(':').next().unwrap().to_owned(), turns)
    });
    asked.collect()
}

async fn while_a_model_keeps_failing_frames_are_told_at_once_when_to_come_back(door: Door) {
    let app = TestApp::at(door).with(touchy).start().await;
    app.script([Move::status(503)]);
    let mut desk = app.greeted().await;
    for frame in ["a", "b", "c"] {
        let error = error(&mut desk, frame).await;
        assert_eq!(
            (error.code.as_str(), error.retryable),
            ("GEMINI_ERROR", true)
        );
        let wait = error.retry_after_ms;
        assert!((595_000..=900_000).contains(&wait), "{wait}");
    }
    assert_eq!(app.model.recorded().len(), 1, "nothing more was asked");
    for line in [
        "proactive_model_circuit{model=\"gemini-3.5-flash-lite\"} 2",
        "proactive_model_circuit_opened_total{model=\"gemini-3.5-flash-lite\"} 1",
        "proactive_model_calls_refused_total{model=\"gemini-3.5-flash-lite\"} 3",
    ] {
        app.metric_becomes(line).await;
    }
}

async fn a_model_that_answers_again_is_asked_again(door: Door) {
    let soon = |set: &mut Settings| {
        touchy(set);
        set.model_circuit_open = "100ms".into();
    };
    let app = TestApp::at(door).with(soon).start().await;
    app.script([
        Move::drop_connection(),
        Move::status(500),
        nothing(),
        nothing(),
    ]);
    let mut desk = app.greeted().await;
    for frame in ["drop", "500"] {
        let error = error(&mut desk, frame).await;
        assert!((1..1_000).contains(&error.retry_after_ms), "{error:?}");
        // As a client does: no earlier.
        sleep(Duration::from_millis(error.retry_after_ms as u64)).await;
    }
    outcome(&mut desk, "good").await;
    assert_eq!(app.model.recorded().len(), 3, "one try for each frame");
    outcome(&mut desk, "after").await;
    app.metric_becomes("proactive_model_circuit{model=\"gemini-3.5-flash-lite\"} 0")
        .await;
}

async fn what_is_wrong_with_a_screen_a_quota_or_a_key_is_no_outage(door: Door) {
    let app = TestApp::at(door).with(with_fallback).start().await;
    let mut desk = app.greeted().await;
    for (at, fault) in [
        Move::status(400),
        Move::status(403),
        Move::status(429).quota_failure("GenerateRequestsPerDayPerProject"),
        Move::status(429).retry_info("300s"),
        Move::blocked("SAFETY"),
        nothing().finish_reason("MAX_TOKENS"),
    ]
    .into_iter()
    .enumerate()
    {
        app.script([fault, nothing()]);
        error(&mut desk, &format!("bad-{at}")).await;
        let (_, bill, _) = outcome(&mut desk, &format!("good-{at}")).await;
        assert_eq!(bill.model_asked, MODEL);
    }
}

async fn a_frame_whose_model_is_out_of_order_is_shown_to_the_fallback(door: Door) {
    let app = TestApp::at(door).with(with_fallback).start().await;
    app.script([Move::status(503), nothing(), nothing()]);
    let mut desk = app.greeted().await;
    let (_, bill, _) = outcome(&mut desk, "a").await;
    assert_eq!((&*bill.model_asked, bill.model_calls), (FALLBACK, 2));
    // The circuit of the first is open.
    let (_, bill, _) = outcome(&mut desk, "b").await;
    assert_eq!((&*bill.model_asked, bill.model_calls), (FALLBACK, 1));
    let [first, fallback] = [MODEL, FALLBACK].map(|model| (model.to_owned(), 1));
    assert_eq!(asked(&app), [first, fallback.clone(), fallback]);
    for line in [
        "proactive_model_calls_total{model=\"gemini-3.5-flash-lite\",code=\"503\"} 1",
        "proactive_model_calls_total{model=\"gemini-3.8-flash\",code=\"200\"} 2",
        "proactive_model_circuit{model=\"gemini-3.5-flash-lite\"} 2",
        "proactive_model_circuit{model=\"gemini-3.8-flash\"} 0",
    ] {
        app.metric_becomes(line).await;
    }
}

async fn a_model_that_fails_in_the_middle_leaves_a_frame_that_begins_anew(door: Door) {
    let app = TestApp::at(door).with(with_fallback).start().await;
    let usage = |said: Move, tokens: u64| {
        said.with("/usageMetadata", json!({ "promptTokenCount": tokens }))
    };
    app.script([
        usage(search(), 1_000_000),
        Move::status(503),
        // Not before it has searched: the other's search is not its own.
        extract(),
        usage(search(), 1_000_000),
        extract().without("/usageMetadata"),
    ]);
    let mut desk = app.greeted().await;
    let (outcome, bill, searches) = outcome(&mut desk, "f").await;
    assert_eq!(outcome.outcome_kind(), OutcomeKind::ExtractTask);
    assert_eq!(searches, 2, "each model searched for itself");
    let turns = [
        (MODEL, 1),
        (MODEL, 3),
        (FALLBACK, 1),
        (FALLBACK, 3),
        (FALLBACK, 5),
    ];
    assert_eq!(
        asked(&app),
        turns.map(|(model, turns)| (model.to_owned(), turns))
    );
    let requests = app.model.recorded();
    let signature = "thoughtSignature";
    let shown = |at: usize| String::from_utf8_lossy(&requests[at].body).into_owned();
    assert!(shown(1).contains(signature) && !shown(2).contains(signature));
    assert_eq!((&*bill.model_asked, bill.model_calls), (FALLBACK, 5));
    assert!(bill.prompt_tokens >= 2_000_000, "{bill:?}");
    // Each by its own price: 0.30 and 0.75 dollars, and a little for one turn.
    assert!(
        (1_050_000..1_100_000).contains(&bill.cost_micro_usd),
        "{bill:?}"
    );
}

async fn when_both_are_out_of_order_frames_are_told_at_once(door: Door) {
    let app = TestApp::at(door).with(with_fallback).start().await;
    app.script([Move::status(503), Move::status(502)]);
    let mut desk = app.greeted().await;
    for frame in ["a", "b"] {
        let error = error(&mut desk, frame).await;
        assert_eq!(
            (error.code.as_str(), error.retryable),
            ("GEMINI_ERROR", true)
        );
        assert!(error.retry_after_ms >= 595_000, "{error:?}");
    }
    assert_eq!(app.model.recorded().len(), 2);
}
