//! A server that follows a script, over real gRPC.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};
use tower::service_fn;

use crate::transport::proto::proactive_ai_server::{ProactiveAi, ProactiveAiServer};
use crate::transport::proto::{
    AnalysisOutcome, ClientEvent, ClientHello, FrameEvent, OutcomeKind, Resume, Resumed,
    ServerEvent, SessionReady, ToolResult, client_event, server_event,
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

    /// The next frame, if one comes soon; only where time is paused.
    pub(crate) async fn another(&mut self) -> Option<FrameEvent> {
        let soon = Duration::from_millis(100);
        match timeout(soon, self.events.message()).await {
            Ok(Ok(Some(ClientEvent {
                event: Some(client_event::Event::FrameEvent(frame)),
            }))) => Some(frame),
            _ => None,
        }
    }

    pub(crate) async fn hello(&mut self) -> ClientHello {
        match self.next().await {
            client_event::Event::ClientHello(hello) => hello,
            other => panic!("{other:?}"),
        }
    }

    /// The next frame; heartbeats may come before it.
    pub(crate) async fn frame(&mut self) -> FrameEvent {
        loop {
            match self.next().await {
                client_event::Event::FrameEvent(frame) => return frame,
                client_event::Event::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn result(&mut self) -> ToolResult {
        match self.next().await {
            client_event::Event::ToolResult(result) => result,
            other => panic!("{other:?}"),
        }
    }

    /// The number of the next confirmation; heartbeats may come before it.
    pub(crate) async fn ack(&mut self) -> i64 {
        loop {
            match self.next().await {
                client_event::Event::Ack(ack) => return ack.answer_number,
                client_event::Event::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn say(&self, event: server_event::Event) {
        let event = ServerEvent { event: Some(event) };
        self.answers.send(Ok(event)).await.unwrap();
    }

    /// Begins a session that can be resumed, or takes one up again, and says what the
    /// desktop asked for.
    pub(crate) async fn resumable(&mut self, id: &str, resumed: Option<Resumed>) -> Resume {
        let hello = self.hello().await;
        self.say(server_event::Event::SessionReady(SessionReady {
            session_id: id.into(),
            protocol_version: "1.1".into(),
            resume_secret: format!("s3cret of {id}"),
            resume_within_ms: 30_000,
            resumed,
            ..SessionReady::default()
        }))
        .await;
        hello.resume.unwrap()
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
    playing: Arc<Mutex<JoinSet<()>>>,
}

impl Fake {
    fn new(scripts: impl IntoIterator<Item = Script>) -> Self {
        Self {
            scripts: Mutex::new(scripts.into_iter().collect()),
            playing: Arc::default(),
        }
    }
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
        let script = self.scripts.lock().unwrap().pop_front();
        // A desktop that reconnects without end ends over this.
        let script = script.ok_or_else(|| Status::failed_precondition("The script is over."))?;
        let peer = Peer {
            header,
            events: request.into_inner(),
            answers,
        };
        self.playing.lock().unwrap().spawn(script(peer));
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let fake = Fake::new([boxed(script)]);
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

/// A script among others.
pub(crate) fn boxed<F>(script: impl FnOnce(Peer) -> F + Send + 'static) -> Script
where
    F: Future<Output = ()> + Send + 'static,
{
    Box::new(|peer| Box::pin(script(peer)))
}

/// A server without a network, so that tests can pause the time.
pub(crate) struct InMemory {
    connections: mpsc::Sender<DuplexStream>,
    playing: Arc<Mutex<JoinSet<()>>>,
    _server: JoinSet<()>,
}

impl InMemory {
    /// Starts one that plays a script to each stream, in this order.
    pub(crate) fn serve(scripts: impl IntoIterator<Item = Script>) -> Self {
        let (connections, accepted) = mpsc::channel(1);
        let fake = Fake::new(scripts);
        let playing = fake.playing.clone();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let router = Server::builder().add_service(ProactiveAiServer::new(fake));
            let accepted = ReceiverStream::new(accepted).map(Ok::<_, io::Error>);
            router.serve_with_incoming(accepted).await.unwrap();
        });
        Self {
            connections,
            playing,
            _server: server,
        }
    }

    /// Connects to it.
    pub(crate) async fn dial(&self) -> Channel {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        self.connections.send(theirs).await.unwrap();
        let mut ours = Some(TokioIo::new(ours));
        let connect = service_fn(move |_| std::future::ready(ours.take().ok_or(Gone)));
        let endpoint = Endpoint::from_static("http://in.memory");
        endpoint.connect_with_connector(connect).await.unwrap()
    }

    /// Waits for the scripts' ends; a panic in one of them is passed on.
    pub(crate) async fn finish(self) {
        let playing = std::mem::take(&mut *self.playing.lock().unwrap());
        playing.join_all().await;
    }
}

/// A connection in memory is not opened twice.
#[derive(Debug, thiserror::Error)]
#[error("the connection is gone")]
struct Gone;

/// A decision without anything else.
pub(crate) fn outcome(frame_id: &str, kind: OutcomeKind) -> AnalysisOutcome {
    AnalysisOutcome {
        frame_id: frame_id.into(),
        outcome_kind: kind as i32,
        ..AnalysisOutcome::default()
    }
}
