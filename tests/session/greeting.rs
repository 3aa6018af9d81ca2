//! Hello, ready, and signs of life.

use std::time::Duration;

use proactive::domain::SearchKind;
use proactive::session::{ClientMessage, ServerMessage, Version};

use super::support::{Core, context, nothing, similar, turn};

#[tokio::test(start_paused = true)]
async fn a03_a_hello_is_answered_with_the_session_and_what_is_in_force() {
    let mut desk = Core::new().start();
    desk.hello(Version::V1_0, "v7", None).await;
    let ready = desk.ready().await;
    assert_eq!(ready.session.as_str().len(), 36, "a UUID");
    assert_eq!(ready.version.as_str(), "1.0");
    assert_eq!(ready.context_version, "v7");
    assert_eq!(ready.max_iterations, 5);
    assert_eq!(ready.searches, [SearchKind::Similar, SearchKind::Keywords]);
    assert_eq!(ready.heartbeat_interval, Duration::from_secs(20));
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a03_a_second_hello_is_answered_for_the_same_session_with_its_own_version() {
    let mut desk = Core::new().start();
    desk.hello(Version::V1_1, "v1", None).await;
    let first = desk.ready().await;
    desk.hello(Version::V1_0, "v2", None).await;
    let second = desk.ready().await;
    assert_eq!(first.session, second.session);
    assert_eq!(
        (first.version, second.version),
        (Version::V1_1, Version::V1_0)
    );
    assert_eq!(second.context_version, "v2");
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a07_a_heartbeat_is_not_answered_and_is_legal_at_any_moment() {
    let mut desk = Core::new()
        .turns([turn([similar("lease")]), turn([nothing()])])
        .start();
    desk.say(ClientMessage::Heartbeat).await;
    desk.silence(Duration::from_secs(9)).await;
    desk.frame_with("f", context("v1", "x")).await;
    let request = desk.search().await;
    for _ in 0..20 {
        desk.say(ClientMessage::Heartbeat).await;
    }
    desk.silence(Duration::from_secs(9)).await;
    desk.answer(&request, Ok(vec![])).await;
    desk.no_task("f").await;
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_of_1_1_hears_a_heartbeat_every_interval_and_one_of_1_0_never() {
    let mut desk = Core::new().start();
    let second = Duration::from_secs(1);
    desk.silence(9 * second).await;
    desk.hello(Version::V1_1, "", None).await;
    desk.ready().await;
    for _ in 0..3 {
        desk.silence(19 * second).await;
        assert!(matches!(desk.next().await, ServerMessage::Heartbeat(_)));
    }
    desk.hello(Version::V1_0, "", None).await;
    desk.ready().await;
    desk.silence(60 * second).await;
    desk.close().await;
}
