//! The server stops.

use std::future::pending;
use std::time::Duration;

use proactive::domain::FrameFaultCode;
use proactive::session::{ServerMessage, StreamEnd, Version};
use proactive::telemetry::SessionEnd;

use super::support::{Core, Desk, Since, context, extract, nothing, similar, turn};

fn slow() -> Core {
    Core::new().model(|_| async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        turn([nothing()])
    })
}

/// A 1.0 session that has begun to drain, this frame of it being analysed.
async fn draining(frame: &str) -> Desk {
    let desk = slow().greeted().await;
    desk.frame(frame).await;
    desk.settle().await;
    desk.stop.soft.cancel();
    desk.settle().await;
    desk
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_announced_to_1_1_accepted_frames_finish_and_new_ones_are_sent_away() {
    let mut desk = slow().frames_at_once(1).greeted_as(Version::V1_1).await;
    desk.frame("running").await;
    desk.frame("waiting").await;
    desk.settle().await;
    desk.stop.soft.cancel();
    match desk.next().await {
        ServerMessage::GoAway(away) => {
            assert_eq!(away.time_left, Duration::from_secs(25));
            assert!(away.reconnect_delay <= Duration::from_secs(5));
            assert!(!away.reason.is_empty());
        }
        other => panic!("not announced: {other:?}"),
    }
    desk.frame("new").await;
    let fault = desk.fault("new").await;
    assert_eq!(
        (fault.code, fault.retryable),
        (FrameFaultCode::GoingAway, true)
    );
    desk.no_task("running").await;
    desk.no_task("waiting").await;
    assert_eq!(desk.end().await, (SessionEnd::Drained, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_not_announced_to_1_0_and_searches_still_work() {
    let mut desk = Core::new()
        .turns([turn([similar("x")]), turn([extract()])])
        .greeted()
        .await;
    desk.frame("f").await;
    let request = desk.search().await;
    desk.stop.soft.cancel();
    desk.silence(Duration::from_secs(5)).await;
    desk.answer(&request, Ok(vec![])).await;
    desk.task("f").await;
    assert_eq!(desk.end().await, (SessionEnd::Drained, vec![]));
}

#[tokio::test(start_paused = true)]
async fn who_says_hello_during_a_drain_is_told_of_it() {
    let mut desk = draining("f").await;
    desk.hello(Version::V1_1, "v1", Some(context("v1", "x")))
        .await;
    desk.ready().await;
    assert!(matches!(desk.next().await, ServerMessage::GoAway(_)));
    desk.no_task("f").await;
    assert_eq!(desk.end().await, (SessionEnd::Drained, vec![]));
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_ends_with_the_drain() {
    let desk = Core::new().greeted_as(Version::V1_1).await;
    let began = Since::now();
    desk.stop.soft.cancel();
    let (end, rest) = desk.end().await;
    assert_eq!(end, SessionEnd::Drained);
    assert!(matches!(rest[..], [ServerMessage::GoAway(_)]));
    assert_eq!(began.millis(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hard_stop_answers_every_frame_at_once() {
    let mut desk = Core::new()
        .model(|view| async move {
            if view.text.contains("<searching>") {
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
    let began = Since::now();
    desk.stop.hard.cancel();
    let (end, rest) = desk.end().await;
    assert_eq!((end, began.millis()), (SessionEnd::Drained, 0));
    let mut sent_away: Vec<_> = rest
        .iter()
        .map(|message| match message {
            ServerMessage::Answer(answer) => match &answer.result {
                Err(fault) if fault.code == FrameFaultCode::GoingAway => answer.frame.as_str(),
                other => panic!("not GOING_AWAY: {other:?}"),
            },
            other => panic!("not an answer: {other:?}"),
        })
        .collect();
    sent_away.sort_unstable();
    assert_eq!(sent_away, ["hanging", "searching", "waiting"]);
}

#[tokio::test(start_paused = true)]
async fn a_hello_during_a_drain_is_told_the_time_that_is_really_left() {
    let mut desk = draining("running").await;
    tokio::time::advance(Duration::from_secs(2)).await;
    desk.hello(Version::V1_1, "v", None).await;
    desk.ready().await;
    match desk.next().await {
        ServerMessage::GoAway(away) => {
            let left = Duration::from_millis(22_900)..=Duration::from_secs(23);
            assert!(left.contains(&away.time_left), "{:?}", away.time_left);
        }
        other => panic!("not announced: {other:?}"),
    }
    desk.no_task("running").await;
    assert_eq!(desk.end().await, (SessionEnd::Drained, vec![]));
}

#[tokio::test(start_paused = true)]
async fn the_clients_of_a_server_are_told_over_a_while_and_work_goes_on_until_then() {
    let mut core = Core::new();
    core.options.drain_spread = Duration::from_secs(10);
    let house = core.house();
    let mut told = Vec::new();
    let mut desks = Vec::new();
    for _ in 0..20 {
        let mut desk = house.connect("ann");
        desk.hello_resumable().await;
        desks.push(desk);
    }
    house.stop.soft.cancel();
    // Not told yet: a frame is taken as ever.
    let late = desks.last_mut().expect("there are twenty");
    late.frame("f").await;
    late.numbered("f", 1).await;
    for mut desk in desks {
        match desk.next().await {
            ServerMessage::GoAway(go_away) => {
                assert!(!go_away.resumable);
                told.push(Duration::from_secs(25) - go_away.time_left);
            }
            other => panic!("not a GoAway: {other:?}"),
        }
        assert_eq!(desk.stream_end().await, StreamEnd::Drained);
    }
    told.sort();
    assert!(told[0] < Duration::from_secs(3) && told[19] > Duration::from_secs(7));
    assert!(told[19] <= Duration::from_secs(10), "{told:?}");
    house.empty().await;
}
