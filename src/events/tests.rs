//! The logs, held to what they promise: one suite, which every engine passes.

mod contract;
mod crowd;
mod following;
pub(super) mod house;
mod jobs;
mod memory;
