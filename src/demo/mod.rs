//! `proactive demo`.

pub mod desktop;
mod likeness;
pub mod store;
pub mod tasks;
