//! Searches: asked for, answered, not answered, answered wrongly.

use std::time::Duration;

use proactive::domain::{Decision, Hit, RequestId, SearchKind};
use proactive::session::ServerMessage;
use serde_json::json;

use super::support::{
    Core, Desk, Since, answered, call, extract, hit, keywords, nothing, reject, similar, turn,
};

const TEN: Duration = Duration::from_secs(10);

async fn searching() -> Desk {
    Core::new()
        .turns([turn([similar("signed lease")]), turn([extract()])])
        .greeted()
        .await
}

/// What the model is told if the desktop answers like this.
async fn told(answer: Result<Vec<Hit>, String>) -> serde_json::Value {
    let mut desk = Core::new()
        .turns([turn([similar("lease")]), turn([reject()])])
        .greeted()
        .await;
    desk.frame("f").await;
    let request = desk.search().await;
    desk.answer(&request, answer).await;
    desk.outcome("f").await;
    let parts = answered(&desk.views()[1]);
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0]["functionResponse"]["id"], "id-search_similar");
    desk.close().await;
    parts[0]["functionResponse"]["response"].clone()
}

#[tokio::test(start_paused = true)]
async fn a12_a_search_goes_to_the_desktop_and_its_result_continues_the_loop() {
    let mut desk = searching().await;
    desk.frame("f").await;
    let request = desk.search().await;
    assert_eq!(request.id.as_str().len(), 36, "a UUID");
    assert_eq!(request.frame.as_str(), "f");
    assert_eq!(
        (request.kind(), request.query()),
        (Some(SearchKind::Similar), "signed lease")
    );
    assert_eq!(request.timeout, TEN);
    assert_eq!(desk.pending.len(), 1);
    desk.answer(&request, Ok(vec![])).await;
    desk.task("f").await;
    assert!(desk.pending.is_empty());
    assert_eq!(
        desk.count("proactive_tool_calls_total{tool=\"search_similar\",result=\"answered\"}"),
        1
    );
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn gone_a_loop_that_ends_after_its_first_search() {
    let mut desk = Core::new()
        .turns([
            turn([similar("lease")]),
            turn([keywords("Berlin")]),
            turn([similar("contract")]),
            turn([keywords("office")]),
            turn([extract()]),
        ])
        .greeted()
        .await;
    desk.frame("f").await;
    for query in ["lease", "Berlin", "contract", "office"] {
        let request = desk.search().await;
        assert_eq!(request.query(), query);
        desk.answer(&request, Ok(vec![hit()])).await;
    }
    desk.task("f").await;
    assert_eq!(desk.views().len(), 5);
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a13_unknown_and_repeated_results_are_discarded_and_the_wait_goes_on_to_the_same_deadline()
{
    let mut desk = Core::new()
        .turns([turn([similar("a"), keywords("b")]), turn([nothing()])])
        .greeted()
        .await;
    desk.frame("f").await;
    let [first, second] = [desk.search().await, desk.search().await];
    let waited = Since::now();
    desk.silence(Duration::from_secs(4)).await;
    desk.answer_id(&RequestId::new("made up"), Ok(vec![hit()]))
        .await;
    desk.answer(&first, Ok(vec![])).await;
    for _ in 0..30 {
        desk.answer(&first, Err("again".into())).await;
    }
    desk.silence(Duration::from_secs(5)).await;
    assert_eq!(desk.search_called_off().await.0, second.id);
    assert_eq!(waited.millis(), TEN.as_millis());
    desk.no_task("f").await;
    assert_eq!(desk.count("proactive_discarded_tool_results_total"), 31);
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a13_a_late_result_is_discarded_and_does_not_reach_the_next_frame() {
    let mut desk = Core::new()
        .turns([turn([similar("a")]), turn([reject()])])
        .greeted()
        .await;
    desk.frame("f").await;
    let late = desk.search().await;
    desk.search_called_off().await;
    desk.no_task("f").await;
    desk.frame("g").await;
    let request = desk.search().await;
    assert_ne!(late.id, request.id);
    desk.answer(&late, Ok(vec![hit()])).await;
    desk.silence(Duration::from_secs(5)).await;
    desk.answer(&request, Ok(vec![])).await;
    desk.outcome("g").await;
    assert_eq!(
        answered(&desk.views()[2])[0]["functionResponse"]["response"]["output"]["count"],
        0
    );
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn gone_late_results_that_fill_a_queue_until_it_stalls() {
    let mut desk = searching().await;
    desk.frame("f").await;
    let late = desk.search().await;
    desk.search_called_off().await;
    desk.no_task("f").await;
    for _ in 0..1_000 {
        desk.answer(&late, Ok(vec![hit()])).await;
    }
    desk.frame("g").await;
    let request = desk.search().await;
    desk.answer(&request, Ok(vec![])).await;
    desk.task("g").await;
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a15_a_search_without_answer_is_called_off_and_then_the_frame_ends_with_the_reason() {
    let mut desk = searching().await;
    desk.frame("f").await;
    let request = desk.search().await;
    desk.silence(TEN - Duration::from_millis(10)).await;
    match desk.next().await {
        ServerMessage::CancelToolCall {
            request: id,
            frame,
            reason,
        } => {
            assert_eq!((id, frame.as_str()), (request.id, "f"));
            assert!(reason.contains("deadline"), "{reason}");
        }
        other => panic!("the search was not called off first: {other:?}"),
    }
    let outcome = desk.outcome("f").await;
    let Decision::NoTask { reason } = outcome.decision else {
        panic!("no task was expected");
    };
    assert!(
        reason.contains("search_similar") && reason.contains("deadline"),
        "{reason}"
    );
    assert!(!outcome.context_summary.is_empty() && !outcome.current_activity.is_empty());
    assert!(desk.pending.is_empty(), "its place is free");
    assert_eq!(desk.views().len(), 1, "the model was not asked again");
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a14_results_reach_the_model_with_status_similarity_match_type_score_and_description() {
    let response = told(Ok(vec![hit()])).await;
    let expected = json!({ "output": { "count": 1, "results": [{
        "task_id": 77,
        "status": "deleted",
        "similarity": 0.91,
        "match_type": "meaning and words",
        "score": 4,
        "description": "Send the lease",
    }] } });
    assert_eq!(response, expected);
}

#[tokio::test(start_paused = true)]
async fn a14_an_empty_result_says_so() {
    let response = told(Ok(vec![])).await;
    assert_eq!(response["output"]["count"], 0);
    let note = response["output"]["note"].as_str().unwrap();
    assert!(note.contains("Nothing similar"), "{note}");
}

#[tokio::test(start_paused = true)]
async fn a14_an_error_is_told_as_an_error_and_not_as_nothing_found() {
    let response = told(Err("the index\n⟦is⟧ broken".into())).await;
    let error = response["error"].as_str().unwrap();
    assert!(
        error.contains("failed") && error.contains("the index [is] broken"),
        "{error}"
    );
    assert!(response.get("output").is_none());
}

#[tokio::test(start_paused = true)]
async fn a14_the_model_is_shown_twenty_results_at_most_and_told_so() {
    let response = told(Ok(vec![hit(); 5_000])).await;
    let output = &response["output"];
    assert_eq!(output["count"], 5_000);
    assert_eq!(output["results"].as_array().unwrap().len(), 20);
    assert!(output["note"].as_str().unwrap().contains("20"));
}

#[tokio::test(start_paused = true)]
async fn several_calls_of_one_turn_run_at_once_and_are_answered_together_in_their_order() {
    let mut desk = Core::new()
        .turns([
            turn([
                keywords("one"),
                call("fly", &json!({})),
                similar("two"),
                similar("three"),
            ]),
            turn([nothing()]),
        ])
        .greeted()
        .await;
    desk.frame("f").await;
    let asked = [
        desk.search().await,
        desk.search().await,
        desk.search().await,
    ];
    let queries = asked.each_ref().map(|request| request.query());
    assert_eq!(
        queries,
        ["one", "two", "three"],
        "all are asked before any is answered"
    );
    for request in asked.iter().rev() {
        desk.answer(request, Err(request.query().to_owned())).await;
    }
    desk.no_task("f").await;
    let parts = answered(&desk.views()[1]);
    let summary: Vec<_> = parts
        .iter()
        .map(|part| {
            let part = &part["functionResponse"];
            let error = part["response"]["error"].as_str().unwrap();
            let word = error.rsplit(' ').next().unwrap().to_owned();
            (part["name"].as_str().unwrap().to_owned(), word)
        })
        .collect();
    let expected = [
        ("search_keywords", "one"),
        ("fly", "function."),
        ("search_similar", "two"),
        ("search_similar", "three"),
    ];
    assert_eq!(
        summary,
        expected.map(|(name, word)| (name.to_owned(), word.to_owned()))
    );
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_searches_and_decides_is_shown_the_results_before_its_decision_counts() {
    let mut desk = Core::new()
        .turns([turn([extract(), similar("lease")]), turn([reject()])])
        .greeted()
        .await;
    desk.frame("f").await;
    let request = desk.search().await;
    desk.answer(&request, Ok(vec![hit()])).await;
    let outcome = desk.outcome("f").await;
    assert!(matches!(outcome.decision, Decision::Reject { .. }));
    let parts = answered(&desk.views()[1]);
    assert_eq!(parts.len(), 2);
    assert!(parts[0]["functionResponse"]["response"]["error"].is_string());
    assert_eq!(
        parts[1]["functionResponse"]["response"]["output"]["count"],
        1
    );
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_with_too_many_searches_or_an_empty_query_costs_the_desktop_nothing_more() {
    let many = ["1", "2", "3", "4", "5", "6"].map(similar);
    let mut desk = Core::new()
        .turns([
            turn(many),
            turn([similar(" \u{200b}\n")]),
            turn([nothing()]),
        ])
        .greeted()
        .await;
    desk.frame("f").await;
    for _ in 0..4 {
        let request = desk.search().await;
        desk.answer(&request, Ok(vec![])).await;
    }
    // Only four came, and none for the empty query.
    desk.no_task("f").await;
    let parts = answered(&desk.views()[1]);
    let refused = parts
        .iter()
        .filter(|part| part["functionResponse"]["response"]["error"].is_string());
    assert_eq!((parts.len(), refused.count()), (6, 2));
    assert!(answered(&desk.views()[2])[0]["functionResponse"]["response"]["error"].is_string());
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_gigantic_query_is_cut_before_it_goes_out() {
    let mut desk = Core::new()
        .turns([turn([similar(&"ä".repeat(100_000))]), turn([nothing()])])
        .greeted()
        .await;
    desk.frame("f").await;
    let request = desk.search().await;
    assert_eq!(request.query().chars().count(), 512);
    desk.answer(&request, Ok(vec![])).await;
    desk.no_task("f").await;
    desk.close().await;
}
