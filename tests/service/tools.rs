//! What a client says of itself and of tools, at both doors: what it executes, what it is
//! asked in the generic form, and what it answers.

use std::io::Write;

use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::{
    ClientHello, Runtime, ToolPreferences, ToolProgress, ToolResult, ToolResultChunk, ToolSupport,
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::support::{App, Desk, Door, TestApp, hello};
use proactive::stand_in::Move;

crate::both_doors![
    a_tool_beyond_the_two_searches_is_asked_for_by_name_and_answered_in_json,
    a_long_result_comes_in_chunks_and_progress_is_taken,
    d01_a_client_of_1_0_is_told_and_asked_nothing_new,
    what_a_user_does_not_want_is_not_offered,
    a_result_nested_too_deeply_fails_its_call_and_nothing_else,
];

const TOOLS: &str = r#"
[[tool]]
name = "read_clipboard"
description = "Reads the user's clipboard."
executors = ["client"]
parameters = { type = "object", properties = { most = { type = "integer" } } }
"#;

/// A server that knows the clipboard, and whose model reads it first.
async fn app(door: Door) -> (App, NamedTempFile) {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(TOOLS.as_bytes()).unwrap();
    let path = file.path().display().to_string();
    let app = TestApp::at(door).with(|set| set.tools.tools_file = Some(path));
    let app = app.start().await;
    app.script([
        Move::call("read_clipboard", json!({ "most": 3 })),
        Move::call("no_task_found", json!({})),
    ]);
    (app, file)
}

/// The last request that the model got.
fn said_to_the_model(app: &App) -> String {
    let last = app.model.recorded().pop().unwrap();
    String::from_utf8(last.body.to_vec()).unwrap()
}

async fn greet(app: &App, change: impl FnOnce(&mut ClientHello)) -> Desk {
    let mut desk = app.desk().await;
    let Said::ClientHello(mut said) = hello("1.1") else {
        panic!("a hello")
    };
    change(&mut said);
    desk.say(Said::ClientHello(said)).await;
    let ready = desk.ready().await;
    assert!(
        ready
            .executable_tools
            .contains(&"read_clipboard".to_owned())
    );
    desk
}

fn clipboard(said: &mut ClientHello) {
    said.runtime = Runtime::Desktop.into();
    said.device_id = "laptop".to_owned();
    said.executes = Some(ToolSupport {
        tools: vec!["read_clipboard".to_owned(), "unknown".to_owned()],
    });
}

async fn a_tool_beyond_the_two_searches_is_asked_for_by_name_and_answered_in_json(door: Door) {
    let (app, _file) = app(door).await;
    let mut desk = greet(&app, clipboard).await;
    desk.frame("f", "x").await;
    let call = desk.search().await;
    assert_eq!((call.tool_kind, call.arguments), (0, None));
    assert_eq!(call.tool_name, "read_clipboard");
    let arguments: Value = serde_json::from_str(&call.arguments_json).unwrap();
    assert_eq!(arguments, json!({ "most": 3 }));
    desk.say(Said::ToolResult(ToolResult {
        request_id: call.request_id,
        result_json: r#"{"text":"abc"}"#.to_owned(),
        execution_ms: 7,
        ..ToolResult::default()
    }))
    .await;
    desk.outcome().await;
}

async fn a_long_result_comes_in_chunks_and_progress_is_taken(door: Door) {
    let (app, _file) = app(door).await;
    let mut desk = greet(&app, clipboard).await;
    desk.frame("f", "x").await;
    let call = desk.search().await;
    desk.say(Said::ToolProgress(ToolProgress {
        request_id: call.request_id.clone(),
        message: "half way".to_owned(),
        fraction: Some(0.5),
    }))
    .await;
    for (sequence, data, last) in [(0, "[\"one\",", false), (1, "\"two\"]", true)] {
        desk.say(Said::ToolResultChunk(ToolResultChunk {
            request_id: call.request_id.clone(),
            sequence,
            data: data.to_owned(),
            last,
        }))
        .await;
    }
    desk.outcome().await;
    let metrics = app.metrics();
    let answered = "proactive_tool_calls_total{tool=\"other\",result=\"answered\"} 1";
    assert!(metrics.contains(answered), "{metrics}");
}

async fn d01_a_client_of_1_0_is_told_and_asked_nothing_new(door: Door) {
    let (app, _file) = app(door).await;
    let mut desk = app.desk().await;
    let Said::ClientHello(mut said) = hello("1.0") else {
        panic!("a hello")
    };
    // It cannot know that this means something.
    clipboard(&mut said);
    desk.say(Said::ClientHello(said)).await;
    let ready = desk.ready().await;
    assert!(ready.executable_tools.is_empty());
    desk.frame("f", "x").await;
    // The clipboard was not offered, so the script's call of it ends the frame.
    let outcome = desk.outcome().await;
    assert!(
        outcome.reason.contains("unknown function"),
        "{}",
        outcome.reason
    );
}

async fn what_a_user_does_not_want_is_not_offered(door: Door) {
    for opted_out in [true, false] {
        let (app, _file) = app(door).await;
        let mut desk = greet(&app, |said| {
            clipboard(said);
            said.tool_preferences = Some(ToolPreferences {
                no_device_tools: opted_out,
                disabled_tools: vec!["read_clipboard".to_owned()],
                device_id: String::new(),
            });
        })
        .await;
        desk.frame("f", "x").await;
        // Called all the same, it is asked of nobody; the model is told, and decides.
        let outcome = desk.outcome().await;
        assert_eq!(outcome.reason, "");
        assert!(said_to_the_model(&app).contains("the user has turned that off"));
    }
}

async fn a_result_nested_too_deeply_fails_its_call_and_nothing_else(door: Door) {
    for (levels, fits) in [(32, true), (33, false), (200, false)] {
        let (app, _file) = app(door).await;
        let mut desk = greet(&app, clipboard).await;
        desk.frame("f", "x").await;
        let call = desk.search().await;
        desk.say(Said::ToolResult(ToolResult {
            request_id: call.request_id,
            result_json: "[".repeat(levels) + &"]".repeat(levels),
            ..ToolResult::default()
        }))
        .await;
        desk.outcome().await;
        let told = said_to_the_model(&app);
        assert_eq!(
            told.contains("not JSON of at most 32 levels"),
            !fits,
            "{told}"
        );
        // And the session goes on.
        desk.frame("g", "x").await;
        desk.outcome().await;
    }
}
