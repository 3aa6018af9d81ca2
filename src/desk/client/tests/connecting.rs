//! Connecting, and connecting again.

use std::cell::Cell;
use std::path::PathBuf;

use tokio::sync::mpsc;

use super::*;

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
        let dials = Cell::new(0);
        let dial = async || {
            dials.set(dials.get() + 1);
            let code = if dials.get() < 3 {
                code
            } else {
                Code::PermissionDenied
            };
            Err::<Channel, _>(Error::Refused(Status::new(code, "said so").into()))
        };
        let ended = client(dial, &["x"], fixed()).run(|_| ()).await;
        let told = ended.unwrap_err().to_string();
        assert_eq!(dials.get(), if fatal { 1 } else { 3 }, "{code:?}");
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

#[tokio::test]
async fn a_token_command_that_is_broken_ends_a_finite_run_and_no_other() {
    for (command, why) in [
        ("exit 3", "the token command failed: exit status: 3"),
        ("true", "the token command printed no token"),
        ("echo two words", "the token command printed no token"),
    ] {
        let broken = || TokenSource::Command(command.to_owned());
        let (steps, _, ended) = played([], &["x"], broken()).await;
        assert_eq!(named(&steps), "lost lost lost lost", "and not a fifth time");
        let told = ended.unwrap_err().to_string();
        assert!(told.starts_with(why), "{told}");

        let dial = async || panic!("there is no token");
        let mut client = client(dial, &[], broken());
        let folder = tempfile::tempdir().unwrap();
        let world = World::real();
        let shots = Shots::of_folder(folder.path().to_owned(), false, world.clone());
        client.frames = Frames::new(shots, Place::default(), world);
        let (tell, mut told) = mpsc::unbounded_channel();
        let running = client.run(|step| match step {
            Step::Lost { why, .. } => tell.send(why).unwrap(),
            other => panic!("{other:?}"),
        });
        let ten_times = async {
            for _ in 0..10 {
                assert!(told.recv().await.unwrap().starts_with(why));
            }
        };
        tokio::select! {
            ended = running => panic!("{ended:?}"),
            () = ten_times => {}
        }
    }
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
        "ready sent sent decided sent lost ready sent decided sent decided"
    );
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
        client.about.tells_tasks = tells;
        client.run(|_| ()).await.unwrap();
        drop(client);
        server.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn b12_no_server_is_left_without_a_heartbeat_for_more_than_20_s() {
    for wished in [0, 300_000] {
        let script = boxed(move |mut peer| async move {
            peer.ready(wished).await;
            let frame = peer.frame().await;
            for _ in 0..3 {
                let before = Instant::now();
                let event = peer.next().await;
                assert!(matches!(event, client_event::Event::Heartbeat(_)));
                let waited = before.elapsed();
                assert!(waited <= Duration::from_millis(20_010), "{waited:?}");
            }
            decide(&peer, &frame).await;
            until_closed(&mut peer).await;
        });
        let (_, _, ended) = played([script], &["x"], fixed()).await;
        ended.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_that_a_server_says_reaches_a_terminal_as_an_order() {
    let script = boxed(|mut peer| async move {
        peer.hello().await;
        let status = Status::permission_denied("no \x1b]0;x\x07\nway");
        end(&peer, status).await;
    });
    let (_, _, ended) = played([script], &["x"], fixed()).await;
    let told = ended.unwrap_err().to_string();
    assert!(told.ends_with(": no ]0;x way"), "{told:?}");
}
