//! What a client may get wrong without harm to anything else.

use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::{
    ActiveTask, ClientHello, FrameEvent, OutcomeKind, SessionContext,
};

use crate::support::{Door, TestApp, frame, jpeg};

crate::both_doors![
    a22_ten_mebibytes_pass_and_more_costs_only_the_one_event,
    a_frame_that_is_no_jpeg_is_told_so_by_its_id_and_field,
    a11_a_frame_of_text_alone_is_legal,
    an_empty_event_is_told_and_the_session_goes_on,
    a_hundred_thousand_empty_tasks_are_refused_and_the_session_goes_on,
    a_context_of_thousands_of_tasks_makes_a_bounded_prompt_that_says_so,
];

async fn a22_ten_mebibytes_pass_and_more_costs_only_the_one_event(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.greeted().await;
    let with = |id: &str, size| FrameEvent {
        jpeg_bytes: jpeg(size).into(),
        ..frame(id, "fn main() {}")
    };
    desk.say(Said::FrameEvent(with("large", (10 << 20) - 200)))
        .await;
    assert_eq!(desk.outcome().await.frame_id, "large");
    // In JSON the image alone is measured, not what comes with it.
    let too_large = match door {
        Door::Grpc => 10 << 20,
        Door::WebSocket => 11 << 20,
    };
    desk.say(Said::FrameEvent(with("too large", too_large)))
        .await;
    let error = desk.error().await;
    assert_eq!(
        (error.code.as_str(), error.retryable),
        ("MESSAGE_TOO_LARGE", false)
    );
    desk.frame("after", "fn main() {}").await;
    assert_eq!(desk.outcome().await.frame_id, "after");
}

async fn a_frame_that_is_no_jpeg_is_told_so_by_its_id_and_field(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.greeted().await;
    let png = FrameEvent {
        jpeg_bytes: b"\x89PNG....".to_vec().into(),
        ..frame("png", "x")
    };
    desk.say(Said::FrameEvent(png)).await;
    let error = desk.error().await;
    assert_eq!(
        (error.code.as_str(), error.frame_id.as_str()),
        ("INVALID_FRAME", "png")
    );
    assert!(error.message.contains("jpeg_bytes") && !error.retryable);
    assert!(app.model.recorded().is_empty(), "the model was not asked");
}

async fn a11_a_frame_of_text_alone_is_legal(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.greeted().await;
    let text = FrameEvent {
        jpeg_bytes: Vec::new().into(),
        ..frame("text", "fn main() {}")
    };
    desk.say(Said::FrameEvent(text)).await;
    assert_eq!(
        desk.outcome().await.outcome_kind(),
        OutcomeKind::NoTaskFound
    );
}

async fn an_empty_event_is_told_and_the_session_goes_on(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.greeted().await;
    desk.say_nothing().await;
    assert_eq!(desk.error().await.code, "INVALID_EVENT");
    desk.frame("f", "fn main() {}").await;
    assert_eq!(desk.outcome().await.frame_id, "f");
}

async fn a_hundred_thousand_empty_tasks_are_refused_and_the_session_goes_on(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.greeted().await;
    desk.say(Said::ClientHello(ClientHello {
        session_context: Some(SessionContext {
            active_tasks: vec![ActiveTask::default(); 100_000],
            ..SessionContext::default()
        }),
        ..ClientHello::default()
    }))
    .await;
    let error = desk.error().await;
    assert_eq!(
        (error.code.as_str(), error.retryable),
        ("INVALID_EVENT", false)
    );
    assert!(error.message.contains("10000 entries"), "{}", error.message);
    desk.frame("f", "fn main() {}").await;
    assert_eq!(desk.outcome().await.frame_id, "f");
}

async fn a_context_of_thousands_of_tasks_makes_a_bounded_prompt_that_says_so(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.desk().await;
    let task = |task_id| ActiveTask {
        task_id,
        description: "x".repeat(1_000),
        ..ActiveTask::default()
    };
    let active_tasks = (0..5_000).map(task).collect();
    desk.say(Said::ClientHello(ClientHello {
        session_context: Some(SessionContext {
            active_tasks,
            ..SessionContext::default()
        }),
        ..ClientHello::default()
    }))
    .await;
    desk.ready().await;
    let giant = FrameEvent {
        ocr_text: "word ".repeat(200_000),
        jpeg_bytes: Vec::new().into(),
        ..frame("f", "")
    };
    desk.say(Said::FrameEvent(giant)).await;
    desk.outcome().await;
    let body = app.model.recorded().pop().unwrap().body;
    assert!(body.len() < 100_000, "{} bytes", body.len());
    assert!(String::from_utf8_lossy(&body).contains("4900 more are not shown"));
}
