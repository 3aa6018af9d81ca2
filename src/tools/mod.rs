//! Tools that run elsewhere: today the two searches, on the desktop whose
//! stream sent the frame, or, for a job, on one of its user. The analysis sees a
//! [`Desk`]; the session sees [`Errand`]s to send and a [`Pending`] table to resolve.
//! And those that processes of the operator's execute: [`workers`].

mod anybody;
mod desk;
mod directory;
mod pending;
pub mod workers;

pub use anybody::Anybody;
pub use desk::{Contact, Desk, Errand, Miss, SearchRequest};
pub use directory::{Directory, Listed};
pub use pending::{Answer, Pending, Wait};
