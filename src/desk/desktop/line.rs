//! The stream under a session: sends within a bound, hears until the server is
//! silent for too long, closes. It knows no frames.

use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use super::wire::{bearer, heartbeat_of};
use super::{MOST_BYTES, Patience};
use crate::desk::Error;
use crate::transport::proto::proactive_ai_client::ProactiveAiClient;
use crate::transport::proto::server_event::Event;
use crate::transport::proto::{ClientEvent, ServerEvent, SessionReady};

/// Events on their way out: a few frames and the answers to their searches.
const OUTBOUND: usize = 8;
/// A server is taken for gone after so many heartbeats that did not come.
const MISSED_HEARTBEATS: u32 = 3;

/// Both directions of one stream.
pub(super) struct Line {
    /// `None` once this side is closed.
    outbound: Option<mpsc::Sender<ClientEvent>>,
    inbound: Streaming<ServerEvent>,
    /// When the server last said anything.
    heard: Instant,
    /// Between two of its heartbeats; `None` if it sends none.
    heartbeat: Option<Duration>,
    patience: Patience,
}

impl Line {
    /// Opens the stream and says hello, without waiting for the answer to that.
    pub(super) async fn open(
        channel: Channel,
        token: &SecretString,
        hello: ClientEvent,
        patience: Patience,
    ) -> Result<Self, Error> {
        let (outbound, events) = mpsc::channel(OUTBOUND);
        // The hello goes first, in case the server waits for it before it
        // answers the call.
        offer(&outbound, patience.send, hello).await?;
        let mut request = Request::new(ReceiverStream::new(events));
        request
            .metadata_mut()
            .insert("authorization", bearer(token)?);
        let platform = AsciiMetadataValue::from_static(std::env::consts::OS);
        request.metadata_mut().insert("x-app-platform", platform);
        let version = AsciiMetadataValue::from_static(env!("CARGO_PKG_VERSION"));
        request.metadata_mut().insert("x-app-version", version);
        let mut client = ProactiveAiClient::new(channel).max_decoding_message_size(MOST_BYTES);
        let answer = within(patience.handshake, "session", client.session(request)).await?;
        Ok(Self {
            outbound: Some(outbound),
            inbound: answer.map_err(refused)?.into_inner(),
            heard: Instant::now(),
            heartbeat: None,
            patience,
        })
    }

    /// The next event until a hello is answered.
    pub(super) async fn hear_before_ready(&mut self, deadline: Instant) -> Result<Event, Error> {
        let heard = timeout_at(deadline, self.hear()).await;
        let late = |_| Error::TooSlow {
            what: "answer to the hello",
            waited: self.patience.handshake,
        };
        heard.map_err(late)?.map_err(before_ready)
    }

    /// The hello is answered: from now on the server is heard as it said.
    pub(super) fn is_ready(&mut self, ready: &SessionReady) {
        self.heartbeat = heartbeat_of(ready);
    }

    /// Between two of the server's heartbeats; `None` if it sends none.
    pub(super) fn heartbeat(&self) -> Option<Duration> {
        self.heartbeat
    }

    /// The next event that this version of the contract knows. Cancel-safe.
    pub(super) async fn hear(&mut self) -> Result<Event, Error> {
        loop {
            let message = match self.heartbeat {
                None => self.inbound.message().await,
                Some(every) => {
                    let silence = every.saturating_mul(MISSED_HEARTBEATS);
                    let late = |_| Error::TooSlow {
                        what: "sign of life from the server",
                        waited: silence,
                    };
                    let heard = timeout_at(self.heard + silence, self.inbound.message());
                    heard.await.map_err(late)?
                }
            };
            self.heard = Instant::now();
            match message? {
                None => return Err(Error::Closed("its next event")),
                Some(ServerEvent { event: Some(event) }) => return Ok(event),
                Some(ServerEvent { event: None }) => {}
            }
        }
    }

    /// Sends an event, unless the stream has ended: then [`Self::hear`] tells that, after
    /// all that was said before it.
    pub(super) async fn send(&mut self, event: ClientEvent) -> Result<(), Error> {
        let Some(outbound) = &self.outbound else {
            return Ok(());
        };
        match offer(outbound, self.patience.send, event).await {
            Err(Error::Closed(_)) => Ok(()),
            sent => sent,
        }
    }

    /// Closes this side; what the server still says is heard.
    pub(super) fn finish(&mut self) {
        self.outbound = None;
    }

    /// Closes this side and waits until the server has closed its own.
    pub(super) async fn close(mut self) -> Result<(), Error> {
        self.finish();
        let drained = async {
            while self.inbound.message().await?.is_some() {}
            Ok::<_, Status>(())
        };
        within(self.patience.handshake, "end of the session", drained).await??;
        Ok(())
    }
}

fn refused(status: Status) -> Error {
    Error::Refused(Box::new(status))
}

/// A stream that ends before the answer to the hello was refused.
fn before_ready(error: Error) -> Error {
    match error {
        Error::Ended(status) => Error::Refused(status),
        Error::Closed(_) => Error::Closed("the answer to the hello"),
        other => other,
    }
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
