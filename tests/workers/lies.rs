//! Workers that lie, over the wire: their calls end, typed, and others go on.

use proactive::domain::{CallFaultCode, Ran, Value};
use proactive::transport::proto::workers::value::Kind;
use proactive::transport::proto::workers::worker_event::Event;
use proactive::transport::proto::workers::{
    CallFailure, ListValue, ToolCall, Value as Sent, WorkerEvent,
};
use tonic::Code;

use crate::support::outside::SERVICE_TOKEN;
use crate::worker::{Worker, hello, open, result, whole};
use crate::{call, started, stream, workers};

fn deep(levels: usize) -> Sent {
    (1..levels).fold(Sent::default(), |inside, _| {
        let items = vec![inside];
        let kind = Some(Kind::List(ListValue { items }));
        Sent { kind }
    })
}

fn text(bytes: usize) -> Sent {
    let kind = Some(Kind::Text("x".repeat(bytes)));
    Sent { kind }
}

/// What comes of a call to which a worker says this.
async fn fault(tool: &str, said: impl FnOnce(&ToolCall) -> Vec<Event>) -> (CallFaultCode, String) {
    let app = started().await;
    let mut worker = Worker::with(&app, &[tool]).await;
    let workers = workers(&app);
    let serving = async {
        let call = worker.call().await;
        for event in said(&call) {
            worker.say(event).await;
        }
    };
    let (result, ()) = tokio::join!(call(&workers, tool, Value::Null), serving);
    let fault = result.unwrap_err();
    assert_eq!(fault.ran, Ran::Maybe);
    // The worker goes on, if it is let.
    if workers.connected() > 0 && tool == "add" {
        // It is told that the call is over.
        worker.cancelled().await;
        let serving = async {
            let call = worker.call().await;
            worker.answer(&call, whole(1)).await;
        };
        let (result, ()) = tokio::join!(call(&workers, tool, Value::Null), serving);
        assert_eq!(result, Ok(Value::Integer(1)));
    }
    (fault.code, fault.message)
}

#[tokio::test]
async fn c04_a_result_that_is_too_deep_ends_its_call_and_a_too_large_one_the_stream() {
    let (code, told) = fault("add", |call| vec![result(&call.call_id, Some(deep(33)))]).await;
    assert_eq!(code, CallFaultCode::Broken);
    assert!(told.contains("32 levels"), "{told}");
    let (code, _) = fault("add", |call| {
        vec![result(&call.call_id, Some(text(1 << 20)))]
    })
    .await;
    assert_eq!(code, CallFaultCode::Unavailable);
    // Deeper than any parser goes.
    let (code, _) = fault("add", |call| vec![result(&call.call_id, Some(deep(90)))]).await;
    assert_eq!(code, CallFaultCode::Unavailable);
}

#[tokio::test]
async fn an_event_of_more_than_a_mebibyte_is_told_by_its_limit() {
    let app = started().await;
    let worker = Worker::with(&app, &["add"]).await;
    worker.say(result("x", Some(text(1 << 20)))).await;
    let status = worker.ended().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("1 MiB"), "{status}");
}

#[tokio::test]
async fn c02_chunks_in_another_order_end_the_call() {
    use proactive::transport::proto::workers::CallChunk;
    let chunk = |call: &ToolCall, sequence, value| {
        Event::Chunk(CallChunk {
            call_id: call.call_id.clone(),
            sequence,
            value: Some(value),
        })
    };
    let (code, told) = fault("stream_n", |call| {
        vec![chunk(call, 0, whole(0)), chunk(call, 2, whole(2))]
    })
    .await;
    assert_eq!(code, CallFaultCode::Broken);
    assert!(told.contains("out of order"), "{told}");
    let (code, told) = fault("stream_n", |call| vec![chunk(call, 0, text(65 << 10))]).await;
    assert_eq!(code, CallFaultCode::Broken);
    assert!(told.contains("64 KiB"), "{told}");
}

#[tokio::test]
async fn c02_a_worker_that_sends_beyond_its_credit_ends_its_call() {
    let app = started().await;
    let mut worker = Worker::with(&app, &["stream_n"]).await;
    let workers = workers(&app);
    let mut chunks = stream(&workers, "stream_n");
    let call = worker.call().await;
    for sequence in 0..101 {
        worker.chunk(&call, sequence, whole(sequence)).await;
    }
    assert_eq!(worker.cancelled().await, call.call_id);
    for _ in 0..100 {
        chunks.next().await.unwrap().unwrap();
    }
    let fault = chunks.next().await.unwrap().unwrap_err();
    assert_eq!(fault.code, CallFaultCode::Broken);
}

#[tokio::test]
async fn a_failure_with_the_code_of_success_is_none() {
    let (code, told) = fault("add", |call| {
        vec![Event::Failure(CallFailure {
            call_id: call.call_id.clone(),
            ..CallFailure::default()
        })]
    })
    .await;
    assert_eq!(code, CallFaultCode::Broken);
    assert!(told.contains("code of success"), "{told}");
}

#[tokio::test]
async fn a_worker_that_answers_calls_that_it_was_not_given_is_sent_away_and_others_go_on() {
    let app = started().await;
    let liar = Worker::with(&app, &["add"]).await;
    let mut honest = Worker::with(&app, &["sub"]).await;
    let workers = workers(&app);
    let serving = async {
        let call = honest.call().await;
        for _ in 0..8 {
            liar.say(result(&call.call_id, Some(whole(666)))).await;
        }
        assert_eq!(liar.ended().await.code(), Code::FailedPrecondition);
        honest.answer(&call, whole(1)).await;
    };
    let (result, ()) = tokio::join!(call(&workers, "sub", Value::Null), serving);
    assert_eq!(result, Ok(Value::Integer(1)));
    assert!(!workers.has("add"));
}

#[tokio::test]
async fn a_hello_that_cannot_be_used_is_refused_by_its_field() {
    let app = started().await;
    let refused = async |hello| {
        let started = Worker::start(&app, hello).await;
        started.map(|_| ()).unwrap_err()
    };
    let status = refused(hello(&["add", "add"], 8)).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("\"add\" twice"), "{status}");
    let status = refused(hello(&["add"], 1_000)).await;
    assert!(status.message().contains("calls_at_once"), "{status}");
    let _first = Worker::with(&app, &["add"]).await;
    let mut other = hello(&["add"], 8);
    other.tools[0].parameters_json = r#"{"type":"object"}"#.to_owned();
    let status = refused(other).await;
    assert!(status.message().contains("alike"), "{status}");
    // The first event is a hello.
    let (say, mut told) = open(&app, SERVICE_TOKEN).await.unwrap();
    let event = Some(result("x", None));
    say.send(WorkerEvent { event }).await.unwrap();
    let status = told.message().await.unwrap_err();
    assert!(status.message().contains("WorkerHello"), "{status}");
}

#[tokio::test]
async fn a_worker_too_many_is_refused() {
    let app = started().await;
    let most = workers(&app).options().at_most;
    let mut all = Vec::new();
    for _ in 0..most {
        all.push(open(&app, SERVICE_TOKEN).await.unwrap());
    }
    let refused = open(&app, SERVICE_TOKEN).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}
