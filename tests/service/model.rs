//! A model that misbehaves in every way its wire allows, and what the desktop is
//! told.

use std::time::Duration;

use proactive::stand_in::{Call, KEY_ECHO, Move};
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{OutcomeKind, ServerEvent};
use prost::Message;
use serde_json::json;

use crate::support::{App, Desk, Door, TestApp};

crate::both_doors![
    a08_gone_the_key_in_a_url,
    a18_a_final_refusal_is_told_once_not_retried_and_leaks_nothing,
    a18_gone_no_retry_on_429_and_503_passing_faults_are_asked_again,
    a18_a_quota_says_rate_limited_and_one_per_day_is_not_retried,
    a18_numbers_that_cannot_be_true_end_no_session,
    a18_model_words_that_hold_a_url_are_not_passed_on,
    a18_a_model_that_hangs_is_given_up_within_its_timeout,
    a_connection_that_breaks_and_an_answer_that_is_cut_are_asked_again,
    an_answer_without_end_is_read_no_further_than_any_may_be_and_asked_for_again,
    gone_a_malformed_turn_reported_as_no_task_found,
    blocked_prompts_and_final_finish_reasons_are_told_honestly,
    a17_no_call_an_unknown_function_and_no_decision_are_no_task_found_with_the_reason,
    gone_only_the_first_call_read_and_signatures_or_ids_dropped,
    a20_a_sloppy_task_gets_the_documented_defaults,
    however_much_the_model_says_an_answer_has_at_most_30_kb,
    a25_a26_a_task_needs_a_search_and_a_title_and_the_model_is_told_why,
    a_turn_that_searches_and_decides_at_once_is_shown_the_results_first,
    a_slow_model_is_waited_for,
];

const KEY: &str = "AIza-a-secret-key-of-the-tests";

async fn app(door: Door) -> App {
    let with_key = |set: &mut proactive::config::Settings| set.gemini_api_key = Some(KEY.into());
    TestApp::at(door).with(with_key).start().await
}

async fn told(app: &App, moves: impl IntoIterator<Item = Move>) -> Event {
    app.script(moves);
    let mut desk = app.greeted().await;
    desk.frame("f", "x").await;
    let event = answered(&mut desk).await;
    assert_eq!(app.model.unplayed(), 0, "every move was played");
    event
}

/// The terminal event; searches are answered with nothing.
async fn answered(desk: &mut Desk) -> Event {
    loop {
        match desk.event().await {
            Event::ToolCallRequest(request) => desk.answer(&request, vec![]).await,
            event => return event,
        }
    }
}

fn reason(event: Event) -> String {
    match event {
        Event::AnalysisOutcome(outcome) => {
            assert_eq!(outcome.outcome_kind(), OutcomeKind::NoTaskFound);
            outcome.reason
        }
        other => panic!("{other:?}"),
    }
}

fn nothing() -> Move {
    Move::call("no_task_found", json!({}))
}

async fn a08_gone_the_key_in_a_url(door: Door) {
    let app = app(door).await;
    told(&app, [nothing()]).await;
    let request = app.model.recorded().pop().unwrap();
    assert_eq!(
        request.path,
        "/v1beta/models/gemini-3.5-flash-lite:generateContent"
    );
    assert_eq!(request.headers["x-goog-api-key"], KEY);
    let seconds: u64 = request.headers["x-server-timeout"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((29..=30).contains(&seconds));
    let length: usize = request.headers["content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(
        length,
        request.body.len(),
        "the length is known, nothing is chunked"
    );
}

async fn a18_a_final_refusal_is_told_once_not_retried_and_leaks_nothing(door: Door) {
    for status in [400, 401, 403, 404] {
        let app = app(door).await;
        let echo = format!("bad key {KEY_ECHO} at https://example.test/?key={KEY_ECHO}");
        let event = told(&app, [Move::status(status).message(&echo)]).await;
        let Event::ServerError(error) = event else {
            panic!("{event:?}")
        };
        assert_eq!(
            (error.code.as_str(), error.retryable),
            ("GEMINI_ERROR", false)
        );
        assert_eq!(error.frame_id, "f");
        for secret in [KEY, "http", "key="] {
            assert!(!error.message.contains(secret), "{}", error.message);
        }
        assert_eq!(app.model.recorded().len(), 1, "not retried");
    }
}

async fn a18_gone_no_retry_on_429_and_503_passing_faults_are_asked_again(door: Door) {
    let app = app(door).await;
    let moves = [
        Move::status(503),
        Move::status(429).retry_info("0.1s"),
        nothing(),
    ];
    assert_eq!(reason(told(&app, moves).await), "");
    assert_eq!(app.model.recorded().len(), 3);
}

async fn a18_a_quota_says_rate_limited_and_one_per_day_is_not_retried(door: Door) {
    let app = app(door).await;
    let daily = Move::status(429)
        .quota_failure("GenerateRequestsPerDayPerProject")
        .in_array();
    let Event::ServerError(error) = told(&app, [daily]).await else {
        panic!()
    };
    assert_eq!(
        (error.code.as_str(), error.retryable),
        ("RATE_LIMITED", false)
    );
    // Longer than the frame has: told at once, instead of waiting in vain.
    let Event::ServerError(error) = told(&app, [Move::status(429).retry_info("300s")]).await else {
        panic!()
    };
    assert_eq!(
        (error.code.as_str(), error.retryable, error.retry_after_ms),
        ("RATE_LIMITED", true, 300_000)
    );
}

async fn a18_numbers_that_cannot_be_true_end_no_session(door: Door) {
    let app = app(door).await;
    let refusals = [
        Move::status(429).retry_info("1e19s"),
        Move::status(429).header("retry-after", "10000000000000000000"),
    ];
    for refusal in refusals {
        let Event::ServerError(error) = told(&app, [refusal]).await else {
            panic!()
        };
        assert_eq!(
            (error.code.as_str(), error.retryable, error.retry_after_ms),
            ("RATE_LIMITED", true, 86_400_000)
        );
    }
    let most = json!(u64::MAX);
    let dear = || {
        nothing()
            .with("/usageMetadata/candidatesTokenCount", most.clone())
            .with("/usageMetadata/thoughtsTokenCount", most.clone())
    };
    app.script([dear(), dear()]);
    let mut desk = app.greeted().await;
    for frame in ["one", "two"] {
        desk.frame(frame, "x").await;
        assert_eq!(reason(answered(&mut desk).await), "");
    }
}

async fn a18_model_words_that_hold_a_url_are_not_passed_on(door: Door) {
    let app = app(door).await;
    let url = "https://proxy.local/x";
    let Event::ServerError(error) = told(&app, [Move::blocked(url)]).await else {
        panic!()
    };
    assert!(error.message.contains("(UNKNOWN)"), "{}", error.message);
    let finish = || Move::finish(url);
    let Event::ServerError(error) = told(&app, [finish(), finish()]).await else {
        panic!()
    };
    assert!(error.message.contains("(UNKNOWN)"), "{}", error.message);
}

async fn a18_a_model_that_hangs_is_given_up_within_its_timeout(door: Door) {
    let quick = |set: &mut proactive::config::Settings| set.model_timeout = "1s".into();
    let app = TestApp::at(door).with(quick).start().await;
    let Event::ServerError(error) = told(&app, [Move::hang()]).await else {
        panic!()
    };
    assert_eq!(
        (error.code.as_str(), error.retryable),
        ("GEMINI_ERROR", true)
    );
    assert!(error.message.contains("in time"));
}

async fn a_connection_that_breaks_and_an_answer_that_is_cut_are_asked_again(door: Door) {
    let app = app(door).await;
    let moves = [Move::drop_connection(), nothing().cut(), nothing()];
    assert_eq!(reason(told(&app, moves).await), "");
}

async fn an_answer_without_end_is_read_no_further_than_any_may_be_and_asked_for_again(door: Door) {
    let app = app(door).await;
    let moves = [Move::endless(), nothing()];
    assert_eq!(reason(told(&app, moves).await), "");
}

async fn gone_a_malformed_turn_reported_as_no_task_found(door: Door) {
    let app = app(door).await;
    let malformed = || Move::finish("MALFORMED_FUNCTION_CALL");
    let Event::ServerError(error) = told(&app, [malformed(), malformed(), malformed()]).await
    else {
        panic!()
    };
    assert_eq!(
        (error.code.as_str(), error.retryable),
        ("GEMINI_ERROR", true)
    );
    assert_eq!(
        reason(told(&app, [malformed(), nothing()]).await),
        "",
        "a retry may help"
    );
    let cut = Move::call("no_task_found", json!({})).finish_reason("MAX_TOKENS");
    let Event::ServerError(error) = told(&app, [cut]).await else {
        panic!()
    };
    assert_eq!(
        error.code, "GEMINI_ERROR",
        "a truncated call is not executed"
    );
    let content = || nothing().with("/candidates/0/content", json!(5));
    let Event::ServerError(error) = told(&app, [content(), content(), content()]).await else {
        panic!()
    };
    assert_eq!(
        (error.code.as_str(), error.retryable),
        ("GEMINI_ERROR", true)
    );
    assert!(error.message.contains("(MALFORMED_CONTENT)"));
    let good = || json!({ "functionCall": { "name": "search_similar", "args": { "query": "x" } } });
    for broken in [
        nothing().with("/candidates/0/content/parts", json!({})),
        Move::parts([json!({ "functionCall": "no_task_found" })]),
        // Beside a good call: neither is executed, and nothing is echoed.
        Move::parts([good(), json!({ "functionCall": { "args": {} } })]),
    ] {
        let before = app.model.recorded().len();
        assert_eq!(reason(told(&app, [broken, nothing()]).await), "");
        assert_eq!(app.model.recorded().len(), before + 2, "asked again");
    }
}

async fn blocked_prompts_and_final_finish_reasons_are_told_honestly(door: Door) {
    let app = app(door).await;
    for filtered in [
        Move::blocked("SAFETY"),
        Move::finish("RECITATION"),
        Move::finish("SPII"),
    ] {
        let Event::ServerError(error) = told(&app, [filtered]).await else {
            panic!()
        };
        assert_eq!(
            (error.code.as_str(), error.retryable),
            ("GEMINI_ERROR", false)
        );
        assert!(
            ["SAFETY", "RECITATION", "SPII"]
                .iter()
                .any(|word| error.message.contains(word))
        );
    }
}

async fn a17_no_call_an_unknown_function_and_no_decision_are_no_task_found_with_the_reason(
    door: Door,
) {
    let app = app(door).await;
    assert!(reason(told(&app, [Move::text("I think…")]).await).contains("no function"));
    assert!(reason(told(&app, [Move::empty()]).await).contains("no function"));
    let unknown = Move::call("format_disk", json!({}));
    assert!(reason(told(&app, [unknown]).await).contains("unknown function"));
    let search = |query| Move::call("search_similar", json!({ "query": query }));
    let forever = [1, 2, 3, 4, 5].map(search);
    assert!(reason(told(&app, forever).await).contains("no decision within 5"));
    let last = app.model.recorded().pop().unwrap();
    let body: serde_json::Value = serde_json::from_slice(&last.body).unwrap();
    let calling = &body["toolConfig"]["functionCallingConfig"];
    let terminal = json!(["extract_task", "reject_task", "no_task_found"]);
    assert_eq!(
        (&calling["mode"], &calling["allowedFunctionNames"]),
        (&json!("ANY"), &terminal)
    );
}

async fn gone_only_the_first_call_read_and_signatures_or_ids_dropped(door: Door) {
    let app = app(door).await;
    let turn = Move::parts([
        json!({ "text": "thinking aloud" }),
        json!({
            "functionCall": { "id": "one", "name": "search_similar", "args": { "query": "a" } },
            "thoughtSignature": "c2lnbmF0dXJl"
        }),
        json!({ "functionCall": { "id": "two", "name": "search_keywords", "args": { "query": "b" } } }),
    ]);
    assert_eq!(reason(told(&app, [turn, nothing()]).await), "");
    // The stand-in refuses a conversation that does not give them back; look
    // all the same.
    let body: serde_json::Value =
        serde_json::from_slice(&app.model.recorded().pop().unwrap().body).unwrap();
    assert_eq!(
        body["contents"][1]["parts"][1]["thoughtSignature"],
        "c2lnbmF0dXJl"
    );
    let answers = body["contents"][2]["parts"].as_array().unwrap();
    let ids: Vec<_> = answers
        .iter()
        .map(|part| &part["functionResponse"]["id"])
        .collect();
    assert_eq!(ids, ["one", "two"]);
    assert_eq!(
        body["contents"].as_array().unwrap().len(),
        3,
        "one user turn answers both"
    );
}

async fn a20_a_sloppy_task_gets_the_documented_defaults(door: Door) {
    let app = app(door).await;
    let sloppy = json!({
        "title": "Send the signed lease to the Berlin office", "priority": "URGENT", "tags": "a,b",
        "relevance_score": "soon", "confidence": "very", "source_category": 7,
        "inferred_deadline": "someday", "new_field": {}
    });
    let search = Move::call("search_similar", json!({ "query": "x" }));
    let Event::AnalysisOutcome(outcome) =
        told(&app, [search, Move::call("extract_task", sloppy)]).await
    else {
        panic!()
    };
    let task = outcome.task.unwrap();
    assert_eq!(
        (task.priority, task.relevance_score, task.confidence),
        (2, 100, 0.5)
    );
    assert_eq!(
        (task.source_app.as_str(), task.source_category.as_str()),
        ("Huddle", "other")
    );
    assert_eq!(task.inferred_deadline, "");
}

async fn however_much_the_model_says_an_answer_has_at_most_30_kb(door: Door) {
    let app = app(door).await;
    // As many bytes to a character as there can be.
    let giant = "𝕏".repeat(3_000);
    let giant = json!({
        "title": format!("Send the signed lease to the Berlin office {giant}"), "description": giant,
        "tags": vec![&giant; 50], "source_app": giant, "inferred_deadline": giant,
        "source_category": giant, "source_subcategory": giant, "context_summary": giant,
        "current_activity": giant,
    });
    let search = Move::call("search_similar", json!({ "query": "x" }));
    let extract = Move::call("extract_task", giant);
    let outcome = told(&app, [search, extract]).await;
    let size = ServerEvent {
        event: Some(outcome),
    }
    .encoded_len();
    assert!((15_000..30_000).contains(&size), "{size} bytes");
}

async fn a25_a26_a_task_needs_a_search_and_a_title_and_the_model_is_told_why(door: Door) {
    let app = app(door).await;
    let extract = |title: &str| Move::call("extract_task", json!({ "title": title }));
    let good = "Send the signed lease to the Berlin office";
    let moves = [
        extract(good),
        Move::call("search_similar", json!({ "query": "lease" })),
        extract("Send the lease"),
        extract(good),
    ];
    let Event::AnalysisOutcome(outcome) = told(&app, moves).await else {
        panic!()
    };
    assert_eq!(outcome.task.unwrap().title, good);
    let body: serde_json::Value =
        serde_json::from_slice(&app.model.recorded().pop().unwrap().body).unwrap();
    let error = |turn: usize| {
        let response = &body["contents"][turn]["parts"][0]["functionResponse"]["response"];
        response["error"].as_str().unwrap_or_default().to_owned()
    };
    assert!(error(2).contains("Search first"));
    assert!(error(6).contains("six words"));
}

async fn a_turn_that_searches_and_decides_at_once_is_shown_the_results_first(door: Door) {
    let app = app(door).await;
    let both = Move::calls([
        Call::new(
            "extract_task",
            json!({ "title": "Send the signed lease to the Berlin office" }),
        ),
        Call::new("search_similar", json!({ "query": "lease" })),
    ]);
    assert_eq!(reason(told(&app, [both, nothing()]).await), "");
}

async fn a_slow_model_is_waited_for(door: Door) {
    let app = app(door).await;
    assert_eq!(
        reason(told(&app, [nothing().after(Duration::from_millis(300))]).await),
        ""
    );
    app.metric_becomes("proactive_model_seconds_count 1").await;
}
