//! The doors of the house.

pub mod proto;
