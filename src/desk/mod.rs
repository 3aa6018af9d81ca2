//! The reference desktop: one session and what keeps it up, the user's tasks and
//! the searches over them. The demo plays with the same parts.

mod address;
mod args;
pub mod backoff;
mod client;
pub mod desktop;
mod error;
mod executes;
#[cfg(test)]
pub(crate) mod fake;
pub mod files;
mod folder;
mod group;
mod held;
pub(crate) mod json;
mod likeness;
mod output;
mod report;
mod shots;
mod step;
pub mod store;
mod sum;
pub mod tasks;
pub mod token;
pub(crate) mod words;

pub use address::{Address, Roots, Unfit, UnfitRoots};
pub use args::{Args, Ended, Error as Failure, Plan, Stopped};
pub use client::Place;
pub(crate) use desktop::millis;
pub use desktop::{About, Desktop, Door, Ending, Patience, Screen};
pub use error::Error;
pub use executes::{Executes, Unknown};
pub use report::Style;
pub use step::{Step, Verdict};
pub use store::Store;
pub use sum::Sum;
pub use token::TokenSource;
