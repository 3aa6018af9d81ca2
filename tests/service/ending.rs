//! How sessions and the server end.

use std::time::Duration;

use proactive::stand_in::Move;
use proactive::transport::proto::OutcomeKind;
use proactive::transport::proto::server_event::Event;
use serde_json::json;
use tokio::time::timeout;
use tonic::Code;

use crate::doors::page;
use crate::support::{Door, PATIENCE, TestApp};

crate::both_doors![
    gone_a_leaked_session_a_disconnect_ends_everything_of_it_at_once,
    a_drain_says_goodbye_finishes_accepted_frames_and_ends_the_streams,
    what_is_left_when_the_grace_period_ends_is_told_going_away,
    a_client_of_1_1_gets_heartbeats_and_one_of_1_0_none,
];

#[tokio::test]
async fn a_half_closed_stream_still_gets_the_answers_to_its_frames() {
    let app = TestApp::new().start().await;
    let mut desk = app.greeted().await;
    desk.frame("1", "fn main() {}").await;
    desk.frame("2", "fn main() {}").await;
    desk.close().await;
    let mut answered = vec![desk.outcome().await.frame_id, desk.outcome().await.frame_id];
    answered.sort();
    assert_eq!(answered, ["1", "2"]);
    assert_eq!(
        desk.next().await.unwrap(),
        None,
        "then the stream ends well"
    );
}

#[tokio::test]
async fn a_search_that_nobody_can_answer_ends_its_frame_at_once_with_the_reason() {
    let app = TestApp::new().start().await;
    app.script([
        Move::call("search_similar", json!({ "query": "x" })).after(Duration::from_millis(50))
    ]);
    let mut desk = app.greeted().await;
    desk.frame("f", "x").await;
    desk.close().await;
    let outcome = desk.outcome().await;
    assert_eq!(outcome.outcome_kind(), OutcomeKind::NoTaskFound);
    assert!(
        outcome.reason.contains("closed its side"),
        "{}",
        outcome.reason
    );
}

async fn gone_a_leaked_session_a_disconnect_ends_everything_of_it_at_once(door: Door) {
    let app = TestApp::at(door).start().await;
    app.script([
        Move::hang(),
        Move::call("search_similar", json!({ "query": "x" })),
    ]);
    let mut desk = app.greeted().await;
    desk.frame("model", "x").await;
    let mut traffic = app.model.traffic();
    traffic.wait_for(|traffic| traffic.open == 1).await.unwrap();
    desk.frame("tool", "x").await;
    desk.search().await;
    drop(desk);
    let closed = traffic.wait_for(|traffic| traffic.open == 0);
    timeout(PATIENCE, closed).await.unwrap().unwrap();
    app.metric_becomes("proactive_sessions 0").await;
    app.metric_becomes("proactive_frames_in_flight 0").await;
    app.metric_becomes("proactive_frames_total{result=\"abandoned\"} 2")
        .await;
}

async fn a_drain_says_goodbye_finishes_accepted_frames_and_ends_the_streams(door: Door) {
    let app = TestApp::at(door).start().await;
    app.script([
        Move::call("search_similar", json!({ "query": "x" })),
        Move::call("no_task_found", json!({})),
    ]);
    let mut busy = app.greeted().await;
    let mut idle = app.greeted().await;
    let mut old = app.desk().await;
    old.hello("1.0").await;
    old.ready().await;
    busy.frame("accepted", "x").await;
    let search = busy.search().await;
    let late = app.late().await;
    let admin = app.service.server.admin_addr();
    let stopping = app.stopping();
    match busy.event().await {
        Event::GoAway(goodbye) => {
            assert!(!goodbye.reason.is_empty());
            assert_eq!(goodbye.time_left_ms, 25_000);
            assert!((0..=5_000).contains(&goodbye.reconnect_delay_ms));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(idle.event().await, Event::GoAway(_)));
    assert_eq!(idle.next().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(
        old.next().await.unwrap_err().code(),
        Code::Unavailable,
        "1.0 knows no GoAway"
    );
    let readiness = reqwest::get(format!("http://{admin}/readyz"))
        .await
        .unwrap();
    assert_eq!(readiness.status(), 503);
    assert!(late.open().await.is_err(), "no new stream");
    busy.frame("too late", "x").await;
    let error = busy.error().await;
    assert_eq!(
        (error.code.as_str(), error.frame_id.as_str()),
        ("GOING_AWAY", "too late")
    );
    assert!(error.retryable);
    busy.answer(&search, vec![]).await;
    assert_eq!(busy.outcome().await.frame_id, "accepted");
    assert_eq!(busy.next().await.unwrap_err().code(), Code::Unavailable);
    timeout(PATIENCE, stopping.join_all()).await.unwrap();
}

async fn what_is_left_when_the_grace_period_ends_is_told_going_away(door: Door) {
    let app = TestApp::at(door)
        .with(|set| set.drain_grace = "200ms".into())
        .start()
        .await;
    app.script([Move::hang()]);
    let mut desk = app.greeted().await;
    desk.frame("stuck", "x").await;
    let mut traffic = app.model.traffic();
    traffic.wait_for(|traffic| traffic.open == 1).await.unwrap();
    let stopping = app.stopping();
    assert!(matches!(desk.event().await, Event::GoAway(_)));
    let error = desk.error().await;
    assert_eq!(
        (error.code.as_str(), error.frame_id.as_str()),
        ("GOING_AWAY", "stuck")
    );
    timeout(PATIENCE, stopping.join_all()).await.unwrap();
}

#[tokio::test]
async fn health_is_not_serving_as_soon_as_a_drain_begins() {
    let app = TestApp::new().start().await;
    app.script([Move::hang()]);
    let desk = app.greeted().await;
    desk.frame("f", "x").await;
    let mut traffic = app.model.traffic();
    traffic.wait_for(|traffic| traffic.open == 1).await.unwrap();
    let mut watch = tonic_health::pb::health_client::HealthClient::new(app.channel().await)
        .watch(tonic_health::pb::HealthCheckRequest {
            service: "proactive.v1.ProactiveAI".into(),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(page(&app, "/readyz").await.0, 200);
    let stopping = app.stopping();
    let gone = async {
        // 2 is NOT_SERVING.
        while watch.message().await.unwrap().unwrap().status != 2 {}
    };
    timeout(PATIENCE, gone).await.unwrap();
    drop(desk);
    drop(watch);
    timeout(PATIENCE, stopping.join_all()).await.unwrap();
}

async fn a_client_of_1_1_gets_heartbeats_and_one_of_1_0_none(door: Door) {
    let app = TestApp::at(door)
        .with(|set| set.heartbeat_interval = "1s".into())
        .start()
        .await;
    let mut old = app.desk().await;
    old.hello("1.0").await;
    old.ready().await;
    let mut new = app.greeted().await;
    for _ in 0..2 {
        assert!(
            matches!(new.event().await, Event::ServerHeartbeat(beat) if beat.sent_at.is_some())
        );
    }
    old.frame("f", "fn main() {}").await;
    assert_eq!(old.outcome().await.frame_id, "f", "nothing came before it");
}
