//! The wire contract as generated from `proto/proactive/v1/proactive.proto`, and what
//! workers speak, from `proto/proactive/workers/v1/workers.proto`.

#![expect(
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]

tonic::include_proto!("proactive.v1");

/// What workers speak.
pub mod workers {
    tonic::include_proto!("proactive.workers.v1");
}

/// Both as descriptors, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/proactive.v1.bin"));
