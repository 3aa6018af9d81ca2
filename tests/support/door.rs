//! The ways into a server, for tests that hold for each of them.

use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{ClientEvent, ServerEvent};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::PATIENCE;
use super::websocket::Socket;

/// Which door a test goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Grpc,
    WebSocket,
}

/// Runs each of these functions, which take a [`Door`], once for each door, as tests
/// of their own.
#[macro_export]
macro_rules! both_doors {
    ($($test:ident),* $(,)?) => {
        mod grpc {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::support::Door::Grpc).await;
            })*
        }
        mod websocket {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::support::Door::WebSocket).await;
            })*
        }
    };
}

/// One stream, on the client's side.
pub enum Wire {
    Grpc {
        say: Option<mpsc::Sender<ClientEvent>>,
        told: Box<Streaming<ServerEvent>>,
    },
    WebSocket(Box<Socket>),
}

impl Wire {
    pub async fn say(&self, event: Option<Said>) {
        match self {
            Self::Grpc { say, .. } => {
                let say = say.as_ref().expect("this side is closed");
                say.send(ClientEvent { event }).await.unwrap();
            }
            Self::WebSocket(socket) => socket.say(event).await,
        }
    }

    pub async fn close(&mut self) {
        match self {
            Self::Grpc { say, .. } => *say = None,
            Self::WebSocket(socket) => socket.close().await,
        }
    }

    /// The next event, or how the stream ended.
    pub async fn next(&mut self) -> Result<Option<Event>, Status> {
        match self {
            Self::Grpc { told, .. } => {
                let next = timeout(PATIENCE, told.message()).await;
                let next = next.expect("nothing came");
                next.map(|event| event.and_then(|event| event.event))
            }
            Self::WebSocket(socket) => socket.next().await,
        }
    }
}
