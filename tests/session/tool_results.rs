//! Arguments and results of a device's tools: what leaves, what comes, in time, in
//! pieces, or as something else.

use std::time::Duration;

use proactive::gemini::Error;
use proactive::session::ClientMessage;
use proactive::tools::{Piece, ToolRequest};
use serde_json::{Value, json};

use super::support::devices::{
    client, come_back, desktop, house, house_of, note, resumable, return_json, told,
};
use super::support::{Core, Since, answered, call, hit, nothing, similar, turn};

#[tokio::test(start_paused = true)]
async fn arguments_that_do_not_fit_never_leave_and_are_told_with_their_place() {
    let wrong = turn([call("write_note", &json!({ "text": ["a", "b"] }))]);
    let fits = turn([call(
        "write_note",
        &json!({ "text": " A note\u{202e} that is far too long", "other": 1 }),
    )]);
    let house = house([wrong, fits, turn([nothing()])]);
    let mut laptop = client(&house, desktop("laptop", &["write_note"])).await;
    laptop.frame("f").await;
    let request = laptop.search().await;
    // What is too long is cut, what is not declared stays here.
    assert_eq!(
        *request.arguments.clone(),
        *json!({ "text": "A note that is far…" })
            .as_object()
            .unwrap()
    );
    return_json(&laptop, &request, Value::Null).await;
    laptop.no_task("f").await;
    let refused = told(&laptop);
    let refused = refused["error"].as_str().expect("an error").to_owned();
    assert!(
        refused.contains("text") && refused.contains("string"),
        "{refused}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_says_that_it_goes_on_has_its_longest_time_and_no_more() {
    let house = house([note(), turn([nothing()])]);
    let mut laptop = client(&house, desktop("laptop", &["write_note"])).await;
    laptop.frame("f").await;
    let request = laptop.search().await;
    assert_eq!(request.timeout, Duration::from_secs(5));
    let since = Since::now();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        laptop
            .say(ClientMessage::ToolProgress(request.id.clone()))
            .await;
        if since.millis() > 12_000 {
            break;
        }
    }
    let (called_off, _) = laptop.search_called_off().await;
    assert_eq!(called_off, request.id);
    laptop.no_task("f").await;
    let told = told(&laptop);
    let error = told["error"].as_str().expect("an error");
    assert!(error.starts_with("It may have run"), "{error}");
    assert!(
        (12_000..16_100).contains(&since.millis()),
        "{}",
        since.millis()
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_result_comes_in_pieces_and_in_their_order() {
    let clipboard = || turn([call("read_clipboard", &json!({}))]);
    let server = house([clipboard(), turn([nothing()])]);
    let mut laptop = client(&server, desktop("laptop", &["read_clipboard"])).await;
    let piece = |request: &ToolRequest, sequence: i64, text: &str, last: bool| {
        let text = text.to_owned();
        let piece = Piece {
            sequence,
            text,
            last,
        };
        ClientMessage::ToolPiece(request.id.clone(), piece)
    };
    laptop.frame("f").await;
    let request = laptop.search().await;
    laptop
        .say(piece(&request, 0, "{\"text\":\"one ", false))
        .await;
    laptop.say(piece(&request, 1, "two", false)).await;
    laptop.say(piece(&request, 2, "\"}", true)).await;
    laptop.no_task("f").await;
    assert_eq!(told(&laptop)["output"]["result"]["text"], "one two");
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    // A piece after the last one, or to nobody, is discarded.
    laptop.say(piece(&request, 3, "x", true)).await;
    laptop.settle().await;
    assert_eq!(laptop.count("proactive_discarded_tool_results_total"), 1);

    for (wrong, why) in [
        (piece(&request, 1, "1", true), "out of order"),
        (piece(&request, 0, "{", true), "not JSON"),
        (
            piece(&request, 0, &nested(33), true),
            "not JSON of at most 32 levels",
        ),
        (
            piece(&request, 0, &"x".repeat(300_000), false),
            "longer than",
        ),
    ] {
        let house = house([clipboard(), turn([nothing()])]);
        let mut laptop = client(&house, desktop("laptop", &["read_clipboard"])).await;
        laptop.frame("f").await;
        let request = laptop.search().await;
        let ClientMessage::ToolPiece(_, wrong) = wrong else {
            unreachable!("it is a piece")
        };
        laptop
            .say(ClientMessage::ToolPiece(request.id.clone(), wrong))
            .await;
        laptop.no_task("f").await;
        let told = told(&laptop);
        let error = told["error"].as_str().expect("an error");
        assert!(error.contains(why), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_that_is_answered_with_something_else_has_failed_and_so_the_other_way_round() {
    let house = house([
        turn([similar("lease"), call("read_clipboard", &json!({}))]),
        turn([nothing()]),
    ]);
    let tools = ["search_similar", "read_clipboard"];
    let mut laptop = client(&house, desktop("laptop", &tools)).await;
    laptop.frame("f").await;
    let search = laptop.search().await;
    let clipboard = laptop.search().await;
    return_json(&laptop, &search, json!([])).await;
    laptop.answer(&clipboard, Ok(vec![hit()])).await;
    laptop.no_task("f").await;
    for part in answered(&laptop.views()[1]) {
        let error = &part["functionResponse"]["response"]["error"];
        let error = error.as_str().expect("an error");
        assert!(error.contains("another kind of tool"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_something_is_done_once_whatever_the_model_asks() {
    let house = house([note(), note(), turn([nothing()])]);
    let mut laptop = client(&house, desktop("laptop", &["write_note"])).await;
    laptop.frame("f").await;
    let request = laptop.search().await;
    return_json(&laptop, &request, json!("done")).await;
    laptop.no_task("f").await;
    let refused = answered(&laptop.views()[2])[0]["functionResponse"]["response"].clone();
    let refused = refused["error"].as_str().expect("an error");
    assert!(refused.contains("not done again"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_has_changed_something_is_neither_begun_anew_nor_to_be_sent_again() {
    let outage = || Err(Error::Unavailable { status: 503 });
    for changes in [true, false] {
        let first = match changes {
            true => note(),
            false => turn([call("read_clipboard", &json!({}))]),
        };
        let core = Core::new()
            .turns([first, outage()])
            .fallback(|_| async { turn([nothing()]) });
        let house = house_of(core);
        let tools = ["write_note", "read_clipboard"];
        let mut laptop = client(&house, desktop("laptop", &tools)).await;
        laptop.frame("f").await;
        let request = laptop.search().await;
        return_json(&laptop, &request, json!("done")).await;
        if changes {
            let fault = laptop.fault("f").await;
            assert!(!fault.retryable, "{fault:?}");
        } else {
            laptop.no_task("f").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_asked_again_begins_its_pieces_again() {
    let server = house([
        turn([call("read_clipboard", &json!({}))]),
        turn([nothing()]),
    ]);
    let profile = desktop("laptop", &["read_clipboard"]);
    let mut laptop = resumable(&server, profile.clone()).await;
    let ready = laptop.1;
    laptop.0.frame("f").await;
    let request = laptop.0.search().await;
    let piece = |sequence, text: &str, last| {
        let text = text.to_owned();
        let piece = Piece {
            sequence,
            text,
            last,
        };
        ClientMessage::ToolPiece(request.id.clone(), piece)
    };
    laptop.0.say(piece(0, "[1,", false)).await;
    laptop.0.break_off().await;
    let mut back = come_back(&server, &ready, profile).await;
    let again = back.search().await;
    assert_eq!(again.id, request.id);
    back.say(piece(0, "[1,", false)).await;
    back.say(piece(1, "2]", true)).await;
    back.no_task("f").await;
    assert_eq!(told(&back)["output"]["result"], json!([1, 2]));
}
