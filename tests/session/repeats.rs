//! The same search again within one frame: answered from memory, then the end.

use proactive::domain::{Decision, SearchKind};

use super::support::{Core, Desk, answered, extract, hit, keywords, reject, similar, turn};

const REPEATED: &str = "proactive_repeated_searches_total";

/// What the model was told last of its calls: the output, or the error.
fn told_last(desk: &Desk) -> Vec<Result<serde_json::Value, String>> {
    let view = desk.views().pop().expect("the model was asked");
    let told = |part: serde_json::Value| {
        let response = &part["functionResponse"]["response"];
        let error = response["error"].as_str().map(str::to_owned);
        error.map_or_else(|| Ok(response["output"].clone()), Err)
    };
    answered(&view).into_iter().map(told).collect()
}

#[tokio::test(start_paused = true)]
async fn a_repeated_search_is_answered_from_memory_and_the_model_is_told() {
    let mut desk = Core::new()
        .turns([
            turn([similar("signed lease")]),
            turn([
                similar(" Signed\u{200b}  LEASE\n"),
                keywords("signed lease"),
            ]),
            turn([extract()]),
        ])
        .greeted()
        .await;
    desk.frame("f").await;
    let request = desk.search().await;
    desk.answer(&request, Ok(vec![hit(); 21])).await;
    // The other kind of search is another search.
    let request = desk.search().await;
    assert_eq!(request.kind(), Some(SearchKind::Keywords));
    let Ok(first) = &told_last(&desk)[0] else {
        panic!("the search succeeded")
    };
    assert_eq!(first["note"], "The 20 best are shown.");
    let first = first.clone();
    desk.answer(&request, Ok(vec![])).await;
    desk.task("f").await;
    let told = told_last(&desk);
    let Ok(again) = &told[0] else {
        panic!("memory has the results: {told:?}")
    };
    let note = again["note"].as_str().unwrap();
    assert!(
        note.contains("made this search before") && note.ends_with("The 20 best are shown."),
        "{note}"
    );
    assert_eq!(
        (&again["count"], &again["results"]),
        (&first["count"], &first["results"])
    );
    assert_eq!(told[1].as_ref().unwrap()["count"], 0);
    assert_eq!(desk.count(REPEATED), 1);
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a17_the_same_search_a_third_time_ends_the_frame_with_that_reason() {
    let mut desk = Core::new()
        .model(|_| async { turn([similar("lease")]) })
        .greeted()
        .await;
    for (id, searches) in [("f", 1), ("g", 2)] {
        // What one frame asked is nothing to the next.
        desk.frame(id).await;
        let request = desk.search().await;
        desk.answer(&request, Ok(vec![])).await;
        let outcome = desk.outcome(id).await;
        let Decision::NoTask { reason } = outcome.decision else {
            panic!("no task was expected")
        };
        assert_eq!(
            reason,
            "The model asked for the same search_similar a third time."
        );
        assert!(!outcome.context_summary.is_empty() && !outcome.current_activity.is_empty());
        assert_eq!(outcome.bill.model_calls, 3);
        assert_eq!(desk.count(REPEATED), searches);
    }
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn two_equal_searches_of_one_turn_are_one_for_the_desktop() {
    let mut desk = Core::new()
        .turns([
            turn([similar("a"), similar("A"), similar("b")]),
            turn([similar("b")]),
            turn([reject()]),
        ])
        .greeted()
        .await;
    desk.frame("f").await;
    let [a, b] = [desk.search().await, desk.search().await];
    assert_eq!((a.query(), b.query()), ("a", "b"));
    desk.answer(&b, Ok(vec![])).await;
    desk.answer(&a, Ok(vec![hit()])).await;
    desk.outcome("f").await;
    let views = desk.views();
    let outputs: Vec<_> = answered(&views[1])
        .into_iter()
        .map(|part| part["functionResponse"]["response"]["output"].clone())
        .collect();
    assert_eq!(
        [0, 1, 2].map(|at| outputs[at]["count"].as_u64()),
        [Some(1), Some(1), Some(0)]
    );
    assert!(outputs[0].get("note").is_none());
    assert!(
        outputs[1]["note"]
            .as_str()
            .unwrap()
            .contains("made this search before")
    );
    assert_eq!(desk.count(REPEATED), 2);
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn three_equal_searches_of_one_turn_end_the_frame_and_cost_the_desktop_nothing() {
    let mut desk = Core::new()
        .turns([turn([
            keywords("b"),
            similar("a"),
            similar("a"),
            similar("a"),
        ])])
        .greeted()
        .await;
    desk.frame("f").await;
    let reason = desk.no_task("f").await;
    assert!(reason.contains("third time"), "{reason}");
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_search_that_failed_was_not_answered_and_may_be_asked_again() {
    let mut desk = Core::new()
        .model(|view| async move {
            match view.turns {
                0 => turn([similar("a"), similar("a")]),
                1..=3 => turn([similar("a")]),
                _ => turn([extract()]),
            }
        })
        .greeted()
        .await;
    desk.frame("f").await;
    for _ in 0..3 {
        let request = desk.search().await;
        desk.answer(&request, Err("the database is locked".into()))
            .await;
    }
    let request = desk.search().await;
    for told in told_last(&desk) {
        assert!(told.unwrap_err().contains("the database is locked"));
    }
    desk.answer(&request, Ok(vec![])).await;
    desk.task("f").await;
    assert_eq!(desk.count(REPEATED), 0);
    desk.close().await;
}
