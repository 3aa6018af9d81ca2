//! What the model decides, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use proactive::domain::{Category, Decision, Priority, Subcategory};
use proactive::session::{ServerMessage, Version};
use serde_json::json;

use super::support::{
    Core, answered, call, extract, extract_titled, nothing, reject, shows, similar, turn,
};

#[tokio::test(start_paused = true)]
async fn a16_a_rejection_carries_its_reason_summary_activity_and_frame() {
    let mut desk = Core::new().turns([turn([reject()])]).greeted().await;
    desk.frame("f").await;
    let outcome = desk.outcome("f").await;
    let reason = "Already tracked as #77.".to_owned();
    assert_eq!(outcome.decision, Decision::Reject { reason });
    assert_eq!(
        (
            outcome.context_summary.as_str(),
            outcome.current_activity.as_str()
        ),
        ("A mail.", "Reading")
    );
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a16_no_task_found_carries_summary_activity_and_frame() {
    let mut desk = Core::new().turns([turn([nothing()])]).greeted().await;
    desk.frame("f").await;
    let outcome = desk.outcome("f").await;
    assert_eq!(
        outcome.decision,
        Decision::NoTask {
            reason: String::new()
        }
    );
    assert_eq!(
        (
            outcome.context_summary.as_str(),
            outcome.current_activity.as_str()
        ),
        ("A calendar.", "Planning")
    );
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a16_an_extracted_task_carries_summary_activity_frame_and_bill() {
    let mut desk = Core::new()
        .model(|view| async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if view.turns == 0 {
                turn([similar("lease")])
            } else {
                turn([extract()])
            }
        })
        .greeted_as(Version::V1_1)
        .await;
    desk.frame("f").await;
    let request = desk.search().await;
    desk.silence(Duration::from_secs(3)).await;
    desk.answer(&request, Ok(vec![])).await;
    let message = desk.next().await;
    let ServerMessage::Answer(answer) = message else {
        panic!("not an answer: {message:?}");
    };
    assert_eq!(
        (answer.frame.as_str(), answer.version),
        ("f", Version::V1_1)
    );
    let outcome = Arc::unwrap_or_clone(answer).result.unwrap();
    let Decision::Extract(task) = outcome.decision else {
        panic!("no task");
    };
    assert_eq!(task.title, "Send the signed lease to the Berlin office");
    assert_eq!(
        (task.priority, task.score, task.confidence),
        (Priority::High, 2, 0.8)
    );
    assert_eq!(
        (
            outcome.context_summary.as_str(),
            outcome.current_activity.as_str()
        ),
        ("A mail about a lease.", "Reading mail")
    );
    let bill = outcome.bill;
    assert_eq!(
        (bill.model_asked.as_str(), bill.model_answered.as_str()),
        ("scripted", "scripted-1")
    );
    assert_eq!(
        (bill.model_calls, bill.usage.prompt, bill.usage.output),
        (2, 2_000, 20)
    );
    assert_eq!(bill.model_time.as_secs(), 4);
    assert_eq!(bill.tool_time.as_secs(), 3);
    assert_eq!(bill.total_time.as_secs(), 7);
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a17_a_turn_without_a_call_ends_with_that_reason() {
    let mut desk = Core::new().turns([turn([])]).greeted().await;
    desk.frame("f").await;
    let reason = desk.no_task("f").await;
    assert!(reason.contains("no function"), "{reason}");
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a17_an_unknown_function_ends_with_that_reason() {
    let unknown = call("order_pizza", &json!({}));
    let mut desk = Core::new().turns([turn([unknown])]).greeted().await;
    desk.frame("f").await;
    let outcome = desk.outcome("f").await;
    let Decision::NoTask { reason } = outcome.decision else {
        panic!("no task was expected");
    };
    assert!(reason.contains("unknown function"), "{reason}");
    assert!(outcome.context_summary.contains("Mail") && !outcome.current_activity.is_empty());
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a17_the_last_iteration_allows_decisions_only_and_without_one_the_frame_ends_with_that_reason()
 {
    let mut desk = Core::new()
        .model(|view| async move { turn([similar(&format!("lease {}", view.turns))]) })
        .greeted()
        .await;
    desk.frame("f").await;
    for _ in 0..4 {
        let request = desk.search().await;
        desk.answer(&request, Ok(vec![])).await;
    }
    let reason = desk.no_task("f").await;
    assert!(reason.contains("no decision within 5 turns"), "{reason}");
    let allowed: Vec<_> = desk.views().into_iter().map(|view| view.allowed).collect();
    assert_eq!(allowed[..4], [const { None }; 4]);
    let three = ["extract_task", "reject_task", "no_task_found"].map(str::to_owned);
    assert_eq!(allowed[4..], [Some(three.to_vec())]);
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a17_a_decision_in_the_last_iteration_counts_whatever_stands_beside_it() {
    let mut desk = Core::new()
        .model(|view| async move {
            match view.turns {
                4 => turn([similar("again"), call("fly", &json!({})), extract()]),
                turns => turn([similar(&format!("lease {turns}"))]),
            }
        })
        .greeted()
        .await;
    desk.frame("f").await;
    for _ in 0..4 {
        let request = desk.search().await;
        desk.answer(&request, Ok(vec![])).await;
    }
    desk.task("f").await;
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn gone_only_the_first_function_call_is_read() {
    let unknown = call("think", &json!({}));
    let mut desk = Core::new()
        .turns([turn([unknown, reject()])])
        .greeted()
        .await;
    desk.frame("f").await;
    let outcome = desk.outcome("f").await;
    assert!(matches!(outcome.decision, Decision::Reject { .. }));
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a20_wrong_types_in_a_decision_take_the_documented_defaults() {
    let odd = call(
        "extract_task",
        &json!({
            "title": "Send the signed lease to the Berlin office",
            "priority": 3, "tags": {}, "confidence": "high", "relevance_score": "soon",
            "source_category": "gossip", "inferred_deadline": "Tuesday", "context_summary": [],
        }),
    );
    let mut desk = Core::new()
        .turns([turn([similar("lease")]), turn([odd])])
        .greeted()
        .await;
    desk.frame("f").await;
    let request = desk.search().await;
    desk.answer(&request, Ok(vec![])).await;
    let outcome = desk.outcome("f").await;
    let Decision::Extract(task) = outcome.decision else {
        panic!("no task");
    };
    assert_eq!(
        (task.priority, task.score, task.confidence),
        (Priority::Medium, 100, 0.5)
    );
    assert_eq!(
        (task.category, task.subcategory),
        (Category::Other, Subcategory::Other)
    );
    assert_eq!((task.source_app.as_str(), task.deadline), ("Mail", None));
    assert!(
        outcome.context_summary.contains("Inbox"),
        "what the frame itself shows"
    );
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a25_a_title_that_names_nothing_is_refused_with_the_reason_and_may_be_mended() {
    let mut desk = Core::new()
        .turns([
            turn([similar("lease")]),
            turn([extract_titled("Follow up")]),
            turn([extract_titled("Follow up on the request that was made")]),
            turn([extract()]),
        ])
        .greeted()
        .await;
    desk.frame("f").await;
    let request = desk.search().await;
    desk.answer(&request, Ok(vec![])).await;
    desk.task("f").await;
    let views = desk.views();
    let why = |call: usize| {
        let part = answered(&views[call])[0]["functionResponse"].clone();
        assert_eq!(part["name"], "extract_task");
        part["response"]["error"].as_str().unwrap().to_owned()
    };
    assert!(why(2).contains("fewer than six words"), "{}", why(2));
    assert!(why(3).contains("generic"), "{}", why(3));
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a25_a_title_that_stays_unusable_ends_the_frame_with_that_reason() {
    let mut desk = Core::new()
        .model(|view| async move {
            if view.turns == 0 {
                turn([similar("x")])
            } else {
                turn([extract_titled("Follow up")])
            }
        })
        .greeted()
        .await;
    desk.frame("f").await;
    let request = desk.search().await;
    desk.answer(&request, Ok(vec![])).await;
    let reason = desk.no_task("f").await;
    assert!(reason.contains("title"), "{reason}");
    assert_eq!(desk.views().len(), 5);
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a26_a_task_without_a_search_is_refused_and_the_model_is_told() {
    let mut desk = Core::new()
        .turns([
            turn([extract()]),
            turn([similar("lease")]),
            turn([extract()]),
        ])
        .greeted()
        .await;
    desk.frame("f").await;
    let request = desk.search().await;
    let error = answered(&desk.views()[1])[0]["functionResponse"]["response"]["error"].clone();
    assert!(error.as_str().unwrap().contains("Search first"), "{error}");
    desk.answer(&request, Ok(vec![])).await;
    desk.task("f").await;
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a26_a_failed_search_is_not_nothing_found() {
    let mut desk = Core::new()
        .turns([
            turn([similar("lease")]),
            turn([extract()]),
            turn([similar("lease")]),
            turn([extract()]),
        ])
        .greeted()
        .await;
    desk.frame("f").await;
    let failing = desk.search().await;
    desk.answer(&failing, Err("database is locked".into()))
        .await;
    let second = desk.search().await;
    let error = answered(&desk.views()[2])[0]["functionResponse"]["response"]["error"].clone();
    assert!(error.as_str().unwrap().contains("No search"), "{error}");
    desk.answer(&second, Ok(vec![])).await;
    desk.task("f").await;
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a26_a_search_counts_for_its_own_frame_only() {
    let mut desk = Core::new()
        .model(|view| async move {
            match (shows(&view, "one"), view.turns) {
                (true, 0) => turn([similar("x")]),
                _ => turn([extract()]),
            }
        })
        .greeted()
        .await;
    desk.frame("one").await;
    let request = desk.search().await;
    desk.answer(&request, Ok(vec![])).await;
    desk.task("one").await;
    desk.frame("two").await;
    let reason = desk.no_task("two").await;
    assert!(reason.contains("No search"), "{reason}");
    desk.close().await;
}
