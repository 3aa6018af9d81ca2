//! A desktop that speaks WebSocket, by a library that the server does not read
//! with.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::server_event::Event;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tonic::Status;

use super::{PATIENCE, json};

/// What a WebSocket may go over.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Stream = WebSocketStream<Box<dyn Io>>;

/// One stream.
pub struct Socket {
    say: Mutex<SplitSink<Stream, Message>>,
    told: SplitStream<Stream>,
}

/// A request for the door of this server, with this token.
pub fn request(server: SocketAddr, token: &str) -> Request {
    let mut request = bare_request(server);
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    request
}

/// The same without a token.
pub fn bare_request(server: SocketAddr) -> Request {
    let url = format!("ws://{server}/v1/proactive");
    url.into_client_request().unwrap()
}

/// A TLS connection to there, as browsers make them for WebSockets.
pub async fn tls(server: SocketAddr, certificate: &str) -> impl Io + 'static {
    let mut trusted = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    trusted.add(certificate).unwrap();
    let mut config = ClientConfig::builder()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(server).await.unwrap();
    let name = "localhost".try_into().unwrap();
    connector.connect(name, stream).await.unwrap()
}

impl Socket {
    /// Opens a stream; what is refused is told as gRPC would.
    pub async fn open(request: Request) -> Result<Self, Status> {
        match Self::open_with(request).await {
            Ok((socket, _)) => Ok(socket),
            Err((status, problem)) => {
                let detail = problem["detail"].as_str().unwrap_or_default().to_owned();
                Err(match status {
                    401 => Status::unauthenticated(detail),
                    403 => Status::permission_denied(detail),
                    429 => Status::resource_exhausted(detail),
                    503 => Status::unavailable(detail),
                    other => Status::unknown(format!("{other}: {detail}")),
                })
            }
        }
    }

    /// Opens a stream, or says with which status and problem it was refused.
    pub async fn open_with(request: Request) -> Result<(Self, Response), (u16, Value)> {
        let authority = request.uri().authority().unwrap().as_str();
        let connected = timeout(PATIENCE, TcpStream::connect(authority)).await;
        match connected.unwrap() {
            Ok(connection) => Self::open_over(connection, request).await,
            Err(refused) => Err((0, refused.to_string().into())),
        }
    }

    /// The same over a connection that is there.
    pub async fn open_over(
        connection: impl Io + 'static,
        request: Request,
    ) -> Result<(Self, Response), (u16, Value)> {
        let connection: Box<dyn Io> = Box::new(connection);
        let opened = timeout(PATIENCE, client_async(request, connection)).await;
        match opened.unwrap() {
            Ok((stream, response)) => {
                let (say, told) = stream.split();
                let say = Mutex::new(say);
                Ok((Self { say, told }, response))
            }
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                let problem = serde_json::from_slice(body).unwrap_or_default();
                Err((response.status().as_u16(), problem))
            }
            Err(other) => Err((0, other.to_string().into())),
        }
    }

    /// An event, or one that is none.
    pub async fn say(&self, event: Option<Said>) {
        let said = event.map_or_else(|| "{}".into(), |event| json::said(&event).to_string());
        self.send(Message::text(said)).await;
    }

    /// Anything at all.
    pub async fn send(&self, message: Message) {
        self.try_send(message).await.unwrap();
    }

    /// Anything at all, to a server that may have gone.
    pub async fn try_send(&self, message: Message) -> Result<(), Error> {
        self.say.lock().await.send(message).await
    }

    pub async fn close(&self) {
        self.send(Message::Close(None)).await;
    }

    /// The next message; pings are answered and passed over.
    pub async fn message(&mut self) -> Option<Result<Message, Error>> {
        loop {
            let next = timeout(PATIENCE, self.told.next()).await;
            match next.expect("nothing came") {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => return other,
            }
        }
    }

    /// The next event as it is written.
    pub async fn value(&mut self) -> Value {
        match self.message().await {
            Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
            other => panic!("not an event: {other:?}"),
        }
    }

    /// The code and reason with which the server closes; events before it are passed
    /// over.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.message().await {
                Some(Ok(Message::Text(_))) => {}
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                other => panic!("not closed by the server: {other:?}"),
            }
        }
    }

    /// The next event, or how the stream ended, as gRPC would tell it.
    pub async fn next(&mut self) -> Result<Option<Event>, Status> {
        match self.message().await {
            Some(Ok(Message::Text(text))) => {
                let told = serde_json::from_str(&text).unwrap();
                Ok(Some(json::told(&told)))
            }
            Some(Ok(Message::Close(frame))) => {
                let (code, reason) = match frame {
                    Some(frame) => (frame.code.into(), frame.reason.to_string()),
                    None => (1000, String::new()),
                };
                match code {
                    1000 | 4100 => Ok(None),
                    1008 => Err(Status::permission_denied(reason)),
                    1011 => Err(Status::internal(reason)),
                    1012 | 4000 | 4001 => Err(Status::unavailable(reason)),
                    4002 => Err(Status::resource_exhausted(reason)),
                    4003 => Err(Status::deadline_exceeded(reason)),
                    other => Err(Status::unknown(format!("{other}: {reason}"))),
                }
            }
            Some(Ok(other)) => panic!("{other:?}"),
            Some(Err(error)) => Err(Status::cancelled(error.to_string())),
            None => Err(Status::cancelled("the connection broke")),
        }
    }
}
