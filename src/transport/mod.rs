//! The doors of the house: gRPC and WebSocket for desktops, HTTP for everybody,
//! and for operators. Wire formats end here.

pub mod admin;
mod arriving;
pub mod calls;
mod door;
mod endings;
pub mod fire;
pub mod followers;
pub mod grpc;
mod guard;
pub mod http;
mod inbound;
mod log_events;
mod log_json;
// Bytes of any client become inputs of a session there: tests/fuzz feeds it.
#[doc(hidden)]
pub mod messages;
mod methods;
mod outbound;
pub mod proto;
mod silence;
mod skim;
mod tls;
pub mod websocket;
mod weigh;

pub use door::{Behind, Door};
pub use tls::Tls;
