//! The service as its users meet it: a real server in process, a real gRPC
//! client, a model server that misbehaves on purpose.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod auth;
mod bad_input;
mod connections;
mod crowd;
mod doors;
mod ending;
mod following;
mod http;
mod jobs;
mod limits;
mod messages;
mod model;
mod openapi;
mod outage;
mod resume;
mod session;
mod tools;
mod upgrade;
mod websocket;
mod websocket_page;
