//! Sessions that outlive their streams, over real connections.

use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{Ack, ClientHello, Resume, SessionContext, SessionReady};
use serde_json::json;
use tonic::Code;

use proactive::stand_in::Move;

use super::support::{Door, TestApp, hello};

crate::both_doors![
    a_search_and_an_answer_survive_their_streams,
    another_users_session_is_refused_and_an_unknown_one_begins_anew,
    a_client_that_does_not_ask_for_it_hears_nothing_of_resuming,
    a_stream_that_says_nothing_is_closed_and_told_why,
];

fn coming_back(ready: &SessionReady, answers_received: i64) -> Said {
    Said::ClientHello(ClientHello {
        protocol_version: "1.1".into(),
        context_version: "v1".into(),
        session_context: Some(SessionContext::default()),
        resume: Some(Resume {
            session_id: ready.session_id.clone(),
            secret: ready.resume_secret.clone(),
            answers_received,
        }),
        ..ClientHello::default()
    })
}

async fn a_search_and_an_answer_survive_their_streams(door: Door) {
    let app = TestApp::at(door).start().await;
    app.script([
        Move::call("search_similar", json!({ "query": "the lease" })),
        Move::call("no_task_found", json!({})),
    ]);
    let mut desk = app.desk().await;
    desk.say(coming_back(&SessionReady::default(), 0)).await;
    let ready = desk.ready().await;
    assert!(!ready.resume_secret.is_empty());
    assert_eq!((ready.resume_within_ms, &ready.resumed), (30_000, &None));
    desk.frame("shot", "x").await;
    let search = desk.search().await;
    drop(desk);
    app.metric_becomes("proactive_sessions_away 1").await;

    let mut desk = app.desk().await;
    desk.say(coming_back(&ready, 0)).await;
    let again = desk.ready().await;
    assert_eq!(again.session_id, ready.session_id);
    let resumed = again.resumed.unwrap();
    assert_eq!(resumed.frames_in_flight, ["shot"]);
    let asked_again = desk.search().await;
    assert_eq!(asked_again.request_id, search.request_id);
    desk.answer(&asked_again, vec![]).await;
    let outcome = desk.outcome().await;
    assert_eq!(
        (outcome.frame_id.as_str(), outcome.answer_number),
        ("shot", 1)
    );
    // It arrived, and nobody says so.
    drop(desk);
    app.metric_becomes("proactive_sessions_away 1").await;

    let mut desk = app.desk().await;
    desk.say(coming_back(&ready, 0)).await;
    assert_eq!(
        desk.ready().await.resumed.unwrap().frames_answered,
        ["shot"]
    );
    assert_eq!(desk.outcome().await, outcome);
    desk.say(Said::Ack(Ack { answer_number: 1 })).await;
    desk.close().await;
    assert_eq!(desk.next().await.unwrap(), None);
    assert_eq!(app.model.recorded().len(), 2, "each call was made once");
    // Who closes a WebSocket may come back: there are no two ways to close it.
    if door == Door::Grpc {
        app.metric_becomes("proactive_sessions 0").await;
    }
}

async fn another_users_session_is_refused_and_an_unknown_one_begins_anew(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.desk().await;
    desk.say(coming_back(&SessionReady::default(), 0)).await;
    let ready = desk.ready().await;

    let token = app.service.token("somebody-else");
    let mut other = app.open(&token).await.unwrap();
    other.say(coming_back(&ready, 0)).await;
    let refused = other.next().await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(!refused.message().contains(&ready.resume_secret));

    let mut unknown = app.desk().await;
    let lost = SessionReady {
        session_id: "0e2a7f7e-0000-4000-8000-000000000000".into(),
        ..ready.clone()
    };
    unknown.say(coming_back(&lost, 3)).await;
    let new = unknown.ready().await;
    assert!(new.resumed.is_none() && new.session_id != ready.session_id);
}

async fn a_client_that_does_not_ask_for_it_hears_nothing_of_resuming(door: Door) {
    let app = TestApp::at(door).start().await;
    app.script([Move::call("no_task_found", json!({}))]);
    for version in ["1.0", "1.1"] {
        let mut desk = app.desk().await;
        desk.say(hello(version)).await;
        let ready = desk.ready().await;
        assert_eq!(
            (ready.resume_secret.as_str(), ready.resume_within_ms),
            ("", 0)
        );
        desk.frame(version, "x").await;
        match desk.event().await {
            Event::AnalysisOutcome(outcome) => assert_eq!(outcome.answer_number, 0),
            other => panic!("{other:?}"),
        }
        drop(desk);
    }
    app.metric_becomes("proactive_sessions 0").await;
}

async fn a_stream_that_says_nothing_is_closed_and_told_why(door: Door) {
    let app = TestApp::at(door)
        .with(|settings| settings.hello_timeout = "1s".into())
        .start()
        .await;
    let mut silent = app.desk().await;
    let ended = silent.next().await.unwrap_err();
    assert_eq!(ended.code(), Code::DeadlineExceeded);
    assert!(ended.message().contains("hello"), "{}", ended.message());
}
