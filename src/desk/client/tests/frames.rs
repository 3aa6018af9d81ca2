//! What becomes of each frame.

use std::cell::Cell;

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
    assert_eq!(named(&steps), again + "ready sent failed");
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

/// A server that wants a frame not to come again for so long, and then decides on it.
fn asking(retry_after: Duration) -> Script {
    boxed(move |mut peer| async move {
        peer.ready(0).await;
        let frame = peer.frame().await;
        let asked = Instant::now();
        peer.say(Event::ServerError(ServerError {
            code: "OVERLOADED".into(),
            retryable: true,
            frame_id: frame.screenshot_id.clone(),
            retry_after_ms: retry_after.as_millis() as i64,
            ..ServerError::default()
        }))
        .await;
        if retry_after <= Duration::from_secs(300) {
            let again = peer.frame().await;
            let waited = asked.elapsed();
            assert!(waited >= retry_after, "{waited:?}");
            assert!(waited < retry_after + 2 * backoff::FIRST, "{waited:?}");
            decide(&peer, &again).await;
        }
        until_closed(&mut peer).await;
    })
}

#[tokio::test(start_paused = true)]
async fn a_frame_waits_as_long_as_the_server_asks_unless_nobody_waits_for_so_long() {
    for seconds in [1, 34, 300] {
        let script = asking(Duration::from_secs(seconds));
        let (steps, _, ended) = played([script], &["x"], fixed()).await;
        ended.unwrap();
        assert_eq!(named(&steps), "ready sent postponed sent decided");
    }
    let script = asking(Duration::from_secs(301));
    let began = Instant::now();
    let (steps, _, ended) = played([script], &["x"], fixed()).await;
    ended.unwrap();
    assert_eq!(named(&steps), "ready sent failed");
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_too_large_is_told_as_one_that_never_fits() {
    let large = "x ".repeat(6_000_000);
    let (steps, _, ended) = played([obliging()], &[&large, "small"], fixed()).await;
    ended.unwrap();
    let failed: Vec<_> = steps.iter().filter_map(failure).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].code, "MESSAGE_TOO_LARGE");
    assert!(!failed[0].retryable);
    assert_eq!(named(&steps).matches("decided").count(), 1);
}

/// Decides on everything, but ends the session over a frame that says "poison", and
/// whatever came with it is lost as well.
fn broken_by_poison() -> Script {
    boxed(|mut peer| async move {
        peer.ready(0).await;
        while let Ok(Some(event)) = peer.events.message().await {
            let Some(client_event::Event::FrameEvent(first)) = event.event else {
                continue;
            };
            let frames: Vec<_> = [Some(first), peer.another().await]
                .into_iter()
                .flatten()
                .collect();
            if frames.iter().any(|frame| frame.ocr_text == "poison") {
                return end(&peer, Status::internal("The session failed.")).await;
            }
            for frame in frames {
                decide(&peer, &frame).await;
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_ends_its_session_each_time_is_given_up_and_the_others_go_on() {
    let scripts = (0..20).map(|_| broken_by_poison());
    let frames = ["one", "poison", "two", "three"];
    let (steps, _, ended) = played(scripts, &frames, fixed()).await;
    ended.unwrap();
    let failed: Vec<_> = steps.iter().filter_map(failure).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].code, "NO_ANSWER");
    assert!(failed[0].message.starts_with("5 sessions"), "{failed:?}");
    let told = named(&steps);
    assert_eq!(told.matches("decided").count(), 3, "{told}");
    assert_eq!(told.matches("lost").count(), 5, "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_was_there_when_a_session_crashed_is_sent_alone_from_then_on() {
    let crash = || {
        boxed(|mut peer| async move {
            peer.ready(0).await;
            peer.frame().await;
            assert_eq!(peer.another().await, None, "it comes alone");
            peer.say(Event::ServerError(ServerError {
                code: "INTERNAL".into(),
                ..ServerError::default()
            }))
            .await;
            end(&peer, Status::internal("The session failed.")).await;
        })
    };
    let first = boxed(|mut peer| async move {
        peer.ready(0).await;
        let _two = [peer.frame().await, peer.frame().await];
        end(&peer, Status::internal("The session failed.")).await;
    });
    let scripts = [first, crash(), crash(), crash(), obliging()];
    let (steps, _, ended) = played(scripts, &["x", "y"], fixed()).await;
    ended.unwrap();
    assert_eq!(named(&steps).matches("decided").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_away_for_everything_is_no_fault_of_a_frame() {
    let cut = || {
        boxed(|mut peer| async move {
            peer.ready(0).await;
            // It may be the last time, without a frame.
            let frame = peer.another().await;
            end(&peer, Status::unavailable("cut")).await;
            drop(frame);
        })
    };
    for (cuts, told) in [
        (12, "sent decided"),
        (30, "sent lost lost lost ready failed"),
    ] {
        let server = InMemory::serve((0..cuts).map(|_| cut()).chain([obliging()]));
        let dials = Cell::new(0);
        let dial = async || {
            dials.set(dials.get() + 1);
            // After each session nobody is there for a while.
            match dials.get() % 3 {
                1 => Ok(server.dial().await),
                _ => Err(Error::Connect {
                    address: "desk.example.com:443".into(),
                    cause: "Network is unreachable".into(),
                }),
            }
        };
        let mut client = client(dial, &["x"], fixed());
        let mut steps = Vec::new();
        client.run(|step| steps.push(step)).await.unwrap();
        let all = named(&steps);
        assert!(all.ends_with(told), "{all}");
        // But what takes the only server with it each time is not sent for ever.
        assert_eq!(all.matches("sent").count(), 20.min(cuts + 1));
        drop(client);
        server.finish().await;
    }
}
