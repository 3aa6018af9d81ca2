//! ProactiveAI: a desktop's frames go in, one decision per frame comes out.
//!
//! `docs/ARCHITECTURE.md` draws the house; each module's first line says what
//! lives there.

pub mod domain;
pub mod stand_in;
pub mod world;
