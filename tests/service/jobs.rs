//! Jobs: frames whose analysis outlives the call that submitted them.

use proactive::stand_in::Move;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{
    FrameEvent, JobState, ListJobsRequest, OutcomeKind, SessionContext, SubmitFrameRequest,
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;

use crate::support::outside::submission;
use crate::support::{Door, PATIENCE, TestApp, frame, jpeg};

crate::both_doors![
    e01_a_job_is_decided_while_nobody_waits_for_it,
    e01_a_jobs_searches_go_to_a_desktop_of_its_user,
    e01_a_desktop_that_connects_later_is_asked_and_another_users_is_not,
    e01_without_a_desktop_a_job_ends_with_that_reason,
    e07_an_idempotency_key_makes_a_repeated_submission_the_same_job,
    e07_a_job_can_be_cancelled_by_its_id_and_its_desktop_is_told,
    e06_a_model_that_fails_is_its_jobs_error_and_the_next_job_is_taken,
    another_users_job_is_as_good_as_unknown,
    jobs_are_listed_newest_first_page_by_page,
    what_cannot_be_a_job_is_refused_by_the_field,
    jobs_that_have_not_ended_are_bounded,
];

const REQUEST: &str = "Anna: Hi, can you send the Berlin office the signed lease before Tuesday?";

async fn e01_a_job_is_decided_while_nobody_waits_for_it(door: Door) {
    let app = TestApp::at(door).start().await;
    app.script([Move::call(
        "no_task_found",
        json!({ "context_summary": "An editor." }),
    )]);
    let submitted = app.submit(submission("shot", "fn main() {}", "")).await;
    let submitted = submitted.unwrap();
    let job = submitted.job.unwrap();
    assert_eq!((job.job_id.len(), job.frame_id.as_str()), (36, "shot"));
    assert_eq!(
        (job.state(), submitted.repeated),
        (JobState::Pending, false)
    );
    let done = app.job_becomes(&job.job_id, JobState::Done).await;
    let outcome = done.outcome.unwrap();
    assert_eq!(outcome.outcome_kind(), OutcomeKind::NoTaskFound);
    assert_eq!(outcome.context_summary, "An editor.");
    assert_eq!(outcome.bill.unwrap().model_calls, 1);
    assert_eq!(done.error, None);
    assert_eq!(app.metrics().matches("proactive_sessions 0").count(), 1);
}

async fn e01_a_jobs_searches_go_to_a_desktop_of_its_user(door: Door) {
    let app = TestApp::at(door).start().await;
    let mut desk = app.greeted().await;
    let submitted = app.submit(submission("shot", REQUEST, "")).await.unwrap();
    let id = submitted.job.unwrap().job_id;
    let search = desk.search().await;
    assert_eq!((&search.job_id, search.frame_id.as_str()), (&id, "shot"));
    desk.answer(&search, vec![]).await;
    let done = loop {
        tokio::select! {
            event = desk.event() => match event {
                Event::ToolCallRequest(more) => {
                    desk.answer(&more, vec![]).await;
                }
                other => panic!("{other:?}"),
            },
            done = app.job_becomes(&id, JobState::Done) => break done,
        }
    };
    let task = done.outcome.unwrap().task.unwrap();
    assert!(task.title.contains("Berlin"), "{}", task.title);
}

async fn e01_a_desktop_that_connects_later_is_asked_and_another_users_is_not(door: Door) {
    let app = TestApp::at(door).start().await;
    app.script([
        Move::call("search_similar", json!({ "query": "the lease" })),
        Move::call("no_task_found", json!({})),
    ]);
    let token = app.service.token("somebody-else");
    let stranger = app.open(&token).await;
    let mut stranger = stranger.unwrap();
    stranger.hello("1.1").await;
    stranger.ready().await;
    let submitted = app.submit(submission("shot", "x", "")).await.unwrap();
    let id = submitted.job.unwrap().job_id;
    app.job_becomes(&id, JobState::Streaming).await;
    let mut desk = app.greeted().await;
    let search = desk.search().await;
    assert_eq!(search.job_id, id);
    desk.answer(&search, vec![]).await;
    app.job_becomes(&id, JobState::Done).await;
    stranger.close().await;
    assert_eq!(stranger.next().await.unwrap(), None, "it was asked nothing");
}

async fn e01_without_a_desktop_a_job_ends_with_that_reason(door: Door) {
    let app = TestApp::at(door)
        .with(|settings| settings.work.job_desktop_wait = "0s".into())
        .start()
        .await;
    app.script([Move::call(
        "search_similar",
        json!({ "query": "the lease" }),
    )]);
    let submitted = app.submit(submission("shot", "x", "")).await.unwrap();
    let id = submitted.job.unwrap().job_id;
    let outcome = app.job_becomes(&id, JobState::Done).await.outcome.unwrap();
    assert_eq!(outcome.outcome_kind(), OutcomeKind::NoTaskFound);
    let reason = &outcome.reason;
    assert!(
        reason.contains("None of the user's desktops was connected"),
        "{reason}"
    );
}

async fn e07_an_idempotency_key_makes_a_repeated_submission_the_same_job(door: Door) {
    let app = TestApp::at(door).start().await;
    app.script([Move::call("no_task_found", json!({}))]);
    let mut submissions = JoinSet::new();
    for _ in 0..5 {
        let user = app.user().await;
        let asked = submission("shot", "x", "key-1");
        submissions.spawn(async move { user.submit(asked).await.unwrap() });
    }
    let all = submissions.join_all().await;
    let first = all.iter().filter(|submitted| !submitted.repeated).count();
    assert_eq!(first, 1, "{all:?}");
    let mut ids: Vec<_> = all
        .iter()
        .map(|it| &it.job.as_ref().unwrap().job_id)
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    app.job_becomes(ids[0], JobState::Done).await;
    // Another user's key is another key.
    let token = app.service.token("somebody-else");
    app.script([Move::call("no_task_found", json!({}))]);
    let somebody = app.caller(&token).await;
    let others = somebody
        .submit(submission("shot", "x", "key-1"))
        .await
        .unwrap();
    assert!(!others.repeated);
}

async fn e07_a_job_can_be_cancelled_by_its_id_and_its_desktop_is_told(door: Door) {
    let app = TestApp::at(door).start().await;
    app.script([Move::call(
        "search_similar",
        json!({ "query": "the lease" }),
    )]);
    let mut desk = app.greeted().await;
    let submitted = app.submit(submission("shot", "x", "")).await.unwrap();
    let job_id = submitted.job.unwrap().job_id;
    let search = desk.search().await;
    let cancel = async || app.user().await.cancel(&job_id).await.unwrap();
    let job = cancel().await;
    assert_eq!(job.state(), JobState::Error);
    let error = job.error.clone().unwrap();
    assert_eq!((error.code.as_str(), error.retryable), ("CANCELLED", true));
    match desk.event().await {
        Event::CancelToolRequest(told) => {
            assert_eq!(told.request_id, search.request_id);
        }
        other => panic!("{other:?}"),
    }
    // A late result changes nothing, and neither does another cancellation.
    desk.answer(&search, vec![]).await;
    assert_eq!(cancel().await, job);
    assert_eq!(app.job(&job.job_id).await.unwrap(), job);
}

async fn e06_a_model_that_fails_is_its_jobs_error_and_the_next_job_is_taken(door: Door) {
    let app = TestApp::at(door).start().await;
    app.script([Move::status(400), Move::call("no_task_found", json!({}))]);
    let one = app.submit(submission("1", "x", "")).await.unwrap();
    let id = one.job.unwrap().job_id;
    let failed = app.job_becomes(&id, JobState::Error).await;
    let error = failed.error.unwrap();
    assert_eq!(
        (error.code.as_str(), error.frame_id.as_str()),
        ("GEMINI_ERROR", "1")
    );
    let two = app.submit(submission("2", "x", "")).await.unwrap();
    app.job_becomes(&two.job.unwrap().job_id, JobState::Done)
        .await;
}

async fn another_users_job_is_as_good_as_unknown(door: Door) {
    let app = TestApp::at(door).start().await;
    app.script([Move::call("no_task_found", json!({}))]);
    let submitted = app.submit(submission("shot", "x", "")).await.unwrap();
    let job_id = submitted.job.unwrap().job_id;
    let token = app.service.token("somebody-else");
    let somebody = app.caller(&token).await;
    let theirs = somebody.job(&job_id).await.unwrap_err();
    let unknown = app.job("no-such-job").await.unwrap_err();
    assert_eq!(theirs.code(), Code::NotFound);
    assert_eq!(theirs.message(), unknown.message());
    let cancelled = somebody.cancel(&job_id).await.unwrap_err();
    assert_eq!(cancelled.code(), Code::NotFound);
    let listed = somebody.list(ListJobsRequest::default()).await.unwrap();
    assert_eq!(listed.jobs, []);
}

async fn jobs_are_listed_newest_first_page_by_page(door: Door) {
    let app = TestApp::at(door).start().await;
    for number in 0..5 {
        app.script([Move::call("no_task_found", json!({}))]);
        let id = number.to_string();
        let submitted = app.submit(submission(&id, "x", "")).await.unwrap();
        app.job_becomes(&submitted.job.unwrap().job_id, JobState::Done)
            .await;
    }
    let page = async |token: String| {
        let asked = ListJobsRequest {
            page_size: 2,
            page_token: token,
        };
        app.user().await.list(asked).await
    };
    let (mut frames, mut token) = (Vec::new(), String::new());
    loop {
        let told = page(token).await.unwrap();
        frames.extend(told.jobs.into_iter().map(|job| job.frame_id));
        token = told.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(frames, ["4", "3", "2", "1", "0"]);
    let wrong = page("forged".to_owned()).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument, "{wrong}");
}

async fn what_cannot_be_a_job_is_refused_by_the_field(door: Door) {
    let app = TestApp::at(door).start().await;
    let no_context = SubmitFrameRequest {
        frame: Some(frame("shot", "x")),
        ..SubmitFrameRequest::default()
    };
    let no_jpeg = SubmitFrameRequest {
        frame: Some(FrameEvent {
            jpeg_bytes: vec![1; 100].into(),
            session_context: Some(SessionContext::default()),
            ..FrameEvent::default()
        }),
        ..SubmitFrameRequest::default()
    };
    let many = SessionContext {
        goals: vec![Default::default(); 10_001],
        ..SessionContext::default()
    };
    let mut too_many = submission("shot", "x", "");
    too_many.frame.as_mut().unwrap().session_context = Some(many);
    for (asked, told) in [
        (SubmitFrameRequest::default(), "frame is missing"),
        (no_context, "session_context is missing"),
        (no_jpeg, "is not a whole JPEG"),
        (too_many, "more than 10000 entries"),
        (
            submission("shot", "x", &"k".repeat(256)),
            "idempotency_key has 256 bytes",
        ),
    ] {
        let refused = app.submit(asked).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(told), "{refused}");
    }
    let mut large = submission("shot", "x", "");
    large.frame.as_mut().unwrap().jpeg_bytes = jpeg(11 << 20).into();
    let refused = app.submit(large).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    let most = match door {
        Door::Grpc => "at most 10485760",
        Door::WebSocket => "more than the 14680064 bytes",
    };
    assert!(refused.message().contains(most), "{refused}");
    assert_eq!(app.model.recorded().len(), 0, "nobody paid for any of it");
}

async fn jobs_that_have_not_ended_are_bounded(door: Door) {
    let app = TestApp::at(door)
        .with(|settings| settings.work.max_jobs_per_user = "2".into())
        .start()
        .await;
    app.model.usually([Move::hang()]);
    let one = app.submit(submission("1", "x", "key")).await.unwrap();
    app.submit(submission("2", "x", "")).await.unwrap();
    let again = app.submit(submission("1", "x", "key")).await.unwrap();
    assert!(
        again.repeated,
        "who sends a job again is told of it: {again:?}"
    );
    assert_eq!(again.job.unwrap().job_id, one.job.as_ref().unwrap().job_id);
    let refused = app.submit(submission("3", "x", "")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let job_id = one.job.unwrap().job_id;
    app.user().await.cancel(&job_id).await.unwrap();
    let taken = async {
        while app.submit(submission("3", "x", "")).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, taken).await.unwrap();
}
