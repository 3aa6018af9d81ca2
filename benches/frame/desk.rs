//! The load: desktops that open sessions, send frames and answer searches.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use futures::future::try_join_all;
use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::proactive_ai_client::ProactiveAiClient;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{
    ClientEvent, ClientHello, FrameEvent, OutcomeKind, ServerEvent, ToolCallRequest, ToolResult,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};

use super::Result;
use super::content::{context, hits, ocr};
use super::process::Process;

/// One desktop with its session.
pub(crate) struct Desk {
    to_server: mpsc::Sender<ClientEvent>,
    from_server: Streaming<ServerEvent>,
    frames: u64,
    /// What its frames have to end with.
    outcome: OutcomeKind,
}

/// Opens so many sessions over so many connections, each of the next token's user;
/// they have said hello and been answered.
pub(crate) async fn open(
    server: &Process,
    tokens: &[String],
    sessions: usize,
    connections: usize,
) -> Result<Vec<Desk>> {
    let endpoint = Endpoint::from_shared(server.url("http"))?.tcp_nodelay(true);
    let mut channels = Vec::with_capacity(connections);
    for _ in 0..connections {
        channels.push(endpoint.connect().await?);
    }
    let mut desks = Vec::with_capacity(sessions);
    let places = channels.iter().cycle().zip(tokens.iter().cycle());
    for (channel, token) in places.take(sessions) {
        desks.push(Desk::open(channel.clone(), token).await?);
    }
    Ok(desks)
}

impl Desk {
    async fn open(channel: Channel, token: &str) -> Result<Self> {
        let (to_server, said) = mpsc::channel(2);
        let hello = ClientHello {
            protocol_version: "1.1".to_owned(),
            context_version: "v1".to_owned(),
            session_context: Some(context()),
            ..ClientHello::default()
        };
        let mut request = Request::new(ReceiverStream::new(said));
        let bearer = MetadataValue::try_from(format!("Bearer {token}"))?;
        request.metadata_mut().insert("authorization", bearer);
        say(&to_server, Said::ClientHello(hello)).await?;
        let opened = ProactiveAiClient::new(channel).session(request).await?;
        let mut desk = Self {
            to_server,
            from_server: opened.into_inner(),
            frames: 0,
            outcome: OutcomeKind::ExtractTask,
        };
        match desk.hear().await? {
            Event::SessionReady(_) => Ok(desk),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) fn expecting(self, outcome: OutcomeKind) -> Self {
        Self { outcome, ..self }
    }

    /// Sends a frame and waits until a search is asked.
    pub(crate) async fn send_frame(&mut self, jpeg: &Bytes) -> Result<ToolCallRequest> {
        self.frames += 1;
        let frame = FrameEvent {
            jpeg_bytes: jpeg.clone(),
            app_name: "Mail".to_owned(),
            window_title: "Inbox - Maria Keller - The Berlin office".to_owned(),
            ocr_text: ocr(),
            screenshot_id: format!("frame-{}", self.frames),
            context_version: "v1".to_owned(),
            ..FrameEvent::default()
        };
        say(&self.to_server, Said::FrameEvent(frame)).await?;
        match self.hear().await? {
            Event::ToolCallRequest(request) => Ok(request),
            other => Err(unexpected(&other)),
        }
    }

    /// Answers the search and waits for the frame's outcome; how long that took.
    pub(crate) async fn answer(&mut self, request: ToolCallRequest) -> Result<Duration> {
        let result = ToolResult {
            request_id: request.request_id,
            result: Some(hits()),
            frame_id: request.frame_id,
            ..ToolResult::default()
        };
        let asked = Instant::now();
        say(&self.to_server, Said::ToolResult(result)).await?;
        match self.hear().await? {
            Event::AnalysisOutcome(outcome) if outcome.outcome_kind() == self.outcome => {
                Ok(asked.elapsed())
            }
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) async fn whole_frame(&mut self, jpeg: &Bytes) -> Result<Duration> {
        let request = self.send_frame(jpeg).await?;
        self.answer(request).await
    }

    /// The next event that is no heartbeat.
    async fn hear(&mut self) -> Result<Event> {
        loop {
            let heard = self.from_server.message().await?;
            match heard.and_then(|heard| heard.event) {
                Some(Event::ServerHeartbeat(_)) => {}
                Some(event) => return Ok(event),
                None => return Err("a session ended".into()),
            }
        }
    }
}

/// Desktops in groups; each group has one frame in flight, and its desktops
/// take turns.
pub(crate) struct Crowd(Vec<VecDeque<Desk>>);

impl Crowd {
    pub(crate) fn new(desks: Vec<Desk>, in_flight: usize) -> Self {
        let mut groups: Vec<_> = (0..in_flight).map(|_| VecDeque::new()).collect();
        for (at, desk) in desks.into_iter().enumerate() {
            groups[at % in_flight].push_back(desk);
        }
        Self(groups)
    }

    /// Has so many frames decided in all; how long each waited for its outcome when
    /// its search had been answered.
    pub(crate) async fn frames(&mut self, count: usize, jpeg: &Bytes) -> Result<Vec<Duration>> {
        let each = count / self.0.len();
        let groups = self.0.iter_mut().map(|group| in_turn(group, each, jpeg));
        Ok(try_join_all(groups).await?.concat())
    }

    /// The same with one frame in flight in all.
    pub(crate) async fn alone(&mut self, count: usize, jpeg: &Bytes) -> Result<Vec<Duration>> {
        in_turn(&mut self.0[0], count, jpeg).await
    }
}

async fn in_turn(desks: &mut VecDeque<Desk>, count: usize, jpeg: &Bytes) -> Result<Vec<Duration>> {
    let mut waits = Vec::with_capacity(count);
    for _ in 0..count {
        waits.push(desks[0].whole_frame(jpeg).await?);
        desks.rotate_left(1);
    }
    Ok(waits)
}

async fn say(to_server: &mpsc::Sender<ClientEvent>, event: Said) -> Result<()> {
    let event = ClientEvent { event: Some(event) };
    Ok(to_server.send(event).await?)
}

fn unexpected(event: &Event) -> Box<dyn std::error::Error + Send + Sync> {
    format!("the server answered what the bench does not expect: {event:?}").into()
}
