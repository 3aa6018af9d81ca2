//! Who follows a user's log: by each of four ways, from the last cursor on after the
//! server has died, and now and then after leaving by himself.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::log_event::Event as LogWhat;
use proactive::transport::proto::proactive_ai_client::ProactiveAiClient;
use proactive::transport::proto::server_event::Event as Told;
use proactive::transport::proto::subscribe_response::Event;
use proactive::transport::proto::{
    ClientEvent, ClientHello, Follow, LogEvent, SearchResults, ServerEvent, SessionContext,
    ToolCallRequest, ToolResult,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::tungstenite::Message;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::asker::is_settled;
use crate::support::outside::{Caller, Followed};
use crate::support::websocket::{self, Socket};
use crate::support::{PATIENCE, json};

/// The title of the message after which nothing comes.
pub(crate) const END: &str = "the end";

/// How the log is followed.
pub(crate) enum Way {
    /// Subscribe, or server-sent events.
    Caller(Caller),
    /// A session whose hello says so.
    Session(Channel, String),
    /// The same at the other door.
    WebSocket(SocketAddr, String),
}

/// What a follower was told, in all its streams.
#[derive(Default)]
pub(crate) struct Record {
    /// Without the starts.
    pub(crate) events: Vec<LogEvent>,
    pub(crate) streams: usize,
    pub(crate) wrong: Vec<String>,
}

pub(crate) type Shared = Arc<Mutex<Record>>;

/// Nobody panics with it in his hands.
pub(crate) fn lock(shared: &Shared) -> MutexGuard<'_, Record> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Follows until the end is told.
pub(crate) async fn follow(way: Way, record: Shared, seed: u64) {
    let mut dice = SmallRng::seed_from_u64(seed);
    let mut cursor = "oldest".to_owned();
    loop {
        // Leaves by himself after so many.
        let most = dice.random_range(1..=100);
        match one_stream(&way, &mut cursor, &record, most, &mut dice).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(status) if is_settled(&status) => {
                lock(&record).wrong.push(format!("was refused: {status}"));
            }
            Err(_) => {}
        }
        sleep(Duration::from_millis(dice.random_range(0..=60))).await;
    }
}

/// Reads one stream and notes what it tells; whether the end was told.
async fn one_stream(
    way: &Way,
    cursor: &mut String,
    record: &Shared,
    most: usize,
    dice: &mut SmallRng,
) -> Result<bool, Status> {
    let opened = timeout(PATIENCE, open(way, cursor, dice)).await;
    let mut stream = opened.map_err(|_| Status::unavailable("nothing came"))??;
    lock(record).streams += 1;
    let mut told = 0;
    while told < most {
        let Some(event) = stream.next().await? else {
            return Ok(false);
        };
        if let Some(LogWhat::Start(_)) = &event.event {
            let begins = match &**cursor {
                "oldest" => event.cursor.ends_with(":0"),
                cursor => event.cursor == cursor,
            };
            if !begins || told > 0 {
                let what = format!("came with {cursor}, and began at {}", event.cursor);
                lock(record).wrong.push(what);
            }
            *cursor = event.cursor;
            continue;
        }
        told += 1;
        cursor.clone_from(&event.cursor);
        let ends = is_end(&event);
        lock(record).events.push(event);
        if ends {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Nothing comes behind it.
pub(crate) fn is_end(event: &LogEvent) -> bool {
    matches!(&event.event, Some(LogWhat::Message(message)) if message.title == END)
}

enum Stream {
    Followed(Followed),
    Session(mpsc::Sender<ClientEvent>, Box<Streaming<ServerEvent>>),
    WebSocket(Box<Socket>),
}

async fn open(way: &Way, cursor: &str, dice: &mut SmallRng) -> Result<Stream, Status> {
    let follow = Follow {
        cursor: cursor.to_owned(),
    };
    let hello = Said::ClientHello(ClientHello {
        protocol_version: "1.1".to_owned(),
        session_context: Some(SessionContext::default()),
        follow: Some(follow),
        ..ClientHello::default()
    });
    match way {
        // A browser comes back by itself with the last id.
        Way::Caller(Caller::Http(http)) => {
            let again = dice.random_bool(0.5);
            let events = http.follow(cursor, again).await?;
            Ok(Stream::Followed(Followed::Http(Box::new(events))))
        }
        Way::Caller(caller) => Ok(Stream::Followed(caller.follow(cursor).await?)),
        Way::Session(channel, token) => {
            let (say, said) = mpsc::channel(16);
            // There is room for it.
            let _ = say.send(ClientEvent { event: Some(hello) }).await;
            let mut request = Request::new(ReceiverStream::new(said));
            let bearer: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", bearer);
            let mut client = ProactiveAiClient::new(channel.clone());
            let told = client.session(request).await?.into_inner();
            Ok(Stream::Session(say, Box::new(told)))
        }
        Way::WebSocket(server, token) => {
            let socket = Socket::open(websocket::request(*server, token)).await?;
            let hello = json::said(&hello).to_string();
            let said = socket.try_send(Message::text(hello)).await;
            said.map_err(|error| Status::unavailable(error.to_string()))?;
            Ok(Stream::WebSocket(Box::new(socket)))
        }
    }
}

impl Stream {
    /// The next event of the log; a session's searches find nothing.
    async fn next(&mut self) -> Result<Option<LogEvent>, Status> {
        loop {
            let told = match self {
                Self::Followed(followed) => match followed.next_in_time().await? {
                    Some(Event::LogEvent(event)) => return Ok(Some(event)),
                    Some(Event::Heartbeat(_)) => continue,
                    None => return Ok(None),
                },
                Self::Session(_, told) => {
                    let event = told.message().await?;
                    event.and_then(|event| event.event)
                }
                Self::WebSocket(socket) => socket.next().await?,
            };
            match told {
                None => return Ok(None),
                Some(Told::LogEvent(event)) => return Ok(Some(event)),
                Some(Told::ToolCallRequest(request)) => self.answer(request).await,
                Some(Told::ServerError(error)) => {
                    return Err(Status::invalid_argument(format!("{error:?}")));
                }
                Some(_) => {}
            }
        }
    }

    /// To a server that may have gone.
    async fn answer(&self, request: ToolCallRequest) {
        let result = Said::ToolResult(ToolResult {
            request_id: request.request_id,
            frame_id: request.frame_id,
            result: Some(SearchResults::default()),
            ..ToolResult::default()
        });
        match self {
            Self::Followed(_) => {}
            Self::Session(say, _) => {
                let event = Some(result);
                let _ = say.send(ClientEvent { event }).await;
            }
            Self::WebSocket(socket) => {
                let result = json::said(&result).to_string();
                let _ = socket.try_send(Message::text(result)).await;
            }
        }
    }
}
