//! The yardstick: tonic and reqwest as our server uses them, and nothing else.
//! Every event is answered by one: a hello by SessionReady, a frame by a search
//! after the first post, the search's result by an outcome after the second. No
//! token, no log; what is posted was made beforehand and is shared by all.
//!
//! Written as tonic's own examples write such a stream: a task that reads, and a
//! channel for its answers. The lean variant has neither: its answers are the
//! mapped requests, which no server with anything else to do could be.
//!
//! Not with the generated service, which has a codec of ours: with tonic's own.

use std::convert::Infallible;
use std::future::ready;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use proactive::app;
use proactive::session::OUTBOUND_QUEUE;
use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::proactive_ai_server::SERVICE_NAME;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{
    AnalysisOutcome, ClientEvent, ExtractedTask, OutcomeKind, ServerEvent, SessionReady,
    ToolCallArguments, ToolCallRequest, ToolKind,
};
use proactive::transport::{Keepalive, grpc};
use reqwest::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use super::process::{self, LOOPBACK};
use super::{Result, model};

pub(crate) const ROLE: &str = "bare";
type Answers = BoxStream<'static, std::result::Result<ServerEvent, Status>>;

pub(crate) const LEAN_ROLE: &str = "lean";

pub(crate) fn run(role: &str, model_url: &str, first: &str, second: &str) -> Result<ExitCode> {
    let bare = Bare {
        lean: role == LEAN_ROLE,
        tasks: TaskTracker::new(),
        http: app::http_client(model_url)?,
        url: format!("{model_url}{}", model::PATH).into(),
        first: filler(first.parse()?, ""),
        second: filler(second.parse()?, model::MARK),
    };
    let runtime = process::runtime()?;
    let listener = runtime.block_on(TcpListener::bind(LOOPBACK))?;
    let address = listener.local_addr()?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    runtime.spawn(
        grpc::server(Keepalive::USUAL)
            .add_service(bare)
            .serve_with_incoming(incoming),
    );
    process::listens_at(address)
}

fn filler(size: usize, end: &str) -> Bytes {
    let mut filler = vec![b'x'; size.saturating_sub(end.len())];
    filler.extend_from_slice(end.as_bytes());
    filler.into()
}

#[derive(Clone)]
struct Bare {
    lean: bool,
    tasks: TaskTracker,
    http: reqwest::Client,
    url: Arc<str>,
    first: Bytes,
    second: Bytes,
}

impl Bare {
    async fn answer(self, said: ClientEvent) -> std::result::Result<ServerEvent, Status> {
        let event = match said.event {
            Some(Said::ClientHello(hello)) => Event::SessionReady(SessionReady {
                session_id: "00000000-0000-0000-0000-000000000000".to_owned(),
                protocol_version: hello.protocol_version,
                context_version: hello.context_version,
                max_model_iterations: 5,
                supported_tool_kinds: vec![1, 2],
                heartbeat_interval_ms: 20_000,
                ..SessionReady::default()
            }),
            Some(Said::FrameEvent(frame)) => {
                self.post(self.first.clone()).await?;
                Event::ToolCallRequest(ToolCallRequest {
                    request_id: "00000000-0000-0000-0000-000000000000".to_owned(),
                    tool_kind: ToolKind::SearchSimilar.into(),
                    arguments: Some(ToolCallArguments {
                        query: "signed lease for the Berlin office".to_owned(),
                    }),
                    deadline_ms: 10_000,
                    frame_id: frame.screenshot_id,
                    ..ToolCallRequest::default()
                })
            }
            Some(Said::ToolResult(result)) => {
                self.post(self.second.clone()).await?;
                Event::AnalysisOutcome(AnalysisOutcome {
                    outcome_kind: OutcomeKind::ExtractTask.into(),
                    task: Some(ExtractedTask {
                        title: "Send the Berlin office the signed lease".to_owned(),
                        ..ExtractedTask::default()
                    }),
                    frame_id: result.frame_id,
                    ..AnalysisOutcome::default()
                })
            }
            _ => return Err(Status::invalid_argument("not part of the bench")),
        };
        Ok(ServerEvent { event: Some(event) })
    }

    async fn post(&self, body: Bytes) -> std::result::Result<(), Status> {
        let request = self
            .http
            .post(&*self.url)
            .header(CONTENT_TYPE, "application/json");
        let posted = async { request.body(body).send().await?.bytes().await };
        match posted.await {
            Ok(_) => Ok(()),
            Err(_) => Err(Status::unavailable("the model could not be reached")),
        }
    }
}

impl Bare {
    fn session(self, request: Request<Streaming<ClientEvent>>) -> Response<Answers> {
        let mut said = request.into_inner();
        if self.lean {
            let answers = said.and_then(move |said| self.clone().answer(said));
            return Response::new(answers.boxed());
        }
        let (to_client, answers) = mpsc::channel(OUTBOUND_QUEUE);
        self.tasks.clone().spawn(async move {
            while let Ok(Some(said)) = said.message().await {
                let answer = self.clone().answer(said).await;
                if to_client.send(answer).await.is_err() {
                    return;
                }
            }
        });
        Response::new(ReceiverStream::new(answers).boxed())
    }
}

impl NamedService for Bare {
    const NAME: &'static str = SERVICE_NAME;
}

/// Every method is the session.
impl Service<http::Request<Body>> for Bare {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, std::result::Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let bare = self.clone();
        let session = service_fn(move |said| ready(Ok(bare.clone().session(said))));
        let answering = async move {
            let server = Grpc::new(ProstCodec::default());
            let mut server = server.max_decoding_message_size(grpc::MAX_MESSAGE);
            Ok(server.streaming(session, request).await)
        };
        answering.boxed()
    }
}
