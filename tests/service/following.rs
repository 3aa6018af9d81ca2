//! Followers of a user's log: what they missed, then live.

use std::time::Duration;

use proactive::stand_in::Move;
use proactive::transport::proto::log_event::Event as LogWhat;
use proactive::transport::proto::subscribe_response::Event;
use proactive::transport::proto::{JobState, OutcomeKind};
use serde_json::json;
use tonic::Code;

use crate::support::outside::submission;
use crate::support::{Door, TestApp, frame};
use proactive::transport::proto::client_event::Event as Said;

crate::both_doors![
    e02_e05_everything_of_a_job_is_told_once_and_in_order_to_whoever_follows,
    e05_a_sessions_decisions_stand_in_its_users_log_and_only_there,
    e05_frames_without_a_task_are_logged_where_that_is_configured,
    e07_a_cursor_of_another_log_is_told_as_a_gap_and_a_forged_one_refused,
    e03_a_follower_that_is_told_nothing_is_told_so_and_old_streams_end,
    followers_are_bounded_and_end_with_their_server,
];

async fn e02_e05_everything_of_a_job_is_told_once_and_in_order_to_whoever_follows(door: Door) {
    let app = TestApp::at(door).start().await;
    app.script([Move::call("no_task_found", json!({}))]);
    let mut live = app.follow("").await.unwrap();
    let start = live.start().await;
    let submitted = app.submit(submission("shot", "x", "")).await.unwrap();
    let id = submitted.job.unwrap().job_id;
    let states = [JobState::Pending, JobState::Streaming, JobState::Done];
    let mut cursors = Vec::new();
    for state in states {
        let (job, cursor) = live.job().await;
        assert_eq!((&job.job_id, job.state()), (&id, state));
        cursors.push(cursor);
    }
    for (behind, states) in [(&start, &states[..]), (&cursors[0], &states[1..])] {
        let mut late = app.follow(behind).await.unwrap();
        assert_eq!(late.start().await, *behind);
        for state in states {
            assert_eq!(late.job().await.0.state(), *state);
        }
    }
}

async fn e05_a_sessions_decisions_stand_in_its_users_log_and_only_there(door: Door) {
    let app = TestApp::at(door).start().await;
    let token = app.service.token("somebody-else");
    let mut strangers = app.caller(&token).await.follow("").await.unwrap();
    strangers.start().await;
    let mut followed = app.follow("").await.unwrap();
    followed.start().await;
    app.script([
        Move::call("no_task_found", json!({})),
        Move::call("reject_task", json!({ "reason": "It is tracked already." })),
    ]);
    let mut desk = app.greeted().await;
    desk.frame("nothing", "x").await;
    desk.outcome().await;
    desk.frame("tracked", "x").await;
    let outcome = desk.outcome().await;
    let event = followed.event().await;
    let Some(LogWhat::FrameDecided(decided)) = event.event else {
        panic!("{event:?}")
    };
    assert_eq!(
        decided.outcome.unwrap(),
        outcome,
        "and no NO_TASK_FOUND before it"
    );
    assert_eq!(decided.session_id.len(), 36);
    app.script([Move::call("reject_task", json!({ "reason": "His own." }))]);
    let mut other = app.open(&token).await.unwrap();
    other.hello("1.1").await;
    other.ready().await;
    other.frame("his", "x").await;
    other.outcome().await;
    let told = strangers.event().await;
    let Some(LogWhat::FrameDecided(decided)) = told.event else {
        panic!("{told:?}")
    };
    assert_eq!(decided.outcome.unwrap().frame_id, "his");
}

async fn e05_frames_without_a_task_are_logged_where_that_is_configured(door: Door) {
    let app = TestApp::at(door)
        .with(|settings| settings.work.log_no_task_found = Some("true".into()))
        .start()
        .await;
    app.script([Move::call("no_task_found", json!({}))]);
    let mut followed = app.follow("").await.unwrap();
    followed.start().await;
    let desk = app.greeted().await;
    desk.say(Said::FrameEvent(frame("nothing", "x"))).await;
    let told = followed.event().await;
    let Some(LogWhat::FrameDecided(decided)) = told.event else {
        panic!("{told:?}")
    };
    let kind = decided.outcome.unwrap().outcome_kind();
    assert_eq!(kind, OutcomeKind::NoTaskFound);
}

async fn e07_a_cursor_of_another_log_is_told_as_a_gap_and_a_forged_one_refused(door: Door) {
    let app = TestApp::at(door).start().await;
    app.script([Move::call("no_task_found", json!({}))]);
    let submitted = app.submit(submission("shot", "x", "")).await.unwrap();
    let id = submitted.job.unwrap().job_id;
    app.job_becomes(&id, JobState::Done).await;
    let mut followed = app.follow("oldest").await.unwrap();
    let start = followed.start().await;
    let (epoch, _) = start.split_once(':').unwrap();
    let (other, future) = ("0-0-0:1".to_owned(), format!("{epoch}:1000"));
    for cursor in [other, future] {
        let mut followed = app.follow(&cursor).await.unwrap();
        followed.start().await;
        let gap = followed.event().await.event;
        assert!(matches!(gap, Some(LogWhat::Gap(_))), "{gap:?}");
        assert_eq!(
            followed.job().await.0.state(),
            JobState::Pending,
            "the oldest"
        );
    }
    for forged in [
        ":",
        "x",
        "x:",
        ":1",
        "x:-1",
        "x:+1",
        "x:1:2",
        "'; drop table--:1",
        "é:1",
    ] {
        let refused = app.follow(forged).await.err().unwrap();
        assert_eq!(refused.code(), Code::InvalidArgument, "{forged}: {refused}");
    }
}

async fn e03_a_follower_that_is_told_nothing_is_told_so_and_old_streams_end(door: Door) {
    let app = TestApp::at(door)
        .tweak(|config| config.session.max_age = Duration::from_secs(100))
        .start()
        .await;
    let mut followed = app.follow("").await.unwrap();
    followed.start().await;
    tokio::time::pause();
    let mut beats = 0;
    let ended = loop {
        match followed.next_in_time().await {
            Ok(Some(Event::Heartbeat(_))) => beats += 1,
            Ok(other) => panic!("{other:?}"),
            Err(status) => break status,
        }
    };
    assert_eq!(beats, 3, "every 25 s");
    assert_eq!(ended.code(), Code::Unavailable);
    let told = ended.message();
    assert!(
        told.ends_with("with a fresh token and the last cursor.")
            || told.ends_with("and the last id.")
    );
}

async fn followers_are_bounded_and_end_with_their_server(door: Door) {
    let app = TestApp::at(door)
        .with(|settings| settings.max_sessions_per_user = "2".into())
        .start()
        .await;
    let mut one = app.follow("").await.unwrap();
    let two = app.follow("").await.unwrap();
    let refused = app.follow("").await.err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    drop(two);
    app.metric_becomes("proactive_accounted_bytes 24576").await;
    app.follow("").await.unwrap();
    one.start().await;
    let stopping = app.stopping();
    assert_eq!(one.next().await.unwrap_err().code(), Code::Unavailable);
    stopping.join_all().await;
}
