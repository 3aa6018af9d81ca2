//! Streams that end while their sessions may go on: grown old, silent, stalled, or
//! left by a server that goes away.

use proactive::domain::FrameFaultCode;
use proactive::session::{ClientMessage, GoAway, Hello, Input, ServerMessage, StreamEnd, Version};
use tokio::time::Instant;

use super::resume::{SECOND, core, greeted, house, is_new};
use super::support::{Core, Desk};

#[tokio::test(start_paused = true)]
async fn a_client_that_promised_heartbeats_and_closed_its_side_gets_its_answers() {
    let house = house();
    let mut desk = house.connect("ann");
    desk.say(ClientMessage::Hello(Hello {
        version: Version::V1_1,
        context: Some(super::support::context("v1", "x")),
        heartbeat_interval: Some(SECOND),
        ..Hello::default()
    }))
    .await;
    desk.ready().await;
    desk.frame("a").await;
    desk.half_close();
    // The model needs five seconds, and the promise was one.
    desk.outcome("a").await;
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_stalls_is_lost_and_not_closed_on_purpose() {
    let house = house();
    let (mut desk, ready) = greeted(&house).await;
    desk.frame("find").await;
    desk.search().await;
    desk.input(Input::Stalled).await;
    assert_eq!(desk.stream_end().await, StreamEnd::Silent);
    let mut desk = house.connect("ann");
    desk.come_back(&ready, 0).await;
    let asked = desk.search().await;
    desk.answer(&asked, Ok(vec![])).await;
    desk.numbered("find", 1).await;
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_no_client_that_is_away() {
    let house = house();
    let (desk, _) = greeted(&house).await;
    desk.frame("a").await;
    desk.break_off().await;
    house.stop.soft.cancel();
    let began = Instant::now();
    house.empty().await;
    assert!(began.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_breaks_its_promise_to_be_heard_is_disconnected() {
    let house = house();
    let mut desk = house.connect("ann");
    desk.say(ClientMessage::Hello(Hello {
        version: Version::V1_1,
        resume: Some(Box::default()),
        heartbeat_interval: Some(5 * SECOND),
        ..Hello::default()
    }))
    .await;
    let ready = desk.ready().await;
    for _ in 0..3 {
        tokio::time::sleep(14 * SECOND).await;
        desk.say(ClientMessage::Heartbeat).await;
    }
    let began = Instant::now();
    assert_eq!(desk.stream_end().await, StreamEnd::Silent);
    assert_eq!(began.elapsed().as_secs(), 15);
    let mut desk = house.connect("ann");
    let again = desk.come_back(&ready, 0).await;
    assert_eq!(again.session, ready.session);
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_come_back_is_told_why_it_is_disconnected_as_well() {
    let house = house();
    let desk = house.connect("ann");
    desk.say(ClientMessage::Hello(Hello {
        version: Version::V1_1,
        heartbeat_interval: Some(5 * SECOND),
        ..Hello::default()
    }))
    .await;
    assert_eq!(desk.stream_end().await, StreamEnd::Silent);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_comes_back_to_a_server_that_leaves() {
    let mut core = core();
    core.options.drain_spread = 10 * SECOND;
    let house = core.house();
    let (mut old, ready) = greeted(&house).await;
    old.frame("a").await;
    old.settle().await;
    house.stop.soft.cancel();
    old.settle().await;
    let mut new = house.connect("ann");
    let other = new.come_back(&ready, 0).await;
    assert!(is_new(&other, &ready));
    assert!(!go_away(&mut new).await.resumable);
    // What was accepted is answered where it was accepted.
    old.numbered("a", 1).await;
    assert!(!go_away(&mut old).await.resumable);
    assert_eq!(old.stream_end().await, StreamEnd::Drained);
    assert_eq!(new.stream_end().await, StreamEnd::Drained);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_brings_neither_a_hello_nor_a_frame_is_closed_after_ten_seconds() {
    let house = house();
    let began = Instant::now();
    let silent = house.connect("ann");
    assert_eq!(silent.stream_end().await, StreamEnd::NoHello);
    assert_eq!(began.elapsed().as_secs(), 10);
    let alive = house.connect("ann");
    alive.say(ClientMessage::Heartbeat).await;
    assert_eq!(alive.stream_end().await, StreamEnd::NoHello);
    house.empty().await;
}

/// Listens until the GoAway comes.
async fn go_away(desk: &mut Desk) -> GoAway {
    loop {
        match desk.next().await {
            ServerMessage::GoAway(go_away) => return *go_away,
            ServerMessage::Heartbeat(_) => {}
            other => panic!("not a GoAway: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_it_is_old_or_its_token_and_the_session_goes_on() {
    let minute = 60 * SECOND;
    // The token is valid for an hour.
    for (max_age, leeway, life) in [
        (10 * minute, 5 * minute, 9 * minute..=10 * minute),
        (120 * minute, 5 * minute, 65 * minute..=65 * minute),
    ] {
        let mut core = core();
        core.options.max_age = max_age;
        core.options.token_leeway = leeway;
        core.options.heartbeat_interval = 299 * SECOND;
        let house = core.house();
        let (mut desk, ready) = greeted(&house).await;
        let began = Instant::now();
        let told = go_away(&mut desk).await;
        assert!(
            told.resumable && told.time_left >= minute - SECOND,
            "{told:?}"
        );
        assert!(told.reconnect_delay <= told.time_left / 2);
        desk.frame("a").await;
        desk.numbered("a", 1).await;
        assert_eq!(desk.stream_end().await, StreamEnd::Expired);
        let ended = began.elapsed();
        assert!(
            (*life.start() - SECOND..=*life.end() + SECOND).contains(&ended),
            "{ended:?}"
        );
        let mut desk = house.connect("ann");
        let again = desk.come_back(&ready, 1).await;
        assert_eq!(again.session, ready.session);
        desk.half_close();
        assert_eq!(desk.stream_end().await, StreamEnd::Closed);
        house.empty().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_be_resumed_ends_with_its_stream_and_says_so_to_its_frames() {
    let mut core = Core::new().model(|_| std::future::pending());
    core.options.max_age = 60 * SECOND;
    let house = core.house();
    let mut desk = house.connect("ann");
    desk.hello(Version::V1_1, "v", None).await;
    desk.ready().await;
    let told = go_away(&mut desk).await;
    assert!(!told.resumable);
    desk.frame_with("a", super::support::context("v", "x"))
        .await;
    let fault = loop {
        match desk.next().await {
            ServerMessage::Answer(answer) => break answer.result.clone().expect_err("no decision"),
            ServerMessage::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fault.code, FrameFaultCode::GoingAway);
    assert_eq!(desk.stream_end().await, StreamEnd::Expired);
    house.empty().await;
}
