//! A desktop's day: hello, frames, searches, decisions.

use proactive::stand_in::{Call, Move};
use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{
    ActiveTask, CancelFrame, Heartbeat, MatchType, OutcomeKind, SearchResult, SessionContext,
    TaskStatus, ToolKind, ToolResult,
};
use serde_json::json;

use crate::support::{Door, TestApp, frame};

crate::both_doors![
    a03_a_hello_is_answered_with_everything_the_contract_says,
    a12_a16_a_request_is_searched_for_and_extracted_with_a_bill,
    a16_a_request_already_tracked_is_rejected_with_its_reason,
    a16_a_screen_without_a_request_ends_at_once,
    a01_a_client_of_1_0_gets_exactly_the_old_contract,
    a04_a_frame_before_hello_is_told_no_context_and_the_stream_goes_on,
    a06_a_frame_with_a_new_context_replaces_the_old_one,
    a07_a23_a_heartbeat_and_a_frame_during_a_tool_wait_are_taken,
    a13_results_nobody_waits_for_are_discarded_and_the_right_one_still_counts,
    a14_the_model_sees_results_emptiness_and_errors_as_what_they_are,
    a15_gone_a_cancel_tool_request_never_sent,
    a_cancelled_frame_is_answered_cancelled_and_its_model_call_ends,
    beyond_two_frames_the_newest_waits_and_the_older_one_is_superseded,
    gone_stub_callbacks_every_event_of_a_client_has_its_effect,
    gone_a_tool_result_dropped_as_unexpected,
    gone_two_readers_on_one_stream_events_are_taken_once_and_in_order,
    a10_gone_ocr_text_never_in_the_prompt,
];

const REQUEST: &str = "Anna: Hi, can you send the Berlin office the signed lease before Tuesday?";

async fn a03_a_hello_is_answered_with_everything_the_contract_says(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.desk().await;
    desk.hello("1.0").await;
    let ready = desk.ready().await;
    assert_eq!(ready.session_id.len(), 36);
    assert_eq!(ready.protocol_version, "1.0");
    assert_eq!(ready.context_version, "v1");
    assert_eq!(ready.max_model_iterations, 5);
    assert_eq!(ready.supported_tool_kinds, [1, 2]);
    assert_eq!(ready.heartbeat_interval_ms, 0, "an addition of 1.1");
    desk.hello("1.1").await;
    let again = desk.ready().await;
    assert_eq!(again.session_id, ready.session_id);
    assert_eq!(
        (again.protocol_version.as_str(), again.heartbeat_interval_ms),
        ("1.1", 20_000)
    );
}

async fn a12_a16_a_request_is_searched_for_and_extracted_with_a_bill(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.greeted().await;
    desk.frame("shot-1", REQUEST).await;
    let mut searches = 0;
    let outcome = loop {
        match desk.event().await {
            Event::ToolCallRequest(request) => {
                searches += 1;
                assert_eq!(request.request_id.len(), 36);
                assert_eq!(request.frame_id, "shot-1");
                // What is left of the 10 s when it is sent.
                assert!((5_000..=10_000).contains(&request.deadline_ms));
                assert!(!request.arguments.as_ref().unwrap().query.is_empty());
                assert!(ToolKind::try_from(request.tool_kind).is_ok());
                desk.answer(&request, vec![]).await;
            }
            Event::AnalysisOutcome(outcome) => break outcome,
            other => panic!("{other:?}"),
        }
    };
    assert!(searches >= 1);
    assert_eq!(outcome.outcome_kind(), OutcomeKind::ExtractTask);
    assert_eq!(outcome.frame_id, "shot-1");
    assert!(!outcome.context_summary.is_empty() && !outcome.current_activity.is_empty());
    let task = outcome.task.unwrap();
    assert!(
        task.title.contains("Berlin") && task.title.contains("lease"),
        "{}",
        task.title
    );
    let bill = outcome.bill.unwrap();
    assert_eq!(bill.model_asked, "gemini-3.5-flash-lite");
    assert_eq!(bill.model_answered, "stand-in-1");
    assert!(bill.model_calls >= 2 && bill.prompt_tokens > 1_000 && bill.cost_micro_usd > 0);
    assert!(bill.total_ms >= bill.model_ms);
}

async fn a16_a_request_already_tracked_is_rejected_with_its_reason(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.greeted().await;
    desk.frame("f", REQUEST).await;
    let request = desk.search().await;
    let tracked = SearchResult {
        task_id: 7,
        description: "Send signed lease to the Berlin office".into(),
        status: TaskStatus::Active.into(),
        similarity: 0.9,
        match_type: MatchType::Vector.into(),
        relevance_score: 2,
    };
    desk.answer(&request, vec![tracked]).await;
    let outcome = desk.outcome().await;
    assert_eq!(outcome.outcome_kind(), OutcomeKind::RejectTask);
    assert!(!outcome.reason.is_empty() && outcome.task.is_none());
}

async fn a16_a_screen_without_a_request_ends_at_once(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.greeted().await;
    desk.frame("f", "fn main() {}").await;
    let outcome = desk.outcome().await;
    assert_eq!(outcome.outcome_kind(), OutcomeKind::NoTaskFound);
    assert_eq!(app.model.recorded().len(), 1, "one call, no search");
}

async fn a01_a_client_of_1_0_gets_exactly_the_old_contract(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.desk().await;
    desk.hello("1.0").await;
    desk.ready().await;
    desk.frame("f", "fn main() {}").await;
    assert_eq!(desk.outcome().await.bill, None);
}

async fn a04_a_frame_before_hello_is_told_no_context_and_the_stream_goes_on(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.desk().await;
    desk.frame("early", "x").await;
    let error = desk.error().await;
    assert_eq!((error.code.as_str(), error.retryable), ("NO_CONTEXT", true));
    assert_eq!(error.frame_id, "early");
    desk.hello("1.0").await;
    desk.ready().await;
    desk.frame("early", "fn main() {}").await;
    assert_eq!(desk.outcome().await.frame_id, "early");
}

async fn a06_a_frame_with_a_new_context_replaces_the_old_one(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.greeted().await;
    let mut with_context = frame("1", "fn main() {}");
    let task = |text: &str| ActiveTask {
        description: text.into(),
        ..ActiveTask::default()
    };
    let tasks = |text| SessionContext {
        active_tasks: vec![task(text)],
        ..SessionContext::default()
    };
    with_context.context_version = "v2".into();
    with_context.session_context = Some(tasks("Water the plants"));
    desk.say(Said::FrameEvent(with_context.clone())).await;
    desk.outcome().await;
    // The same version again: the tasks that came first are kept.
    with_context.screenshot_id = "2".into();
    with_context.session_context = Some(tasks("Something else"));
    desk.say(Said::FrameEvent(with_context)).await;
    desk.outcome().await;
    for request in app.model.recorded() {
        let body = String::from_utf8(request.body.to_vec()).unwrap();
        assert!(body.contains("Water the plants") && !body.contains("Something else"));
    }
}

async fn a07_a23_a_heartbeat_and_a_frame_during_a_tool_wait_are_taken(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.greeted().await;
    desk.frame("slow", REQUEST).await;
    let search = desk.search().await;
    desk.say(Said::Heartbeat(Heartbeat::default())).await;
    desk.frame("quick", "fn main() {}").await;
    assert_eq!(
        desk.outcome().await.frame_id,
        "quick",
        "not behind the frame that waits"
    );
    desk.answer(&search, vec![]).await;
    while let Event::ToolCallRequest(request) = desk.event().await {
        desk.answer(&request, vec![]).await;
    }
}

async fn a13_results_nobody_waits_for_are_discarded_and_the_right_one_still_counts(door: Door) {
    let app = TestApp::at(door).start().await;
    app.script([
        Move::call("search_similar", json!({ "query": "lease" })),
        Move::call("no_task_found", json!({})),
    ]);
    let mut desk = app.greeted().await;
    desk.frame("f", REQUEST).await;
    let mut search = desk.search().await;
    let right = search.request_id.clone();
    for wrong in ["", "nonsense", "00000000-0000-4000-8000-000000000000"] {
        search.request_id = wrong.into();
        desk.answer(&search, vec![]).await;
    }
    search.request_id = right;
    search.frame_id = "another frame".into();
    desk.answer(&search, vec![]).await;
    desk.answer(&search, vec![]).await;
    assert_eq!(desk.outcome().await.frame_id, "f");
    app.metric_becomes("proactive_discarded_tool_results_total 4")
        .await;
}

async fn a14_the_model_sees_results_emptiness_and_errors_as_what_they_are(door: Door) {
    let app = TestApp::at(door).start().await;
    app.script([
        Move::calls([
            Call::new("search_similar", json!({ "query": "a" })).id("call-a"),
            Call::new("search_keywords", json!({ "query": "b" })).id("call-b"),
            Call::new("search_keywords", json!({ "query": "c" })).id("call-c"),
        ]),
        Move::call("no_task_found", json!({})),
    ]);
    let mut desk = app.greeted().await;
    desk.frame("f", REQUEST).await;
    for _ in 0..3 {
        let request = desk.search().await;
        match request.arguments.as_ref().unwrap().query.as_str() {
            "a" => {
                let found = SearchResult {
                    task_id: 41,
                    description: "Send the lease".into(),
                    status: TaskStatus::Deleted.into(),
                    similarity: 0.73,
                    match_type: MatchType::Both.into(),
                    relevance_score: 9,
                };
                desk.answer(&request, vec![found]).await;
            }
            "b" => desk.answer(&request, vec![]).await,
            _ => {
                let error = "index is being rebuilt".into();
                let request_id = request.request_id;
                let result = ToolResult {
                    request_id,
                    error,
                    ..ToolResult::default()
                };
                desk.say(Said::ToolResult(result)).await;
            }
        }
    }
    desk.outcome().await;
    let second = app.model.recorded().pop().unwrap();
    let body: serde_json::Value = serde_json::from_slice(&second.body).unwrap();
    let answers = &body["contents"][2]["parts"];
    let told = |i: usize, id: &str| {
        assert_eq!(
            answers[i]["functionResponse"]["id"], id,
            "in call order, with its id"
        );
        answers[i]["functionResponse"]["response"].clone()
    };
    assert_eq!(
        told(0, "call-a")["output"]["results"][0],
        json!({
            "task_id": 41, "description": "Send the lease", "status": "deleted", "score": 9,
            "similarity": 0.73, "match_type": "meaning and words"
        })
    );
    let empty = told(1, "call-b");
    assert_eq!(empty["output"]["count"], 0);
    assert!(
        empty["output"]["note"]
            .as_str()
            .unwrap()
            .contains("Nothing similar")
    );
    let failed = told(2, "call-c");
    assert!(
        failed["error"]
            .as_str()
            .unwrap()
            .contains("index is being rebuilt")
    );
    assert!(
        failed.get("output").is_none(),
        "an error is not an empty result"
    );
}

async fn a15_gone_a_cancel_tool_request_never_sent(door: Door) {
    let app = TestApp::at(door)
        .with(|set| set.tool_timeout = "100ms".into())
        .start()
        .await;
    let mut desk = app.greeted().await;
    desk.frame("f", REQUEST).await;
    let search = desk.search().await;
    match desk.event().await {
        Event::CancelToolRequest(cancel) => {
            assert_eq!(
                (cancel.request_id, cancel.frame_id),
                (search.request_id, "f".into())
            );
        }
        other => panic!("{other:?}"),
    }
    let outcome = desk.outcome().await;
    assert_eq!(outcome.outcome_kind(), OutcomeKind::NoTaskFound);
    assert!(
        outcome.reason.contains("search_similar"),
        "{}",
        outcome.reason
    );
}

async fn a_cancelled_frame_is_answered_cancelled_and_its_model_call_ends(door: Door) {
    let app = TestApp::at(door).start().await;
    app.script([Move::hang()]);
    let mut desk = app.greeted().await;
    desk.frame("f", "x").await;
    let mut traffic = app.model.traffic();
    traffic.wait_for(|traffic| traffic.open == 1).await.unwrap();
    desk.say(Said::CancelFrame(CancelFrame {
        frame_id: "f".into(),
    }))
    .await;
    let error = desk.error().await;
    assert_eq!(
        (error.code.as_str(), error.frame_id.as_str()),
        ("CANCELLED", "f")
    );
    traffic.wait_for(|traffic| traffic.open == 0).await.unwrap();
    let cancelled =
        "proactive_model_calls_total{model=\"gemini-3.5-flash-lite\",code=\"cancelled\"} 1";
    app.metric_becomes(cancelled).await;
}

async fn beyond_two_frames_the_newest_waits_and_the_older_one_is_superseded(door: Door) {
    let app = TestApp::at(door).start().await;
    app.script([Move::hang(), Move::hang()]);
    let mut desk = app.greeted().await;
    for id in ["1", "2", "3", "4"] {
        desk.frame(id, "fn main() {}").await;
    }
    let error = desk.error().await;
    assert_eq!((error.code.as_str(), error.retryable), ("SUPERSEDED", true));
    assert_eq!(error.frame_id, "3");
    desk.say(Said::CancelFrame(CancelFrame {
        frame_id: "1".into(),
    }))
    .await;
    assert_eq!(desk.error().await.code, "CANCELLED");
    assert_eq!(desk.outcome().await.frame_id, "4");
}

async fn gone_stub_callbacks_every_event_of_a_client_has_its_effect(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.desk().await;
    desk.hello("1.1").await;
    desk.ready().await;
    desk.say(Said::Heartbeat(Heartbeat::default())).await;
    desk.frame("f", REQUEST).await;
    let search = desk.search().await;
    desk.answer(&search, vec![]).await;
    // The result was used: the model goes on and asks for words.
    let search = desk.search().await;
    assert_eq!(search.tool_kind(), ToolKind::SearchKeywords);
    desk.say(Said::CancelFrame(CancelFrame {
        frame_id: "f".into(),
    }))
    .await;
    assert!(matches!(desk.event().await, Event::CancelToolRequest(_)));
    assert_eq!(desk.error().await.code, "CANCELLED");
}

async fn gone_a_tool_result_dropped_as_unexpected(door: Door) {
    let app = TestApp::at(door).start().await;
    let search = |query| Call::new("search_similar", json!({ "query": query }));
    app.script([
        Move::calls([search("a"), search("b"), search("c")]),
        Move::call("no_task_found", json!({})),
    ]);
    let mut desk = app.greeted().await;
    desk.frame("f", REQUEST).await;
    let mut asked = vec![
        desk.search().await,
        desk.search().await,
        desk.search().await,
    ];
    // In whatever order they come, and with something else in between.
    asked.reverse();
    for request in &asked {
        desk.say(Said::Heartbeat(Heartbeat::default())).await;
        desk.answer(request, vec![]).await;
    }
    assert_eq!(desk.outcome().await.frame_id, "f");
    app.metric_becomes("proactive_discarded_tool_results_total 0")
        .await;
    let answered = "proactive_tool_calls_total{tool=\"search_similar\",result=\"answered\"} 3";
    app.metric_becomes(answered).await;
}

async fn gone_two_readers_on_one_stream_events_are_taken_once_and_in_order(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.greeted().await;
    for number in 0..100 {
        let mut unusable = frame(&number.to_string(), "x");
        unusable.jpeg_bytes = b"no jpeg".to_vec().into();
        desk.say(Said::FrameEvent(unusable)).await;
        assert_eq!(desk.error().await.frame_id, number.to_string());
    }
    // And in one go.
    for number in 0..16 {
        let mut unusable = frame(&number.to_string(), "x");
        unusable.jpeg_bytes = b"no jpeg".to_vec().into();
        desk.say(Said::FrameEvent(unusable)).await;
    }
    for number in 0..16 {
        assert_eq!(desk.error().await.frame_id, number.to_string());
    }
}

async fn a10_gone_ocr_text_never_in_the_prompt(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.greeted().await;
    desk.frame("f", "The \"quoted\" words\nof this screen")
        .await;
    desk.outcome().await;
    let body: serde_json::Value =
        serde_json::from_slice(&app.model.recorded().pop().unwrap().body).unwrap();
    let parts = body["contents"][0]["parts"].as_array().unwrap();
    let text: String = parts
        .iter()
        .filter_map(|part| part["text"].as_str())
        .collect();
    for shown in [
        "The \"quoted\" words\nof this screen",
        "⟦app⟧Huddle⟦/app⟧",
        "⟦window⟧Anna⟦/window⟧",
        "Today is ",
    ] {
        assert!(text.contains(shown), "{shown} is not in {text}");
    }
    assert_eq!(parts[1]["inlineData"]["mimeType"], "image/jpeg");
}
