//! The doors of the house: gRPC for desktops, HTTP for operators. Wire formats
//! end here.

pub mod admin;
pub mod calls;
pub mod fire;
pub mod followers;
pub mod grpc;
mod guard;
mod inbound;
mod log_events;
// Bytes of any client become inputs of a session there: tests/fuzz feeds it.
#[doc(hidden)]
pub mod messages;
mod methods;
mod outbound;
pub mod proto;
mod silence;
mod skim;
mod weigh;
