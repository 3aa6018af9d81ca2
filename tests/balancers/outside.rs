//! What is asked for outside of sessions, through each balancer: jobs, and a user's
//! log as it is written. And what no balancer leads to.
//!
//! Where ten mebibytes become JSON, the server has threads of its own: a balancer asks for
//! its health meanwhile.

use std::time::Duration;

use proactive::config::Settings;
use proactive::stand_in::Move;
use proactive::transport::grpc::MAX_MESSAGE;
use proactive::transport::proto::log_event::Event as LogWhat;
use proactive::transport::proto::subscribe_response::Event;
use proactive::transport::proto::{FireRequest, JobState, ListJobsRequest};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::join;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Code;

use crate::proxy::{Kind, Proxy};
use crate::support::http::Http;
use crate::support::outside::{Followed, SERVICE_TOKEN, submission};
use crate::support::{App, Door, PATIENCE, TestApp, USER, jpeg};
use crate::{SCALED, in_front_of, with_idle_timeout};

/// What a follower is told in silence is no setting.
const HEARTBEAT: Duration = Duration::from_secs(25);
/// One heartbeat keeps a follower here, none does not.
const BARELY: &str = "30s";
/// By when it would be cut without one.
const OVER: Duration = Duration::from_secs(33);
/// The largest body with a frame, as the server takes it.
const MAX_BODY: usize = 14 << 20;

async fn started(door: Door) -> App {
    let tokens = |set: &mut Settings| set.work.service_tokens = Some(SERVICE_TOKEN.into());
    TestApp::at(door).with(tokens).start().await
}

fn about(title: &str) -> FireRequest {
    FireRequest {
        uid: USER.into(),
        kind: "report.ready".into(),
        title: title.into(),
        ..FireRequest::default()
    }
}

/// A message, as a program inside sends it, and what becomes of it at the follower.
async fn tells(app: &App, title: &str, followed: &mut Followed) {
    let fired = app.fire(SERVICE_TOKEN, about(title)).await.unwrap();
    assert_eq!(fired.listeners, 1);
    match followed.event().await.event {
        Some(LogWhat::Message(message)) => assert_eq!(message.title, title),
        other => panic!("{other:?}"),
    }
}

async fn carries_a_frame_as_a_job(kind: Kind, door: Door) {
    let app = started(door).await;
    let Some(proxy) = in_front_of(&app, kind).await else {
        return;
    };
    app.script([Move::call("no_task_found", json!({}))]);
    let user = proxy.caller(door, &app.service.token(USER)).await;
    // Nearly as large as a frame may be.
    let mut large = submission("shot", "fn main() {}", "once");
    large.frame.as_mut().unwrap().jpeg_bytes = jpeg(MAX_MESSAGE - 1_000).into();
    let submitted = user.submit(large).await.unwrap();
    let id = submitted.job.unwrap().job_id;
    let done = async {
        loop {
            let job = user.job(&id).await.unwrap();
            if job.state() == JobState::Done {
                break;
            }
            assert!(job.error.is_none(), "{job:?}");
        }
    };
    timeout(PATIENCE, done).await.unwrap();
    let ended = user.cancel(&id).await.unwrap();
    assert_eq!(ended.state(), JobState::Done, "it had ended");
    let listed = user.list(ListJobsRequest::default()).await.unwrap();
    assert_eq!(listed.jobs, [ended]);
    let unknown = user.job("another").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound, "by the server: {unknown}");
}

async fn tells_a_log_event_by_event(kind: Kind, door: Door) {
    let app = started(door).await;
    let Some(proxy) = in_front_of(&app, kind).await else {
        return;
    };
    let user = proxy.caller(door, &app.service.token(USER)).await;
    let mut followed = user.follow("").await.unwrap();
    followed.start().await;
    // Each is there before the next is written.
    for title in ["first", "second", "third"] {
        tells(&app, title, &mut followed).await;
    }
    let stopping = app.stopping();
    let end = followed.next().await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable, "the server's word: {end}");
    timeout(PATIENCE, stopping.join_all()).await.unwrap();
}

async fn keeps_a_follower_by_its_heartbeats_alone(kind: Kind, door: Door) {
    let app = started(door).await;
    let (long, short) = join!(
        with_idle_timeout(&app, kind, BARELY),
        with_idle_timeout(&app, kind, SCALED)
    );
    let (Some(long), Some(short)) = (long, short) else {
        return;
    };
    let opened = Instant::now();
    let follow = async |proxy: &Proxy, user: &str| {
        let caller = proxy.caller(door, &app.service.token(user)).await;
        let mut followed = caller.follow("").await.unwrap();
        followed.start().await;
        followed
    };
    let kept = async {
        let mut followed = follow(&long, USER).await;
        let beat = timeout(HEARTBEAT + PATIENCE, followed.next_in_time()).await;
        assert!(
            matches!(beat, Ok(Ok(Some(Event::Heartbeat(_))))),
            "{beat:?}"
        );
        sleep_until(opened + OVER).await;
        tells(&app, "after", &mut followed).await;
    };
    // Without them it is cut, so that the test says something.
    let cut = async {
        let mut followed = follow(&short, "somebody-else").await;
        let end = followed.next().await;
        assert!(!matches!(end, Ok(Some(_))), "{end:?}");
        assert!(opened.elapsed() < HEARTBEAT);
    };
    join!(kept, cut);
}

/// The answer to a POST with this body.
async fn posted(proxy: &Proxy, path: &str, token: &str, body: Vec<u8>) -> Response {
    let request = proxy.client().post(proxy.url(path)).bearer_auth(token);
    request.body(body).send().await.unwrap()
}

/// Whether the server itself says what is wrong.
fn is_problem(answer: &Response) -> bool {
    let kind = answer.headers().get("content-type");
    kind.is_some_and(|kind| kind == "application/problem+json")
}

async fn leads_to_what_is_for_users_alone(kind: Kind) {
    let app = started(Door::Grpc).await;
    let Some(proxy) = in_front_of(&app, kind).await else {
        return;
    };
    let token = app.service.token(USER);
    let get = async |path: &str| {
        let request = proxy.client().get(proxy.url(path)).bearer_auth(&token);
        request.send().await.unwrap()
    };
    let described = get("/v1/openapi.json").await.bytes().await.unwrap();
    let described: Value = serde_json::from_slice(&described).unwrap();
    // Whatever is described is led to, but one. Over HTTP/1.1, for an upgrade is of that alone.
    for path in described["paths"].as_object().unwrap().keys() {
        let asked = path.replace("{id}", "another");
        let head = format!(
            "GET {asked} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        let told = proxy.told(&head).await.to_lowercase();
        // What the server refuses, it refuses as a problem.
        let kinds = [
            "application/problem+json",
            "application/json",
            "text/event-stream",
        ];
        let mut kinds = kinds.iter().map(|kind| format!("\ncontent-type: {kind}\r"));
        let by_the_server = kinds.any(|kind| told.contains(&kind));
        assert_eq!(by_the_server, path != "/v1/messages", "{path}: {told}");
    }
    // Those who have a service token reach it inside, and only there.
    let fired = app.http(SERVICE_TOKEN).fire(&about("inside")).await;
    assert!(!fired.unwrap().repeated);
    let message = json!({ "uid": USER, "kind": "k", "title": "outside" }).to_string();
    for path in ["/v1/messages", "/v1/messages/", "/v1/jobs/x/messages"] {
        let answer = posted(&proxy, path, SERVICE_TOKEN, message.clone().into()).await;
        assert_eq!(answer.status(), 404, "{path}");
    }
    for path in [
        "/v1/jobs/../messages",
        "/v1/jobs/%2e%2e/messages",
        "//v1/messages",
    ] {
        let length = message.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {SERVICE_TOKEN}\r\n\
             content-length: {length}\r\n\r\n{message}"
        );
        let told = proxy.told(&head).await;
        assert!(told.starts_with("HTTP/1.1 404 "), "{path}: {told}");
    }
    let caller = proxy.caller(Door::Grpc, SERVICE_TOKEN).await;
    let refused = caller.fire(about("outside")).await.unwrap_err();
    // tonic takes nginx' page for a message.
    let by_status = refused.code() == Code::Unimplemented;
    assert!(
        by_status || refused.message().contains("404 Not Found"),
        "{refused}"
    );
    let mut log = app.follow("oldest").await.unwrap();
    log.start().await;
    match log.event().await.event {
        Some(LogWhat::Message(message)) => assert_eq!(message.title, "inside"),
        other => panic!("{other:?}"),
    }
    app.fire(SERVICE_TOKEN, about("last")).await.unwrap();
    match log.event().await.event {
        Some(LogWhat::Message(message)) => assert_eq!(message.title, "last"),
        other => panic!("{other:?}"),
    }
    for path in [
        "/",
        "/metrics",
        "/healthz",
        "/readyz",
        "/v1/framesx",
        "/v1/jobsx",
    ] {
        assert_eq!(get(path).await.status(), 404, "{path}");
    }
}

async fn bounds_what_is_sent(kind: Kind) {
    let app = started(Door::WebSocket).await;
    let Some(proxy) = in_front_of(&app, kind).await else {
        return;
    };
    let token = app.service.token(USER);
    // Beyond them a body does not reach the server.
    for (path, most) in [("/v1/frames", MAX_BODY), ("/v1/jobs/x/cancel", 64 << 10)] {
        let beyond = posted(&proxy, path, &token, vec![b' '; most + 1]).await;
        assert_eq!(
            (beyond.status().as_u16(), is_problem(&beyond)),
            (413, false),
            "{path}"
        );
        let within = posted(&proxy, path, &token, vec![b' '; most]).await;
        assert!(is_problem(&within), "{path}: {within:?}");
    }
    // What is within them is the server's to judge.
    let stranger = Http::with(proxy.client(), proxy.url(""), "no-token".into());
    let refused = stranger.submit(&submission("shot", "x", "")).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
}

/// Each promise is a test of its own for each balancer and door.
macro_rules! outside {
    ($($kind:ident as $module:ident),*) => {$(
        mod $module {
            use super::Kind::$kind;

            #[tokio::test]
            async fn users_are_led_to_all_that_is_theirs_and_to_no_messages_metrics_or_health() {
                super::leads_to_what_is_for_users_alone($kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn bodies_have_bounds() {
                super::bounds_what_is_sent($kind).await;
            }

            /// At both doors at once, for it takes as long as a heartbeat does.
            #[tokio::test]
            async fn a_follower_lives_by_heartbeats_and_is_cut_without() {
                let at = |door| super::keeps_a_follower_by_its_heartbeats_alone($kind, door);
                tokio::join!(at(super::Door::Grpc), at(super::Door::WebSocket));
            }

            outside!($kind, Grpc as grpc);
            outside!($kind, WebSocket as http);
        }
    )*};
    ($kind:ident, $door:ident as $module:ident) => {
        mod $module {
            use super::super::Door::$door;
            use super::super::Kind::$kind;

            #[tokio::test(flavor = "multi_thread")]
            async fn a_job_with_a_frame_of_ten_mebibytes() {
                super::super::carries_a_frame_as_a_job($kind, $door).await;
            }

            #[tokio::test]
            async fn a_log_is_told_event_by_event_until_the_server_leaves() {
                super::super::tells_a_log_event_by_event($kind, $door).await;
            }
        }
    };
}

outside!(Nginx as nginx, Haproxy as haproxy, Envoy as envoy);
