//! The wire: for now only what the contract generates.

/// The messages, client and server that the contract generates.
#[expect(
    missing_docs,
    unused_qualifications,
    reason = "generated: the contract's comments are its documentation"
)]
pub mod proto {
    tonic::include_proto!("proactive.v1");
}
