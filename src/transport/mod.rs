//! The doors of the house: gRPC and WebSocket for desktops, HTTP for everybody,
//! and for operators. Wire formats end here.

pub mod admin;
mod arriving;
mod door;
pub mod grpc;
mod guard;
pub mod http;
mod inbound;
// Bytes of any client become inputs of a session there: tests/fuzz feeds it.
#[doc(hidden)]
pub mod messages;
mod outbound;
pub mod proto;
mod silence;
mod skim;
mod tls;
pub mod websocket;
mod weigh;

pub use door::Door;
pub use tls::Tls;
