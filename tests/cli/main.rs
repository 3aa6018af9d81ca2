//! The program as people and Kubernetes meet it: arguments, environment, exit
//! codes, signals and the log.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/signal.rs"]
mod signal;
#[path = "../support/mod.rs"]
mod support;

mod curl;
mod demo;
mod desk;
mod dev;
mod local_workers;
mod log;
mod outage;
mod page;
mod process;
mod serve;
mod settings;
mod tools;
mod traces;
mod vertex;
