//! Calls on their way to workers and back.

use std::time::Duration;

use proactive::domain::{CallFaultCode, Ran, Value};
use proactive::telemetry::TraceContext;
use proactive::transport::proto::workers::worker_event::Event;
use proactive::transport::proto::workers::{CallProgress, WorkerLeaving};
use tokio::time::Instant;
use tonic::Code;

use crate::support::outside::SERVICE_TOKEN;
use crate::support::{Desk, USER};
use crate::worker::{Worker, hello, n, open, whole};
use crate::{call, has, made, started, workers};

#[tokio::test]
async fn c01_a_call_goes_over_the_wire_with_all_that_a_tool_may_want_to_know() {
    let app = started().await;
    let mut worker = Worker::with(&app, &["add"]).await;
    assert_eq!(worker.ready.heartbeat_interval_ms, 20_000);
    assert!(worker.ready.refused.is_empty());
    let workers = workers(&app);
    has(&workers, "add").await;
    let mut asked = made("add", Value::Integer(41));
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    asked.trace = Some(Box::new(TraceContext {
        traceparent: parent.to_owned(),
        tracestate: "vendor=1".to_owned(),
    }));
    let deadline = Instant::now() + Duration::from_secs(5);
    let serving = async {
        let call = worker.call().await;
        let context = call.context.clone().unwrap();
        assert_eq!((&*call.tool, n(&call)), ("add", 41));
        assert_eq!(&*context.session_id, "a-session");
        assert_eq!(&*context.locale, "de-DE");
        assert_eq!(&*context.time_zone, "Europe/Berlin");
        assert_eq!(
            (context.utc_offset_minutes, context.now.unwrap().seconds),
            (None, 0)
        );
        assert_eq!(
            (&*call.traceparent, &*call.tracestate),
            (parent, "vendor=1")
        );
        assert!((4_000..=5_000).contains(&call.deadline_ms));
        worker.answer(&call, whole(42)).await;
    };
    let (result, ()) = tokio::join!(workers.call(asked, deadline, deadline), serving);
    assert_eq!(result, Ok(Value::Integer(42)));
    let page = app.metrics();
    let line = "proactive_worker_calls_total{tool=\"add\",result=\"answered\"} 1\n";
    assert!(page.contains(line), "{page}");
}

#[tokio::test]
async fn c01_a_tool_that_raises_is_a_structured_error_and_the_worker_lives() {
    let app = started().await;
    let mut worker = Worker::with(&app, &["add"]).await;
    let workers = workers(&app);
    for (code, meaning) in [
        (2, CallFaultCode::Failed),
        (3, CallFaultCode::InvalidArguments),
        (12, CallFaultCode::Unimplemented),
    ] {
        let serving = async {
            let call = worker.call().await;
            worker.fail(&call, code, false).await;
        };
        let (result, ()) = tokio::join!(call(&workers, "add", Value::Null), serving);
        let fault = result.unwrap_err();
        assert_eq!((fault.code, fault.ran), (meaning, Ran::Maybe));
        assert_eq!(fault.message, "It rains.");
    }
}

#[tokio::test]
async fn c04_every_type_survives_the_way_to_a_worker_and_back() {
    let app = started().await;
    let mut worker = Worker::with(&app, &["echo"]).await;
    let workers = workers(&app);
    let value = Value::List(vec![
        Value::Null,
        Value::Bool(true),
        Value::Integer(-1),
        Value::Number(0.5),
        Value::Text("ä".to_owned()),
        Value::Binary(vec![0, 255].into()),
        Value::Object([("deep".to_owned(), Value::List(vec![]))].into()),
    ]);
    let serving = async {
        let call = worker.call().await;
        let n = call.arguments.as_ref().unwrap().fields["n"].clone();
        worker.answer(&call, n).await;
    };
    let (result, ()) = tokio::join!(call(&workers, "echo", value.clone()), serving);
    assert_eq!(result, Ok(value));
}

#[tokio::test]
async fn c09_two_workers_share_the_load() {
    let app = started().await;
    let mut both = [
        Worker::with(&app, &["add"]).await,
        Worker::with(&app, &["add"]).await,
    ];
    let workers = workers(&app);
    let calls = (0..16).map(|number| call(&workers, "add", Value::Integer(number)));
    let serving = async {
        for worker in &mut both {
            for _ in 0..8 {
                let call = worker.call().await;
                worker.answer(&call, whole(n(&call))).await;
            }
        }
    };
    let (results, ()) = tokio::join!(futures::future::join_all(calls), serving);
    for (number, result) in (0..).zip(results) {
        assert_eq!(result, Ok(Value::Integer(number)));
    }
}

#[tokio::test]
async fn c05_the_deadline_ends_the_call_on_both_sides_and_progress_moves_it() {
    let app = started().await;
    let mut worker = Worker::with(&app, &["slow"]).await;
    let workers = workers(&app);
    let began = Instant::now();
    let time = Duration::from_millis(300);
    let serving = async {
        let call = worker.call().await;
        assert!((1..=300).contains(&call.deadline_ms));
        for _ in 0..3 {
            tokio::time::sleep(time / 2).await;
            let call_id = call.call_id.clone();
            let progress = CallProgress {
                call_id,
                ..CallProgress::default()
            };
            worker.say(Event::Progress(progress)).await;
        }
        assert_eq!(worker.cancelled().await, call.call_id);
    };
    let calling = workers.call(made("slow", Value::Null), began + time, began + 4 * time);
    let (result, ()) = tokio::join!(calling, serving);
    let fault = result.unwrap_err();
    assert_eq!(
        (fault.code, fault.ran),
        (CallFaultCode::Timeout, Ran::Maybe)
    );
    assert!(began.elapsed() > 2 * time);
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_cancelled_at_its_worker() {
    let app = started().await;
    let mut worker = Worker::with(&app, &["slow"]).await;
    let workers = workers(&app);
    let call = tokio::select! {
        _ = call(&workers, "slow", Value::Null) => panic!("nobody answers"),
        call = worker.call() => call,
    };
    assert_eq!(worker.cancelled().await, call.call_id);
}

#[tokio::test]
async fn d10_who_never_began_a_call_leaves_it_to_another() {
    let app = started().await;
    let mut first = Worker::with(&app, &["add"]).await;
    let workers = workers(&app);
    let serving = async {
        let call = first.call().await;
        let mut second = Worker::with(&app, &["add"]).await;
        first.fail(&call, 8, true).await;
        let again = second.call().await;
        assert_eq!(call.call_id, again.call_id);
        second.answer(&again, whole(1)).await;
        second
    };
    let (result, _second) = tokio::join!(call(&workers, "add", Value::Null), serving);
    assert_eq!(result, Ok(Value::Integer(1)));
}

#[tokio::test]
async fn c03_only_a_service_token_opens_a_worker_s_stream_and_it_opens_no_session() {
    let app = started().await;
    let user = app.service.token(USER);
    for token in [&*user, "", "wrong", &SERVICE_TOKEN[1..]] {
        let refused = open(&app, token).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert!(token.is_empty() || !refused.message().contains(token));
    }
    let session = Desk::open(app.channel().await, SERVICE_TOKEN).await;
    let refused = session.map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_server_without_service_tokens_takes_no_workers() {
    let app = crate::support::TestApp::new().start().await;
    let refused = open(&app, SERVICE_TOKEN).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("SERVICE_TOKENS"), "{refused}");
}

#[tokio::test]
async fn a_worker_that_leaves_gets_no_new_calls_and_ends_with_ok() {
    let app = started().await;
    let mut worker = Worker::with(&app, &["add"]).await;
    let workers = workers(&app);
    let serving = async {
        let call = worker.call().await;
        worker.say(Event::Leaving(WorkerLeaving {})).await;
        while workers.has("add") {
            tokio::task::yield_now().await;
        }
        worker.answer(&call, whole(1)).await;
    };
    let (result, ()) = tokio::join!(call(&workers, "add", Value::Null), serving);
    assert_eq!(result, Ok(Value::Integer(1)));
    let Worker { say, .. } = &mut worker;
    *say = tokio::sync::mpsc::channel(1).0;
    assert_eq!(worker.ended().await.code(), Code::Ok);
}

#[tokio::test]
async fn a_server_that_stops_tells_its_workers_and_ends_their_streams() {
    let app = started().await;
    let mut worker = Worker::start(&app, hello(&["add"], 8)).await.unwrap();
    let mut stopping = app.stopping();
    let told = worker.next().await.unwrap();
    let told = format!("{told:?}");
    assert!(told.contains("GoAway"), "{told}");
    assert_eq!(worker.ended().await.code(), Code::Unavailable);
    stopping.join_next().await.unwrap().unwrap();
}
