//! Tools, which run elsewhere: on the device whose stream sent the frame, on another
//! one of its user, or on a worker. The analysis sees a [`Desk`], which offers them and
//! has them executed; the session sees [`Errand`]s to send and a [`Pending`] table to
//! resolve.

mod anybody;
mod called_off;
pub mod catalogue;
mod contact;
mod desk;
mod devices;
mod directory;
mod faults;
mod inventory;
mod pending;
mod pieces;
mod request;
mod router;
pub mod routing;
mod schema;
mod served;
pub mod workers;

pub use anybody::Anybody;
pub use called_off::CalledOff;
pub use catalogue::{Catalogue, Tool};
pub use contact::Contact;
pub use desk::Desk;
pub use directory::{Device, Directory, Listed};
pub use inventory::Entry;
pub use pending::{Pending, Wait};
pub use pieces::Piece;
pub use request::{Answer, Errand, Origin, Output, ToolRequest};
pub use router::{Asker, Offer, Place, Policy, Profile, Router, Settings};
pub use schema::Schema;
pub use served::Served;
