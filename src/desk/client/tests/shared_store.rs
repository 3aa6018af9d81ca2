//! A store that another program holds for longer than anybody wants to wait.

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::*;

/// A store in a file, and another program that can take hold of it.
fn shared() -> (tempfile::TempDir, Store, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.db");
    let store = Store::open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    (folder, store, other)
}

/// Waits for so many heartbeats, a second each, and answers in kind.
async fn beats(peer: &mut Peer, count: usize) {
    for _ in 0..count {
        match peer.next().await {
            client_event::Event::Heartbeat(_) => {
                let beat = Event::ServerHeartbeat(Default::default());
                peer.say(beat).await;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_waits_for_a_store_that_is_held_and_is_kept_once_and_then_told() {
    let (_folder, store, other) = shared();
    let server = InMemory::serve([boxed(move |mut peer| async move {
        peer.ready(1_000).await;
        let frame = peer.frame().await;
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        extract(&peer, &frame).await;
        extract(&peer, &frame).await;
        // The session goes on meanwhile.
        beats(&mut peer, 8).await;
        other.execute_batch("COMMIT").unwrap();
        until_closed(&mut peer).await;
    })]);
    let mut client = client(async || Ok(server.dial().await), &["x"], fixed());
    client.store = store;
    let mut steps = Vec::new();
    client.run(|step| steps.push(step)).await.unwrap();
    assert_eq!(named(&steps), "ready sent store-held decided");
    let kept = |step: &Step| matches!(step, Step::Decided { kept_as, .. } if kept_as.is_some());
    assert!(steps.iter().any(kept));
    assert_eq!(client.store.count().unwrap(), 1);
    drop(client);
    server.finish().await;
}

/// A session with a heartbeat a second that can be resumed.
async fn beating(peer: &mut Peer, resumed: Option<Resumed>) -> Resume {
    let hello = peer.hello().await;
    peer.say(Event::SessionReady(SessionReady {
        session_id: "s".into(),
        resume_secret: "s3cret".into(),
        heartbeat_interval_ms: 1_000,
        resumed,
        ..SessionReady::default()
    }))
    .await;
    hello.resume.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_confirmed_when_it_is_kept_and_not_before() {
    let (_folder, store, other) = shared();
    let (give, take) = oneshot::channel();
    let scripts = [
        boxed(move |mut peer| async move {
            beating(&mut peer, None).await;
            let frames = [peer.frame().await, peer.frame().await];
            let [one, two] = frames.map(|frame| frame.screenshot_id);
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            answer(&peer, &one, 1).await;
            beats(&mut peer, 2).await;
            end(&peer, Status::unavailable("cut")).await;
            give.send((other, one, two)).unwrap();
        }),
        boxed(move |mut peer| async move {
            let (other, one, two) = take.await.unwrap();
            let resume = beating(&mut peer, knows(&[&two], &[&one])).await;
            assert_eq!(resume.answers_received, 0, "nothing is kept yet");
            answer(&peer, &one, 1).await;
            answer(&peer, &two, 2).await;
            beats(&mut peer, 2).await;
            other.execute_batch("COMMIT").unwrap();
            assert_eq!(peer.ack().await, 2);
            until_closed(&mut peer).await;
        }),
    ];
    let server = InMemory::serve(scripts);
    let mut client = client(async || Ok(server.dial().await), &["x", "y"], fixed());
    client.store = store;
    let mut steps = Vec::new();
    let running = client.run(|step| steps.push(step));
    tokio::time::timeout(LONGEST, running)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        named(&steps),
        "ready sent sent store-held lost ready decided decided"
    );
    drop(client);
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_kept_outlives_its_session_and_its_frame_is_not_sent_again() {
    let (_folder, store, other) = shared();
    let (give, take) = oneshot::channel();
    let scripts = [
        boxed(move |mut peer| async move {
            peer.ready(0).await;
            let frames = [peer.frame().await, peer.frame().await];
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            extract(&peer, &frames[0]).await;
            end(&peer, Status::unavailable("cut")).await;
            give.send((other, frames[1].screenshot_id.clone())).unwrap();
        }),
        boxed(move |mut peer| async move {
            let (other, unanswered) = take.await.unwrap();
            peer.ready(1_000).await;
            let frame = peer.frame().await;
            assert_eq!(frame.screenshot_id, unanswered);
            fail_frame(&peer, &frame, "INVALID_FRAME", false).await;
            beats(&mut peer, 3).await;
            other.execute_batch("COMMIT").unwrap();
            until_closed(&mut peer).await;
        }),
    ];
    let server = InMemory::serve(scripts);
    let mut client = client(async || Ok(server.dial().await), &["x", "y"], fixed());
    client.store = store;
    let mut steps = Vec::new();
    client.run(|step| steps.push(step)).await.unwrap();
    assert_eq!(
        named(&steps),
        "ready sent sent store-held lost ready sent decided failed"
    );
    assert_eq!(client.store.count().unwrap(), 1);
    drop(client);
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_search_in_a_store_that_is_held_is_answered_with_an_error() {
    let (_folder, store, other) = shared();
    let server = InMemory::serve([boxed(move |mut peer| async move {
        peer.ready(0).await;
        let frame = peer.frame().await;
        // A task of another program is yet to be indexed.
        let insert = "INSERT INTO tasks (description) VALUES ('Call Bo'); BEGIN IMMEDIATE";
        other.execute_batch(insert).unwrap();
        let search = |id: &str| ToolCallRequest {
            request_id: id.into(),
            tool_kind: ToolKind::SearchKeywords as i32,
            arguments: Some(ToolCallArguments { query: "Bo".into() }),
            deadline_ms: 10_000,
            frame_id: frame.screenshot_id.clone(),
            ..ToolCallRequest::default()
        };
        peer.say(Event::ToolCallRequest(search("r1"))).await;
        let told = peer.result().await;
        assert!(told.result.is_none() && told.error.contains("another program holds"));
        other.execute_batch("COMMIT").unwrap();
        peer.say(Event::ToolCallRequest(search("r2"))).await;
        assert_eq!(peer.result().await.result.unwrap().items.len(), 1);
        decide(&peer, &frame).await;
        until_closed(&mut peer).await;
    })]);
    let mut client = client(async || Ok(server.dial().await), &["x"], fixed());
    client.store = store;
    client.run(|_| ()).await.unwrap();
    drop(client);
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn pictures_wait_for_a_store_that_is_held_and_none_is_lost() {
    let (folder, store, other) = shared();
    for name in ["a.jpg", "b.jpg", "c.jpg"] {
        let jpeg = [0xFF, 0xD8, 0xFF, 0xE0, 1, 2, 0xFF, 0xD9];
        std::fs::write(folder.path().join(name), jpeg).unwrap();
    }
    let server = InMemory::serve([obliging()]);
    let mut client = client(async || Ok(server.dial().await), &[], fixed());
    client.store = store;
    let world = World::real();
    let shots = Shots::of_folder(folder.path().to_owned(), true, world.clone());
    client.frames = Frames::new(shots, Place::default(), world);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut steps = Vec::new();
    client
        .run(|step| {
            if matches!(step, Step::StoreHeld) {
                other.execute_batch("COMMIT").unwrap();
            }
            steps.push(step);
        })
        .await
        .unwrap();
    let told = named(&steps);
    assert!(told.starts_with("store-held ready sent"), "{told}");
    assert_eq!(told.matches("decided").count(), 3);
    drop(client);
    server.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_picture_that_comes_while_the_store_is_held_is_shown_afterwards() {
    let (folder, store, other) = shared();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let server = InMemory::serve([boxed(move |mut peer| async move {
        peer.ready(1_000).await;
        beats(&mut peer, 3).await;
        other.execute_batch("COMMIT").unwrap();
        while let Ok(Some(event)) = peer.events.message().await {
            if let Some(client_event::Event::FrameEvent(frame)) = event.event {
                decide(&peer, &frame).await;
            }
            let beat = Event::ServerHeartbeat(Default::default());
            peer.say(beat).await;
        }
    })]);
    let picture = folder.path().join("a.jpg");
    std::fs::write(&picture, [0xFF, 0xD8, 0xFF, 0xE0, 1, 2, 0xFF, 0xD9]).unwrap();
    let mut client = client(async || Ok(server.dial().await), &[], fixed());
    client.store = store;
    let world = World::real();
    let shots = Shots::of_folder(folder.path().to_owned(), false, world.clone());
    client.frames = Frames::new(shots, Place::default(), world);
    let mut steps = Vec::new();
    let (tell, told) = oneshot::channel();
    let mut tell = Some(tell);
    let running = client.run(|step| {
        if matches!(step, Step::Decided { .. }) {
            tell.take().unwrap().send(()).unwrap();
        }
        steps.push(step);
    });
    tokio::select! {
        ended = tokio::time::timeout(LONGEST, running) => panic!("{ended:?}"),
        told = told => told.unwrap(),
    }
    assert_eq!(named(&steps), "ready store-held sent decided");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_its_store_is_kept_when_the_desk_is_told_to_leave() {
    for (held, told) in [
        (Duration::from_millis(600), "ready sent store-held decided"),
        (Duration::from_secs(60), "ready sent store-held"),
    ] {
        let (_folder, store, other) = shared();
        let (give, take) = oneshot::channel();
        let server = InMemory::serve([boxed(move |mut peer| async move {
            peer.ready(0).await;
            let frame = peer.frame().await;
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            give.send(other).unwrap();
            extract(&peer, &frame).await;
            until_closed(&mut peer).await;
        })]);
        let mut client = client(async || Ok(server.dial().await), &["x"], fixed());
        client.store = store;
        let mut steps = Vec::new();
        let (tell, order) = oneshot::channel();
        let mut tell = Some(tell);
        let running = client.run(|step| {
            if matches!(step, Step::StoreHeld) {
                tell.take().unwrap().send(()).unwrap();
            }
            steps.push(step);
        });
        tokio::select! {
            ended = running => panic!("{ended:?}"),
            told = order => told.unwrap(),
        }
        let other = take.await.unwrap();
        let letting_go = async {
            tokio::time::sleep(held).await;
            other.execute_batch("COMMIT").unwrap();
        };
        let long = Duration::from_secs(1);
        let keeping = client.keep_last(long, |step| steps.push(step));
        let (kept, ()) = tokio::join!(keeping, letting_go);
        kept.unwrap();
        assert_eq!(named(&steps), told);
        let is_left = client.frames.is_any_left();
        assert_eq!(is_left, held > long);
        drop(client);
        server.finish().await;
    }
}
