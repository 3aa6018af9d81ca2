//! A real server in process, and a desktop to talk to it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "shared by test binaries that each use a part of it"
)]

pub mod door;
pub mod google;
pub mod http;
pub mod json;
pub mod json_log;
pub mod outside;
pub mod tools;
pub mod websocket;

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proactive::config::{Config, Settings};
use proactive::embedded::Embedded;
use proactive::stand_in::{self, Move, StandIn};
use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::proactive_ai_client::ProactiveAiClient;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{
    AnalysisOutcome, ClientEvent, ClientHello, FrameEvent, SearchResult, SearchResults,
    ServerError, SessionContext, SessionReady, ToolCallRequest, ToolResult,
};
use proactive::world::World;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

pub use door::Door;
use door::Wire;
use websocket::Socket;

/// Nothing here takes this long; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Whose desktop it is, where nothing else is said.
pub const USER: &str = "test-user-0123456789";
pub const MODEL: &str = "gemini-3.5-flash-lite";

/// As the Firebase Auth emulator makes them, for this project.
pub fn unsigned_token(project: &str) -> String {
    let now = World::real().now().as_second();
    let header = json!({"alg": "none", "typ": "JWT"});
    let claims = json!({
        "iss": format!("https://securetoken.google.com/{project}"),
        "aud": project,
        "sub": "user-of-a-test",
        "iat": now,
        "auth_time": now,
        "exp": now + 3_600,
    });
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{header}.{claims}.")
}

/// The smallest bytes that pass for a JPEG.
pub fn jpeg(size: usize) -> Vec<u8> {
    let mut bytes = vec![0x5A; size.max(6)];
    bytes[..4].copy_from_slice(&[0xFF, 0xD8, 0xFF, 0xE0]);
    let end = bytes.len() - 2;
    bytes[end..].copy_from_slice(&[0xFF, 0xD9]);
    bytes
}

/// Describes a server to be started.
pub struct TestApp {
    settings: Settings,
    options: stand_in::Options,
    tweak: Box<dyn FnOnce(&mut Config)>,
    world: World,
    door: Door,
}

/// A server that runs, and the model behind it.
pub struct App {
    /// Which way desks come in.
    pub door: Door,
    pub service: Embedded,
    pub model: StandIn,
}

impl TestApp {
    pub fn new() -> Self {
        let options = stand_in::Options {
            record: true,
            ..stand_in::Options::default()
        };
        Self {
            settings: Settings::defaults(),
            options,
            tweak: Box::new(|_| ()),
            world: World::real(),
            door: Door::Grpc,
        }
    }

    /// One whose desks come in through this door.
    pub fn at(door: Door) -> Self {
        Self {
            door,
            ..Self::new()
        }
    }

    /// Gives it another clock and other chance.
    pub fn world(mut self, world: World) -> Self {
        self.world = world;
        self
    }

    /// Changes settings as an operator would.
    pub fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Changes the stand-in.
    pub fn model(mut self, change: impl FnOnce(&mut stand_in::Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// Changes what no setting reaches.
    pub fn tweak(mut self, change: impl FnOnce(&mut Config) + 'static) -> Self {
        self.tweak = Box::new(change);
        self
    }

    pub async fn start(self) -> App {
        let mut config = self.settings.embedded().check().unwrap();
        (self.tweak)(&mut config);
        let model = StandIn::new(self.options, self.world.clone());
        let service = Embedded::start(config, Some(model.clone()), self.world)
            .await
            .unwrap();
        timeout(PATIENCE, service.ready()).await.unwrap();
        let door = self.door;
        App {
            door,
            service,
            model,
        }
    }
}

impl App {
    /// What the model will do, one move a request.
    pub fn script(&self, moves: impl IntoIterator<Item = Move>) -> &Self {
        self.model.script(moves);
        self
    }

    pub async fn channel(&self) -> Channel {
        connect(&format!("http://{}", self.service.grpc_addr())).await
    }

    /// A stream of this user that has said nothing yet.
    pub async fn desk(&self) -> Desk {
        let token = self.service.token(USER);
        self.open(&token).await.unwrap()
    }

    /// Opens a stream with this token.
    pub async fn open(&self, token: &str) -> Result<Desk, Status> {
        let http = self.service.server.http_addr();
        open(self.door, self.channel().await, http, token).await
    }

    /// A client that may open a stream when nothing is left of this but its address.
    pub async fn late(&self) -> Late {
        Late {
            channel: self.channel().await,
            http: self.service.server.http_addr(),
            token: self.service.token("late"),
            door: self.door,
        }
    }

    /// A stream that has said hello with an empty task list, in protocol 1.1.
    pub async fn greeted(&self) -> Desk {
        let mut desk = self.desk().await;
        desk.hello("1.1").await;
        desk.ready().await;
        desk
    }

    /// The page of metrics.
    pub fn metrics(&self) -> String {
        self.service.server.metrics().render()
    }

    /// Waits until health says SERVING of this service.
    pub async fn serves(&self, service: &str) {
        let mut health = HealthClient::new(self.channel().await);
        let serving = async {
            loop {
                let service = service.to_owned();
                let told = health.check(HealthCheckRequest { service }).await.unwrap();
                if told.into_inner().status() == ServingStatus::Serving {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, serving).await.unwrap();
    }

    /// Stops the server in the background; await it with `join_all`.
    pub fn stopping(self) -> JoinSet<()> {
        let mut stopping = JoinSet::new();
        stopping.spawn(self.service.stop());
        stopping
    }

    /// Waits until a line of the metrics page says this.
    pub async fn metric_becomes(&self, line: &str) {
        let found = async {
            while !self.metrics().lines().any(|said| said == line) {
                tokio::task::yield_now().await;
            }
        };
        let page = || self.metrics();
        assert!(
            timeout(PATIENCE, found).await.is_ok(),
            "{line} is not in\n{}",
            page()
        );
    }
}

/// Somebody who comes late.
pub struct Late {
    channel: Channel,
    http: SocketAddr,
    token: String,
    door: Door,
}

impl Late {
    pub async fn open(self) -> Result<Desk, Status> {
        open(self.door, self.channel, self.http, &self.token).await
    }
}

/// Opens a stream at one of two doors.
async fn open(door: Door, channel: Channel, http: SocketAddr, token: &str) -> Result<Desk, Status> {
    match door {
        Door::Grpc => Desk::open(channel, token).await,
        Door::WebSocket => Desk::over(websocket::request(http, token)).await,
    }
}

pub async fn connect(url: &str) -> Channel {
    Endpoint::from_shared(url.to_owned())
        .unwrap()
        .connect()
        .await
        .unwrap()
}

/// The desktop's side of one stream.
pub struct Desk(Wire);

impl Desk {
    /// Opens a stream with this token.
    pub async fn open(channel: Channel, token: &str) -> Result<Self, Status> {
        let bearer: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
        Self::open_with(channel, |request| {
            request.metadata_mut().insert("authorization", bearer);
        })
        .await
    }

    pub async fn open_with(
        channel: Channel,
        change: impl FnOnce(&mut Request<ReceiverStream<ClientEvent>>),
    ) -> Result<Self, Status> {
        let (say, said) = mpsc::channel(16);
        Self::call(channel, say, said, change).await
    }

    /// Opens a stream that says hello without waiting for anything.
    pub async fn open_greeting(channel: Channel, token: &str) -> Result<Self, Status> {
        let bearer: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
        let (say, said) = mpsc::channel(16);
        let event = Some(hello("1.1"));
        say.send(ClientEvent { event }).await.unwrap();
        Self::call(channel, say, said, |request| {
            request.metadata_mut().insert("authorization", bearer);
        })
        .await
    }

    async fn call(
        channel: Channel,
        say: mpsc::Sender<ClientEvent>,
        said: mpsc::Receiver<ClientEvent>,
        change: impl FnOnce(&mut Request<ReceiverStream<ClientEvent>>),
    ) -> Result<Self, Status> {
        let mut request = Request::new(ReceiverStream::new(said));
        change(&mut request);
        let mut client = ProactiveAiClient::new(channel).max_decoding_message_size(16 << 20);
        let told = timeout(PATIENCE, client.session(request))
            .await
            .unwrap()?
            .into_inner();
        Ok(Self(Wire::Grpc {
            say: Some(say),
            told: Box::new(told),
        }))
    }

    /// Opens a WebSocket.
    pub async fn over(request: ::http::Request<()>) -> Result<Self, Status> {
        Ok(Self::with(Socket::open(request).await?))
    }

    /// Goes on with a WebSocket that is open.
    pub fn with(socket: Socket) -> Self {
        Self(Wire::WebSocket(Box::new(socket)))
    }

    pub async fn say(&self, event: Said) {
        self.0.say(Some(event)).await;
    }

    /// An event that is none.
    pub async fn say_nothing(&self) {
        self.0.say(None).await;
    }

    pub async fn hello(&self, version: &str) {
        self.say(hello(version)).await;
    }

    /// A frame that shows this text.
    pub async fn frame(&self, id: &str, text: &str) {
        self.say(Said::FrameEvent(frame(id, text))).await;
    }

    /// Answers a search.
    pub async fn answer(&self, request: &ToolCallRequest, items: Vec<SearchResult>) {
        self.say(Said::ToolResult(ToolResult {
            request_id: request.request_id.clone(),
            frame_id: request.frame_id.clone(),
            result: Some(SearchResults { items }),
            ..ToolResult::default()
        }))
        .await;
    }

    /// Closes this side: at gRPC's door as grpcurl does at the end of its input, when
    /// answers may still come.
    pub async fn close(&mut self) {
        self.0.close().await;
    }

    /// The next event, or how the stream ended.
    pub async fn next(&mut self) -> Result<Option<Event>, Status> {
        self.0.next().await
    }

    pub async fn event(&mut self) -> Event {
        self.next().await.unwrap().expect("the stream ended")
    }

    pub async fn ready(&mut self) -> SessionReady {
        match self.event().await {
            Event::SessionReady(ready) => ready,
            other => panic!("not SessionReady: {other:?}"),
        }
    }

    pub async fn search(&mut self) -> ToolCallRequest {
        match self.event().await {
            Event::ToolCallRequest(request) => request,
            other => panic!("not ToolCallRequest: {other:?}"),
        }
    }

    pub async fn outcome(&mut self) -> AnalysisOutcome {
        match self.event().await {
            Event::AnalysisOutcome(outcome) => outcome,
            other => panic!("not AnalysisOutcome: {other:?}"),
        }
    }

    pub async fn error(&mut self) -> ServerError {
        match self.event().await {
            Event::ServerError(error) => error,
            other => panic!("not ServerError: {other:?}"),
        }
    }
}

/// A hello with an empty task list.
pub fn hello(version: &str) -> Said {
    Said::ClientHello(ClientHello {
        protocol_version: version.into(),
        context_version: "v1".into(),
        session_context: Some(SessionContext::default()),
        ..ClientHello::default()
    })
}

pub fn frame(id: &str, text: &str) -> FrameEvent {
    FrameEvent {
        screenshot_id: id.into(),
        app_name: "Huddle".into(),
        window_title: "Anna".into(),
        ocr_text: text.into(),
        jpeg_bytes: jpeg(1_000).into(),
        context_version: "v1".into(),
        ..FrameEvent::default()
    }
}
