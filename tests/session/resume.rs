//! Sessions that outlive their streams.

use std::time::Duration;

use proactive::domain::{FrameFaultCode, FrameId, ResumeSecret};
use proactive::session::{
    ClientMessage, Hello, Input, Ready, Resume, Resumed, ServerMessage, StreamEnd, Version,
};
use serde_json::json;
use tokio::time::Instant;

use super::support::{
    Core, Desk, House, call, context, hit, nothing, reject, shows, similar, turn,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// The session's default.
const GRACE: Duration = Duration::from_secs(30);

/// The model needs five seconds for a frame, and searches where "find" stands.
pub(crate) fn house() -> House {
    core().house()
}

pub(crate) fn core() -> Core {
    Core::new().model(|view| async move {
        tokio::time::sleep(5 * SECOND).await;
        match (view.text.contains("<find"), view.turns) {
            (true, 0) => turn([similar("the lease")]),
            (true, _) => turn([reject()]),
            (false, _) => turn([nothing()]),
        }
    })
}

pub(crate) async fn greeted(house: &House) -> (Desk, Ready) {
    let mut desk = house.connect("ann");
    let ready = desk.hello_resumable().await;
    (desk, ready)
}

fn resumed(ready: &Ready) -> &Resumed {
    let resume = ready.resume.as_ref().expect("it can be resumed");
    resume.resumed.as_ref().expect("it was resumed")
}

pub(crate) fn is_new(ready: &Ready, old: &Ready) -> bool {
    let resume = ready.resume.as_ref().expect("it can be resumed");
    ready.session != old.session && resume.resumed.is_none()
}

fn ids<const N: usize>(ids: [&str; N]) -> Vec<FrameId> {
    ids.map(FrameId::new).to_vec()
}

fn calls(desk: &Desk, id: &str) -> usize {
    desk.views().iter().filter(|view| shows(view, id)).count()
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_takes_seconds_to_arrive_resumes_its_session() {
    let house = house();
    let (desk, ready) = greeted(&house).await;
    desk.frame("a").await;
    desk.settle().await;
    desk.break_off().await;
    let mut desk = house.connect("ann");
    for _ in 0..4 {
        desk.input(Input::Part).await;
        tokio::time::sleep(2 * SECOND).await;
    }
    let again = desk.come_back(&ready, 0).await;
    assert_eq!(again.session, ready.session);
    desk.numbered("a", 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_under_way_when_the_stream_breaks_is_answered_once_on_the_next() {
    let house = house();
    let (desk, ready) = greeted(&house).await;
    for id in ["a", "b", "waiting"] {
        desk.frame(id).await;
    }
    desk.settle().await;
    desk.break_off().await;
    assert_eq!(house.lobby.known(), (1, 1));
    // The model goes on meanwhile; a and b are decided while nobody is there.
    tokio::time::sleep(6 * SECOND).await;
    let mut desk = house.connect("ann");
    let again = desk.come_back(&ready, 0).await;
    assert_eq!(again.session, ready.session);
    assert_eq!(resumed(&again).in_flight, ids(["waiting"]));
    assert_eq!(resumed(&again).answered, ids(["a", "b"]));
    desk.numbered("a", 1).await;
    desk.numbered("b", 2).await;
    desk.numbered("waiting", 3).await;
    for id in ["a", "b", "waiting"] {
        assert_eq!(calls(&desk, id), 1, "{id}");
    }
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_confirmed_is_not_said_again_and_what_was_lost_is() {
    let house = house();
    let (mut desk, ready) = greeted(&house).await;
    for (number, id) in (1..).zip(["a", "b", "c"]) {
        desk.frame(id).await;
        desk.numbered(id, number).await;
    }
    // One was confirmed, the second arrived, the third was lost on its way.
    desk.ack(1).await;
    desk.break_off().await;
    let mut desk = house.connect("ann");
    let again = desk.come_back(&ready, 2).await;
    assert_eq!(resumed(&again).answered, ids(["a", "b", "c"]));
    desk.numbered("c", 3).await;
    // A frame that the client forgot is answered under a new number, one that it may
    // not have been told of under the old one.
    desk.frame("c").await;
    desk.numbered("c", 3).await;
    desk.frame("a").await;
    desk.numbered("a", 4).await;
    desk.silence(20 * SECOND).await;
    assert_eq!((calls(&desk, "a"), calls(&desk, "c")), (1, 1));
    // The repeated answer is one more that can be lost.
    desk.break_off().await;
    let mut desk = house.connect("ann");
    desk.come_back(&ready, 3).await;
    desk.numbered("a", 4).await;
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn an_open_search_is_asked_again_under_its_id_and_its_time_stands_still() {
    let house = house();
    let (mut desk, ready) = greeted(&house).await;
    desk.frame("find").await;
    let asked = desk.search().await;
    desk.silence(4 * SECOND).await;
    desk.break_off().await;
    tokio::time::sleep(29 * SECOND).await;
    let mut desk = house.connect("ann");
    desk.come_back(&ready, 0).await;
    let again = desk.search().await;
    assert_eq!((&again.id, &again.query()), (&asked.id, &asked.query()));
    // Six seconds are left, and an instant less for those that passed in between.
    assert_eq!(again.timeout.as_millis().div_ceil(100), 60);
    desk.silence(5 * SECOND).await;
    desk.answer(&again, Ok(vec![hit()])).await;
    desk.numbered("find", 1).await;
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_search_that_was_answered_is_not_asked_again_and_one_made_meanwhile_is_asked() {
    let house = house();
    let (mut desk, ready) = greeted(&house).await;
    desk.frame("find 1").await;
    let asked = desk.search().await;
    desk.frame("find 2").await;
    desk.answer(&asked, Ok(vec![])).await;
    desk.break_off().await;
    tokio::time::sleep(6 * SECOND).await;
    let mut desk = house.connect("ann");
    let again = desk.come_back(&ready, 0).await;
    assert_eq!(resumed(&again).answered, ids(["find 1"]));
    desk.numbered("find 1", 1).await;
    let asked = desk.search().await;
    assert_eq!(asked.frame, FrameId::new("find 2"));
    // Its answer, sent twice, counts once.
    desk.answer(&asked, Ok(vec![])).await;
    desk.answer(&asked, Ok(vec![hit()])).await;
    desk.numbered("find 2", 2).await;
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_searches_while_nobody_is_there_gets_that_time_back_within_bounds() {
    let house = house();
    let (mut desk, ready) = greeted(&house).await;
    let began = Instant::now();
    desk.frame("find").await;
    // Its stream breaks again and again, each time just before the grace is over.
    let (mut received, mut called_off) = (0, false);
    while began.elapsed() < 120 * SECOND && received == 0 {
        desk.break_off().await;
        tokio::time::sleep(GRACE - SECOND).await;
        desk = house.connect("ann");
        desk.come_back(&ready, 0).await;
        let mut said = desk.next().await;
        if let ServerMessage::CancelToolCall { .. } = said {
            called_off = true;
            said = desk.next().await;
        }
        if let ServerMessage::Answer(answer) = said {
            let fault = answer.result.as_ref().expect_err("nobody searched");
            assert_eq!(fault.code, FrameFaultCode::FrameTimeout);
            received = answer.number;
        }
    }
    assert_eq!(received, 1, "it ends all the same");
    assert!(called_off, "and with it its search");
    assert!(began.elapsed() > 85 * SECOND, "{:?}", began.elapsed());
    assert!(began.elapsed() < 120 * SECOND, "{:?}", began.elapsed());
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_gets_back_the_time_that_stood_still_also_if_its_client_was_away_shortly() {
    let house = house();
    let (mut desk, ready) = greeted(&house).await;
    let began = Instant::now();
    // Two frames that search hold it up for 48 of its 60 seconds.
    desk.frame("find 1").await;
    for _ in 0..4 {
        desk.search().await;
        desk.silence(SECOND).await;
        desk.break_off().await;
        tokio::time::sleep(7 * SECOND).await;
        desk = house.connect("ann");
        desk.come_back(&ready, 0).await;
    }
    let asked = desk.search().await;
    // 28 s stood still, of which none counts against the search's own ten.
    assert!(began.elapsed() > 36 * SECOND, "{:?}", began.elapsed());
    assert!(asked.timeout > 5 * SECOND, "{:?}", asked.timeout);
    desk.answer(&asked, Ok(vec![])).await;
    desk.numbered("find 1", 1).await;
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_model_has_the_time_that_stood_still_for_the_search_before_it() {
    let mut core = Core::new().model(|view| async move {
        match view.turns {
            0 => turn([similar("the lease")]),
            _ => {
                tokio::time::sleep(25 * SECOND).await;
                turn([reject()])
            }
        }
    });
    core.analysis.frame_timeout = 40 * SECOND;
    core.options.heartbeat_interval = 300 * SECOND;
    let house = core.house();
    let (mut desk, ready) = greeted(&house).await;
    let began = Instant::now();
    desk.frame("f").await;
    desk.search().await;
    desk.silence(5 * SECOND).await;
    desk.break_off().await;
    tokio::time::sleep(20 * SECOND).await;
    let mut desk = house.connect("ann");
    desk.come_back(&ready, 0).await;
    let asked = desk.search().await;
    desk.answer(&asked, Ok(vec![])).await;
    let answer = desk.numbered("f", 1).await;
    assert!(answer.result.is_ok(), "{answer:?}");
    assert!(began.elapsed() > 49 * SECOND);
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_failed_for_good_is_analysed_anew_for_what_failed_may_be_mended() {
    let mended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_mended = mended.clone();
    let house = Core::new()
        .model(move |_| {
            let mended = is_mended.load(std::sync::atomic::Ordering::Relaxed);
            async move {
                match mended {
                    true => turn([nothing()]),
                    false => Err(proactive::gemini::Error::Rejected { status: 403 }),
                }
            }
        })
        .house();
    let (mut desk, _) = greeted(&house).await;
    desk.frame("a").await;
    let fault = desk.numbered("a", 1).await;
    assert!(fault.result.as_ref().is_err_and(|fault| !fault.retryable));
    desk.ack(1).await;
    mended.store(true, std::sync::atomic::Ordering::Relaxed);
    desk.frame("a").await;
    assert!(desk.numbered("a", 2).await.result.is_ok());
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_turns_to_1_0_hears_nothing_more_of_resuming() {
    let house = house();
    let (mut desk, _) = greeted(&house).await;
    desk.hello(Version::V1_0, "v1", None).await;
    assert_eq!(desk.ready().await.resume, None);
    assert_eq!(house.lobby.known(), (0, 0));
    desk.frame("a").await;
    desk.numbered("a", 0).await;
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn the_next_stream_may_come_before_the_old_one_is_gone() {
    let house = house();
    let (mut old, ready) = greeted(&house).await;
    old.frame("find").await;
    old.search().await;
    old.frame("b").await;
    old.settle().await;
    let mut new = house.connect("ann");
    let again = new.come_back(&ready, 0).await;
    assert_eq!(resumed(&again).in_flight.len(), 2);
    assert_eq!(old.stream_end().await, StreamEnd::TakenUp);
    let request = new.search().await;
    new.answer(&request, Ok(vec![])).await;
    new.numbered("b", 1).await;
    new.numbered("find", 2).await;
    assert_eq!(house.lobby.known(), (1, 0));
    new.half_close();
    assert_eq!(new.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn when_the_grace_is_over_what_is_left_is_cancelled_and_counted() {
    let house = house();
    let (mut desk, ready) = greeted(&house).await;
    desk.frame("find").await;
    desk.search().await;
    desk.break_off().await;
    tokio::time::sleep(GRACE + SECOND).await;
    assert_eq!(house.lobby.known(), (0, 0));
    let mut desk = house.connect("ann");
    let new = desk.come_back(&ready, 0).await;
    assert!(is_new(&new, &ready));
    let abandoned = "proactive_frames_total{result=\"abandoned\"}";
    assert_eq!(desk.count(abandoned), 1);
    let unknown = "proactive_session_returns_total{result=\"unknown\"}";
    assert_eq!(desk.count(unknown), 1);
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn only_its_own_user_with_its_secret_takes_a_session_up() {
    let house = house();
    let (desk, ready) = greeted(&house).await;
    desk.frame("a").await;
    desk.break_off().await;

    let mut guessing = house.connect("ann");
    let secret = ResumeSecret::new("a guess");
    let session = ready.session.clone();
    guessing
        .say_hello(Resume {
            session,
            secret,
            received: 0,
        })
        .await;
    assert!(is_new(&guessing.ready().await, &ready));
    guessing.half_close();
    assert_eq!(guessing.stream_end().await, StreamEnd::Closed);

    let other = house.connect("bob");
    let known = ready.resume.clone().expect("it can be resumed");
    let session = ready.session.clone();
    other
        .say_hello(Resume {
            session,
            secret: known.secret,
            received: 0,
        })
        .await;
    assert_eq!(other.stream_end().await, StreamEnd::NotYours);

    let mut desk = house.connect("ann");
    let again = desk.come_back(&ready, 0).await;
    assert_eq!(again.session, ready.session);
    desk.numbered("a", 1).await;
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn who_does_not_say_that_it_may_come_back_or_leaves_on_purpose_leaves_nothing() {
    let house = house();
    for version in [Version::V1_0, Version::V1_1] {
        let mut desk = house.connect("ann");
        desk.hello(version, "v", None).await;
        assert_eq!(desk.ready().await.resume, None);
        desk.frame("a").await;
        desk.break_off().await;
        assert_eq!(house.lobby.known(), (0, 0));
    }
    let (mut desk, ready) = greeted(&house).await;
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    let mut desk = house.connect("ann");
    assert!(is_new(&desk.come_back(&ready, 0).await, &ready));
    // A second hello cannot take up another session.
    assert!(resumes_nothing(&mut desk, &ready).await);
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

async fn resumes_nothing(desk: &mut Desk, ready: &Ready) -> bool {
    let second = desk.come_back(ready, 0).await;
    second.resume.is_some_and(|resume| resume.resumed.is_none())
}

#[tokio::test(start_paused = true)]
async fn one_user_keeps_eight_sessions_without_a_stream_and_the_oldest_goes_first() {
    let house = house();
    let mut left = Vec::new();
    for _ in 0..9 {
        let (desk, ready) = greeted(&house).await;
        desk.break_off().await;
        left.push(ready);
    }
    assert_eq!(house.lobby.known(), (8, 8));
    let mut desk = house.connect("ann");
    assert!(is_new(&desk.come_back(&left[0], 0).await, &left[0]));
    let mut back = house.connect("ann");
    let again = back.come_back(&left[1], 0).await;
    assert_eq!(again.session, left[1].session);
    house.stop.hard.cancel();
    assert_eq!(back.stream_end().await, StreamEnd::Drained);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_without_a_stream_keeps_its_tasks_and_answers_within_the_users_bytes() {
    // A decision of 2,000 bytes, and one task of up to 300.
    let mut core = Core::new().model(|_| async {
        let args = json!({ "context_summary": "x".repeat(2_000) });
        turn([call("no_task_found", &args)])
    });
    core.options.away.bytes_per_user = 3_000;
    let house = core.house();
    for (frames, tasks, stays) in [(1, 1, true), (2, 1, false), (0, 1, true), (0, 20, false)] {
        let mut desk = house.connect("ann");
        let mut context = context("v1", &"x".repeat(300));
        context.active.items = vec![context.active.items[0].clone(); tasks];
        desk.say(ClientMessage::Hello(Hello {
            version: Version::V1_1,
            context: Some(context),
            resume: Some(Box::default()),
            ..Hello::default()
        }))
        .await;
        let ready = desk.ready().await;
        for number in 0..frames {
            let id = format!("frame {number}");
            desk.frame(&id).await;
            desk.outcome(&id).await;
        }
        desk.break_off().await;
        let kept = usize::from(stays);
        assert_eq!(house.lobby.known(), (kept, kept), "{frames} {tasks}");
        if stays {
            let mut desk = house.connect("ann");
            let again = desk.come_back(&ready, 0).await;
            assert_eq!(again.session, ready.session);
        }
    }
    house.stop.hard.cancel();
    house.empty().await;
}
