//! The logs, held to what they promise: one suite, which every engine passes.

mod contract;
mod crowd;
mod following;
pub(crate) mod hanging;
pub(super) mod house;
mod jobs;
mod memory;
