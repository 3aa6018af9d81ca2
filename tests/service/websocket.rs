//! The WebSocket door itself: what the wire looks like, and how it ends. What a session does behind it is tested of both doors elsewhere.

use std::time::Duration;

use proactive::stand_in::Move;
use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{ClientHello, Resume, SessionContext, SessionReady};
use proactive::transport::websocket::Close;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::support::websocket::{Socket, request};
use crate::support::{App, Desk, Door, TestApp, hello, json};

const USER: &str = "test-user-0123456789";

pub(crate) async fn socket(app: &App) -> Socket {
    let server = app.service.server.http_addr();
    let opened = Socket::open(request(server, &app.service.token(USER))).await;
    opened.unwrap()
}

/// One that has said hello, in 1.1, as a client that may come back.
async fn greeted(app: &App) -> (Socket, SessionReady) {
    let mut socket = socket(app).await;
    socket
        .say(Some(coming_back(&SessionReady::default())))
        .await;
    match socket.next().await.unwrap().unwrap() {
        Event::SessionReady(ready) => (socket, ready),
        other => panic!("{other:?}"),
    }
}

fn coming_back(ready: &SessionReady) -> Said {
    Said::ClientHello(ClientHello {
        protocol_version: "1.1".into(),
        session_context: Some(SessionContext::default()),
        resume: Some(Resume {
            session_id: ready.session_id.clone(),
            secret: ready.resume_secret.clone(),
            answers_received: 0,
        }),
        ..ClientHello::default()
    })
}

pub(crate) async fn say(socket: &Socket, value: Value) {
    socket.send(Message::text(value.to_string())).await;
}

#[tokio::test]
async fn b01_a_conversation_is_flat_json_under_the_contract_s_names() {
    let app = TestApp::new().start().await;
    app.script([
        Move::call("search_similar", json!({ "query": "lease" })),
        Move::call(
            "no_task_found",
            json!({ "context_summary": "a chat", "current_activity": "reading" }),
        ),
    ]);
    let mut socket = socket(&app).await;
    say(
        &socket,
        json!({ "type": "client_hello", "context_version": "v1", "session_context": {} }),
    )
    .await;
    let mut ready = socket.value().await;
    assert_eq!(ready["session_id"].take().as_str().unwrap().len(), 36);
    let expected = json!({
        "type": "session_ready", "session_id": null, "protocol_version": "1.0",
        "context_version": "v1", "max_model_iterations": 5,
        "supported_tool_kinds": ["search_similar", "search_keywords"],
    });
    assert_eq!(ready, expected, "nothing that is since 1.1");
    say(&socket, json!({ "type": "frame_event", "frame_number": 7 })).await;
    let asked = socket.value().await;
    let (request_id, deadline) = (&asked["request_id"], &asked["deadline_ms"]);
    let expected = json!({
        "type": "tool_call_request", "request_id": request_id, "tool_kind": "search_similar",
        "query": "lease", "deadline_ms": deadline, "frame_id": "7",
    });
    assert_eq!(asked, expected);
    assert!(deadline.as_i64().unwrap() > 5_000);
    let answer = json!({ "type": "tool_result", "request_id": request_id, "results": [] });
    say(&socket, answer).await;
    let expected = json!({
        "type": "analysis_outcome", "outcome_kind": "no_task_found", "task": null, "reason": "",
        "context_summary": "a chat", "current_activity": "reading", "frame_id": "7",
    });
    assert_eq!(socket.value().await, expected);
    say(&socket, json!({ "type": "heartbeat" })).await;
    say(&socket, json!({ "type": "from_tomorrow" })).await;
    let error = socket.value().await;
    let expected = json!({
        "type": "server_error", "code": "INVALID_EVENT", "message": error["message"],
        "retryable": false, "frame_id": "", "request_id": "",
    });
    assert_eq!(error, expected);
}

#[tokio::test]
async fn hostile_messages_cost_only_themselves() {
    let app = TestApp::new().start().await;
    let (mut socket, _) = greeted(&app).await;
    let deep = "[".repeat(1 << 20);
    let many = format!(
        "{{\"type\":\"tool_result\",\"results\":[{}{{}}]}}",
        "{},".repeat(100_000)
    );
    for nonsense in [
        "",
        "null",
        "[]",
        "{",
        "\u{0}",
        "{\"type\":\"frame_event\",\"type\":\"ack\"}",
        &deep,
        &many,
        "{\"type\":\"client_hello\",\"session_context\":7}",
    ] {
        socket.send(Message::text(nonsense)).await;
        let error = socket.value().await;
        assert_eq!(error["code"], "INVALID_EVENT", "{error}");
    }
    socket.send(Message::binary(vec![1; 100_000])).await;
    let error = socket.value().await;
    assert!(error["message"].as_str().unwrap().contains("binary"));
    say(
        &socket,
        json!({ "type": "frame_event", "screenshot_id": "f", "jpeg_base64": "no base64!" }),
    )
    .await;
    let error = socket.value().await;
    assert_eq!(
        (&error["code"], &error["frame_id"]),
        (&"INVALID_FRAME".into(), &"f".into())
    );
    for _ in 0..10_000 {
        socket.send(Message::Ping("are you there".into())).await;
    }
    say(
        &socket,
        json!({ "type": "frame_event", "screenshot_id": "g" }),
    )
    .await;
    assert_eq!(socket.value().await["frame_id"], "g");
}

#[tokio::test]
async fn a_session_begun_over_grpc_is_taken_up_over_websocket_and_back() {
    let app = TestApp::new().start().await;
    app.script([
        Move::call("search_similar", json!({ "query": "the lease" })),
        Move::call("no_task_found", json!({})),
    ]);
    let mut desk = app.desk().await;
    desk.say(coming_back(&SessionReady::default())).await;
    let ready = desk.ready().await;
    desk.frame("shot", "x").await;
    let search = desk.search().await;
    let mut socket = socket(&app).await;
    socket.say(Some(coming_back(&ready))).await;
    let Event::SessionReady(again) = socket.next().await.unwrap().unwrap() else {
        panic!()
    };
    assert_eq!(again.session_id, ready.session_id);
    assert_eq!(again.resumed.unwrap().frames_in_flight, ["shot"]);
    assert_eq!(desk.next().await.unwrap(), None, "its stream has ended");
    let asked_again = socket.value().await;
    assert_eq!(asked_again["request_id"], *search.request_id);
    let answer = json!({ "type": "tool_result", "request_id": search.request_id });
    say(&socket, answer).await;
    let told = socket.value().await;
    assert_eq!(
        (&told["frame_id"], &told["answer_number"]),
        (&"shot".into(), &1.into())
    );
    let mut desk = app.desk().await;
    desk.say(coming_back(&ready)).await;
    assert_eq!(
        desk.ready().await.resumed.unwrap().frames_answered,
        ["shot"]
    );
    let Event::AnalysisOutcome(again) = json::told(&told) else {
        panic!()
    };
    assert_eq!(desk.outcome().await, again, "word for word");
    assert_eq!(socket.closed().await.0, Close::TakenUp.code());
}

#[tokio::test]
async fn b06_a_websocket_that_is_closed_in_a_tool_wait_ends_the_wait_at_once() {
    let app = TestApp::at(Door::WebSocket).start().await;
    app.script([Move::call("search_similar", json!({ "query": "x" }))]);
    let mut desk = app.greeted().await;
    desk.frame("f", "x").await;
    desk.search().await;
    desk.close().await;
    assert_eq!(desk.next().await.unwrap(), None, "the close is answered");
    for line in [
        "proactive_sessions 0",
        "proactive_frames_in_flight 0",
        "proactive_frames_total{result=\"abandoned\"} 1",
        "proactive_accounted_bytes 0",
    ] {
        app.metric_becomes(line).await;
    }
}

#[tokio::test]
async fn every_end_of_a_stream_has_its_code() {
    let app = TestApp::new()
        .with(|set| set.hello_timeout = "1s".into())
        .start()
        .await;
    let ends = |close: Close| (close.code(), close.reason().to_owned());
    let mut silent = socket(&app).await;
    assert_eq!(silent.closed().await, ends(Close::NoHello));

    let (mut one, ready) = greeted(&app).await;
    let token = app.service.token("somebody-else");
    let theirs = request(app.service.server.http_addr(), &token);
    let mut theirs = Socket::open(theirs).await.unwrap();
    theirs.say(Some(coming_back(&ready))).await;
    assert_eq!(theirs.closed().await, ends(Close::NotYours));
    let two = socket(&app).await;
    two.say(Some(coming_back(&ready))).await;
    assert_eq!(one.closed().await, ends(Close::TakenUp));

    let not_text = Frame::message(vec![0xFF], OpCode::Data(Data::Text), true);
    let in_no_message = Frame::message(vec![b'x'], OpCode::Data(Data::Continue), true);
    for (frame, close) in [(not_text, Close::NotText), (in_no_message, Close::Protocol)] {
        let (mut socket, _) = greeted(&app).await;
        socket.send(Message::Frame(frame)).await;
        assert_eq!(socket.closed().await, ends(close));
    }

    let (mut promised, _) = greeted(&app).await;
    let hello = json!({ "type": "client_hello", "protocol_version": "1.1",
        "heartbeat_interval_ms": 1_000 });
    say(&promised, hello).await;
    assert_eq!(promised.closed().await, ends(Close::Silent));
}

#[tokio::test]
async fn a_stream_that_has_grown_old_is_told_and_closed() {
    let app = TestApp::new()
        .tweak(|config| config.session.max_age = Duration::from_secs(2))
        .start()
        .await;
    let (mut socket, _) = greeted(&app).await;
    let told = socket.value().await;
    assert_eq!(
        (&told["type"], &told["resumable"]),
        (&"go_away".into(), &true.into())
    );
    assert_eq!(socket.closed().await.0, Close::Expired.code());
}

#[tokio::test]
async fn at_shutdown_open_streams_are_told_and_closed_with_a_code_that_says_reconnect() {
    let app = TestApp::new().start().await;
    let (mut new, _) = greeted(&app).await;
    let mut old = socket(&app).await;
    old.say(Some(hello("1.0"))).await;
    old.value().await;
    let server = app.service.server.http_addr();
    let stopping = app.stopping();
    assert_eq!(new.value().await["type"], "go_away");
    assert_eq!(new.closed().await.0, Close::Draining.code());
    assert_eq!(
        old.closed().await.0,
        Close::Draining.code(),
        "1.0 knows no go_away"
    );
    stopping.join_all().await;
    assert!(tokio::net::TcpStream::connect(server).await.is_err());
}

#[tokio::test]
async fn b04_a_client_that_reads_nothing_is_not_read_and_is_closed_in_the_end() {
    let app = TestApp::new()
        .with(|set| set.slow_client_timeout = "1s".into())
        .start()
        .await;
    let (socket, _) = greeted(&app).await;
    let flood = async {
        // Each is answered with more than it is.
        while socket.try_send(Message::text("x")).await.is_ok() {}
        std::future::pending().await
    };
    let ended = app.metric_becomes("proactive_sessions 0");
    tokio::select! {
        () = flood => {}
        () = ended => {}
    }
}

#[tokio::test]
async fn a_dead_peer_is_found_by_pings_that_nobody_answers() {
    let short = Duration::from_millis(100);
    let app = TestApp::new()
        .tweak(move |config| {
            config.http.keepalive.interval = short;
            config.http.keepalive.timeout = short;
        })
        .start()
        .await;
    // It reads, and so answers pings, for as long as it waits for something.
    let mut desk = Desk::over(request(
        app.service.server.http_addr(),
        &app.service.token(USER),
    ))
    .await
    .unwrap();
    desk.hello("1.1").await;
    desk.ready().await;
    let waiting = tokio::time::timeout(10 * short, desk.event()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    app.metric_becomes("proactive_sessions 1").await;
    // Now it does not.
    app.metric_becomes("proactive_sessions 0").await;
}
