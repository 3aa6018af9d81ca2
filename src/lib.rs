//! ProactiveAI: a desktop's frames go in, one decision per frame comes out.
//!
//! `docs/ARCHITECTURE.md` draws the house; each module's first line says what
//! lives there.

pub mod analysis;
pub mod app;
pub mod auth;
pub mod config;
pub mod demo;
pub mod desk;
pub mod dev;
pub mod domain;
pub mod embedded;
pub mod events;
pub mod gemini;
pub mod inventory;
pub mod jobs;
pub mod lifecycle;
pub mod local_workers;
pub mod session;
pub mod stand_in;
pub mod telemetry;
pub mod tools;
pub mod transport;
pub mod world;
