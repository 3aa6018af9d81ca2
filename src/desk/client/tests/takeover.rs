//! Streams that grow old: the next one is opened before they are left.

use tokio::sync::oneshot;

use super::*;

async fn renew(peer: &Peer, reconnect_delay_ms: i64) {
    peer.say(Event::GoAway(GoAway {
        reason: "The token expires.".into(),
        time_left_ms: 20_000,
        reconnect_delay_ms,
        resumable: true,
    }))
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_next_stream_takes_the_session_up_before_this_one_is_left() {
    let (tell, told) = oneshot::channel();
    let (resume, resumed) = oneshot::channel();
    let scripts = [
        boxed(|mut peer| async move {
            peer.resumable("s", None).await;
            let frames = [peer.frame().await, peer.frame().await];
            let ids = frames.map(|frame| frame.screenshot_id);
            renew(&peer, 1_000).await;
            tell.send(ids.clone()).unwrap();
            // It is served until the other one is there, but gets no new frame.
            answer(&peer, &ids[0], 1).await;
            assert_eq!(peer.ack().await, 1);
            tokio::time::sleep(Duration::from_secs(3)).await;
            peer.say(search("r1", &ids[1])).await;
            assert_eq!(peer.result().await.error, "");
            let said = Instant::now();
            resume.send(()).unwrap();
            until_closed(&mut peer).await;
            assert!(said.elapsed() < Duration::from_secs(1), "and no longer");
        }),
        boxed(|mut peer| async move {
            let [one, two] = told.await.unwrap();
            resumed.await.unwrap();
            let resume = peer.resumable("s", knows(&[&two], &[&one])).await;
            assert_eq!((&*resume.session_id, resume.answers_received), ("s", 1));
            let third = frame_after_acks(&mut peer).await;
            answer(&peer, &two, 2).await;
            answer(&peer, &third, 3).await;
            until_closed(&mut peer).await;
        }),
    ];
    let (steps, _, ended) = played(scripts, &["x", "y", "z"], fixed()).await;
    ended.unwrap();
    assert_eq!(
        named(&steps),
        "ready sent sent going-away decided other other ready sent decided decided"
    );
}

/// The next frame; confirmations may come before it.
async fn frame_after_acks(peer: &mut Peer) -> String {
    loop {
        match peer.next().await {
            client_event::Event::FrameEvent(frame) => return frame.screenshot_id,
            client_event::Event::Ack(_) | client_event::Event::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_because_the_next_one_took_its_session_up_is_no_loss() {
    let (tell, told) = oneshot::channel();
    let (take, taken) = oneshot::channel();
    let scripts = [
        boxed(|mut peer| async move {
            peer.resumable("s", None).await;
            tell.send(peer.frame().await.screenshot_id).unwrap();
            renew(&peer, 0).await;
            taken.await.unwrap();
            end(&peer, Status::aborted("Another stream has taken it up.")).await;
        }),
        boxed(|mut peer| async move {
            let frame = told.await.unwrap();
            take.send(()).unwrap();
            // The desk hears of it after the end of the other.
            tokio::time::sleep(Duration::from_secs(1)).await;
            peer.resumable("s", knows(&[&frame], &[])).await;
            assert_eq!(peer.another().await, None);
            answer(&peer, &frame, 1).await;
            until_closed(&mut peer).await;
        }),
    ];
    let (steps, _, ended) = played(scripts, &["x"], fixed()).await;
    ended.unwrap();
    assert_eq!(named(&steps), "ready sent going-away ready decided");
}

#[tokio::test(start_paused = true)]
async fn what_another_replica_does_not_know_is_answered_by_the_one_that_does() {
    let (decide, decided) = oneshot::channel();
    let (tell, told) = oneshot::channel();
    let scripts = [
        boxed(|mut peer| async move {
            peer.resumable("s", None).await;
            let frames = [peer.frame().await, peer.frame().await];
            let [one, two] = frames.map(|frame| frame.screenshot_id);
            renew(&peer, 0).await;
            answer(&peer, &one, 1).await;
            assert_eq!(peer.ack().await, 1);
            decided.await.unwrap();
            peer.say(search("r1", &two)).await;
            assert_eq!(peer.result().await.error, "");
            answer(&peer, &two, 2).await;
            assert_eq!(peer.ack().await, 2);
            let next = peer.events.message().await;
            assert!(matches!(next, Ok(None)), "its side is closed: {next:?}");
            tell.send([one, two]).unwrap();
        }),
        boxed(|mut peer| async move {
            let resume = peer.resumable("t", None).await;
            assert_eq!(resume.session_id, "s");
            let third = peer.frame().await.screenshot_id;
            decide.send(()).unwrap();
            let others = told.await.unwrap();
            assert!(!others.contains(&third));
            answer(&peer, &third, 1).await;
            assert_eq!(peer.ack().await, 1);
            until_closed(&mut peer).await;
        }),
    ];
    let (steps, _, ended) = played(scripts, &["x", "y", "z"], fixed()).await;
    ended.unwrap();
    let told = named(&steps);
    assert_eq!(told.matches("sent").count(), 3, "{told}");
    assert_eq!(told.matches("decided").count(), 3, "{told}");
    assert!(!told.contains("lost"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn what_the_stream_that_was_left_does_not_answer_is_sent_on_the_other() {
    for is_ended in [true, false] {
        let (tell, told) = oneshot::channel();
        let scripts = [
            boxed(move |mut peer| async move {
                peer.resumable("s", None).await;
                tell.send(peer.frame().await.screenshot_id).unwrap();
                renew(&peer, 0).await;
                if is_ended {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    end(&peer, Status::unavailable("gone")).await;
                }
                let left = Instant::now();
                until_closed(&mut peer).await;
                assert!(left.elapsed() < Duration::from_secs(26));
            }),
            boxed(|mut peer| async move {
                let frame = told.await.unwrap();
                peer.resumable("t", None).await;
                assert_eq!(peer.frame().await.screenshot_id, frame);
                answer(&peer, &frame, 1).await;
                until_closed(&mut peer).await;
            }),
        ];
        let (steps, _, ended) = played(scripts, &["x"], fixed()).await;
        ended.unwrap();
        assert_eq!(named(&steps), "ready sent going-away ready sent decided");
    }
}

#[tokio::test(start_paused = true)]
async fn a_next_stream_that_cannot_be_opened_is_tried_again_while_this_one_is_served() {
    let (tell, told) = oneshot::channel();
    let (resume, resumed) = oneshot::channel();
    let scripts = [
        boxed(|mut peer| async move {
            peer.resumable("s", None).await;
            let frame = peer.frame().await.screenshot_id;
            renew(&peer, 0).await;
            tell.send(frame.clone()).unwrap();
            resumed.await.unwrap();
            peer.say(search("r1", &frame)).await;
            assert_eq!(peer.result().await.error, "");
            until_closed(&mut peer).await;
        }),
        boxed(|mut peer| async move {
            peer.hello().await;
            end(&peer, Status::unavailable("Not now.")).await;
            resume.send(()).unwrap();
        }),
        boxed(|mut peer| async move {
            let frame = told.await.unwrap();
            let resume = peer.resumable("s", knows(&[&frame], &[])).await;
            assert_eq!(resume.session_id, "s");
            answer(&peer, &frame, 1).await;
            until_closed(&mut peer).await;
        }),
    ];
    let (steps, _, ended) = played(scripts, &["x"], fixed()).await;
    ended.unwrap();
    assert_eq!(
        named(&steps),
        "ready sent going-away other other ready decided"
    );
}

#[tokio::test(start_paused = true)]
async fn a_desk_whose_next_stream_is_refused_for_good_ends_after_the_last_answer_on_this_one() {
    let (refuse, refused) = oneshot::channel();
    let scripts = [
        boxed(|mut peer| async move {
            peer.resumable("s", None).await;
            let frames = [peer.frame().await, peer.frame().await];
            renew(&peer, 0).await;
            refused.await.unwrap();
            answer(&peer, &frames[0].screenshot_id, 1).await;
            assert_eq!(peer.ack().await, 1);
            answer(&peer, &frames[1].screenshot_id, 2).await;
            until_closed(&mut peer).await;
        }),
        boxed(|mut peer| async move {
            peer.hello().await;
            end(&peer, Status::unauthenticated("It has expired.")).await;
            refuse.send(()).unwrap();
        }),
    ];
    let (steps, _, ended) = played(scripts, &["x", "y", "z"], fixed()).await;
    let told = ended.unwrap_err().to_string();
    assert!(told.ends_with("It has expired."), "{told}");
    assert_eq!(named(&steps), "ready sent sent going-away decided decided");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_before_the_next_one_may_be_opened_is_resumed_then() {
    let (tell, told) = oneshot::channel();
    let scripts = [
        boxed(|mut peer| async move {
            peer.resumable("s", None).await;
            tell.send(peer.frame().await.screenshot_id).unwrap();
            renew(&peer, 10_000).await;
            end(&peer, Status::unavailable("The token has expired.")).await;
        }),
        boxed(|mut peer| async move {
            let frame = told.await.unwrap();
            let resume = peer.resumable("s", knows(&[&frame], &[])).await;
            assert_eq!(resume.session_id, "s");
            assert_eq!(peer.another().await, None);
            answer(&peer, &frame, 1).await;
            until_closed(&mut peer).await;
        }),
    ];
    let (steps, _, ended) = played(scripts, &["x"], fixed()).await;
    ended.unwrap();
    assert_eq!(named(&steps), "ready sent going-away lost ready decided");
}
