//! A stream that breaks while a frame is under way.

use super::*;
use crate::desk::fake::{InMemory, Peer, boxed};
use crate::transport::proto::{GoAway, Resumed};

async fn shown(server: &InMemory) -> (Result<Verdict, Error>, Vec<Step>) {
    shown_all(server, &["one"]).await
}

/// What came of the last frame, and what was told.
async fn shown_all(server: &InMemory, ids: &[&str]) -> (Result<Verdict, Error>, Vec<Step>) {
    let mut store = Store::load(TaskFile::read(TASKS).unwrap()).unwrap();
    let mut steps = Vec::new();
    let door = Door {
        dial: async || Ok(server.dial().await),
        tokens: TokenSource::Fixed("right".into()),
        patience: Patience::default(),
    };
    let about = About {
        device: "desk".into(),
        utc_offset_minutes: None,
        tells_tasks: true,
        ..About::default()
    };
    let world = World::fixed(Timestamp::UNIX_EPOCH, 1);
    let desktop = Desktop::open(door, about, &mut store, world, |step| steps.push(step)).await;
    let mut desktop = desktop.unwrap();
    let (last, before) = ids.split_last().unwrap();
    for id in before {
        desktop.show(screen(id)).await.unwrap();
    }
    let verdict = desktop.show(screen(last)).await;
    if verdict.is_ok() {
        desktop.close().await.unwrap();
    }
    (verdict, steps)
}

/// Takes a frame, and breaks. What the desktop would have resumed.
async fn takes_and_breaks(mut peer: Peer) -> Resume {
    let resume = peer.resumable("s", None).await;
    peer.frame().await;
    let status = Status::unavailable("The connection broke.");
    peer.answers.send(Err(status)).await.unwrap();
    resume
}

async fn decides(mut peer: Peer) {
    peer.say(Event::AnalysisOutcome(AnalysisOutcome {
        answer_number: 1,
        ..outcome("one", OutcomeKind::NoTaskFound)
    }))
    .await;
    assert_eq!(peer.ack().await, 1);
    assert!(peer.events.message().await.unwrap().is_none(), "it closes");
}

fn returns(steps: &[Step]) -> Vec<bool> {
    let ready = steps.iter().filter_map(|step| match step {
        Step::Ready(ready) => Some(ready.resumed.is_some()),
        _ => None,
    });
    ready.collect()
}

#[tokio::test]
async fn b07_a_frame_that_the_server_still_has_is_not_sent_again() {
    let known = Resumed {
        frames_in_flight: vec!["one".into()],
        ..Resumed::default()
    };
    let server = InMemory::serve([
        boxed(|peer| async move {
            assert_eq!(takes_and_breaks(peer).await.session_id, "");
        }),
        boxed(|mut peer| async move {
            let resume = peer.resumable("s", Some(known)).await;
            assert_eq!((&*resume.session_id, &*resume.secret), ("s", "s3cret of s"));
            decides(peer).await;
        }),
    ]);
    let (verdict, steps) = shown(&server).await;
    assert!(matches!(verdict, Ok(Verdict::Decided(_))), "{verdict:?}");
    assert_eq!(returns(&steps), [false, true]);
    server.finish().await;
}

#[tokio::test]
async fn b07_a_frame_that_the_server_has_not_is_sent_again() {
    let server = InMemory::serve([
        boxed(|peer| async move { drop(takes_and_breaks(peer).await) }),
        boxed(|mut peer| async move {
            peer.resumable("t", None).await;
            assert_eq!(peer.frame().await.screenshot_id, "one");
            decides(peer).await;
        }),
    ]);
    let (verdict, steps) = shown(&server).await;
    assert!(matches!(verdict, Ok(Verdict::Decided(_))), "{verdict:?}");
    assert_eq!(returns(&steps), [false, false]);
    server.finish().await;
}

#[tokio::test]
async fn b07_streams_that_always_break_are_not_opened_without_end() {
    let stream = |_| boxed(|peer| async move { drop(takes_and_breaks(peer).await) });
    let server = InMemory::serve((0..=MOST_RETURNS + 1).map(stream));
    let (verdict, steps) = shown(&server).await;
    assert!(matches!(verdict, Err(Error::Ended(_))), "{verdict:?}");
    assert_eq!(returns(&steps).len() as u32, 1 + MOST_RETURNS);
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_away_answers_the_frame_and_the_next_one_goes_to_its_successor() {
    let delay = Duration::from_secs(3);
    let server = InMemory::serve([
        boxed(|mut peer| async move {
            peer.resumable("s", None).await;
            peer.frame().await;
            let go_away = GoAway {
                reconnect_delay_ms: 3_000,
                ..GoAway::default()
            };
            peer.say(Event::GoAway(go_away)).await;
            let decided = outcome("one", OutcomeKind::NoTaskFound);
            peer.say(Event::AnalysisOutcome(decided)).await;
            assert!(peer.events.message().await.unwrap().is_none(), "it closes");
        }),
        boxed(|mut peer| async move {
            peer.resumable("t", None).await;
            assert_eq!(peer.frame().await.screenshot_id, "two");
            peer.say(Event::GoAway(GoAway::default())).await;
            let decided = outcome("two", OutcomeKind::NoTaskFound);
            peer.say(Event::AnalysisOutcome(decided)).await;
            // It ends before the desktop does.
            let status = Status::unavailable("The server is shutting down.");
            peer.answers.send(Err(status)).await.unwrap();
        }),
    ]);
    let began = Instant::now();
    let (verdict, steps) = shown_all(&server, &["one", "two"]).await;
    assert!(matches!(verdict, Ok(Verdict::Decided(_))), "{verdict:?}");
    assert!(began.elapsed() >= delay, "{:?}", began.elapsed());
    assert_eq!(returns(&steps), [false, false]);
    let lost = |step: &Step| matches!(step, Step::Lost { .. });
    assert!(!steps.iter().any(lost), "{steps:?}");
    server.finish().await;
}
