//! The ways in which a client leaves.

use std::future::pending;
use std::time::Duration;

use proactive::session::{ClientMessage, Hello, Input, OUTBOUND_QUEUE, ServerMessage, Version};
use proactive::telemetry::SessionEnd;

use super::support::{Core, Desk, Since, context, extract, hit, nothing, shows, similar, turn};

/// One frame searches, one hangs in the model, one waits.
async fn busy() -> Desk {
    let mut desk = Core::new()
        .model(|view| async move {
            if shows(&view, "searching") {
                return turn([similar("x")]);
            }
            pending().await
        })
        .greeted()
        .await;
    desk.frame("searching").await;
    desk.search().await;
    desk.frame("hanging").await;
    desk.frame("waiting").await;
    desk.settle().await;
    assert_eq!(desk.pending.len(), 1);
    assert_eq!(desk.count("proactive_frames_in_flight"), 2);
    assert_eq!(desk.count("proactive_sessions"), 1);
    desk
}

#[tokio::test(start_paused = true)]
async fn in_a_half_closed_stream_accepted_frames_are_still_answered() {
    let mut desk = Core::new()
        .model(|_| async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            turn([nothing()])
        })
        .greeted()
        .await;
    for id in ["a", "b", "c"] {
        desk.frame(id).await;
    }
    desk.half_close();
    for id in ["a", "b", "c"] {
        desk.no_task(id).await;
    }
    assert_eq!(desk.end().await, (SessionEnd::Closed, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_search_that_nobody_can_answer_any_more_ends_its_frame_at_once_with_the_reason() {
    let mut desk = Core::new()
        .model(|view| async move {
            if shows(&view, "later") {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            turn([similar("x")])
        })
        .greeted()
        .await;
    desk.frame("now").await;
    desk.search().await;
    desk.frame("later").await;
    desk.half_close();
    let began = Since::now();
    let reason = desk.no_task("now").await;
    assert!(reason.contains("closed its side"), "{reason}");
    assert_eq!(began.millis(), 0);
    let reason = desk.no_task("later").await;
    assert!(reason.contains("closed its side"), "{reason}");
    assert_eq!(began.millis(), 5_000, "it was not even asked for");
    assert_eq!(desk.end().await, (SessionEnd::Closed, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_result_sent_just_before_the_half_close_still_counts() {
    let mut desk = Core::new()
        .turns([turn([similar("x")]), turn([extract()])])
        .greeted()
        .await;
    desk.frame("f").await;
    let request = desk.search().await;
    desk.answer(&request, Ok(vec![])).await;
    desk.half_close();
    desk.task("f").await;
    assert_eq!(desk.end().await, (SessionEnd::Closed, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_opened_and_closed_ends() {
    Core::new().start().close().await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_ends_everything_at_once_and_leaves_nothing() {
    let mut desk = busy().await;
    let began = Since::now();
    desk.input(Input::Lost).await;
    assert_eq!(desk.over().await, SessionEnd::Lost);
    assert_eq!(began.millis(), 0);
    assert_eq!(
        desk.count("proactive_frames_total{result=\"abandoned\"}"),
        3
    );
    assert_eq!(desk.heard().await, None, "nobody is told anything");
}

#[tokio::test(start_paused = true)]
async fn gone_a_wait_that_watches_one_side_only() {
    let mut desk = busy().await;
    let began = Since::now();
    // Nothing is said and nothing is to be said; only the reader has gone.
    desk.stop_reading();
    assert_eq!(desk.over().await, SessionEnd::Lost);
    assert_eq!(began.millis(), 0);
}

#[tokio::test(start_paused = true)]
async fn gone_the_end_of_the_stream_swallowed_by_an_inner_loop() {
    let mut desk = busy().await;
    desk.half_close();
    // The search's wait sees the end of the stream, and so does the session.
    desk.no_task("searching").await;
    let (end, rest) = desk.end().await;
    assert_eq!(end, SessionEnd::Closed);
    assert_eq!(
        rest.len(),
        2,
        "the model's time ran out for the others: {rest:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_ends_its_own_session_within_the_limit() {
    let mut desk = Core::new().start();
    let limit = Duration::from_secs(10);
    let began = Since::now();
    let mut taken = 0;
    // Says hello for ever, and never reads an answer.
    let end = loop {
        tokio::select! {
            biased;
            end = desk.over() => break end,
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        let hello = || Hello {
            version: Version::V1_1,
            context_version: "v".into(),
            context: None,
            ..Hello::default()
        };
        while desk.try_input(Input::Message(ClientMessage::Hello(hello()))) {
            taken += 1;
            assert!(taken < 1_000, "it is listened to for ever");
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(end, SessionEnd::SlowClient);
    assert!(
        began.millis() <= limit.as_millis() + 200,
        "{}",
        began.millis()
    );
    // The client's queue, the session's, and the one between.
    assert!(taken <= OUTBOUND_QUEUE + 32 + 8 + 1, "{taken} were taken");
    assert!(taken > 32);
}

#[tokio::test(start_paused = true)]
async fn gone_a_slow_reader_that_stops_its_own_tool_results() {
    let mut desk = Core::new()
        .turns([turn([similar("x")]), turn([extract()])])
        .greeted()
        .await;
    desk.frame("f").await;
    let request = desk.search().await;
    // More than the transport's queue holds: the session has to keep some.
    for _ in 0..OUTBOUND_QUEUE + 4 {
        desk.hello(Version::V1_0, "v1", None).await;
    }
    desk.settle().await;
    desk.answer(&request, Ok(vec![hit()])).await;
    desk.settle().await;
    assert_eq!(
        desk.views().len(),
        2,
        "the result was taken, unread answers or not"
    );
    for _ in 0..OUTBOUND_QUEUE + 4 {
        desk.ready().await;
    }
    desk.task("f").await;
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_but_reads_is_kept() {
    let mut desk = Core::new().greeted().await;
    for _ in 0..OUTBOUND_QUEUE + 20 {
        desk.hello(Version::V1_0, "v1", Some(context("v1", "x")))
            .await;
    }
    for _ in 0..OUTBOUND_QUEUE + 20 {
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert!(matches!(desk.next().await, ServerMessage::Ready(_)));
    }
    desk.close().await;
}
