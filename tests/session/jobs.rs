//! Jobs, and the sessions of their user that they are searched for in.

use std::sync::Arc;
use std::time::Duration;

use proactive::domain::{Decision, FrameFaultCode, Job, JobId, JobState, Uid};
use proactive::jobs::Jobs;
use proactive::session::{ServerMessage, StreamEnd};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::support::{Core, Desk, House, Since, context, extract, frame, shows, similar, turn};

/// Longer than any job may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// The model searches once for each frame, then extracts.
fn house() -> House {
    let said = [turn([similar("the lease")]), turn([extract()])];
    Core::new().turns(said).house()
}

async fn submitted(jobs: &Jobs, id: &str) -> JobId {
    let mut frame = frame(id);
    frame.context = Some(context("v1", "Water the plants"));
    let submitted = jobs.submit(&Uid::new("ann"), frame, None).await;
    submitted.expect("it is taken").job.id
}

async fn job(jobs: &Jobs, id: &JobId) -> Job {
    let job = jobs.get(&Uid::new("ann"), id).await;
    job.expect("the log is read").expect("there is this job")
}

/// The job when it has ended.
async fn ended(jobs: &Jobs, id: &JobId) -> JobState {
    let ends = async {
        loop {
            match job(jobs, id).await.state {
                JobState::Pending | JobState::Streaming => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                state => break state,
            }
        }
    };
    timeout(PATIENCE, ends).await.expect("the job ends")
}

fn has_a_task(state: &JobState) -> bool {
    matches!(state, JobState::Done(outcome) if matches!(outcome.decision, Decision::Extract(_)))
}

fn is_to_be_submitted_again(state: &JobState) -> bool {
    match state {
        JobState::Error(fault) => fault.code == FrameFaultCode::GoingAway && fault.retryable,
        _ => false,
    }
}

async fn greeted(house: &House) -> Desk {
    let mut desk = house.connect("ann");
    desk.hello_resumable().await;
    desk
}

async fn is_told_to_go(desk: &mut Desk) {
    let told = desk.next().await;
    assert!(matches!(told, ServerMessage::GoAway(_)), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn e01_a_session_that_leaves_with_its_server_waits_for_the_search_of_a_job() {
    let house = house();
    let jobs = house.jobs();
    let mut desk = greeted(&house).await;
    let id = submitted(&jobs, "shot").await;
    let search = desk.search().await;
    house.stop.soft.cancel();
    is_told_to_go(&mut desk).await;
    desk.silence(Duration::from_secs(5)).await;
    desk.answer(&search, Ok(vec![])).await;
    assert_eq!(desk.stream_end().await, StreamEnd::Drained);
    let state = ended(&jobs, &id).await;
    assert!(has_a_task(&state), "{state:?}");
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_leaves_waits_no_longer_for_a_job_that_is_given_up() {
    let house = house();
    let jobs = house.jobs();
    let mut desk = greeted(&house).await;
    let id = submitted(&jobs, "shot").await;
    let search = desk.search().await;
    house.stop.soft.cancel();
    is_told_to_go(&mut desk).await;
    let began = Since::now();
    let cancelled = jobs.cancel(&Uid::new("ann"), &id).await;
    cancelled.expect("the log is written");
    assert_eq!(desk.search_called_off().await.0, search.id);
    assert_eq!(desk.stream_end().await, StreamEnd::Drained);
    assert_eq!(began.millis(), 0);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn e01_a_job_that_finds_no_desktop_because_the_server_leaves_is_to_be_submitted_again() {
    let house = house();
    let jobs = house.jobs();
    let id = submitted(&jobs, "shot").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(job(&jobs, &id).await.state, JobState::Streaming);
    let began = Since::now();
    house.stop.soft.cancel();
    let state = ended(&jobs, &id).await;
    assert!(is_to_be_submitted_again(&state), "{state:?}");
    assert!(began.millis() <= 1, "{} ms", began.millis());
    let JobState::Error(fault) = state else {
        unreachable!()
    };
    let bill = fault.bill.expect("the model was asked");
    assert_eq!(bill.model_calls, 1);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_desktop_hangs_up_in_a_drain_is_to_be_submitted_again() {
    let house = house();
    let jobs = house.jobs();
    let mut desk = greeted(&house).await;
    let id = submitted(&jobs, "shot").await;
    desk.search().await;
    house.stop.soft.cancel();
    is_told_to_go(&mut desk).await;
    let began = Since::now();
    desk.break_off().await;
    let state = ended(&jobs, &id).await;
    assert!(is_to_be_submitted_again(&state), "{state:?}");
    assert!(began.millis() <= 2, "{} ms", began.millis());
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_leaves_is_searched_in_for_as_long_as_it_is_there() {
    let gate = Arc::new(Notify::new());
    let opened = gate.clone();
    let house = Core::new()
        .model(move |view| {
            let gate = gate.clone();
            async move {
                match (shows(&view, "frame"), view.turns) {
                    (true, _) => gate.notified().await,
                    (false, 0) => return turn([similar("the lease")]),
                    (false, 1) => return turn([similar("the signed lease")]),
                    (false, _) => {}
                }
                turn([extract()])
            }
        })
        .house();
    let jobs = house.jobs();
    let mut desk = greeted(&house).await;
    desk.frame("frame").await;
    let id = submitted(&jobs, "shot").await;
    let first = desk.search().await;
    house.stop.soft.cancel();
    is_told_to_go(&mut desk).await;
    desk.answer(&first, Ok(vec![])).await;
    let second = desk.search().await;
    desk.answer(&second, Ok(vec![])).await;
    let state = ended(&jobs, &id).await;
    assert!(has_a_task(&state), "{state:?}");
    opened.notify_waiters();
    assert_eq!(desk.stream_end().await, StreamEnd::Drained);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_given_up_leaves_the_search_of_a_job_with_the_same_name() {
    let house = house();
    let jobs = house.jobs();
    let mut desk = greeted(&house).await;
    let id = submitted(&jobs, "0").await;
    let jobs_own = desk.search().await;
    desk.frame("0").await;
    let sessions_own = desk.search().await;
    desk.cancel("0").await;
    assert_eq!(desk.search_called_off().await.0, sessions_own.id);
    desk.fault("0").await;
    desk.answer(&jobs_own, Ok(vec![])).await;
    let state = ended(&jobs, &id).await;
    assert!(has_a_task(&state), "{state:?}");
    desk.half_close();
    assert_eq!(desk.stream_end().await, StreamEnd::Closed);
    house.empty().await;
}

#[tokio::test(start_paused = true)]
async fn the_searches_that_jobs_make_in_a_session_are_bounded() {
    let queries = ["a", "b", "c", "d", "e"].map(similar);
    let house = Core::new().turns([turn(queries)]).house();
    let jobs = house.jobs();
    let mut desk = greeted(&house).await;
    for id in ["1", "2", "3", "4", "5"] {
        submitted(&jobs, id).await;
    }
    // Two jobs of a user at once, four searches of each.
    for _ in 0..8 {
        desk.search().await;
    }
    desk.silence(Duration::from_secs(5)).await;
    house.stop.hard.cancel();
    desk.stream_end().await;
    house.empty().await;
}
