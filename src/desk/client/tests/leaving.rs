//! Servers that go away.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_go_away_is_obeyed_what_is_unanswered_is_sent_on_the_next_stream() {
    let left = Arc::new(Mutex::new(None));
    let (leaving, coming) = (left.clone(), left.clone());
    const DELAY: Duration = Duration::from_secs(40);
    let scripts = [
        boxed(|mut peer| async move {
            peer.ready(0).await;
            let frames = [peer.frame().await, peer.frame().await];
            *leaving.lock().unwrap() = Some(Instant::now());
            peer.say(Event::GoAway(GoAway {
                reason: "draining".into(),
                time_left_ms: 20_000,
                reconnect_delay_ms: DELAY.as_millis() as i64,
                ..GoAway::default()
            }))
            .await;
            // Accepted before: still answered. There is room for a third then, but
            // not here.
            decide(&peer, &frames[0]).await;
            let quiet = tokio::time::timeout(Duration::from_secs(5), peer.events.message());
            assert!(quiet.await.is_err(), "it listens on and sends nothing");
            fail_frame(&peer, &frames[1], "GOING_AWAY", true).await;
            let next = peer.events.message().await;
            assert!(!matches!(next, Ok(Some(_))), "{next:?}");
        }),
        boxed(move |mut peer| async move {
            let waited = coming.lock().unwrap().unwrap().elapsed();
            assert!(waited >= DELAY, "{waited:?}");
            assert!(waited < DELAY + backoff::FIRST, "{waited:?}");
            peer.ready(0).await;
            for _ in 0..2 {
                let frame = peer.frame().await;
                decide(&peer, &frame).await;
            }
            until_closed(&mut peer).await;
        }),
    ];
    let (steps, _, ended) = played(scripts, &["one", "two", "three"], fixed()).await;
    ended.unwrap();
    assert_eq!(
        named(&steps),
        "ready sent sent going-away decided lost ready sent sent decided decided"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_away_and_never_ends_is_left() {
    let scripts = [
        boxed(|mut peer| async move {
            peer.ready(0).await;
            peer.frame().await;
            peer.say(Event::GoAway(GoAway {
                time_left_ms: 2_000,
                ..GoAway::default()
            }))
            .await;
            let said = Instant::now();
            until_closed(&mut peer).await;
            let kept = said.elapsed();
            assert!(kept >= Duration::from_secs(2), "{kept:?}");
            assert!(kept < Duration::from_secs(10), "{kept:?}");
        }),
        obliging(),
    ];
    let (steps, _, ended) = played(scripts, &["one"], fixed()).await;
    ended.unwrap();
    assert_eq!(
        named(&steps),
        "ready sent going-away lost ready sent decided"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_away_after_the_last_answer_is_not_waited_for() {
    let go_away = || GoAway {
        reconnect_delay_ms: 40_000,
        ..GoAway::default()
    };
    let leaving = boxed(move |mut peer| async move {
        peer.ready(0).await;
        let frame = peer.frame().await;
        peer.say(Event::GoAway(go_away())).await;
        decide(&peer, &frame).await;
        until_closed(&mut peer).await;
    });
    let ending = boxed(|mut peer| async move {
        peer.ready(0).await;
        let frame = peer.frame().await;
        decide(&peer, &frame).await;
        end(&peer, Status::unavailable("The server is shutting down.")).await;
    });
    for (script, told) in [
        (leaving, "ready sent going-away decided"),
        (ending, "ready sent decided"),
    ] {
        let began = Instant::now();
        let (steps, _, ended) = played([script], &["x"], fixed()).await;
        ended.unwrap();
        assert_eq!(named(&steps), told);
        assert!(began.elapsed() < Duration::from_secs(1));
    }
}

/// A frame's answer that was said before the stream ended, behind a search that can
/// no longer be answered.
async fn search_and_decide(peer: &Peer, frames: &[FrameEvent; 2]) {
    let call = ToolCallRequest {
        request_id: "r1".into(),
        tool_kind: ToolKind::SearchSimilar as i32,
        arguments: Some(ToolCallArguments { query: "Bo".into() }),
        deadline_ms: 10_000,
        frame_id: frames[1].screenshot_id.clone(),
        ..ToolCallRequest::default()
    };
    peer.say(Event::ToolCallRequest(call)).await;
    decide(peer, &frames[0]).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_said_before_the_stream_ended_is_heard_though_nothing_can_be_sent() {
    let scripts = [
        boxed(|mut peer| async move {
            peer.ready(0).await;
            let frames = [peer.frame().await, peer.frame().await];
            search_and_decide(&peer, &frames).await;
            end(&peer, Status::internal("cut")).await;
        }),
        obliging(),
    ];
    let (steps, _, ended) = played(scripts, &["x", "y"], fixed()).await;
    ended.unwrap();
    assert_eq!(
        named(&steps),
        "ready sent sent other other decided lost ready sent decided"
    );
    let is_told = |step: &Step| matches!(step, Step::Lost { why, .. } if why.ends_with(": cut"));
    assert!(steps.iter().any(is_told), "{steps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_go_away_before_the_end_is_obeyed_though_nothing_can_be_sent() {
    let scripts = [
        boxed(|mut peer| async move {
            peer.ready(0).await;
            let frames = [peer.frame().await, peer.frame().await];
            peer.say(Event::GoAway(GoAway {
                reconnect_delay_ms: 40_000,
                time_left_ms: 1_000,
                ..GoAway::default()
            }))
            .await;
            search_and_decide(&peer, &frames).await;
            end(&peer, Status::unavailable("drained")).await;
        }),
        obliging(),
    ];
    let began = Instant::now();
    let (steps, _, ended) = played(scripts, &["x", "y"], fixed()).await;
    ended.unwrap();
    assert_eq!(named(&steps).matches("decided").count(), 2);
    assert!(began.elapsed() >= Duration::from_secs(40));
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_every_server_goes_away_from_is_not_sent_for_ever() {
    for is_told in [false, true] {
        let goes_away = move || {
            boxed(move |mut peer| async move {
                peer.ready(0).await;
                if let Some(frame) = peer.another().await {
                    peer.say(Event::GoAway(GoAway {
                        time_left_ms: 1_000,
                        ..GoAway::default()
                    }))
                    .await;
                    if is_told {
                        fail_frame(&peer, &frame, "GOING_AWAY", true).await;
                    }
                }
                end(&peer, Status::unavailable("drained")).await;
            })
        };
        let scripts = (0..100).map(|_| goes_away()).chain([obliging()]);
        let (steps, _, ended) = played(scripts, &["x"], fixed()).await;
        ended.unwrap();
        let told = named(&steps);
        assert_eq!(told.matches("sent").count(), 20, "{told}");
        assert!(told.ends_with("lost ready failed"), "{told}");
    }
}
