//! ProactiveAI: a desktop's frames go in, one decision per frame comes out.
//!
//! `docs/ARCHITECTURE.md` draws the house; each module's first line says what
//! lives there.

pub mod demo;
pub mod domain;
pub mod transport;
pub mod world;
