//! `proactive demo`.

mod likeness;
pub mod store;
pub mod tasks;
