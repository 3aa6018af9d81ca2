//! Deadlines nest: a search and a model call in a frame.

use std::future::pending;
use std::time::Duration;

use proactive::domain::FrameFaultCode;

use super::support::{Core, Since, hit, nothing, similar, turn};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_model_that_hangs_costs_a_frame_its_sixty_seconds_and_no_more() {
    let mut desk = Core::new().model(|_| pending()).greeted().await;
    desk.frame("f").await;
    let began = Since::now();
    let fault = desk.fault("f").await;
    assert_eq!(
        (fault.code, fault.retryable),
        (FrameFaultCode::GeminiError, true)
    );
    assert!(
        (59_000..=60_000).contains(&began.millis()),
        "{}",
        began.millis()
    );
    assert!(
        desk.views()[0].deadline.elapsed() < SECOND,
        "the model knew the frame's deadline"
    );
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn gone_a_timeout_that_ends_a_frame_with_no_event() {
    // The model never yields a decision, nor the desktop an answer.
    let mut desk = Core::new()
        .model(|_| async {
            tokio::time::sleep(SECOND).await;
            turn([similar("x")])
        })
        .greeted()
        .await;
    desk.frame("f").await;
    desk.search().await;
    desk.search_called_off().await;
    desk.no_task("f").await;
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn gone_budgets_that_do_not_nest() {
    // Four slow turns of 14 s, then a search: what is left of the frame is its
    // deadline, not ten seconds.
    let mut desk = Core::new()
        .model(|view| async move {
            tokio::time::sleep(14 * SECOND).await;
            turn([similar(&view.turns.to_string())])
        })
        .greeted()
        .await;
    desk.frame("f").await;
    let began = Since::now();
    for _ in 0..3 {
        let request = desk.search().await;
        assert_eq!(request.timeout, 10 * SECOND);
        desk.answer(&request, Ok(vec![hit()])).await;
    }
    let last = desk.search().await;
    assert_eq!(began.millis(), 56_000);
    assert!(last.timeout < 4 * SECOND, "{:?}", last.timeout);
    assert!(last.timeout > 3 * SECOND, "{:?}", last.timeout);
    desk.search_called_off().await;
    desk.no_task("f").await;
    assert!(began.millis() < 60_000, "{}", began.millis());
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_model_call_is_given_what_is_left_of_the_frame() {
    let mut desk = Core::new()
        .model(|view| async move {
            match view.turns {
                0 => {
                    tokio::time::sleep(45 * SECOND).await;
                    turn([similar("x")])
                }
                _ => pending().await,
            }
        })
        .greeted()
        .await;
    desk.frame("f").await;
    let request = desk.search().await;
    desk.silence(9 * SECOND).await;
    desk.answer(&request, Ok(vec![])).await;
    let fault = desk.fault("f").await;
    assert_eq!(fault.code, FrameFaultCode::GeminiError);
    let views = desk.views();
    assert_eq!(
        views[0].deadline, views[1].deadline,
        "both end with the frame"
    );
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn no_model_call_is_begun_that_cannot_end() {
    let mut desk = Core::new()
        .model(|view| async move {
            match view.turns {
                0 => {
                    tokio::time::sleep(51 * SECOND).await;
                    turn([similar("x")])
                }
                _ => turn([nothing()]),
            }
        })
        .greeted()
        .await;
    desk.frame("f").await;
    let began = Since::now();
    let request = desk.search().await;
    desk.silence(Duration::from_millis(8_200)).await;
    desk.answer(&request, Ok(vec![])).await;
    let fault = desk.fault("f").await;
    assert_eq!(
        (fault.code, fault.retryable),
        (FrameFaultCode::FrameTimeout, true)
    );
    assert!(began.millis() < 60_000);
    assert_eq!(desk.views().len(), 1);
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_search_for_which_no_time_is_left_is_neither_sent_nor_called_off() {
    let mut desk = Core::new()
        .model(|view| async move {
            tokio::time::sleep_until(view.deadline).await;
            turn([similar("x")])
        })
        .greeted()
        .await;
    desk.frame("f").await;
    desk.no_task("f").await;
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_waits_for_its_turn_is_answered_within_its_sixty_seconds_too() {
    let mut desk = Core::new()
        .frames_at_once(1)
        .model(|_| pending())
        .greeted()
        .await;
    desk.frame("running").await;
    tokio::time::sleep(30 * SECOND).await;
    desk.frame("waiting").await;
    let sent = Since::now();
    desk.fault("running").await;
    let fault = desk.fault("waiting").await;
    assert!(fault.retryable);
    assert!(
        (59_000..=60_000).contains(&sent.millis()),
        "{}",
        sent.millis()
    );
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_frame_that_waited_for_its_turn_counts_from_its_acceptance() {
    let model = |_| async {
        tokio::time::sleep(2 * SECOND).await;
        turn([nothing()])
    };
    let mut desk = Core::new().model(model).frames_at_once(1).greeted().await;
    desk.frame("a").await;
    desk.frame("b").await;
    desk.no_task("a").await;
    desk.no_task("b").await;
    let page = desk.metrics.render();
    // A timer may be a millisecond late.
    let sum = page
        .lines()
        .find(|line| line.starts_with("proactive_frame_seconds_sum"));
    let sum: f64 = sum
        .unwrap()
        .split(' ')
        .next_back()
        .unwrap()
        .parse()
        .unwrap();
    assert!((6.0..6.1).contains(&sum), "{page}");
    desk.close().await;
}
