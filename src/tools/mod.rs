//! Tools that run elsewhere: today the two searches, on the desktop whose
//! stream sent the frame. The analysis sees a [`Desk`]; the session sees
//! [`Errand`]s to send and a [`Pending`] table to resolve.

mod desk;
mod pending;

pub use desk::{Desk, Errand, Miss, SearchRequest};
pub use pending::{Answer, Pending, Wait};
