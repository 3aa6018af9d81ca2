//! The contract's messages and what they mean inside: from the wire with every field
//! checked, to the wire without a way to fail. All doors share it.

mod bounds;
pub(super) mod endings;
pub(super) mod inbound;
pub(super) mod log_events;
pub(super) mod outbound;
mod tools;
mod weigh;

pub(super) use weigh::MAX_ENTRIES;
