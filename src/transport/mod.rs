//! The doors of the house: gRPC for desktops, HTTP for operators. Wire formats
//! end here.

pub mod admin;
pub mod grpc;
mod guard;
mod inbound;
// Bytes of any client become inputs of a session there: tests/fuzz feeds it.
#[doc(hidden)]
pub mod messages;
mod outbound;
pub mod proto;
mod silence;
mod skim;
mod weigh;
