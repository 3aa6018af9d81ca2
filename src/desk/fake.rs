//! A server that follows a script, over real gRPC.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Mutex;

use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::transport::proto::proactive_ai_server::{ProactiveAi, ProactiveAiServer};
use crate::transport::proto::{
    AnalysisOutcome, ClientEvent, ClientHello, FrameEvent, OutcomeKind, ServerEvent, SessionReady,
    ToolResult, client_event, server_event,
};

/// The server's side of one stream, as a script handles it.
pub(crate) struct Peer {
    pub(crate) header: String,
    pub(crate) events: Streaming<ClientEvent>,
    pub(crate) answers: mpsc::Sender<Result<ServerEvent, Status>>,
}

impl Peer {
    pub(crate) async fn next(&mut self) -> client_event::Event {
        self.events.message().await.unwrap().unwrap().event.unwrap()
    }

    pub(crate) async fn hello(&mut self) -> ClientHello {
        match self.next().await {
            client_event::Event::ClientHello(hello) => hello,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn frame(&mut self) -> FrameEvent {
        match self.next().await {
            client_event::Event::FrameEvent(frame) => frame,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn result(&mut self) -> ToolResult {
        match self.next().await {
            client_event::Event::ToolResult(result) => result,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn say(&self, event: server_event::Event) {
        let event = ServerEvent { event: Some(event) };
        self.answers.send(Ok(event)).await.unwrap();
    }

    pub(crate) async fn ready(&mut self, heartbeat_interval_ms: i64) {
        self.hello().await;
        self.say(server_event::Event::SessionReady(SessionReady {
            session_id: "s".into(),
            protocol_version: "1.1".into(),
            heartbeat_interval_ms,
            ..SessionReady::default()
        }))
        .await;
    }
}

pub(crate) type Script = Box<dyn FnOnce(Peer) -> BoxFuture<'static, ()> + Send>;

/// Plays its scripts, one to each stream that opens.
struct Fake {
    scripts: Mutex<VecDeque<Script>>,
    tasks: Mutex<JoinSet<()>>,
}

#[tonic::async_trait]
impl ProactiveAi for Fake {
    type SessionStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<ServerEvent, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<ClientEvent>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let header = request
            .metadata()
            .get("authorization")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if header == "Bearer wrong" {
            return Err(Status::unauthenticated("The token is not valid."));
        }
        let (answers, stream) = mpsc::channel(8);
        let script = self.scripts.lock().unwrap().pop_front().unwrap();
        let peer = Peer {
            header,
            events: request.into_inner(),
            answers,
        };
        self.tasks.lock().unwrap().spawn(script(peer));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// A server at work; it ends with this.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    _server: JoinSet<()>,
}

/// Starts a server that plays a script.
pub(crate) async fn serve<F>(script: impl FnOnce(Peer) -> F + Send + 'static) -> Running
where
    F: Future<Output = ()> + Send + 'static,
{
    serve_each([boxed(script)]).await
}

/// A script among others.
pub(crate) fn boxed<F>(script: impl FnOnce(Peer) -> F + Send + 'static) -> Script
where
    F: Future<Output = ()> + Send + 'static,
{
    Box::new(|peer| Box::pin(script(peer)))
}

/// Starts a server that plays a script to each stream, in this order.
pub(crate) async fn serve_each(scripts: impl IntoIterator<Item = Script>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let fake = Fake {
        scripts: Mutex::new(scripts.into_iter().collect()),
        tasks: Mutex::default(),
    };
    let mut server = JoinSet::new();
    server.spawn(async move {
        let router = Server::builder().add_service(ProactiveAiServer::new(fake));
        router
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await
            .unwrap();
    });
    Running {
        address,
        _server: server,
    }
}

/// A decision without anything else.
pub(crate) fn outcome(frame_id: &str, kind: OutcomeKind) -> AnalysisOutcome {
    AnalysisOutcome {
        frame_id: frame_id.into(),
        outcome_kind: kind as i32,
        ..AnalysisOutcome::default()
    }
}
