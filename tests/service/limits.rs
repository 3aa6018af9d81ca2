//! What a real server refuses when there is too much of something, and what it
//! says then.

use proactive::config::Settings;
use proactive::transport::proto::client_event::Event as Said;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::support::{App, Desk, Door, PATIENCE, TestApp, frame, jpeg};

crate::both_doors![
    a_user_s_stream_too_many_is_refused_with_advice_and_another_user_s_is_not,
    a_full_server_says_that_it_is_unavailable,
    frames_beyond_the_minute_s_are_answered_with_the_time_to_wait,
    a_frame_for_which_there_is_no_memory_is_named_and_the_session_goes_on,
];

/// What a session counts for.
const SESSION: usize = 24 << 10;
const OTHER: &str = "another-user-0123456789";

async fn app(door: Door, change: impl FnOnce(&mut Settings)) -> App {
    TestApp::at(door).with(change).start().await
}

/// A stream of the other user that has said hello.
async fn other(app: &App) -> Desk {
    let token = app.service.token(OTHER);
    let mut desk = app.open(&token).await.unwrap();
    desk.hello("1.1").await;
    desk.ready().await;
    desk
}

/// Why no stream is opened.
async fn refused(app: &App, uid: &str) -> Status {
    let token = app.service.token(uid);
    let opened = app.open(&token).await;
    opened.err().expect("the stream was opened")
}

async fn a_user_s_stream_too_many_is_refused_with_advice_and_another_user_s_is_not(door: Door) {
    let app = app(door, |set| set.max_sessions_per_user = "2".into()).await;
    let first = app.greeted().await;
    let _second = app.greeted().await;
    let status = refused(&app, "test-user-0123456789").await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    let advice = "This user has 2 sessions open, and no more are allowed; close another one, or try again later.";
    assert_eq!(status.message(), advice);
    app.metric_becomes("proactive_limits_met_total{limit=\"user_sessions\"} 1")
        .await;
    let _other = other(&app).await;
    drop(first);
    app.metric_becomes(&format!("proactive_accounted_bytes {}", 2 * SESSION))
        .await;
    app.greeted().await;
}

async fn a_full_server_says_that_it_is_unavailable(door: Door) {
    let app = app(door, |set| set.max_sessions = "1".into()).await;
    let first = app.greeted().await;
    let status = refused(&app, OTHER).await;
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().ends_with("try again later."), "{status}");
    app.metric_becomes("proactive_limits_met_total{limit=\"sessions\"} 1")
        .await;
    drop(first);
    app.metric_becomes("proactive_accounted_bytes 0").await;
    other(&app).await;
}

async fn frames_beyond_the_minute_s_are_answered_with_the_time_to_wait(door: Door) {
    let app = app(door, |set| set.frames_per_minute = "2".into()).await;
    let mut desk = app.greeted().await;
    for id in ["a", "b"] {
        desk.frame(id, "fn main() {}").await;
        desk.outcome().await;
    }
    desk.frame("c", "fn main() {}").await;
    let error = desk.error().await;
    let told = (
        error.code.as_str(),
        error.retryable,
        error.frame_id.as_str(),
    );
    assert_eq!(told, ("RATE_LIMITED", true, "c"));
    assert!((1..=32_000).contains(&error.retry_after_ms), "{error:?}");
    let mut other = other(&app).await;
    other.frame("d", "fn main() {}").await;
    other.outcome().await;
    app.metric_becomes("proactive_frames_total{result=\"throttled\"} 1")
        .await;
    app.metric_becomes("proactive_limits_met_total{limit=\"user_frames\"} 1")
        .await;
}

async fn a_frame_for_which_there_is_no_memory_is_named_and_the_session_goes_on(door: Door) {
    for (limit, of_user) in [("user_bytes", true), ("memory", false)] {
        let app = TestApp::at(door)
            .tweak(move |config| match of_user {
                true => config.limits.bytes_per_user = 600_000,
                false => config.limits.bytes = 600_000,
            })
            .start()
            .await;
        let mut desk = app.greeted().await;
        let mut large = frame("large", "fn main() {}");
        large.jpeg_bytes = jpeg(3_000_000).into();
        desk.say(Said::FrameEvent(large)).await;
        let error = desk.error().await;
        let told = (
            error.code.as_str(),
            error.retryable,
            error.frame_id.as_str(),
        );
        assert_eq!(told, ("OVERLOADED", true, "large"));
        assert!(
            (2_000..=10_000).contains(&error.retry_after_ms),
            "{error:?}"
        );
        desk.frame("small", "fn main() {}").await;
        desk.outcome().await;
        drop(desk);
        for line in [
            &*format!("proactive_limits_met_total{{limit=\"{limit}\"}} 1"),
            "proactive_frames_total{result=\"overloaded\"} 1",
            "proactive_accounted_bytes 0",
        ] {
            app.metric_becomes(line).await;
        }
    }
}

#[tokio::test]
async fn a_connection_too_many_is_closed_at_once_and_its_place_is_free_again_later() {
    let app = app(Door::Grpc, |set| set.max_connections = Some("2".into())).await;
    let kept = app.greeted().await;
    let second = TcpStream::connect(app.service.grpc_addr()).await.unwrap();
    app.metric_becomes("proactive_connections 2").await;
    let mut third = TcpStream::connect(app.service.grpc_addr()).await.unwrap();
    // Long before the ten seconds of silence that a connection may begin with.
    let read = timeout(PATIENCE / 4, third.read(&mut [0])).await.unwrap();
    assert!(!read.is_ok_and(|bytes| bytes > 0));
    app.metric_becomes("proactive_limits_met_total{limit=\"connections\"} 1")
        .await;
    drop(second);
    app.metric_becomes("proactive_connections 1").await;
    other(&app).await;
    drop(kept);
}
