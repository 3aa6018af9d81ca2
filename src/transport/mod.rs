//! The doors of the house: gRPC and WebSocket for desktops, HTTP for everybody,
//! and for operators. Wire formats end here.

pub mod admin;
mod arriving;
pub mod calls;
mod codec;
mod door;
pub mod fire;
pub mod followers;
pub mod grpc;
mod guard;
pub mod http;
mod json;
mod origin;
mod problem;
pub mod proto;
mod silence;
#[cfg(test)]
mod tests;
mod tls;
mod turns;
pub mod websocket;
mod wire;

pub use door::{Behind, Door};
pub use origin::Origins;
pub use silence::Keepalive;
pub use tls::Tls;
pub use turns::Turns;
