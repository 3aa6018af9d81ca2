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
            assert!(waited < DELAY + Backoff::FIRST, "{waited:?}");
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
