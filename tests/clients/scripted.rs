//! A server that follows a script.

use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::proactive_ai_server::{ProactiveAi, ProactiveAiServer};
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{
    AnalysisOutcome, ClientEvent, ClientHello, OutcomeKind, ServerEvent, SessionReady,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::support::PATIENCE;

/// The server's side of one stream.
pub(crate) struct Peer {
    said: Streaming<ClientEvent>,
    answers: mpsc::Sender<Result<ServerEvent, Status>>,
}

impl Peer {
    /// What the client says next; `None` at its end.
    pub(crate) async fn next(&mut self) -> Option<Said> {
        let said = timeout(3 * PATIENCE, self.said.message()).await.unwrap();
        said.ok().flatten().map(|event| event.event.unwrap())
    }

    /// Answers a hello.
    pub(crate) async fn greet(&mut self, ready: SessionReady) -> ClientHello {
        let Some(Said::ClientHello(hello)) = self.next().await else {
            panic!("a hello comes first");
        };
        self.say(Event::SessionReady(ready)).await;
        hello
    }

    /// The next frame's id.
    pub(crate) async fn frame(&mut self) -> String {
        match self.next().await {
            Some(Said::FrameEvent(frame)) => frame.screenshot_id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn say(&self, event: Event) {
        let event = ServerEvent { event: Some(event) };
        self.answers.send(Ok(event)).await.unwrap();
    }

    pub(crate) async fn decide(&self, frame: &str, answer_number: i64) {
        self.say(Event::AnalysisOutcome(AnalysisOutcome {
            outcome_kind: OutcomeKind::NoTaskFound.into(),
            frame_id: frame.to_owned(),
            answer_number,
            ..AnalysisOutcome::default()
        }))
        .await;
    }

    pub(crate) async fn end(&self, status: Status) {
        self.answers.send(Err(status)).await.unwrap();
    }

    pub(crate) async fn until_closed(&mut self) {
        while self.next().await.is_some() {}
    }
}

/// The streams that clients open.
pub(crate) struct Streams(mpsc::Receiver<Peer>);

impl Streams {
    pub(crate) async fn next(&mut self) -> Peer {
        let next = timeout(3 * PATIENCE, self.0.recv());
        next.await.unwrap().unwrap()
    }
}

/// Hands each stream to the script.
#[derive(Clone)]
struct Door(mpsc::Sender<Peer>);

#[tonic::async_trait]
impl ProactiveAi for Door {
    type SessionStream = ReceiverStream<Result<ServerEvent, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<ClientEvent>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (answers, told) = mpsc::channel(4);
        let said = request.into_inner();
        let gone = |_| Status::unavailable("The script is over.");
        self.0.send(Peer { said, answers }).await.map_err(gone)?;
        Ok(Response::new(ReceiverStream::new(told)))
    }
}

/// A server at work.
pub(crate) struct Scripted {
    pub(crate) address: String,
    playing: JoinSet<()>,
    serving: JoinSet<Result<(), tonic::transport::Error>>,
}

impl Scripted {
    pub(crate) async fn start<F>(script: impl FnOnce(Streams) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (door, streams) = mpsc::channel(4);
        let mut playing = JoinSet::new();
        playing.spawn(script(Streams(streams)));
        let server = Server::builder().add_service(ProactiveAiServer::new(Door(door)));
        let mut serving = JoinSet::new();
        serving.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self {
            address,
            playing,
            serving,
        }
    }

    /// Waits for the script's end; a panic in it is passed on.
    pub(crate) async fn finish(self) {
        self.playing.join_all().await;
        drop(self.serving);
    }
}
