//! A worker in this process that answers at once: what it returns is what it was given.

use proactive::transport::proto::workers::tool_workers_client::ToolWorkersClient;
use proactive::transport::proto::workers::value::Kind;
use proactive::transport::proto::workers::worker_command::Command;
use proactive::transport::proto::workers::worker_event::Event;
use proactive::transport::proto::workers::{
    CallResult, ToolCall, ToolDeclaration, Value, WorkerCommand, WorkerEvent, WorkerHeartbeat,
    WorkerHello,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Request, Streaming};

use super::Result;

pub(crate) const TOKEN: &str = "a-service-token-of-this-bench-only";
pub(crate) const TOOL: &str = "find_documents";
/// Answers that its connection has not taken.
const UNSENT: usize = 64;

pub(crate) fn answer(call: ToolCall) -> CallResult {
    let kind = call.arguments.map(Kind::Object);
    CallResult {
        call_id: call.call_id,
        value: Some(Value { kind }),
        took_us: 1,
    }
}

/// Connects a worker that executes so many calls at once, and has been let in.
pub(crate) async fn start(url: String, at_once: usize, tasks: &TaskTracker) -> Result<()> {
    let channel = Endpoint::from_shared(url)?.tcp_nodelay(true);
    let mut client = ToolWorkersClient::new(channel.connect().await?);
    let (say, said) = mpsc::channel(UNSENT);
    let hello = WorkerHello {
        name: "bench".to_owned(),
        version: "1".to_owned(),
        tools: vec![ToolDeclaration {
            name: TOOL.to_owned(),
            description: "Finds documents.".to_owned(),
            parameters_json: r#"{"type":"object"}"#.to_owned(),
            streaming: false,
            changes: false,
        }],
        calls_at_once: i32::try_from(at_once)?,
    };
    say.send(event(Event::Hello(hello))).await?;
    let mut request = Request::new(ReceiverStream::new(said));
    let bearer = MetadataValue::try_from(format!("Bearer {TOKEN}"))?;
    request.metadata_mut().insert("authorization", bearer);
    let mut told = client.serve(request).await?.into_inner();
    match told.message().await?.and_then(|it| it.command) {
        Some(Command::Ready(_)) => {}
        other => return Err(format!("the worker was not let in: {other:?}").into()),
    }
    tasks.spawn(work(told, say));
    Ok(())
}

async fn work(mut told: Streaming<WorkerCommand>, say: mpsc::Sender<WorkerEvent>) {
    while let Ok(Some(WorkerCommand { command })) = told.message().await {
        let said = match command {
            Some(Command::Execute(it)) => match it.call {
                Some(call) => Event::Result(answer(call)),
                None => return,
            },
            Some(Command::Heartbeat(_)) => Event::Heartbeat(WorkerHeartbeat {}),
            // Nothing else is asked for; without it the bench fails.
            _ => return,
        };
        if say.send(event(said)).await.is_err() {
            return;
        }
    }
}

fn event(event: Event) -> WorkerEvent {
    WorkerEvent { event: Some(event) }
}
