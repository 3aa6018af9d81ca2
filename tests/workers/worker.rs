//! A worker that does what a test wants of it.

use proactive::transport::proto::workers::tool_workers_client::ToolWorkersClient;
use proactive::transport::proto::workers::value::Kind;
use proactive::transport::proto::workers::worker_command::Command;
use proactive::transport::proto::workers::worker_event::Event;
use proactive::transport::proto::workers::{
    CallChunk, CallFailure, CallResult, ToolCall, ToolDeclaration, Value, WorkerCommand,
    WorkerEvent, WorkerHello, WorkerReady,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Request, Status, Streaming};

use crate::support::outside::SERVICE_TOKEN;
use crate::support::{App, PATIENCE};

/// One stream of a worker. Dropped, it is as if its process were killed.
pub(crate) struct Worker {
    pub(crate) say: mpsc::Sender<WorkerEvent>,
    told: Streaming<WorkerCommand>,
    pub(crate) ready: WorkerReady,
}

pub(crate) fn tool(name: &str) -> ToolDeclaration {
    ToolDeclaration {
        name: name.to_owned(),
        description: "Does something with n.".to_owned(),
        parameters_json: r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#.to_owned(),
        streaming: name.starts_with("stream"),
        changes: false,
    }
}

pub(crate) fn hello(tools: &[&str], calls_at_once: i32) -> WorkerHello {
    WorkerHello {
        name: "test".to_owned(),
        version: "1".to_owned(),
        tools: tools.iter().map(|name| tool(name)).collect(),
        calls_at_once,
    }
}

pub(crate) fn whole(number: i64) -> Value {
    let kind = Some(Kind::Integer(number));
    Value { kind }
}

pub(crate) fn number(value: &Value) -> i64 {
    match value.kind {
        Some(Kind::Integer(number)) => number,
        ref other => panic!("no whole number: {other:?}"),
    }
}

/// The call's argument.
pub(crate) fn n(call: &ToolCall) -> i64 {
    number(&call.arguments.as_ref().unwrap().fields["n"])
}

/// Opens a stream with this token, which is another connection each time.
pub(crate) async fn open(
    app: &App,
    token: &str,
) -> Result<(mpsc::Sender<WorkerEvent>, Streaming<WorkerCommand>), Status> {
    let channel = app.channel().await;
    let (say, said) = mpsc::channel(64);
    let mut request = Request::new(ReceiverStream::new(said));
    let bearer: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    let mut client = ToolWorkersClient::new(channel);
    let told = timeout(PATIENCE, client.serve(request)).await.unwrap()?;
    Ok((say, told.into_inner()))
}

impl Worker {
    pub(crate) async fn start(app: &App, hello: WorkerHello) -> Result<Self, Status> {
        let (say, mut told) = open(app, SERVICE_TOKEN).await?;
        let event = Some(Event::Hello(hello));
        say.send(WorkerEvent { event }).await.unwrap();
        let first = timeout(PATIENCE, told.message()).await.unwrap()?;
        match first.and_then(|it| it.command) {
            Some(Command::Ready(ready)) => Ok(Self { say, told, ready }),
            other => panic!("not let in: {other:?}"),
        }
    }

    /// With these tools, and room for eight calls.
    pub(crate) async fn with(app: &App, tools: &[&str]) -> Self {
        Self::start(app, hello(tools, 8)).await.unwrap()
    }

    pub(crate) async fn say(&self, event: Event) {
        let event = Some(event);
        // A stream that the server has ended takes nothing.
        let _ = self.say.send(WorkerEvent { event }).await;
    }

    /// The next command, heartbeats apart; or how the stream ended.
    pub(crate) async fn next(&mut self) -> Result<Option<Command>, Status> {
        loop {
            let told = timeout(PATIENCE, self.told.message()).await.unwrap()?;
            match told.map(|it| it.command.unwrap()) {
                Some(Command::Heartbeat(_)) => {}
                told => return Ok(told),
            }
        }
    }

    /// The next call.
    pub(crate) async fn call(&mut self) -> ToolCall {
        match self.next().await.unwrap() {
            Some(Command::Execute(it)) => it.call.unwrap(),
            Some(Command::ExecuteStreaming(it)) => it.call.unwrap(),
            other => panic!("no call: {other:?}"),
        }
    }

    /// Which call is given up next.
    pub(crate) async fn cancelled(&mut self) -> String {
        match self.next().await.unwrap() {
            Some(Command::Cancel(it)) => it.call_id,
            other => panic!("no cancel: {other:?}"),
        }
    }

    /// How the stream ends, whatever is said before.
    pub(crate) async fn ended(mut self) -> Status {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok(""),
                Err(status) => return status,
            }
        }
    }

    pub(crate) async fn answer(&self, call: &ToolCall, value: Value) {
        self.say(result(&call.call_id, Some(value))).await;
    }

    pub(crate) async fn chunk(&self, call: &ToolCall, sequence: i64, value: Value) {
        self.say(Event::Chunk(CallChunk {
            call_id: call.call_id.clone(),
            sequence,
            value: Some(value),
        }))
        .await;
    }

    pub(crate) async fn fail(&self, call: &ToolCall, code: i32, never_ran: bool) {
        self.say(Event::Failure(CallFailure {
            call_id: call.call_id.clone(),
            code,
            message: "It rains.".to_owned(),
            never_ran,
        }))
        .await;
    }
}

pub(crate) fn result(call_id: &str, value: Option<Value>) -> Event {
    Event::Result(CallResult {
        call_id: call_id.to_owned(),
        value,
        took_us: 1,
    })
}
