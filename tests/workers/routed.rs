//! Workers' tools in a frame's loop: offered while somebody serves them, executed where
//! they are, told to the model.

use proactive::stand_in::Move;
use proactive::transport::proto::AnalysisOutcome;
use serde_json::{Value as Json, json};

use super::worker::{Worker, hello, tool, whole};
use super::{App, started};
use proactive::transport::proto::workers::value::Kind;
use proactive::transport::proto::workers::{ObjectValue, ToolDeclaration, Value};

const REQUEST: &str = "Hi, can you send the Berlin office the signed lease before Tuesday?";

fn text(text: &str) -> Value {
    let kind = Some(Kind::Text(text.to_owned()));
    Value { kind }
}

/// What a date resolver returns.
fn day(date: &str) -> Value {
    let fields = [("date".to_owned(), text(date))].into();
    let kind = Some(Kind::Object(ObjectValue { fields }));
    Value { kind }
}

fn resolver() -> ToolDeclaration {
    let parameters = r#"{"type":"object","properties":{"phrase":{"type":"string"}}}"#;
    ToolDeclaration {
        parameters_json: parameters.to_owned(),
        ..tool("resolve_date")
    }
}

/// Shows the request in a session; its searches find nothing.
async fn decided(app: &App) -> AnalysisOutcome {
    let mut desk = app.greeted().await;
    desk.frame("f", REQUEST).await;
    for _ in 0..2 {
        let search = desk.search().await;
        desk.answer(&search, vec![]).await;
    }
    desk.outcome().await
}

#[tokio::test]
async fn d08_the_date_resolver_is_used_while_it_is_connected_and_not_missed_afterwards() {
    let app = started().await;
    let mut said = hello(&[], 1);
    said.tools.push(resolver());
    let mut worker = Worker::start(&app, said).await.unwrap();
    let working = async {
        let call = worker.call().await;
        let phrase = &call.arguments.as_ref().unwrap().fields["phrase"];
        assert_eq!(phrase, &text("tuesday"));
        assert!(
            call.deadline_ms <= 3_000,
            "its own deadline: {}",
            call.deadline_ms
        );
        let context = call.context.clone().unwrap();
        assert_eq!(context.session_id.len(), 36);
        assert!(context.now.is_some());
        // Of all days, one that no rule would find.
        worker.answer(&call, day("2031-05-05")).await;
        worker
    };
    let (outcome, worker) = tokio::join!(decided(&app), working);
    assert_eq!(outcome.task.unwrap().inferred_deadline, "2031-05-05");
    drop(worker);
    while app.service.server.workers().connected() > 0 {
        tokio::task::yield_now().await;
    }
    let outcome = decided(&app).await;
    let deadline = outcome.task.unwrap().inferred_deadline;
    assert!(!deadline.is_empty() && deadline != "2031-05-05");
}

#[tokio::test]
async fn c01_a_tool_that_fails_costs_the_frame_nothing() {
    let app = started().await;
    let mut said = hello(&[], 1);
    said.tools.push(resolver());
    let mut worker = Worker::start(&app, said).await.unwrap();
    let working = async {
        let call = worker.call().await;
        // UNKNOWN: the tool raised.
        worker.fail(&call, 2, false).await;
        worker
    };
    let (outcome, _worker) = tokio::join!(decided(&app), working);
    assert!(!outcome.task.unwrap().inferred_deadline.is_empty());
}

#[tokio::test]
async fn a_tool_that_only_workers_declare_is_offered_and_listed_for_operators() {
    let app = started().await;
    let _worker = Worker::with(&app, &["look_up"]).await;
    let url = format!("http://{}/tools", app.service.server.admin_addr());
    let page = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    let tools: Vec<Json> = serde_json::from_slice(&page).unwrap();
    let listed = tools.iter().find(|tool| tool["name"] == "look_up").unwrap();
    assert_eq!(
        (&listed["workers"], &listed["of_workers"]),
        (&1.into(), &true.into())
    );
    let searched = tools
        .iter()
        .find(|tool| tool["name"] == "search_similar")
        .unwrap();
    assert_eq!(searched["devices"], 0);
    let _desk = app.greeted().await;
}

#[tokio::test]
async fn tools_that_are_not_a_workers_to_declare_are_refused_one_by_one() {
    let app = started().await;
    let unfit = ToolDeclaration {
        parameters_json: r#"{"type":"object","oneOf":[]}"#.to_owned(),
        ..tool("unfit")
    };
    let mut said = hello(
        &["extract_task", "search_similar", "list_devices", "good"],
        1,
    );
    said.tools.push(unfit);
    let worker = Worker::start(&app, said).await.unwrap();
    let refused: Vec<_> = worker.ready.refused.iter().collect();
    let names: Vec<_> = refused.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(
        names,
        ["extract_task", "search_similar", "list_devices", "unfit"]
    );
    assert!(
        refused[3]
            .reason
            .contains("oneOf: Gemini knows no such keyword")
    );
}

/// The last request that the model got.
fn said_to_the_model(app: &App) -> String {
    let last = app.model.recorded().pop().unwrap();
    String::from_utf8(last.body.to_vec()).unwrap()
}

#[tokio::test]
async fn d10_what_a_worker_says_changes_something_is_not_called_again_if_it_may_have_run() {
    for changes in [true, false] {
        let app = started().await;
        let mut said = hello(&["send_letter"], 1);
        said.tools[0].changes = changes;
        let mut worker = Worker::start(&app, said).await.unwrap();
        let letter = || Move::call("send_letter", json!({ "n": 1 }));
        let decides = Move::call("no_task_found", json!({}));
        app.script([letter(), letter(), decides]);
        let mut desk = app.greeted().await;
        desk.frame("f", REQUEST).await;
        let working = async {
            let call = worker.call().await;
            // UNKNOWN: it may be in the post.
            worker.fail(&call, 2, false).await;
            if !changes {
                let again = worker.call().await;
                worker.answer(&again, whole(1)).await;
            }
            worker
        };
        let (outcome, _worker) = tokio::join!(desk.outcome(), working);
        assert_eq!(outcome.reason, "");
        let told = said_to_the_model(&app);
        assert_eq!(told.contains("it is not done again"), changes, "{told}");
    }
}

#[tokio::test]
async fn a_tool_whose_worker_has_gone_within_the_frame_is_told_so_when_it_is_called_again() {
    let app = started().await;
    let mut worker = Worker::with(&app, &["look_up"]).await;
    let look_up = |n: i64| Move::call("look_up", json!({ "n": n }));
    let decides = Move::call("no_task_found", json!({}));
    app.script([look_up(1), look_up(2), look_up(3), decides]);
    let mut desk = app.greeted().await;
    desk.frame("f", REQUEST).await;
    let leaves = async {
        worker.call().await;
        drop(worker);
    };
    let (outcome, ()) = tokio::join!(desk.outcome(), leaves);
    assert_eq!(outcome.reason, "");
    let told = said_to_the_model(&app);
    let why = "This cannot be called now: whoever could do it is not there.";
    assert_eq!(told.matches(why).count(), 2, "{told}");
}
