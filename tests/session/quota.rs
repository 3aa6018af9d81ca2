//! What one user may have at once, and all together.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use proactive::domain::{Frame, FrameFault, FrameFaultCode, Image, Uid};
use proactive::session::{ClientMessage, Full, Limits, NoRoom, Quota, Version};
use proactive::telemetry::Metrics;
use proactive::world::World;
use tokio::time::{advance, sleep};

use super::support::{Core, Desk, frame, nothing, now, turn};

const MINUTE: Duration = Duration::from_secs(60);
/// Of a session and of a frame without image, with room for text.
const SESSION: usize = 24 << 10;
const FRAME: usize = 25 << 10;

fn quota(change: impl FnOnce(&mut Limits)) -> Quota {
    let mut limits = Limits::default();
    change(&mut limits);
    Quota::new(limits, World::fixed(now(), 3), Metrics::new())
}

/// A desktop of this user, whose frames take five seconds.
async fn desk(quota: &Quota, uid: &'static str) -> Desk {
    let mut core = Core::new().model(|_| async {
        sleep(Duration::from_secs(5)).await;
        turn([nothing()])
    });
    core.quota = Some(quota.clone());
    core.uid = uid;
    core.options.heartbeat_interval = 10 * MINUTE;
    core.greeted_as(Version::V1_1).await
}

/// A frame with an image of so many bytes.
fn shot(id: &str, size: usize) -> Box<Frame> {
    let mut jpeg = vec![0; size];
    jpeg[..4].copy_from_slice(&[0xFF, 0xD8, 0xFF, 0xE0]);
    jpeg[size - 2..].copy_from_slice(&[0xFF, 0xD9]);
    let mut frame = frame(id);
    frame.image = Some(Image::jpeg(Bytes::from(jpeg)).expect("it looks like a JPEG"));
    Box::new(frame)
}

fn says(fault: &FrameFault, code: FrameFaultCode, wait: std::ops::Range<u64>) {
    assert_eq!((fault.code, fault.retryable), (code, true));
    let told = fault.retry_after.expect("it says when");
    let wait = Duration::from_secs(wait.start)..Duration::from_secs(wait.end);
    assert!(wait.contains(&told), "{told:?}");
    assert!(fault.message.ends_with('.'), "{}", fault.message);
}

#[tokio::test(start_paused = true)]
async fn a_user_who_sends_more_frames_than_a_minute_may_have_is_told_when_to_go_on() {
    let quota = quota(|limits| limits.frames_per_minute = NonZeroU32::new(3).expect("not 0"));
    let mut one = desk(&quota, "flooder").await;
    let mut two = desk(&quota, "flooder").await;
    let mut other = desk(&quota, "honest").await;
    for id in ["a", "b"] {
        one.frame(id).await;
    }
    two.frame("c").await;
    // The frames of all sessions count.
    for id in ["d", "e"] {
        two.frame(id).await;
        says(&two.fault(id).await, FrameFaultCode::Throttled, 20..22);
    }
    one.frame("f").await;
    let fault = one.fault("f").await;
    says(&fault, FrameFaultCode::Throttled, 20..22);
    // Nobody else is concerned.
    other.frame("g").await;
    other.no_task("g").await;
    for id in ["a", "b"] {
        one.no_task(id).await;
    }
    two.no_task("c").await;
    // Who comes when it was told to is taken.
    advance(fault.retry_after.expect("it says when") - Duration::from_secs(5)).await;
    one.frame("f").await;
    one.no_task("f").await;
    for desk in [one, two, other] {
        desk.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_in_flight_that_comes_again_is_not_counted_again() {
    let quota = quota(|limits| limits.frames_per_minute = NonZeroU32::new(2).expect("not 0"));
    let mut desk = desk(&quota, "somebody").await;
    for id in ["a", "a", "a", "b"] {
        desk.frame(id).await;
    }
    desk.no_task("a").await;
    desk.no_task("b").await;
    desk.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_user_with_too_many_bytes_under_way_is_told_so_and_others_are_not() {
    let quota = quota(|limits| limits.bytes_per_user = 2 * (400_000 + FRAME));
    let mut flooder = desk(&quota, "flooder").await;
    let mut honest = desk(&quota, "honest").await;
    for id in ["a", "b", "c"] {
        let shot = shot(id, 300_000);
        flooder.say(ClientMessage::Frame(shot)).await;
    }
    says(&flooder.fault("c").await, FrameFaultCode::Overloaded, 2..10);
    honest.say(ClientMessage::Frame(shot("x", 300_000))).await;
    honest.no_task("x").await;
    for id in ["a", "b"] {
        flooder.no_task(id).await;
    }
    flooder.say(ClientMessage::Frame(shot("c", 300_000))).await;
    flooder.no_task("c").await;
    flooder.close().await;
    honest.close().await;
    assert_eq!(quota.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn at_the_ceiling_new_frames_are_refused_and_each_client_waits_another_time() {
    let quota = quota(|limits| limits.bytes = 3 * SESSION + 400_000 + FRAME);
    let mut first = desk(&quota, "first").await;
    let mut others = [desk(&quota, "second").await, desk(&quota, "third").await];
    first.say(ClientMessage::Frame(shot("a", 300_000))).await;
    first.settle().await;
    let mut waits = Vec::new();
    for desk in &mut others {
        desk.say(ClientMessage::Frame(shot("b", 300_000))).await;
        let fault = desk.fault("b").await;
        says(&fault, FrameFaultCode::Overloaded, 2..10);
        waits.push(fault.retry_after);
    }
    assert_ne!(waits[0], waits[1]);
    first.no_task("a").await;
    let [mut second, third] = others;
    second.say(ClientMessage::Frame(shot("b", 300_000))).await;
    second.no_task("b").await;
    for desk in [first, second, third] {
        desk.close().await;
    }
    assert_eq!(quota.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn however_a_frame_ends_its_bytes_are_given_back() {
    let quota = quota(|_| ());
    let mut desk = desk(&quota, "somebody").await;
    for id in ["running", "cancelled", "pushed out", "waiting"] {
        desk.say(ClientMessage::Frame(shot(id, 300_000))).await;
    }
    assert_eq!(
        desk.fault("pushed out").await.code,
        FrameFaultCode::Superseded
    );
    let under_way = quota.bytes() - SESSION;
    assert!(
        (3 * 400_000..3 * (400_000 + FRAME)).contains(&under_way),
        "{under_way}"
    );
    desk.cancel("cancelled").await;
    assert_eq!(
        desk.fault("cancelled").await.code,
        FrameFaultCode::Cancelled
    );
    desk.settle().await;
    assert!(quota.bytes() - SESSION < 2 * (400_000 + FRAME));
    desk.stop_reading();
    desk.over().await;
    assert_eq!(quota.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_user_and_the_server_have_so_many_sessions_and_no_more() {
    let quota = quota(|limits| (limits.sessions_per_user, limits.sessions) = (2, 3));
    let [one, two, three] = ["one", "two", "three"].map(Uid::new);
    let seats = [quota.open(&one).ok(), quota.open(&one).ok()];
    assert_eq!(quota.open(&one).err(), Some(Full::User(2)));
    let others = quota
        .open(&two)
        .expect("another user has sessions of its own");
    assert_eq!(quota.open(&three).err(), Some(Full::Server));
    drop(others);
    let _third = quota.open(&three).expect("one was given back");
    drop(seats);
    assert!(quota.open(&one).is_ok());
}

#[tokio::test(start_paused = true)]
async fn users_who_have_gone_are_forgotten_but_not_before_their_minute_is_over() {
    let quota = quota(|limits| {
        limits.frames_per_minute = NonZeroU32::new(1).expect("not 0");
        limits.sessions = 3_000;
    });
    let uid = |number: usize| Uid::new(number.to_string());
    let frames = |number: usize| {
        quota
            .open(&uid(number))
            .map(|seat| seat.account().admit(&frame("f")).is_ok())
    };
    for number in 0..2_000 {
        assert_eq!(frames(number), Ok(true));
    }
    assert_eq!(
        frames(1_999),
        Ok(false),
        "a new session brings no new frames"
    );
    advance(MINUTE).await;
    for number in 2_000..5_000 {
        assert_eq!(frames(number), Ok(true));
    }
    assert!(quota.users() <= 3_001, "{}", quota.users());
    // More than can be remembered, within one minute.
    for number in 5_000..20_000 {
        assert_eq!(frames(number), Ok(true));
        assert!(quota.users() <= 7_100, "{}", quota.users());
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_not_taken() {
    let quota =
        quota(|limits| (limits.bytes_per_user, limits.bytes) = (1_000, SESSION * 2 + 1_500));
    let [one, two] = ["one", "two"].map(|uid| quota.open(&Uid::new(uid)).expect("there is room"));
    let mut held = one.account().hold(900).expect("there is room");
    assert_eq!(held.grow(101), Err(NoRoom::OfUser));
    assert_eq!(two.account().hold(601).err(), Some(NoRoom::AtAll));
    assert_eq!((held.bytes(), quota.bytes()), (900, SESSION * 2 + 900));
    let _rest = two.account().hold(600).expect("there is room");
    assert_eq!(held.grow(100), Err(NoRoom::AtAll));
    drop(held);
    assert_eq!(quota.bytes(), SESSION * 2 + 600);
}
