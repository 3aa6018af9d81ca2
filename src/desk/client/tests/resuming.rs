//! Sessions that are taken up again after their stream broke.

use tokio::sync::oneshot;

use super::*;

/// A frame's id, on its way from one stream's script to the next one's.
fn told() -> (oneshot::Sender<String>, oneshot::Receiver<String>) {
    oneshot::channel()
}

async fn cut(peer: &Peer) {
    end(peer, Status::unavailable("cut")).await;
}

fn named_in(resume: &Resume) -> (&str, &str, i64) {
    let Resume {
        session_id,
        secret,
        answers_received,
    } = resume;
    (session_id, secret, *answers_received)
}

/// The first stream: one frame, and then it breaks.
fn broken_over_a_frame(tell: oneshot::Sender<String>) -> Script {
    boxed(|mut peer| async move {
        let resume = peer.resumable("s", None).await;
        assert_eq!(resume, Resume::default(), "there is none to be resumed");
        tell.send(peer.frame().await.screenshot_id).unwrap();
        cut(&peer).await;
    })
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_the_server_still_has_is_not_sent_again_and_is_answered_once() {
    for is_answered in [false, true] {
        let (tell, told) = told();
        let scripts = [
            broken_over_a_frame(tell),
            boxed(move |mut peer| async move {
                let frame = told.await.unwrap();
                let known = match is_answered {
                    false => knows(&[&frame], &[]),
                    // Its answer was lost with the stream.
                    true => knows(&[], &[&frame]),
                };
                let resume = peer.resumable("s", known).await;
                assert_eq!(named_in(&resume), ("s", "s3cret of s", 0));
                assert_eq!(peer.another().await, None);
                answer(&peer, &frame, 1).await;
                assert_eq!(peer.ack().await, 1);
                until_closed(&mut peer).await;
            }),
        ];
        let (steps, _, ended) = played(scripts, &["x"], fixed()).await;
        ended.unwrap();
        assert_eq!(named(&steps), "ready sent lost ready decided");
        assert!(!format!("{steps:?}").contains("s3cret"), "{steps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_the_server_never_got_is_sent_again_in_the_same_session() {
    let (tell, told) = told();
    let scripts = [
        broken_over_a_frame(tell),
        boxed(|mut peer| async move {
            let frame = told.await.unwrap();
            peer.resumable("s", knows(&[], &[])).await;
            assert_eq!(peer.frame().await.screenshot_id, frame);
            answer(&peer, &frame, 1).await;
            until_closed(&mut peer).await;
        }),
    ];
    let (steps, _, ended) = played(scripts, &["x"], fixed()).await;
    ended.unwrap();
    assert_eq!(named(&steps), "ready sent lost ready sent decided");
}

#[tokio::test(start_paused = true)]
async fn an_answer_whose_confirmation_was_lost_is_confirmed_again_and_told_once() {
    let (tell, told) = oneshot::channel();
    let scripts = [
        boxed(|mut peer| async move {
            peer.resumable("s", None).await;
            let frames = [peer.frame().await, peer.frame().await];
            extract_as(&peer, &frames[0].screenshot_id, 1).await;
            assert_eq!(peer.ack().await, 1);
            tell.send(frames.map(|frame| frame.screenshot_id)).unwrap();
            cut(&peer).await;
        }),
        boxed(|mut peer| async move {
            let [one, two] = told.await.unwrap();
            let resume = peer.resumable("s", knows(&[&two], &[&one])).await;
            assert_eq!(resume.answers_received, 1);
            assert_eq!(peer.ack().await, 1, "as the last one may be lost");
            for _ in 0..2 {
                extract_as(&peer, &one, 1).await;
                assert_eq!(peer.ack().await, 1);
            }
            // Nor is one that nobody waits for worth a word.
            extract_as(&peer, &one, 2).await;
            assert_eq!(peer.ack().await, 2);
            answer(&peer, &two, 3).await;
            assert_eq!(peer.ack().await, 3);
            until_closed(&mut peer).await;
        }),
    ];
    let (steps, store, ended) = played(scripts, &["x", "y"], fixed()).await;
    ended.unwrap();
    assert_eq!(named(&steps), "ready sent sent decided lost ready decided");
    assert_eq!(store.count().unwrap(), 1);
}

async fn extract_as(peer: &Peer, frame_id: &str, answer_number: i64) {
    let task = ExtractedTask {
        title: "Countersign the lease for the Porto venue".into(),
        ..ExtractedTask::default()
    };
    peer.say(Event::AnalysisOutcome(AnalysisOutcome {
        task: Some(task),
        answer_number,
        ..outcome(frame_id, OutcomeKind::ExtractTask)
    }))
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_search_that_is_asked_again_is_answered_again() {
    let (tell, told) = told();
    let scripts = [
        boxed(|mut peer| async move {
            peer.resumable("s", None).await;
            let frame = peer.frame().await.screenshot_id;
            peer.say(search("r1", &frame)).await;
            // Its result is lost.
            tell.send(frame).unwrap();
            cut(&peer).await;
        }),
        boxed(|mut peer| async move {
            let frame = told.await.unwrap();
            peer.resumable("s", knows(&[&frame], &[])).await;
            peer.say(search("r1", &frame)).await;
            let result = peer.result().await;
            assert_eq!((&*result.request_id, &*result.error), ("r1", ""));
            assert!(result.result.is_some());
            answer(&peer, &frame, 1).await;
            until_closed(&mut peer).await;
        }),
    ];
    let (steps, _, ended) = played(scripts, &["x"], fixed()).await;
    ended.unwrap();
    assert!(named(&steps).ends_with("lost ready other other decided"));
}

#[tokio::test(start_paused = true)]
async fn in_a_new_session_all_is_sent_again_and_that_one_is_resumed_the_next_time() {
    let (tell, told) = told();
    let (tell_next, told_next) = self::told();
    let scripts = [
        boxed(|mut peer| async move {
            peer.resumable("s", None).await;
            let frames = [peer.frame().await, peer.frame().await];
            answer(&peer, &frames[0].screenshot_id, 1).await;
            assert_eq!(peer.ack().await, 1);
            tell.send(frames[1].screenshot_id.clone()).unwrap();
            cut(&peer).await;
        }),
        boxed(|mut peer| async move {
            let frame = told.await.unwrap();
            let resume = peer.resumable("t", None).await;
            assert_eq!(named_in(&resume), ("s", "s3cret of s", 1));
            assert_eq!(peer.frame().await.screenshot_id, frame);
            tell_next.send(frame).unwrap();
            cut(&peer).await;
        }),
        boxed(|mut peer| async move {
            let frame = told_next.await.unwrap();
            let resume = peer.resumable("t", knows(&[&frame], &[])).await;
            assert_eq!(named_in(&resume), ("t", "s3cret of t", 0));
            // The numbers of each session are its own.
            answer(&peer, &frame, 1).await;
            assert_eq!(peer.ack().await, 1);
            until_closed(&mut peer).await;
        }),
    ];
    let (steps, _, ended) = played(scripts, &["x", "y"], fixed()).await;
    ended.unwrap();
    assert_eq!(
        named(&steps),
        "ready sent sent decided lost ready sent lost ready decided"
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_anothers_is_let_go_and_a_user_who_may_not_come_in_is_told() {
    let denied = || {
        boxed(|mut peer| async move {
            let hello = peer.hello().await;
            drop(hello);
            end(&peer, Status::permission_denied("It is another user's.")).await;
        })
    };
    let (tell, told) = told();
    let scripts = [
        broken_over_a_frame(tell),
        denied(),
        boxed(|mut peer| async move {
            let frame = told.await.unwrap();
            let resume = peer.resumable("t", None).await;
            assert_eq!(resume, Resume::default());
            assert_eq!(peer.frame().await.screenshot_id, frame);
            answer(&peer, &frame, 1).await;
            until_closed(&mut peer).await;
        }),
    ];
    let (steps, _, ended) = played(scripts, &["x"], fixed()).await;
    ended.unwrap();
    assert_eq!(named(&steps), "ready sent lost lost ready sent decided");

    let (steps, _, ended) = played([denied()], &["x"], fixed()).await;
    assert!(ended.is_err() && steps.is_empty(), "{steps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_is_left_and_the_session_is_resumed() {
    let (tell, told) = told();
    let scripts = [
        boxed(|mut peer| async move {
            peer.hello().await;
            peer.say(Event::SessionReady(SessionReady {
                session_id: "s".into(),
                resume_secret: "s3cret".into(),
                heartbeat_interval_ms: 5_000,
                ..SessionReady::default()
            }))
            .await;
            tell.send(peer.frame().await.screenshot_id).unwrap();
            let silent = Instant::now();
            until_closed(&mut peer).await;
            let silent = silent.elapsed().as_secs();
            assert!((15..16).contains(&silent), "{silent}");
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
    assert_eq!(named(&steps), "ready sent lost ready decided");
}

#[tokio::test(start_paused = true)]
async fn a_frame_whose_passing_fault_the_server_remembers_is_sent_again_all_the_same() {
    let (tell, told) = told();
    let scripts = [
        boxed(|mut peer| async move {
            peer.resumable("s", None).await;
            let frame = peer.frame().await.screenshot_id;
            peer.say(Event::ServerError(ServerError {
                code: "GEMINI_ERROR".into(),
                retryable: true,
                frame_id: frame.clone(),
                answer_number: 1,
                ..ServerError::default()
            }))
            .await;
            assert_eq!(peer.ack().await, 1, "there is nothing to keep");
            // The second time it is lost on its way.
            peer.frame().await;
            tell.send(frame).unwrap();
            cut(&peer).await;
        }),
        boxed(|mut peer| async move {
            let frame = told.await.unwrap();
            peer.resumable("s", knows(&[], &[&frame])).await;
            assert_eq!(peer.ack().await, 1);
            assert_eq!(peer.frame().await.screenshot_id, frame);
            answer(&peer, &frame, 2).await;
            until_closed(&mut peer).await;
        }),
    ];
    let (steps, _, ended) = played(scripts, &["x"], fixed()).await;
    ended.unwrap();
    assert_eq!(
        named(&steps),
        "ready sent postponed sent lost ready sent decided"
    );
}

#[tokio::test(start_paused = true)]
async fn a_frame_over_whose_answer_each_stream_breaks_is_not_waited_for_for_ever() {
    let frame = Arc::new(Mutex::new(String::new()));
    let breaks = |nth: usize| {
        let frame = frame.clone();
        boxed(move |mut peer| async move {
            if nth == 0 {
                peer.resumable("s", None).await;
                *frame.lock().unwrap() = peer.frame().await.screenshot_id;
            } else {
                let id = frame.lock().unwrap().clone();
                peer.resumable("s", knows(&[&id], &[])).await;
            }
            cut(&peer).await;
        })
    };
    let (steps, _, ended) = played((0..21).map(breaks), &["x"], fixed()).await;
    ended.unwrap();
    let told = named(&steps);
    assert_eq!(told.matches("sent").count(), 1, "{told}");
    assert_eq!(told.matches("lost").count(), 20, "{told}");
    assert!(told.ends_with("lost ready failed"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn b07_the_first_three_tries_come_within_the_grace_and_a_failed_one_forgets_nothing() {
    const GRACE: Duration = Duration::from_secs(30);
    for seed in 0..50 {
        let broken = Arc::new(Mutex::new(None));
        let (at, since) = (broken.clone(), broken.clone());
        let (tell, told) = told();
        let scripts = [
            boxed(|mut peer| async move {
                peer.resumable("s", None).await;
                let frames = [peer.frame().await, peer.frame().await];
                // A session that was of use begins its waits anew.
                answer(&peer, &frames[0].screenshot_id, 1).await;
                assert_eq!(peer.ack().await, 1);
                tell.send(frames[1].screenshot_id.clone()).unwrap();
                *at.lock().unwrap() = Some(Instant::now());
                cut(&peer).await;
            }),
            boxed(move |mut peer| async move {
                let frame = told.await.unwrap();
                let away = since.lock().unwrap().unwrap().elapsed();
                assert!(away < GRACE, "{seed}: {away:?}");
                let resume = peer.resumable("s", knows(&[&frame], &[])).await;
                assert_eq!(named_in(&resume), ("s", "s3cret of s", 1));
                answer(&peer, &frame, 2).await;
                until_closed(&mut peer).await;
            }),
        ];
        let server = InMemory::serve(scripts);
        let dials = std::cell::Cell::new(0);
        let dial = async || {
            dials.set(dials.get() + 1);
            if (2..4).contains(&dials.get()) {
                // As long as it may take.
                tokio::time::sleep(Patience::default().connect).await;
                return Err(Error::Connect {
                    address: "desk.example.com:443".into(),
                    cause: "timed out".into(),
                });
            }
            Ok(server.dial().await)
        };
        let mut client = client(dial, &["x", "y"], fixed());
        client.world = World::fixed(Timestamp::UNIX_EPOCH, seed);
        let mut steps = Vec::new();
        client.run(|step| steps.push(step)).await.unwrap();
        assert_eq!(
            named(&steps),
            "ready sent sent decided lost lost lost ready decided"
        );
        drop(client);
        server.finish().await;
    }
}
