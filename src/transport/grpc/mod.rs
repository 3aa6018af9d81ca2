//! The gRPC door: the services of `proactive.v1`, that of workers, health and reflection.

mod guarded;
mod messages;
mod methods;
mod skim;
mod workers;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::Listener;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::service::LayerExt;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::ServingStatus;
use tonic_health::pb::FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTORS;
use tonic_health::server::HealthReporter;

use crate::auth::Verifier;
use crate::domain::Principal;
use crate::session::{Full, OUTBOUND_QUEUE, ServerMessage, StreamEnd};
use crate::transport::door::{Door, caller};
use crate::transport::proto::events_server::EventsServer;
use crate::transport::proto::jobs_server::JobsServer;
use crate::transport::proto::messages_server::MessagesServer;
use crate::transport::proto::proactive_ai_server::{ProactiveAi, ProactiveAiServer};
use crate::transport::proto::workers::tool_workers_server::ToolWorkersServer;
use crate::transport::proto::{ClientEvent, DESCRIPTORS, ServerEvent};
use crate::transport::silence::{Attentive, Keepalive};
use crate::transport::tls::Tls;
use crate::transport::wire::outbound;
use messages::RawBody;
use methods::{CallsDoor, MessagesDoor};
use workers::WorkersDoor;

// Bytes of any client become inputs of a session there: tests/fuzz feeds it.
#[doc(hidden)]
pub use messages::inputs;

pub use crate::transport::arriving::MAX_MESSAGE;
pub use workers::Behind as BehindWorkers;

/// A name in the health service that is SERVING from the first to the last
/// moment, whatever tokens and drains do: for liveness probes, which must not
/// kill a server because Google's keys cannot be fetched.
pub const ALIVE: &str = "alive";

/// The largest message of the calls that carry no frame, in bytes: more than a message
/// to a user may have. tonic's reader holds it, which nobody counts.
const MAX_SMALL_MESSAGE: usize = 64 << 10;

/// By when a call must have been answered, or a stream opened: longer than the largest
/// frame may take to arrive. Who begins a call and never ends it is told so.
const CALL_TIMEOUT: Duration = Duration::from_secs(90);

/// A balancer carries all its clients over a few connections; tonic's default
/// of 200 streams each would refuse the 201st desktop behind one.
const MAX_STREAMS: u32 = 20_000;
/// What a stream may have under way unread. A screenshot of 100 to 300 KB needs
/// one window update at most, which the server sends while the rest arrives.
const STREAM_WINDOW: u32 = 256 << 10;
/// What one connection's clients may have under way unread, together: 256 full
/// streams. A session that does not read, because its client takes no answers,
/// keeps its stream's share until it ends 10 s later; only as many of them at
/// once could make the other desktops behind a balancer wait. It is also the
/// most that a connection can make the server hold.
const CONNECTION_WINDOW: u32 = 64 << 20;

/// Where and how to listen.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port 0 means any free one.
    pub address: SocketAddr,
    /// `None`: plaintext, for a balancer that ends TLS.
    pub tls: Option<Tls>,
    /// Usually [`Keepalive::USUAL`].
    pub keepalive: Keepalive,
}

/// Serves on the listener until `door.stopping`, and then until the streams
/// that are open are over, those of workers being the last. Health says SERVING while tokens can be judged, until
/// the stop; of [`ALIVE`], always.
///
/// # Errors
/// TLS files that cannot be used, or a listener that fails.
pub async fn serve(
    listener: TcpListener,
    options: Options,
    door: Door,
    behind_workers: BehindWorkers,
) -> Result<(), tonic::transport::Error> {
    let stopped = door.stopping.clone();
    let (reporter, health) = tonic_health::server::health_reporter();
    let announcing = announce(reporter, door.verifier.clone(), stopped.clone());
    let metrics = door.metrics.clone();
    let places = door.places.clone();
    let guard = door.guard.clone();
    let calls = CallsDoor(door.calls.clone());
    let (jobs, events) = (JobsServer::new(calls.clone()), EventsServer::new(calls));
    let jobs = guard.named_layer(jobs.max_decoding_message_size(MAX_SMALL_MESSAGE));
    let events = guard.named_layer(events.max_decoding_message_size(MAX_SMALL_MESSAGE));
    let messages = MessagesServer::new(MessagesDoor(door.post.clone()));
    let messages = messages.max_decoding_message_size(MAX_SMALL_MESSAGE);
    let sessions = guard.named_layer(ProactiveAiServer::new(door));
    let mut server = server(options.keepalive).timeout(CALL_TIMEOUT);
    if let Some(tls) = options.tls {
        server = server.tls_config(tls.for_grpc().timeout(options.keepalive.first_byte))?;
    }
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(HEALTH_DESCRIPTORS)
    };
    let patience = options.keepalive.patience();
    let listener = Attentive::new(listener, patience, places, metrics);
    let connections = stream::unfold(listener, |mut listener| async {
        let (connection, _) = listener.accept().await;
        Some((Ok::<_, Infallible>(connection), listener))
    });
    let serving = server
        .add_service(sessions)
        .add_service(jobs)
        .add_service(events)
        .add_service(messages)
        .add_service(workers::service(behind_workers))
        .add_service(health)
        .add_service(
            reflection()
                .build_v1()
                .expect("the generated descriptors are valid"),
        )
        .add_service(
            reflection()
                .build_v1alpha()
                .expect("the generated descriptors are valid"),
        )
        .serve_with_incoming_shutdown(connections, stopped.cancelled_owned());
    tokio::select! {
        served = serving => served,
        never = announcing => match never {},
    }
}

/// tonic's server with our HTTP/2 settings; `benches/frame` measures it without
/// anything of ours.
pub fn server(keepalive: Keepalive) -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(keepalive.interval))
        .http2_keepalive_timeout(Some(keepalive.timeout))
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}

async fn announce(
    reporter: HealthReporter,
    verifier: Verifier,
    stopped: CancellationToken,
) -> Infallible {
    let say = async |status| {
        const EVERYTHING: &str = "";
        for service in [
            ProactiveAiServer::<Door>::NAME,
            JobsServer::<CallsDoor>::NAME,
            EventsServer::<CallsDoor>::NAME,
            MessagesServer::<MessagesDoor>::NAME,
            ToolWorkersServer::<WorkersDoor>::NAME,
            EVERYTHING,
        ] {
            reporter.set_service_status(service, status).await;
        }
    };
    reporter
        .set_service_status(ALIVE, ServingStatus::Serving)
        .await;
    let follow = async {
        loop {
            say(ServingStatus::NotServing).await;
            verifier.until_ready().await;
            say(ServingStatus::Serving).await;
            verifier.until_unready().await;
        }
    };
    let _: Option<Infallible> = stopped.run_until_cancelled(follow).await;
    say(ServingStatus::NotServing).await;
    std::future::pending().await
}

#[tonic::async_trait]
impl ProactiveAi for Door {
    type SessionStream = BoxStream<'static, Result<ServerEvent, Status>>;

    /// The messages are read from the `RawBody`; tonic's reader got an empty
    /// body.
    async fn session(
        &self,
        request: Request<Streaming<ClientEvent>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        if self.stopping.is_cancelled() {
            return Err(shutting_down());
        }
        let (metadata, mut extensions, _) = request.into_parts();
        let principal = extensions.remove::<Principal>();
        let body = extensions.remove::<RawBody>().and_then(|raw| raw.take());
        let (Some(principal), Some(body)) = (principal, body) else {
            return Err(Status::internal("The server let a stream in unverified."));
        };
        let seat = self.lobby.quota().open(&principal.uid).map_err(full)?;
        let account = seat.account().clone();
        let caller = caller(metadata.as_ref(), principal, seat);
        let (to_client, messages) = mpsc::channel(OUTBOUND_QUEUE);
        let (ended, end) = oneshot::channel();
        let inputs = inputs(body, MAX_MESSAGE, account).boxed();
        let connection = self.lobby.connection(caller, inputs, to_client, ended);
        self.lobby.open(connection);
        Ok(Response::new(answers(messages, end).boxed()))
    }
}

/// What the client is told, and how its stream ends.
fn answers(
    messages: mpsc::Receiver<Box<ServerMessage>>,
    end: oneshot::Receiver<StreamEnd>,
) -> impl Stream<Item = Result<ServerEvent, Status>> {
    let events = ReceiverStream::new(messages).map(|message| Ok(outbound::event(*message)));
    let farewell = end
        .map(|end| stream::iter(farewell(end.ok())))
        .flatten_stream();
    events.chain(farewell)
}

/// What a stream ends with; `None` if its session crashed.
fn farewell(end: Option<StreamEnd>) -> Vec<Result<ServerEvent, Status>> {
    let status = match end {
        Some(StreamEnd::Closed | StreamEnd::Lost | StreamEnd::TakenUp) => return vec![],
        Some(StreamEnd::Drained) => shutting_down(),
        Some(StreamEnd::SlowClient) => {
            let message = "The client left its answers unread for too long; reconnect.";
            Status::resource_exhausted(message)
        }
        Some(StreamEnd::NoHello) => {
            let message = "Neither a hello nor a frame came in time; say hello first.";
            Status::deadline_exceeded(message)
        }
        Some(StreamEnd::Silent) => {
            let message = "The client promised heartbeats and was silent; reconnect.";
            Status::unavailable(message)
        }
        Some(StreamEnd::Expired) => {
            let message = "The stream has grown too old; reconnect with a fresh token.";
            Status::unavailable(message)
        }
        Some(StreamEnd::NotYours) => {
            Status::permission_denied("That session belongs to another user.")
        }
        None => {
            let message = "The session failed; open a new one.";
            return vec![Ok(outbound::crashed()), Err(Status::internal(message))];
        }
    };
    vec![Err(status)]
}

fn full(full: Full) -> Status {
    match full {
        Full::User(_) => Status::resource_exhausted(full.to_string()),
        Full::Server => Status::unavailable(full.to_string()),
    }
}

fn shutting_down() -> Status {
    Status::unavailable("The server is shutting down; reconnect.")
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;
    use tonic::Code;

    use super::*;
    use crate::transport::proto::server_event::Event;

    #[tokio::test]
    async fn a19_a_crash_of_the_session_is_told_as_internal_and_not_retryable() {
        let (to_client, messages) = mpsc::channel(OUTBOUND_QUEUE);
        let (ended, end) = oneshot::channel();
        let session = async move {
            let _owned = (to_client, ended);
            panic!("a crash on purpose");
        };
        let session = TaskTracker::new().spawn(session);
        let told: Vec<_> = answers(messages, end).collect().await;
        assert!(session.await.unwrap_err().is_panic());
        let [
            Ok(ServerEvent {
                event: Some(Event::ServerError(error)),
            }),
            Err(status),
        ] = &told[..]
        else {
            panic!("{told:?}")
        };
        assert_eq!((error.code.as_str(), error.retryable), ("INTERNAL", false));
        assert_eq!(status.code(), Code::Internal);
    }
}
