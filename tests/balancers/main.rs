//! nginx, HAProxy and Envoy, really started with TLS from `deploy/balancers`,
//! between a desktop and the server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod outside;
mod proxy;
#[path = "../support/mod.rs"]
mod support;

use proactive::stand_in::Move;
use proactive::transport::grpc::MAX_MESSAGE;
use proactive::transport::proto::OutcomeKind;
use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::server_event::Event;
use serde_json::json;
use tokio::join;
use tokio::time::timeout;
use tonic::Code;

use proxy::{IDLE, Kind, Proxy, Site, own_address};
use support::{App, Desk, Door, PATIENCE, TestApp, frame, jpeg};

const REQUEST: &str = "Hi, can you send the Berlin office the signed lease before Tuesday?";
/// One a second, longer than three scaled idle timeouts.
const BEATS: usize = 10;

/// What tests of idle timeouts make of each.
const SCALED: &str = "3s";

/// Starts it in front of this server; `None` if it is not installed.
async fn in_front_of(app: &App, kind: Kind) -> Option<Proxy> {
    with_idle_timeout(app, kind, IDLE).await
}

/// The same with this for every idle timeout.
async fn with_idle_timeout(app: &App, kind: Kind, idle: &'static str) -> Option<Proxy> {
    let site = Site {
        listen: own_address(),
        server: app.service.grpc_addr(),
        http: app.service.server.http_addr(),
        admin: app.service.server.admin_addr(),
        idle,
    };
    kind.start(&site).await
}

/// A stream through the balancer that has said hello; at once, for nginx hands
/// on that the call was taken only with the server's first word.
async fn greeted(app: &App, proxy: &Proxy) -> Desk {
    let token = app.service.token("behind-a-balancer");
    let mut desk = match app.door {
        Door::Grpc => Desk::open_greeting(proxy.channel().await, &token)
            .await
            .unwrap(),
        Door::WebSocket => {
            let desk = Desk::with(proxy.websocket(&token).await);
            desk.hello("1.1").await;
            desk
        }
    };
    match desk.next().await {
        Ok(Some(Event::SessionReady(_))) => desk,
        other => panic!("not SessionReady: {other:?}"),
    }
}

/// The next event that is no heartbeat.
async fn event(desk: &mut Desk) -> Event {
    loop {
        match desk.event().await {
            Event::ServerHeartbeat(_) => {}
            other => return other,
        }
    }
}

async fn carries_a_session(kind: Kind, door: Door) {
    let app = TestApp::at(door).start().await;
    let Some(proxy) = in_front_of(&app, kind).await else {
        return;
    };
    let mut desk = greeted(&app, &proxy).await;
    // Nearly as large as a message may be.
    let mut large = frame("large", "fn main() {}");
    large.jpeg_bytes = jpeg(MAX_MESSAGE - 1_000).into();
    desk.say(Said::FrameEvent(large)).await;
    match event(&mut desk).await {
        Event::AnalysisOutcome(outcome) => assert_eq!(outcome.frame_id, "large"),
        other => panic!("{other:?}"),
    }
    desk.frame("asked", REQUEST).await;
    let mut searches = 0;
    let outcome = loop {
        match event(&mut desk).await {
            Event::ToolCallRequest(request) => {
                searches += 1;
                desk.answer(&request, vec![]).await;
            }
            Event::AnalysisOutcome(outcome) => break outcome,
            other => panic!("{other:?}"),
        }
    };
    assert!(searches >= 1);
    assert_eq!(outcome.outcome_kind(), OutcomeKind::ExtractTask);
    desk.close().await;
    assert_eq!(desk.next().await.unwrap(), None, "the stream ends well");
}

async fn keeps_an_idle_stream_by_its_heartbeats_alone(kind: Kind, door: Door) {
    let app = |interval: &'static str| {
        let app = TestApp::at(door).with(|set| set.heartbeat_interval = interval.into());
        app.start()
    };
    let (told, silent) = join!(app("1s"), app("5m"));
    let (near, far) = join!(
        with_idle_timeout(&told, kind, SCALED),
        with_idle_timeout(&silent, kind, SCALED)
    );
    let (Some(near), Some(far)) = (near, far) else {
        return;
    };
    let kept = async {
        let mut desk = greeted(&told, &near).await;
        for _ in 0..BEATS {
            assert!(matches!(desk.event().await, Event::ServerHeartbeat(_)));
        }
        desk.frame("after", "fn main() {}").await;
        match event(&mut desk).await {
            Event::AnalysisOutcome(outcome) => assert_eq!(outcome.frame_id, "after"),
            other => panic!("{other:?}"),
        }
    };
    // Without them it is cut, so that the test says something.
    let cut = async {
        let mut desk = greeted(&silent, &far).await;
        let end = desk.next().await;
        assert!(end.is_err(), "{end:?}");
        silent.metric_becomes("proactive_sessions 0").await;
    };
    join!(kept, cut);
}

async fn lets_a_drain_end_well(kind: Kind, door: Door) {
    let app = TestApp::at(door).start().await;
    let Some(proxy) = in_front_of(&app, kind).await else {
        return;
    };
    app.script([
        Move::call("search_similar", json!({ "query": "x" })),
        Move::call("no_task_found", json!({})),
    ]);
    let (mut busy, mut idle) = join!(greeted(&app, &proxy), greeted(&app, &proxy));
    busy.frame("accepted", "x").await;
    let search = busy.search().await;
    let stopping = app.stopping();
    assert!(matches!(event(&mut idle).await, Event::GoAway(_)));
    assert_eq!(idle.next().await.unwrap_err().code(), Code::Unavailable);
    assert!(matches!(event(&mut busy).await, Event::GoAway(_)));
    busy.answer(&search, vec![]).await;
    match event(&mut busy).await {
        Event::AnalysisOutcome(outcome) => assert_eq!(outcome.frame_id, "accepted"),
        other => panic!("{other:?}"),
    }
    assert_eq!(busy.next().await.unwrap_err().code(), Code::Unavailable);
    timeout(PATIENCE, stopping.join_all()).await.unwrap();
}

/// Each promise is a test of its own for each balancer and door.
macro_rules! behind {
    ($($kind:ident, $door:ident as $module:ident),*) => {$(
        mod $module {
            use super::Door::$door;
            use super::Kind::$kind;

            // A balancer asks for the server's health while a desktop here makes JSON of so much.
            #[tokio::test(flavor = "multi_thread")]
            async fn a_session_with_searches_and_a_frame_of_ten_mebibytes() {
                super::carries_a_session($kind, $door).await;
            }

            #[tokio::test]
            async fn an_idle_stream_lives_by_heartbeats_and_is_cut_without() {
                super::keeps_an_idle_stream_by_its_heartbeats_alone($kind, $door).await;
            }

            #[tokio::test]
            async fn a_drain_is_announced_and_the_frame_under_way_answered() {
                super::lets_a_drain_end_well($kind, $door).await;
            }
        }
    )*};
}

behind!(
    Nginx,
    Grpc as nginx,
    Nginx,
    WebSocket as nginx_websocket,
    Haproxy,
    Grpc as haproxy,
    Haproxy,
    WebSocket as haproxy_websocket,
    Envoy,
    Grpc as envoy,
    Envoy,
    WebSocket as envoy_websocket
);
