//! The tasks that a session knows of.

use std::time::Duration;

use proactive::domain::FrameFaultCode;
use proactive::session::Version;

use super::support::{Core, context, nothing, turn};

/// Whether the model was shown the task, call by call.
macro_rules! shown {
    ($desk:expr, $task:expr) => {{
        let views = $desk.views();
        views
            .iter()
            .map(|view| view.text.contains($task))
            .collect::<Vec<_>>()
    }};
}

fn looking() -> Core {
    Core::new().model(|_| async { turn([nothing()]) })
}

#[tokio::test(start_paused = true)]
async fn a04_a_frame_before_any_context_gets_no_context_and_the_session_lives() {
    let mut desk = looking().start();
    desk.frame("f").await;
    let fault = desk.fault("f").await;
    assert_eq!(fault.code, FrameFaultCode::NoContext);
    assert!(fault.retryable);
    // The same frame again, with what was missing.
    desk.frame_with("f", context("v1", "Water the plants"))
        .await;
    desk.no_task("f").await;
    assert_eq!(shown!(desk, "Water the plants"), [true]);
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a04_a_hello_without_context_leaves_the_session_without_one() {
    let mut desk = looking().start();
    desk.hello(Version::V1_0, "v1", None).await;
    desk.ready().await;
    desk.frame("f").await;
    assert_eq!(desk.fault("f").await.code, FrameFaultCode::NoContext);
    assert!(desk.views().is_empty(), "the model was not asked");
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a06_the_context_is_kept_and_replaced_only_by_one_of_another_version() {
    let mut desk = looking().greeted().await;
    desk.frame("one").await;
    desk.no_task("one").await;
    desk.frame_with("two", context("v1", "Feed the cat")).await;
    desk.no_task("two").await;
    desk.frame_with("three", context("v2", "Feed the cat"))
        .await;
    desk.no_task("three").await;
    desk.frame("four").await;
    desk.no_task("four").await;
    assert_eq!(shown!(desk, "Water the plants"), [true, true, false, false]);
    assert_eq!(shown!(desk, "Feed the cat"), [false, false, true, true]);
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a06_a_second_hello_replaces_the_context() {
    let mut desk = looking().greeted().await;
    desk.hello(Version::V1_0, "v1", Some(context("v1", "Feed the cat")))
        .await;
    desk.ready().await;
    desk.frame("one").await;
    desk.no_task("one").await;
    assert_eq!(
        shown!(desk, "Feed the cat"),
        [true],
        "also under the same version"
    );
    // It may name the tasks without repeating them; others are forgotten.
    desk.hello(Version::V1_0, "v1", None).await;
    desk.ready().await;
    desk.frame("two").await;
    desk.no_task("two").await;
    desk.hello(Version::V1_0, "v2", None).await;
    desk.ready().await;
    desk.frame("three").await;
    assert_eq!(desk.fault("three").await.code, FrameFaultCode::NoContext);
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a06_a_frame_in_flight_keeps_the_context_it_came_with_also_while_it_waits() {
    let mut desk = Core::new()
        .frames_at_once(1)
        .model(|_| async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            turn([nothing()])
        })
        .greeted()
        .await;
    desk.frame("one").await;
    desk.frame("two").await;
    desk.hello(Version::V1_0, "v2", Some(context("v2", "Feed the cat")))
        .await;
    desk.ready().await;
    desk.no_task("one").await;
    desk.no_task("two").await;
    assert_eq!(shown!(desk, "Water the plants"), [true, true]);
    desk.close().await;
}
