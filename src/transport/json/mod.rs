//! The contract's messages as JSON, the same on a WebSocket and over HTTP.

mod endings;
mod fields;
mod log;
mod object;
mod said;
mod skim;
mod surrogates;
mod told;

pub(super) use log::{Job, LogEvent};
pub(super) use object::{MAX_DEPTH, nests_at_most, on_one_line};
pub(super) use said::{input, object, submission};
pub(super) use skim::Skim;
pub(super) use told::text;
