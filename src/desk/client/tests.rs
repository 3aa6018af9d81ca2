//! A desktop that stays, against servers that do not.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tonic::Status;

use super::*;
use crate::desk::fake::{InMemory, Peer, Script, boxed, outcome};
use crate::desk::shots::Given;
use crate::desk::tasks::TaskFile;
use crate::transport::proto::{
    AnalysisOutcome, ExtractedTask, FrameEvent, OutcomeKind, client_event,
};

/// No desktop here has so much to do.
const LONGEST: Duration = Duration::from_secs(3_600);

fn client<D>(dial: D, texts: &[&str], tokens: TokenSource) -> Client<D> {
    let given = |text: &&str| Given {
        picture: None,
        text: Some((*text).to_owned()),
    };
    // A command takes real time, so that none can be paused.
    let backoff = match tokens {
        TokenSource::Command(_) => Backoff::from(Duration::from_millis(2)),
        TokenSource::Fixed(_) => Backoff::default(),
    };
    Client {
        dial,
        tokens,
        store: Store::load(TaskFile::default()).unwrap(),
        shots: Shots::given(texts.iter().map(given).collect()),
        place: Place::default(),
        tells_tasks: false,
        patience: Patience::default(),
        world: World::fixed(Timestamp::UNIX_EPOCH, 1),
        backoff,
        held: Held::new(Backoff::default()),
        refusals: 0,
    }
}

fn fixed() -> TokenSource {
    TokenSource::Fixed("right".into())
}

/// Runs a desktop with these frames against the server until it ends.
async fn played(
    scripts: impl IntoIterator<Item = Script>,
    texts: &[&str],
    tokens: TokenSource,
) -> (Vec<Step>, Store, Result<(), Error>) {
    let server = InMemory::serve(scripts);
    let mut client = client(async || Ok(server.dial().await), texts, tokens);
    let mut steps = Vec::new();
    let running = client.run(|step| steps.push(step));
    let ended = tokio::time::timeout(LONGEST, running).await.unwrap();
    let store = client.store;
    server.finish().await;
    (steps, store, ended)
}

async fn decide(peer: &Peer, frame: &FrameEvent) {
    let decision = outcome(&frame.screenshot_id, OutcomeKind::NoTaskFound);
    peer.say(Event::AnalysisOutcome(decision)).await;
}

async fn fail_frame(peer: &Peer, frame: &FrameEvent, code: &str, retryable: bool) {
    let error = ServerError {
        code: code.into(),
        retryable,
        frame_id: frame.screenshot_id.clone(),
        ..ServerError::default()
    };
    peer.say(Event::ServerError(error)).await;
}

async fn end(peer: &Peer, status: Status) {
    peer.answers.send(Err(status)).await.unwrap();
}

async fn until_closed(peer: &mut Peer) {
    while let Ok(Some(_)) = peer.events.message().await {}
}

/// Decides on everything.
fn obliging() -> Script {
    boxed(|mut peer| async move {
        peer.ready(0).await;
        while let Ok(Some(event)) = peer.events.message().await {
            if let Some(client_event::Event::FrameEvent(frame)) = event.event {
                decide(&peer, &frame).await;
            }
        }
    })
}

fn named(steps: &[Step]) -> String {
    let name = |step: &Step| match step {
        Step::Ready(_) => "ready",
        Step::FrameSent { .. } => "sent",
        Step::Decided { .. } => "decided",
        Step::Failed(_) => "failed",
        Step::Postponed { .. } => "postponed",
        Step::Skipped { .. } => "skipped",
        Step::Lost { .. } => "lost",
        Step::GoingAway(_) => "going-away",
        Step::Complaint(_) => "complaint",
        _ => "other",
    };
    steps.iter().map(name).collect::<Vec<_>>().join(" ")
}

#[tokio::test(start_paused = true)]
async fn b07_at_start_it_tries_without_end_with_waits_that_double_to_32_s() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let dialled = times.clone();
    let dial = async move || {
        let mut dialled = dialled.lock().unwrap();
        dialled.push(Instant::now());
        Err::<Channel, _>(if dialled.len() < 400 {
            Error::Connect {
                address: "desk.example.com:443".into(),
                cause: "Connection refused".into(),
            }
        } else {
            Error::Refused(Status::permission_denied("no").into())
        })
    };
    let mut client = client(dial, &["x"], fixed());
    let mut told = Vec::new();
    let observe = |step| match step {
        Step::Lost { again, .. } => told.push(again),
        other => panic!("{other:?}"),
    };
    let ended = client.run(observe).await;
    assert!(matches!(ended, Err(Error::Refused(_))), "and then it stops");
    let times = times.lock().unwrap();
    let waits: Vec<_> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!(waits.len(), 399);
    for (nth, (wait, told)) in waits.iter().zip(&told).enumerate() {
        let bound = Duration::from_secs([2, 4, 8, 16, 32][nth.min(4)]);
        // tokio's timers count in milliseconds.
        assert!(wait.abs_diff(*told) <= Duration::from_millis(1));
        assert!(*told <= bound, "{nth}: {told:?}");
    }
    let longest = told.iter().max().unwrap();
    assert!(*longest > Duration::from_secs(30), "{longest:?}");
    let shortest = told[4..].iter().min().unwrap();
    assert!(*shortest < Duration::from_secs(2), "{shortest:?}");
}

#[tokio::test(start_paused = true)]
async fn b07_fatal_errors_stop_it_and_others_do_not() {
    for (code, fatal) in [
        (Code::Unauthenticated, true),
        (Code::PermissionDenied, true),
        (Code::FailedPrecondition, true),
        (Code::InvalidArgument, true),
        (Code::Unimplemented, true),
        (Code::Unavailable, false),
        (Code::Internal, false),
        (Code::Cancelled, false),
        (Code::ResourceExhausted, false),
        (Code::DeadlineExceeded, false),
        (Code::Unknown, false),
    ] {
        let mut dials = 0;
        let dial = async || {
            dials += 1;
            let code = if dials < 3 {
                code
            } else {
                Code::PermissionDenied
            };
            Err::<Channel, _>(Error::Refused(Status::new(code, "said so").into()))
        };
        let ended = client(dial, &["x"], fixed()).run(|_| ()).await;
        let told = ended.unwrap_err().to_string();
        assert_eq!(dials, if fatal { 1 } else { 3 }, "{code:?}");
        assert!(told.ends_with(": said so"), "{told}");
    }
}

#[tokio::test]
async fn b07_a_token_that_is_not_taken_is_printed_once_more_and_then_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let log: PathBuf = folder.path().join("runs");
    let printing = |tokens: &str| {
        let log = log.display();
        TokenSource::Command(format!(
            "echo x >> '{log}'; set -- {tokens}; shift $(($(wc -l < '{log}') - 1)); echo $1"
        ))
    };
    let (steps, _, ended) = played([obliging()], &["x"], printing("wrong right")).await;
    assert!(ended.is_ok());
    assert_eq!(named(&steps), "lost ready sent decided");
    let runs = || std::fs::read_to_string(&log).unwrap().lines().count();
    assert_eq!(runs(), 2, "once for each connection");

    std::fs::remove_file(&log).unwrap();
    let (steps, _, ended) = played([], &["x"], printing("wrong wrong right")).await;
    assert_eq!(named(&steps), "lost");
    let told = ended.unwrap_err().to_string();
    assert!(told.contains("The token is not valid."), "{told}");
    assert_eq!(runs(), 2);

    let wrong = TokenSource::Fixed("wrong".into());
    let (steps, _, ended) = played([], &["x"], wrong).await;
    assert!(
        ended.is_err() && steps.is_empty(),
        "there is no other token"
    );
}

#[tokio::test(start_paused = true)]
async fn b07_a_session_cut_in_the_middle_is_opened_anew_and_its_frames_are_sent_again() {
    let lost = Arc::new(Mutex::new(Vec::new()));
    let (first, second) = (lost.clone(), lost.clone());
    let scripts = [
        boxed(|mut peer| async move {
            peer.ready(0).await;
            let frames = [peer.frame().await, peer.frame().await];
            decide(&peer, &frames[0]).await;
            // The third comes because there is room again.
            let third = peer.frame().await;
            let unanswered = [&frames[1], &third].map(|frame| frame.screenshot_id.clone());
            first.lock().unwrap().extend(unanswered);
            end(&peer, Status::internal("cut")).await;
        }),
        boxed(|mut peer| async move {
            let hello = peer.hello().await;
            assert!(hello.session_context.is_some(), "the context is sent again");
            assert!(hello.utc_offset_minutes.is_some());
            peer.say(Event::SessionReady(Default::default())).await;
            for _ in 0..2 {
                let frame = peer.frame().await;
                let known = second.lock().unwrap().contains(&frame.screenshot_id);
                assert!(known, "the same frame by the same name");
                decide(&peer, &frame).await;
            }
            until_closed(&mut peer).await;
        }),
    ];
    let (steps, _, ended) = played(scripts, &["one", "two", "three"], fixed()).await;
    ended.unwrap();
    assert_eq!(
        named(&steps),
        "ready sent sent decided sent lost ready sent sent decided decided"
    );
}

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
            let extracted = AnalysisOutcome {
                task: Some(ExtractedTask {
                    title: "Countersign the lease for the Porto venue".into(),
                    ..ExtractedTask::default()
                }),
                ..outcome(&frame.screenshot_id, OutcomeKind::ExtractTask)
            };
            peer.say(Event::AnalysisOutcome(extracted)).await;
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
    assert!(began.elapsed() >= 4 * QUOTA_PAUSE);

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

#[tokio::test(start_paused = true)]
async fn heartbeats_are_sent_as_the_server_wishes() {
    let scripts = [boxed(|mut peer| async move {
        peer.ready(1_000).await;
        let frame = peer.frame().await;
        match peer.next().await {
            client_event::Event::Heartbeat(beat) => assert!(beat.sent_at.is_some()),
            other => panic!("{other:?}"),
        }
        decide(&peer, &frame).await;
        until_closed(&mut peer).await;
    })];
    let (steps, _, ended) = played(scripts, &["x"], fixed()).await;
    ended.unwrap();
    assert_eq!(named(&steps), "ready sent decided");
}

#[tokio::test(start_paused = true)]
async fn without_frames_nothing_is_connected_to() {
    let dial = async || panic!("there is nothing to say");
    let mut client = client(dial, &[], fixed());
    client.run(|step| panic!("{step:?}")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tasks_are_told_beforehand_only_if_the_user_wants() {
    for tells in [false, true] {
        let server = InMemory::serve([boxed(move |mut peer| async move {
            let hello = peer.hello().await;
            let active = hello.session_context.unwrap().active_tasks;
            assert_eq!(active.len(), usize::from(tells));
            peer.say(Event::SessionReady(Default::default())).await;
            let frame = peer.frame().await;
            assert_eq!(frame.session_context, None);
            decide(&peer, &frame).await;
            until_closed(&mut peer).await;
        })]);
        let mut client = client(async || Ok(server.dial().await), &["x"], fixed());
        let tasks = TaskFile::read(r#"[{"description": "Call Bo"}]"#).unwrap();
        client.store = Store::load(tasks).unwrap();
        client.tells_tasks = tells;
        client.run(|_| ()).await.unwrap();
        drop(client);
        server.finish().await;
    }
}
