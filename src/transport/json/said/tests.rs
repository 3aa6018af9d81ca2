//! Messages of every type, and what is made of those that are none.

use super::*;
use crate::domain::{MatchType, TaskStatus};
use crate::session::{Limits, Quota, Version};
use crate::tools::Output;

fn said(text: &str) -> Input {
    input(text, None)
}

fn message(text: &str) -> ClientMessage {
    match said(text) {
        Input::Message(message) => message,
        other => panic!("{text}: {other:?}"),
    }
}

fn refusal(text: &str) -> Refusal {
    match said(text) {
        Input::Refused(refusal) => refusal,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn b01_every_type_of_message_is_understood_under_the_contract_s_names() {
    let ClientMessage::Hello(hello) = message(
        r#"{"type":"client_hello","protocol_version":"1.1","context_version":"v1",
            "session_context":{"active_tasks":[{"task_id":1,"description":"x","priority":"high",
            "relevance_score":2,"staged":true}],"completed_tasks":[{"task_id":2}],"deleted_tasks":[],
            "goals":[{"goal_id":"g","title":"t","description":"d"}],"generated_at":"2026-01-01T00:00:00Z"},
            "utc_offset_minutes":60,"resume":{"session_id":"s","secret":"x","answers_received":3},
            "heartbeat_interval_ms":5000}"#,
    ) else {
        panic!()
    };
    assert_eq!(hello.version, Version::V1_1);
    let context = hello.context.unwrap();
    assert_eq!(
        (context.active.items.len(), context.completed.items.len()),
        (1, 1)
    );
    assert_eq!(
        (context.active.items[0].id, context.active.items[0].staged),
        (1, true)
    );
    assert_eq!(hello.resume.unwrap().received, 3);
    let ClientMessage::Frame(frame) = message(
        r#"{"type":"frame_event","jpeg_base64":"/9j\/4P/Z","app_name":"Huddle","window_title":"Anna",
            "ocr_text":"hi","capture_time":"2026-11-20T10:00:00+01:00","frame_number":7,
            "screenshot_id":"shot","context_version":"v1"}"#,
    ) else {
        panic!()
    };
    assert_eq!((frame.id.as_str(), &*frame.app), ("shot", "Huddle"));
    let image = frame.image.unwrap();
    assert_eq!(&**image.bytes(), b"\xff\xd8\xff\xe0\xff\xd9");
    let time = frame.captured_at.unwrap().to_string();
    assert_eq!(time, "2026-11-20T09:00:00Z");
    let ClientMessage::ToolResult(id, Ok(Output::Hits(hits))) = message(
        r#"{"type":"tool_result","request_id":"r","frame_id":"f","results":[{"task_id":41,
            "description":"d","status":"deleted","similarity":0.5,"match_type":"both","relevance_score":9}]}"#,
    ) else {
        panic!()
    };
    assert_eq!((id.as_str(), hits[0].task_id), ("r", 41));
    assert_eq!(hits[0].status, Some(TaskStatus::Deleted));
    assert_eq!(hits[0].match_type, Some(MatchType::Both));
    let failed = message(r#"{"type":"tool_result","request_id":"r","error":"no index"}"#);
    assert!(matches!(failed, ClientMessage::ToolResult(_, Err(why)) if why == "no index"));
    let beat = message(r#"{"type":"heartbeat","sent_at":"2026-01-01T00:00:00Z"}"#);
    assert!(matches!(beat, ClientMessage::Heartbeat));
    let cancel = message(r#"{"type":"cancel_frame","frame_id":"f"}"#);
    assert!(matches!(cancel, ClientMessage::CancelFrame(id) if id.as_str() == "f"));
    let ack = message(r#"{"type":"ack","answer_number":4}"#);
    assert!(matches!(ack, ClientMessage::Ack(4)));
}

#[test]
fn what_is_not_known_or_null_or_no_time_is_as_if_absent() {
    let ClientMessage::Frame(frame) = message(
        r#"{"new":{"x":[1,{}]},"type":"frame_event","frame_number":7,"screenshot_id":null,
            "jpeg_base64":null,"session_context":null,"capture_time":"yesterday"}"#,
    ) else {
        panic!()
    };
    assert_eq!((frame.id.as_str(), frame.captured_at), ("7", None));
    assert!(frame.image.is_none() && frame.context.is_none());
    let ClientMessage::ToolResult(_, Ok(Output::Hits(hits))) = message(
        r#"{"type":"tool_result","results":[{"status":"paused","match_type":"","similarity":7}]}"#,
    ) else {
        panic!()
    };
    assert_eq!((hits[0].status, hits[0].match_type), (None, None));
    assert!((hits[0].similarity - 1.0).abs() < f64::EPSILON);
}

#[test]
fn what_is_no_event_is_refused_with_its_place_and_without_its_words() {
    for (text, told) in [
        ("", "not JSON"),
        ("nonsense", "not JSON"),
        ("{\"type\":\"heartbeat\"", "not JSON"),
        ("{\"type\":\"heartbeat\"} s3cret", "not JSON"),
        ("{\"type\":\"heartbeat\",\"s3cret\":nul}", "not JSON"),
        ("[]", "The message is not what"),
        ("[\"heartbeat\"]", "The message is not what"),
        ("\"heartbeat\"", "The message is not what"),
        ("null", "The message is not what"),
        ("{}", "does not say its type"),
        ("{\"type\":null}", "does not say its type"),
        ("{\"type\":7}", "type is not what"),
        ("{\"type\":\"s3cret\"}", "does not know"),
        (
            "{\"type\":\"heartbeat\",\"type\":\"ack\"}",
            "The message is not what the contract says, or has a field twice",
        ),
        (
            "{\"type\":\"ack\",\"answer_number\":\"s3cret\"}",
            "answer_number is not",
        ),
        (
            "{\"type\":\"ack\",\"answer_number\":1.5}",
            "answer_number is not",
        ),
        (
            "{\"type\":\"ack\",\"answer_number\":9223372036854775808}",
            "answer_number is not",
        ),
        (
            "{\"type\":\"client_hello\",\"session_context\":[\"s3cret\"]}",
            "session_context is not",
        ),
        (
            "{\"type\":\"client_hello\",\"session_context\":{\"goals\":[{},{\"title\":[]}]}}",
            "session_context.goals[1].title is not",
        ),
        (
            "{\"type\":\"tool_result\",\"results\":{}}",
            "results is not",
        ),
        (
            "{\"type\":\"tool_result\",\"results\":[[1,\"s3cret\"]]}",
            "results[0] is not",
        ),
    ] {
        let refusal = refusal(text);
        assert_eq!(refusal.code, RefusalCode::InvalidEvent, "{text}");
        assert!(
            refusal.message.contains(told),
            "{text}: {}",
            refusal.message
        );
        assert!(!refusal.message.contains("s3cret"), "{}", refusal.message);
        assert_eq!(refusal.frame, None);
    }
    let deep = format!("{{\"type\":\"heartbeat\",\"x\":{}", "[".repeat(1_000_000));
    assert!(refusal(&deep).message.contains("nested"));
}

#[test]
fn a_frame_that_cannot_be_used_is_named_and_its_context_counts() {
    let context = r#""session_context":{"goals":[{"title":"t"}]}"#;
    for (image, told) in [
        ("\"!!!!\"", "not base64"),
        ("\"/9j/4P/Z=\"", "not base64"),
        ("\"/9j/4P_Z\"", "not base64"),
        ("\"R0lGODlh\"", "not a whole JPEG"),
    ] {
        let refusal = refusal(&format!(
            r#"{{"type":"frame_event","jpeg_base64":{image},"screenshot_id":"shot",{context}}}"#
        ));
        assert_eq!(refusal.code, RefusalCode::InvalidFrame, "{image}");
        assert_eq!(refusal.frame.unwrap().as_str(), "shot");
        assert!(refusal.message.contains(told), "{}", refusal.message);
        assert!(refusal.context.is_some());
    }
    let wrong = refusal(r#"{"type":"frame_event","ocr_text":7,"frame_number":3}"#);
    assert_eq!(wrong.code, RefusalCode::InvalidFrame);
    assert_eq!(wrong.frame.unwrap().as_str(), "3");
    assert!(wrong.message.starts_with("ocr_text is not"));
    let wrong = refusal(r#"{"type":"frame_event","screenshot_id":7}"#);
    assert_eq!(wrong.frame.unwrap().as_str(), "0");
}

#[test]
fn lists_are_bounded_before_they_are_built() {
    let list = |entries: usize| format!("[{}]", vec!["{}"; entries].join(","));
    for (entries, is_taken) in [(MAX_ENTRIES, true), (MAX_ENTRIES + 1, false)] {
        for text in [
            format!(r#"{{"type":"tool_result","results":{}}}"#, list(entries)),
            format!(
                r#"{{"type":"client_hello","session_context":{{"active_tasks":{}}}}}"#,
                list(entries)
            ),
        ] {
            match said(&text) {
                Input::Message(_) => assert!(is_taken),
                Input::Refused(refusal) => {
                    assert!(!is_taken);
                    assert!(refusal.message.contains("10000 entries"));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn an_image_is_counted_for_as_long_as_it_is_there_and_text_no_longer() {
    let quota = Quota::new(
        Limits::default(),
        crate::world::World::real(),
        crate::telemetry::Metrics::new(),
    );
    let seat = quota.open(&crate::domain::Uid::new("u")).unwrap();
    let idle = quota.bytes();
    let mut jpeg = vec![0x5A; 300_000];
    jpeg[..4].copy_from_slice(&[0xFF, 0xD8, 0xFF, 0xE0]);
    jpeg[299_998..].copy_from_slice(&[0xFF, 0xD9]);
    let text = format!(
        r#"{{"type":"frame_event","jpeg_base64":"{}"}}"#,
        base64_simd::STANDARD.encode_to_string(&jpeg)
    );
    let held = seat.account().hold(text.len()).unwrap();
    let Input::Message(ClientMessage::Frame(frame)) = input(&text, Some(held)) else {
        panic!()
    };
    assert_eq!(quota.bytes() - idle, jpeg.len());
    let piece = frame.image.as_ref().unwrap().bytes().slice(..10);
    drop(frame);
    assert_eq!(quota.bytes() - idle, jpeg.len(), "a piece keeps all of it");
    drop(piece);
    assert_eq!(quota.bytes(), idle);
    let held = seat.account().hold(100_000).unwrap();
    let text = input(r#"{"type":"frame_event","ocr_text":"x"}"#, Some(held));
    assert!(matches!(text, Input::Message(_)));
    assert_eq!(quota.bytes(), idle);
}

#[test]
fn a_text_that_was_cut_inside_an_emoji_is_taken() {
    let frame = r#"{"type":"frame_event","screenshot_id":"shot","ocr_text":"cut \ud83d"}"#;
    let ClientMessage::Frame(frame) = message(frame) else {
        panic!()
    };
    assert_eq!(frame.id.as_str(), "shot");
    assert_eq!(frame.ocr.0, "cut \u{fffd}");
    let asked = r#"{"frame":{"ocr_text":"cut \ud83d"}}"#;
    let asked = submission(asked, None).unwrap();
    assert_eq!(asked.frame.unwrap().ocr_text, "cut \u{fffd}");
}
