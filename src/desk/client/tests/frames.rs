//! What becomes of each frame.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_never_answered_is_tried_five_times_on_five_sessions() {
    let mute = || {
        boxed(|mut peer| async move {
            peer.ready(0).await;
            until_closed(&mut peer).await;
        })
    };
    let scripts = [mute(), mute(), mute(), mute(), mute()];
    let (steps, _, ended) = played(scripts, &["one"], fixed()).await;
    ended.unwrap();
    let again = "ready sent postponed lost ".repeat(4);
    assert_eq!(named(&steps), again + "ready sent failed lost");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_twice_is_kept_once() {
    let scripts = [boxed(|mut peer| async move {
        peer.ready(0).await;
        let frame = peer.frame().await;
        for _ in 0..2 {
            extract(&peer, &frame).await;
        }
        // Answered after it, so that the second answer was read for sure.
        let other = peer.frame().await;
        decide(&peer, &other).await;
        until_closed(&mut peer).await;
    })];
    let (steps, store, ended) = played(scripts, &["one", "two"], fixed()).await;
    ended.unwrap();
    assert_eq!(named(&steps).matches("decided").count(), 2);
    assert_eq!(store.count().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_five_times_and_what_will_not_once() {
    let scripts = [boxed(|mut peer| async move {
        peer.ready(600_000).await;
        for nth in 0..3 {
            let frame = peer.frame().await;
            match nth {
                2 => decide(&peer, &frame).await,
                _ => fail_frame(&peer, &frame, "RATE_LIMITED", true).await,
            }
        }
        until_closed(&mut peer).await;
    })];
    let (steps, _, ended) = played(scripts, &["x"], fixed()).await;
    ended.unwrap();
    let twice_later = "ready sent postponed sent postponed sent decided";
    assert_eq!(named(&steps), twice_later);

    // Google's quota of a day is not retryable, but is no fault of the frame.
    let began = Instant::now();
    let scripts = [boxed(|mut peer| async move {
        peer.ready(600_000).await;
        for _ in 0..5 {
            let frame = peer.frame().await;
            fail_frame(&peer, &frame, "RATE_LIMITED", false).await;
        }
        until_closed(&mut peer).await;
    })];
    let (steps, _, ended) = played(scripts, &["x"], fixed()).await;
    ended.unwrap();
    assert!(named(&steps).ends_with("postponed sent failed"));
    assert!(began.elapsed() >= 4 * crate::desk::client::frames::QUOTA_PAUSE);

    let scripts = [boxed(|mut peer| async move {
        peer.ready(0).await;
        for _ in 0..5 {
            let frame = peer.frame().await;
            fail_frame(&peer, &frame, "GEMINI_ERROR", true).await;
        }
        until_closed(&mut peer).await;
    })];
    let (steps, _, ended) = played(scripts, &["x"], fixed()).await;
    ended.unwrap();
    let five = "ready sent postponed sent postponed sent postponed sent postponed sent failed";
    assert_eq!(named(&steps), five);

    let scripts = [boxed(|mut peer| async move {
        peer.ready(0).await;
        let frame = peer.frame().await;
        fail_frame(&peer, &frame, "INVALID_FRAME", false).await;
        until_closed(&mut peer).await;
    })];
    let (steps, _, ended) = played(scripts, &["x"], fixed()).await;
    ended.unwrap();
    assert_eq!(named(&steps), "ready sent failed");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_crashes_over_a_frame_again_and_again_is_not_fed_it_for_ever() {
    let crash = || {
        boxed(|mut peer| async move {
            peer.ready(0).await;
            peer.frame().await;
            peer.say(Event::ServerError(ServerError {
                code: "INTERNAL".into(),
                ..ServerError::default()
            }))
            .await;
            end(&peer, Status::internal("The session failed.")).await;
        })
    };
    let scripts = [crash(), crash(), crash(), crash(), crash()];
    let (steps, _, ended) = played(scripts, &["x"], fixed()).await;
    ended.unwrap();
    let last = steps
        .iter()
        .rev()
        .find(|step| !matches!(step, Step::Lost { .. }));
    assert!(matches!(last, Some(Step::Failed(error)) if error.code == "NO_ANSWER"));
}
