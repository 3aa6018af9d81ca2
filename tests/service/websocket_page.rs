//! docs/websocket.md is what the server does.

use proactive::stand_in::Move;
use proactive::transport::websocket::Close;
use serde_json::{Value, json};

use crate::support::{App, TestApp};
use crate::websocket::{say, socket};

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/websocket.md");
    std::fs::read_to_string(path).unwrap()
}

/// The lines of the page's conversation: whether the client says it, and what.
fn conversation(page: &str) -> Vec<(bool, Value)> {
    let (_, block) = page.split_once("```text\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let line = |line: &str| {
        let (who, said) = line.split_once(' ').unwrap();
        (who == "→", serde_json::from_str(said).unwrap())
    };
    block.lines().map(line).collect()
}

/// What the page says, with what no page can know as it really is.
fn as_it_is(mut page: Value, told: &Value) -> Value {
    const BY_CHANCE: [&str; 6] = [
        "session_id",
        "resume_secret",
        "request_id",
        "sent_at",
        "heartbeat_interval_ms",
        "reconnect_delay_ms",
    ];
    for (name, value) in page.as_object_mut().unwrap() {
        let is_number = value.is_i64() && name != "answer_number" && told["type"].is_null();
        let by_chance = BY_CHANCE.contains(&name.as_str()) || name == "deadline_ms" || is_number;
        match name.as_str() {
            "bill" => *value = as_it_is(value.take(), &told["bill"]),
            name if by_chance && value.is_string() == told[name].is_string() => {
                *value = told[name].clone();
            }
            _ => {}
        }
    }
    page
}

#[tokio::test]
async fn b01_the_page_s_conversation_is_understood_and_told_word_for_word() {
    let app = TestApp::new()
        .with(|set| set.heartbeat_interval = "1s".into())
        .start()
        .await;
    let conversation = conversation(&page());
    let task = &conversation[5].1["task"];
    let mut extract = task.clone();
    for name in ["context_summary", "current_activity"] {
        extract[name] = conversation[5].1[name].clone();
    }
    app.script([
        Move::call(
            "search_similar",
            json!({ "query": "signed lease Berlin office" }),
        ),
        Move::call("extract_task", extract),
        Move::call("search_keywords", json!({ "query": "text" })),
    ]);
    let mut socket = socket(&app).await;
    let mut asked = Value::Null;
    let mut app = Some(app);
    let mut stopping = None;
    for (is_clients, mut line) in conversation {
        if is_clients {
            if line["type"] == "tool_result" {
                line["request_id"] = asked.clone();
            }
            say(&socket, line).await;
            continue;
        }
        if line["type"] == "go_away" {
            stopping = app.take().map(App::stopping);
        }
        let told = loop {
            let told = socket.value().await;
            // They come when they come.
            if told["type"] != "server_heartbeat" || line["type"] == "server_heartbeat" {
                break told;
            }
        };
        if told["type"] == "tool_call_request" {
            asked = told["request_id"].clone();
        }
        assert_eq!(as_it_is(line, &told), told);
    }
    assert_eq!(socket.closed().await.0, Close::Draining.code());
    stopping.unwrap().join_all().await;
}

#[test]
fn the_page_lists_exactly_the_codes_that_streams_are_closed_with() {
    let page = page();
    let codes = |heading: &str| {
        let (_, table) = page.split_once(heading).unwrap();
        let rows = table.lines().skip_while(|line| !line.starts_with("| "));
        let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
        let code = |row: &str| row.split('|').nth(1).unwrap().trim().parse().unwrap();
        rows.map(code).collect::<Vec<u16>>()
    };
    let listed = |reconnect: bool| {
        let which = Close::ALL
            .iter()
            .filter(|close| close.reconnect() == reconnect);
        which.map(|close| close.code()).collect::<Vec<_>>()
    };
    assert_eq!(codes("\nReconnect ("), listed(true));
    assert_eq!(codes("\nDo not, or"), listed(false));
}
