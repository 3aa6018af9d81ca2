//! The logs, held to what they promise: one suite, which every engine passes.

mod contract;
mod following;
mod house;
mod jobs;
