//! Frames that the client cancels.

use std::future::pending;
use std::time::Duration;

use proactive::domain::FrameFaultCode;

use super::support::{Core, Desk, Since, hit, keywords, nothing, shows, similar, turn};

async fn is_cancelled(desk: &mut Desk, id: &str) {
    let fault = desk.fault(id).await;
    assert_eq!(fault.code, FrameFaultCode::Cancelled);
    assert!(fault.retryable);
}

/// The model never answers about frames named "hang…".
fn hanging() -> Core {
    Core::new().model(|view| async move {
        if shows(&view, "hang") || shows(&view, "hang too") {
            pending::<()>().await;
        }
        turn([nothing()])
    })
}

#[tokio::test(start_paused = true)]
async fn a_frame_cancelled_in_the_model_is_answered_at_once_and_makes_room() {
    let mut desk = hanging().greeted().await;
    let began = Since::now();
    for id in ["hang", "hang too", "next"] {
        desk.frame(id).await;
    }
    desk.silence(Duration::from_secs(1)).await;
    desk.cancel("hang").await;
    is_cancelled(&mut desk, "hang").await;
    desk.no_task("next").await;
    assert_eq!(began.millis(), 1_000);
    desk.cancel("hang too").await;
    is_cancelled(&mut desk, "hang too").await;
    desk.settle().await;
    assert_eq!(
        desk.count("proactive_frames_in_flight"),
        0,
        "nothing of it runs on"
    );
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_cancelled_in_a_tool_calls_its_searches_off_and_then_ends() {
    let mut desk = Core::new()
        .turns([turn([similar("a"), keywords("b")]), turn([nothing()])])
        .greeted()
        .await;
    desk.frame("f").await;
    let asked = [desk.search().await.id, desk.search().await.id];
    desk.cancel("f").await;
    for _ in 0..2 {
        let (request, frame) = desk.search_called_off().await;
        assert!(asked.contains(&request) && frame.as_str() == "f");
    }
    is_cancelled(&mut desk, "f").await;
    assert!(desk.pending.is_empty());
    // What comes now comes too late.
    desk.answer_id(&asked[0], Ok(vec![hit()])).await;
    desk.silence(Duration::from_secs(20)).await;
    assert_eq!(desk.views().len(), 1);
    assert_eq!(
        desk.count("proactive_tool_calls_total{tool=\"search_similar\",result=\"cancelled\"}"),
        1
    );
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_waiting_frame_can_be_cancelled() {
    let mut desk = hanging().greeted().await;
    for id in ["hang", "hang too", "waiting"] {
        desk.frame(id).await;
    }
    desk.cancel("waiting").await;
    is_cancelled(&mut desk, "waiting").await;
    desk.cancel("hang").await;
    is_cancelled(&mut desk, "hang").await;
    desk.cancel("hang too").await;
    is_cancelled(&mut desk, "hang too").await;
    assert!(!desk.views().iter().any(|view| shows(view, "waiting")));
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn cancelling_what_is_not_in_flight_says_nothing() {
    let mut desk = hanging().greeted().await;
    desk.cancel("never sent").await;
    desk.frame("f").await;
    desk.no_task("f").await;
    desk.cancel("f").await;
    desk.silence(Duration::from_secs(60)).await;
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_frame_may_be_sent_again_at_once() {
    let mut desk = hanging().greeted().await;
    desk.frame("hang").await;
    desk.settle().await;
    desk.cancel("hang").await;
    desk.frame("hang").await;
    desk.cancel("hang").await;
    is_cancelled(&mut desk, "hang").await;
    is_cancelled(&mut desk, "hang").await;
    desk.close().await;
}
