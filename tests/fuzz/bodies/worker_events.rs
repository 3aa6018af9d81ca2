//! What a worker says, into its stream and the table of calls. The first byte says how:
//! bit 0, whether a hello that is in order goes first; bit 1, whether the worker takes
//! what it is told. The pieces of the rest are an event each. A call_id that is a digit
//! means the call that the worker was given so many calls after the first one.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use proactive::auth::ServiceTokens;
use proactive::domain::{CallFault, SessionId, Value};
use proactive::telemetry::Metrics;
use proactive::tools::workers::{Call, CallContext, Options, Workers};
use proactive::tools::{Catalogue, Served};
use proactive::transport::grpc::BehindWorkers;
use proactive::transport::proto::workers::worker_command::Command;
use proactive::transport::proto::workers::worker_event::Event;
use proactive::transport::proto::workers::{
    CallChunk, CallFailure, CallProgress, CallResult, ToolDeclaration, VariableRequest,
    WorkerCommand, WorkerEvent, WorkerHello,
};
use prost::Message;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::house::world;
use super::pieces;

const EVENTS: usize = 24;
/// What is told and not taken.
const UNREAD: usize = 8;
const A_LITTLE: Duration = Duration::from_millis(10);
/// For each call.
const DEADLINE: Duration = Duration::from_secs(20);
/// Longer than anything may take. Costs nothing: the clock is paused.
const PATIENCE: Duration = Duration::from_secs(3_600);

pub(crate) fn run(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else {
        return;
    };
    let said = pieces(rest, EVENTS);
    runtime().block_on(async {
        let played = timeout(PATIENCE, play(*how, &said)).await;
        played.expect("everything ends");
    });
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    let builder = builder.enable_time().start_paused(true);
    builder
        .build()
        .expect("a runtime without I/O needs nothing")
}

async fn play(how: u8, said: &[&[u8]]) {
    let workers = Workers::new(Options::default(), world(), Metrics::new());
    let (say, events) = mpsc::unbounded_channel();
    let (tell, told) = mpsc::channel(UNREAD);
    let behind = behind(&workers);
    let serving = behind.serve(UnboundedReceiverStream::new(events), tell);

    let given = std::sync::Mutex::new(Vec::new());
    let listening = async {
        let mut told = told;
        if how & 2 == 0 {
            // It stays open, and is not read.
            say.closed().await;
        }
        while let Some(command) = told.recv().await {
            given.lock().expect("unpoisoned").extend(call_of(command));
        }
    };
    let saying = async {
        if how & 1 == 1 {
            let event = Some(Event::Hello(hello()));
            let _ = say.send(Ok(WorkerEvent { event }));
        }
        for (at, bytes) in said.iter().enumerate() {
            // Its own hello comes before the calls, everything else after them.
            if at > 0 || how & 1 == 1 {
                sleep(A_LITTLE).await;
            }
            let event = WorkerEvent::decode(*bytes);
            let event = event.map_err(|_| Status::internal("no event"));
            let event = event.map(|event| about(event, &given.lock().expect("unpoisoned")));
            let _ = say.send(event);
        }
        sleep(A_LITTLE).await;
        // It closes its side.
        let _ = say.send(Err(Status::cancelled("over")));
    };
    let calling = async {
        sleep(A_LITTLE / 2).await;
        let one = |tool| one(&workers, tool);
        let all = join_all([
            one("look_up"),
            one("look_up"),
            one("stream_up"),
            one("stream_up"),
        ]);
        for fault in all.await.into_iter().flatten() {
            assert!(fault.message.chars().count() <= 400, "{}", fault.message);
        }
    };
    let (status, (), (), ()) = tokio::join!(serving, listening, saying, calling);
    if let Some(status) = status {
        assert_ne!(status.code(), tonic::Code::Internal, "{status:?}");
    }
    assert_eq!(workers.connected(), 0, "a worker is left behind");
}

fn behind(workers: &Workers) -> BehindWorkers {
    let served = Served::new(Catalogue::builtin(), workers.clone());
    BehindWorkers {
        tokens: ServiceTokens::default(),
        workers: workers.clone(),
        accepts: Arc::new(move |declared| served.accepts(declared)),
        world: world(),
        stopping: CancellationToken::new(),
        leaving: CancellationToken::new(),
        running: TaskTracker::new(),
    }
}

/// Makes a call, and takes what comes of it to its end.
async fn one(workers: &Workers, tool: &str) -> Option<CallFault> {
    let deadline = Instant::now() + DEADLINE;
    let call = Call {
        tool: tool.to_owned(),
        arguments: [("n".to_owned(), Value::Integer(1))].into(),
        context: CallContext {
            session: SessionId::new("a-session"),
            locale: String::new(),
            time_zone: String::new(),
            utc_offset: None,
            now: Timestamp::UNIX_EPOCH,
        },
        trace: None,
    };
    if tool == "look_up" {
        return workers
            .call(call, deadline, deadline + DEADLINE)
            .await
            .err();
    }
    let mut chunks = match workers.stream(call, deadline, deadline + DEADLINE) {
        Ok(chunks) => chunks,
        Err(fault) => return Some(fault),
    };
    while let Some(chunk) = chunks.next().await {
        if let Err(fault) = chunk {
            return Some(fault);
        }
    }
    None
}

fn call_of(command: WorkerCommand) -> Option<String> {
    let call = match command.command {
        Some(Command::Execute(it)) => it.call,
        Some(Command::ExecuteStreaming(it)) => it.call,
        _ => None,
    };
    call.map(|call| call.call_id)
}

/// The event, about a call that there is.
fn about(mut event: WorkerEvent, given: &[String]) -> WorkerEvent {
    let id = match &mut event.event {
        Some(Event::Result(CallResult { call_id, .. }))
        | Some(Event::Chunk(CallChunk { call_id, .. }))
        | Some(Event::Failure(CallFailure { call_id, .. }))
        | Some(Event::Progress(CallProgress { call_id, .. }))
        | Some(Event::Variable(VariableRequest { call_id, .. })) => call_id,
        Some(Event::Hello(_) | Event::Heartbeat(_) | Event::Leaving(_)) | None => return event,
    };
    let place = id.parse::<u8>().ok().map(usize::from);
    if let Some(known) = place.and_then(|place| given.get(place)) {
        known.clone_into(id);
    }
    event
}

fn hello() -> WorkerHello {
    let tool = |name: &str| ToolDeclaration {
        name: name.to_owned(),
        description: "Looks up n.".to_owned(),
        parameters_json: r#"{"type":"object"}"#.to_owned(),
        streaming: name.starts_with("stream"),
        changes: false,
    };
    WorkerHello {
        name: "fuzz".to_owned(),
        version: "1".to_owned(),
        tools: ["look_up", "stream_up"].map(tool).into(),
        calls_at_once: 8,
    }
}
