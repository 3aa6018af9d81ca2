//! The yardstick: tonic and reqwest as our server uses them, and nothing else.
//! Every event is answered by one: a hello by SessionReady, a frame by a search
//! after the first post, the search's result by an outcome after the second. No
//! task, no channel, no token, no log; what is posted was made beforehand.

use std::process::ExitCode;
use std::sync::Arc;

use axum::body::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use proactive::app;
use proactive::transport::grpc;
use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::proactive_ai_server::{ProactiveAi, ProactiveAiServer};
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{
    AnalysisOutcome, ClientEvent, ExtractedTask, OutcomeKind, ServerEvent, SessionReady,
    ToolCallArguments, ToolCallRequest, ToolKind,
};
use reqwest::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::process::{self, LOOPBACK};
use super::{Result, model};

pub(crate) const ROLE: &str = "bare";

pub(crate) fn run(model_url: &str, first: &str, second: &str) -> Result<ExitCode> {
    let bare = Bare {
        http: app::http_client(model_url)?,
        url: format!("{model_url}{}", model::PATH).into(),
        first: body(first.parse()?, ""),
        second: body(second.parse()?, model::MARK),
    };
    let runtime = process::runtime()?;
    let listener = runtime.block_on(TcpListener::bind(LOOPBACK))?;
    let address = listener.local_addr()?;
    let service = ProactiveAiServer::new(bare).max_decoding_message_size(grpc::MAX_MESSAGE);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    runtime.spawn(
        grpc::server(grpc::KEEPALIVE)
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    process::listens_at(address)
}

fn body(size: usize, end: &str) -> Bytes {
    let mut body = vec![b'x'; size.saturating_sub(end.len())];
    body.extend_from_slice(end.as_bytes());
    body.into()
}

#[derive(Clone)]
struct Bare {
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

#[tonic::async_trait]
impl ProactiveAi for Bare {
    type SessionStream = BoxStream<'static, std::result::Result<ServerEvent, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<ClientEvent>>,
    ) -> std::result::Result<Response<Self::SessionStream>, Status> {
        let bare = self.clone();
        let answers = request
            .into_inner()
            .and_then(move |said| bare.clone().answer(said));
        Ok(Response::new(Box::pin(answers)))
    }
}
