//! Frames beside each other: some run, the newest of the others waits.

use std::time::Duration;

use proactive::domain::FrameFaultCode;
use proactive::session::{ClientMessage, Version};

use super::support::{Core, Desk, Since, frame, hit, nothing, reject, shows, similar, turn};

const FIVE: Duration = Duration::from_secs(5);

/// The model needs five seconds for every frame.
fn slow() -> Core {
    Core::new().model(|_| async {
        tokio::time::sleep(FIVE).await;
        turn([nothing()])
    })
}

fn shown(desk: &Desk, id: &str) -> usize {
    desk.views().iter().filter(|view| shows(view, id)).count()
}

#[tokio::test(start_paused = true)]
async fn two_frames_run_at_once_and_a_third_waits_for_its_turn() {
    let mut desk = slow().greeted().await;
    let began = Since::now();
    for id in ["a", "b", "c"] {
        desk.frame(id).await;
    }
    desk.settle().await;
    assert_eq!(desk.views().len(), 2);
    assert_eq!(desk.count("proactive_frames_in_flight"), 2);
    desk.no_task("a").await;
    desk.no_task("b").await;
    assert_eq!(began.millis(), 5_000);
    let outcome = desk.outcome("c").await;
    assert_eq!(began.millis(), 10_000);
    assert_eq!(outcome.bill.total_time.as_secs(), 10, "waiting is counted");
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn an_older_waiting_frame_is_told_that_a_newer_one_took_its_place() {
    let mut desk = slow().greeted().await;
    for id in ["a", "b", "c", "d", "e"] {
        desk.frame(id).await;
    }
    for id in ["c", "d"] {
        let fault = desk.fault(id).await;
        assert_eq!(
            (fault.code, fault.retryable),
            (FrameFaultCode::Superseded, true)
        );
    }
    for id in ["a", "b", "e"] {
        desk.no_task(id).await;
    }
    assert_eq!(
        shown(&desk, "c") + shown(&desk, "d"),
        0,
        "they cost nothing"
    );
    assert_eq!(
        desk.count("proactive_frames_total{result=\"superseded\"}"),
        2
    );
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_whose_id_is_in_flight_is_not_analysed_twice() {
    let mut desk = slow().frames_at_once(1).greeted().await;
    for id in ["a", "w", "a", "w", "a"] {
        desk.frame(id).await;
    }
    desk.no_task("a").await;
    desk.frame("w").await;
    desk.no_task("w").await;
    assert_eq!((shown(&desk, "a"), shown(&desk, "w")), (1, 1));
    assert_eq!(desk.count("proactive_duplicate_frames_total"), 4);
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_was_decided_and_is_sent_again_gets_the_same_answer_without_a_call() {
    let mut desk = slow().greeted_as(Version::V1_1).await;
    desk.frame("a").await;
    let first = desk.outcome("a").await;
    desk.frame("a").await;
    assert_eq!(desk.outcome("a").await, first, "the bill included");
    assert_eq!(shown(&desk, "a"), 1);
    assert_eq!(desk.count("proactive_duplicate_frames_total"), 1);
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_number_may_name_another_frame_later_and_a_passing_fault_is_no_answer_for_good() {
    let mut desk = slow().frames_at_once(1).greeted().await;
    for _ in 0..2 {
        let mut counted = frame("7");
        counted.named = false;
        desk.say(ClientMessage::Frame(Box::new(counted))).await;
        desk.no_task("7").await;
    }
    assert_eq!(shown(&desk, "7"), 2);
    for id in ["a", "b", "c"] {
        desk.frame(id).await;
    }
    let fault = desk.fault("b").await;
    assert_eq!(fault.code, FrameFaultCode::Superseded);
    desk.no_task("a").await;
    desk.no_task("c").await;
    desk.frame("b").await;
    desk.no_task("b").await;
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_32_answers_are_remembered() {
    let mut desk = slow().greeted().await;
    let ids: Vec<_> = (0..33).map(|n| format!("f{n}")).collect();
    for id in &ids {
        desk.frame(id).await;
        desk.no_task(id).await;
    }
    for id in [&ids[0], &ids[2], &ids[32]] {
        desk.frame(id).await;
        desk.no_task(id).await;
    }
    let shown: Vec<_> = ids.iter().map(|id| shown(&desk, id)).collect();
    assert_eq!((shown[0], shown[2], shown[32]), (2, 1, 1));
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn gone_a_frame_lost_because_it_came_during_a_tool_wait() {
    let mut desk = Core::new()
        .model(|view| async move {
            match (shows(&view, "searching"), view.turns) {
                (true, 0) => turn([similar("x")]),
                (true, _) => turn([reject()]),
                (false, _) => turn([nothing()]),
            }
        })
        .greeted()
        .await;
    desk.frame("searching").await;
    let request = desk.search().await;
    desk.frame("during").await;
    desk.no_task("during").await;
    desk.answer(&request, Ok(vec![hit()])).await;
    desk.outcome("searching").await;
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a23_reading_goes_on_while_the_model_runs_and_a_tool_is_awaited() {
    let mut desk = Core::new()
        .model(|view| async move {
            match (shows(&view, "searching"), view.turns) {
                (true, 0) => turn([similar("x")]),
                (true, _) => turn([reject()]),
                (false, _) => {
                    tokio::time::sleep(FIVE).await;
                    turn([nothing()])
                }
            }
        })
        .greeted()
        .await;
    desk.frame("searching").await;
    let request = desk.search().await;
    desk.frame("thinking").await;
    let began = Since::now();
    // More than all queues together hold.
    for _ in 0..100 {
        desk.say(ClientMessage::Heartbeat).await;
    }
    desk.answer(&request, Ok(vec![])).await;
    desk.outcome("searching").await;
    assert_eq!(
        began.millis(),
        0,
        "nothing stood behind the frame in the model"
    );
    desk.no_task("thinking").await;
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn each_search_of_concurrent_frames_goes_back_to_its_own_frame() {
    let mut desk = Core::new()
        .model(|view| async move {
            let own = if shows(&view, "one") { "one" } else { "two" };
            if view.turns == 0 {
                return turn([similar(own)]);
            }
            assert!(
                view.text.contains(&format!("found for {own}")),
                "the other's result"
            );
            turn([nothing()])
        })
        .greeted()
        .await;
    desk.frame("one").await;
    desk.frame("two").await;
    let requests = [desk.search().await, desk.search().await];
    for request in requests.iter().rev() {
        assert_eq!(request.frame.as_str(), request.query());
        desk.answer(request, Err(format!("found for {}", request.query())))
            .await;
    }
    desk.no_task("two").await;
    desk.no_task("one").await;
    desk.close().await;
}
