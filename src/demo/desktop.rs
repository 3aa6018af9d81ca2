//! The desktop's side of a session: says hello, shows frames one at a time,
//! answers the searches that the server asks for, keeps the tasks it extracts.
//!
//! What happens is told to an observer as [`Step`]s, in order; this module
//! prints nothing. Every wait is bounded, see [`Patience`].

mod error;
mod step;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{AsciiMetadataValue, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use super::store::Store;
use crate::transport::proto::proactive_ai_client::ProactiveAiClient;
use crate::transport::proto::{
    AnalysisOutcome, ClientEvent, ClientHello, FrameEvent, OutcomeKind, SearchResults, ServerEvent,
    ToolCallRequest, ToolKind, ToolResult, client_event, server_event,
};
use crate::world::World;

pub use error::Error;
pub use step::{Step, Verdict};

/// The highest version of the contract that this desktop speaks.
const PROTOCOL: &str = "1.1";
/// Events on their way out: a frame and the answers to its searches.
const OUTBOUND: usize = 8;
/// The contract's limit of one message, both ways.
const MOST_BYTES: usize = 10 * 1024 * 1024;
/// A server is taken for gone after so many heartbeats that did not come.
const MISSED_HEARTBEATS: u32 = 3;

/// How long the desktop waits, and for what.
#[derive(Clone, Debug)]
pub struct Patience {
    /// For the connection.
    pub connect: Duration,
    /// For the answer to a hello, and for the end of the stream at the close.
    pub handshake: Duration,
    /// For room to send an event.
    pub send: Duration,
    /// For a frame's terminal event. Longer than the server's own deadline of
    /// 60 s, so that its answer is not given up just before it comes.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            send: Duration::from_secs(10),
            answer: Duration::from_secs(90),
        }
    }
}

/// One look at the screen, as this desktop captured it.
#[derive(Clone)]
pub struct Screen {
    /// Names it in every event about it; not empty, at most 256 bytes.
    pub id: String,
    /// The application in front.
    pub app: String,
    /// Its window's title.
    pub window: String,
    /// The text on it.
    pub text: String,
    /// Its picture, or empty.
    pub jpeg: Bytes,
}

/// Connects to a server without TLS.
///
/// # Errors
/// [`Error::Connect`] or [`Error::TooSlow`].
pub async fn dial(address: SocketAddr, patience: &Patience) -> Result<Channel, Error> {
    let refused = |cause: &dyn std::error::Error| Error::Connect {
        address,
        cause: root(cause),
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| refused(&error))?
        .tcp_nodelay(true);
    within(patience.connect, "connection", endpoint.connect())
        .await?
        .map_err(|error| refused(&error))
}

/// An open session. `O` is told each [`Step`].
pub struct Desktop<O> {
    outbound: mpsc::Sender<ClientEvent>,
    inbound: Streaming<ServerEvent>,
    store: Store,
    /// The state of the store that the server knows.
    told: String,
    frames: i64,
    /// Longest silence of a server that is alive.
    silence: Duration,
    patience: Patience,
    world: World,
    observe: O,
}

impl<O: FnMut(Step)> Desktop<O> {
    /// Opens a session and says hello with the tasks of the store.
    ///
    /// # Errors
    /// Any but [`Error::Connect`] and [`Error::TooLarge`].
    pub async fn open(
        channel: Channel,
        token: &SecretString,
        store: Store,
        world: World,
        patience: Patience,
        observe: O,
    ) -> Result<Self, Error> {
        let told = store.version();
        let hello = hello(&store, &world)?;
        let (outbound, events) = mpsc::channel(OUTBOUND);
        // The hello goes first, in case the server waits for it before it
        // answers the call.
        offer(&outbound, patience.send, hello).await?;
        let mut request = Request::new(ReceiverStream::new(events));
        request
            .metadata_mut()
            .insert("authorization", bearer(token)?);
        let mut client = ProactiveAiClient::new(channel).max_decoding_message_size(MOST_BYTES);
        let answer = within(patience.handshake, "session", client.session(request)).await?;
        let mut desktop = Self {
            outbound,
            inbound: answer?.into_inner(),
            store,
            told,
            frames: 0,
            silence: patience.answer,
            patience,
            world,
            observe,
        };
        desktop.await_ready().await?;
        Ok(desktop)
    }

    /// Shows the server one frame and serves it until the frame has ended.
    ///
    /// # Errors
    /// Any but [`Error::Connect`] and [`Error::Token`]. The session is of no more
    /// use then, except after [`Error::TooLarge`].
    pub async fn show(&mut self, screen: Screen) -> Result<Verdict, Error> {
        let frame_id = screen.id.clone();
        let sent = Step::FrameSent {
            frame_id: frame_id.clone(),
            app: screen.app.clone(),
            window: screen.window.clone(),
            jpeg: screen.jpeg.len(),
            characters: screen.text.chars().count(),
        };
        let frame = self.frame(screen)?;
        self.send(frame).await?;
        (self.observe)(sent);
        let deadline = Instant::now() + self.patience.answer;
        loop {
            let event = self
                .receive("answer to the frame", deadline, self.patience.answer)
                .await?;
            match event {
                server_event::Event::ToolCallRequest(call) => self.search(call).await?,
                server_event::Event::AnalysisOutcome(outcome) if outcome.frame_id == frame_id => {
                    return self.decided(outcome.into());
                }
                // An error that names a call is about the call alone.
                server_event::Event::ServerError(error)
                    if error.frame_id == frame_id && error.request_id.is_empty() =>
                {
                    (self.observe)(Step::Failed(error.clone()));
                    return Ok(Verdict::Failed(error));
                }
                other => self.aside(other),
            }
        }
    }

    /// Closes this side and waits until the server has closed its own. Returns
    /// the tasks.
    ///
    /// # Errors
    /// [`Error::Refused`] if the stream ends with a status other than OK, or
    /// [`Error::TooSlow`].
    pub async fn close(mut self) -> Result<Store, Error> {
        drop(self.outbound);
        let drained = async {
            while self.inbound.message().await?.is_some() {}
            Ok::<_, Status>(())
        };
        within(self.patience.handshake, "end of the session", drained).await??;
        Ok(self.store)
    }

    async fn await_ready(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + self.patience.handshake;
        loop {
            match self
                .receive("answer to the hello", deadline, self.patience.handshake)
                .await?
            {
                server_event::Event::SessionReady(ready) => {
                    // A server of protocol 1.0 sends no heartbeats.
                    if let Ok(every @ 1..) = u64::try_from(ready.heartbeat_interval_ms) {
                        self.silence =
                            Duration::from_millis(every).saturating_mul(MISSED_HEARTBEATS);
                    }
                    (self.observe)(Step::Ready(ready));
                    return Ok(());
                }
                other => self.aside(other),
            }
        }
    }

    /// Takes note of an event that neither asks for anything nor ends a wait.
    fn aside(&mut self, event: server_event::Event) {
        match event {
            server_event::Event::CancelToolRequest(cancel) => {
                (self.observe)(Step::SearchCancelled(cancel));
            }
            server_event::Event::ServerError(error) => (self.observe)(Step::Complaint(error)),
            server_event::Event::GoAway(go_away) => (self.observe)(Step::GoingAway(go_away)),
            // Heartbeats have done their work by coming; the others answer
            // nothing that is asked right now.
            server_event::Event::ServerHeartbeat(_)
            | server_event::Event::SessionReady(_)
            | server_event::Event::ToolCallRequest(_)
            | server_event::Event::AnalysisOutcome(_) => {}
        }
    }

    fn frame(&mut self, screen: Screen) -> Result<ClientEvent, Error> {
        self.frames += 1;
        let version = self.store.version();
        // Tasks travel only when they changed since the server last heard.
        let session_context = match version == self.told {
            true => None,
            false => Some(self.store.context()?),
        };
        let id = screen.id.clone();
        let frame = event(client_event::Event::FrameEvent(FrameEvent {
            jpeg_bytes: screen.jpeg,
            app_name: screen.app,
            window_title: screen.window,
            ocr_text: screen.text,
            capture_time: Some(stamp(self.world.now())),
            frame_number: self.frames,
            screenshot_id: screen.id,
            context_version: version.clone(),
            session_context,
        }));
        match frame.encoded_len() {
            size if size > MOST_BYTES => Err(Error::TooLarge { id, size }),
            _ => {
                self.told = version;
                Ok(frame)
            }
        }
    }

    async fn search(&mut self, call: ToolCallRequest) -> Result<(), Error> {
        (self.observe)(Step::SearchAsked(call.clone()));
        let query = call
            .arguments
            .as_ref()
            .map_or("", |arguments| &arguments.query);
        let found = match call.tool_kind() {
            ToolKind::SearchSimilar => self.store.search_similar(query).map_err(|e| e.to_string()),
            ToolKind::SearchKeywords => {
                self.store.search_keywords(query).map_err(|e| e.to_string())
            }
            ToolKind::Unspecified => Err("this desktop has no such search".to_owned()),
        };
        let (result, error) = match found.clone() {
            Ok(items) => (Some(SearchResults { items }), String::new()),
            Err(error) => (None, error),
        };
        self.send(event(client_event::Event::ToolResult(ToolResult {
            request_id: call.request_id.clone(),
            result,
            error,
            frame_id: call.frame_id.clone(),
        })))
        .await?;
        (self.observe)(Step::SearchAnswered {
            request_id: call.request_id,
            frame_id: call.frame_id,
            found,
        });
        Ok(())
    }

    fn decided(&mut self, outcome: Box<AnalysisOutcome>) -> Result<Verdict, Error> {
        let kept_as = match (outcome.outcome_kind(), &outcome.task) {
            (OutcomeKind::ExtractTask, Some(task)) => Some(self.store.insert(task)?),
            _ => None,
        };
        (self.observe)(Step::Decided {
            outcome: outcome.clone(),
            kept_as,
        });
        Ok(Verdict::Decided(outcome))
    }

    async fn send(&mut self, event: ClientEvent) -> Result<(), Error> {
        match offer(&self.outbound, self.patience.send, event).await {
            // The stream has ended; its status says why.
            Err(closed @ Error::Closed(_)) => {
                let status = within(
                    self.patience.send,
                    "end of the session",
                    self.inbound.message(),
                );
                status
                    .await?
                    .err()
                    .map_or(Err(closed), |status| Err(status.into()))
            }
            sent => sent,
        }
    }

    /// The next event that this version of the contract knows.
    async fn receive(
        &mut self,
        what: &'static str,
        deadline: Instant,
        waited: Duration,
    ) -> Result<server_event::Event, Error> {
        loop {
            let silent = Instant::now() + self.silence;
            let (until, too_slow) = if deadline <= silent {
                (deadline, Error::TooSlow { what, waited })
            } else {
                let (what, waited) = ("sign of life from the server", self.silence);
                (silent, Error::TooSlow { what, waited })
            };
            let message = timeout_at(until, self.inbound.message())
                .await
                .map_err(|_| too_slow)??;
            match message {
                None => return Err(Error::Closed(what)),
                Some(ServerEvent { event: Some(event) }) => return Ok(event),
                Some(ServerEvent { event: None }) => {}
            }
        }
    }
}

fn hello(store: &Store, world: &World) -> Result<ClientEvent, Error> {
    Ok(event(client_event::Event::ClientHello(ClientHello {
        protocol_version: PROTOCOL.to_owned(),
        client_instance_id: world.uuid(),
        app_version: env!("CARGO_PKG_VERSION").to_owned(),
        os_version: std::env::consts::OS.to_owned(),
        device_name: "demo desktop".to_owned(),
        context_version: store.version(),
        session_context: Some(store.context()?),
        // Dates are understood by UTC.
        utc_offset_minutes: None,
    })))
}

fn event(event: client_event::Event) -> ClientEvent {
    ClientEvent { event: Some(event) }
}

fn bearer(token: &SecretString) -> Result<AsciiMetadataValue, Error> {
    let header = format!("Bearer {}", token.expose_secret());
    let mut header = MetadataValue::try_from(header).map_err(|_| Error::Token)?;
    header.set_sensitive(true);
    Ok(header)
}

async fn offer(
    outbound: &mpsc::Sender<ClientEvent>,
    patience: Duration,
    event: ClientEvent,
) -> Result<(), Error> {
    within(patience, "room to send", outbound.send(event))
        .await?
        .map_err(|_| Error::Closed("room to send"))
}

async fn within<T>(
    limit: Duration,
    what: &'static str,
    work: impl Future<Output = T>,
) -> Result<T, Error> {
    let late = |_| Error::TooSlow {
        what,
        waited: limit,
    };
    timeout(limit, work).await.map_err(late)
}

fn stamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

/// The innermost cause: "connection refused", not "transport error".
fn root(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests;
