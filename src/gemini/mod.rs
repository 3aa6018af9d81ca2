//! The model: a trait that answers one turn of a conversation, Google's HTTP
//! API behind it, and a scripted one for tests. Google's JSON stays in here.
//!
//! Facts about the API: <https://ai.google.dev/api/generate-content> and
//! <https://ai.google.dev/gemini-api/docs/function-calling>, as of November 2026.
//! Vertex AI takes the same requests; only the address and the proof of who asks
//! differ.

mod access;
mod circuit;
mod client;
mod conversation;
mod credentials;
mod error;
mod fair;
mod google_error;
mod options;
mod pool;
mod prices;
mod scripted;
mod tokens;
mod wire;

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::domain::{Uid, Usage};

pub use access::{Access, GEMINI_URL, Vertex, vertex_url};
pub use circuit::CircuitOptions;
pub use client::Client;
pub use conversation::{Answer, Brief, Chunks, Conversation, TextPart};
pub use credentials::{Credentials, Unusable};
pub use error::Error;
pub use options::{MediaResolution, Options, ThinkingLevel};
pub use pool::Pool;
pub use prices::{Price, Prices};
pub use scripted::{Scripted, View};
pub use wire::{Call, Turn};

/// Something that answers one turn of a conversation.
pub trait Model: Send + Sync + 'static {
    /// The name of the model that is asked.
    fn name(&self) -> &str;

    /// The model to begin anew with when this one is out of order
    /// ([`Error::is_outage`]), if there is one. It must see nothing that this one
    /// said.
    fn fallback(&self) -> Option<&dyn Model> {
        None
    }

    /// Asks for the next turn. `spent` grows with every call made, whether or
    /// not a turn comes of it; the future never outlives `ask.deadline`.
    fn generate<'a>(
        &'a self,
        ask: Ask<'a>,
        spent: &'a mut Spent,
    ) -> BoxFuture<'a, Result<Turn, Error>>;
}

/// One question to a model.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// On whose behalf: users take turns where there are more calls than may be.
    pub user: &'a Uid,
    /// Everything said so far.
    pub conversation: &'a Conversation,
    /// The functions it may call, or `None` for all that were declared. It must
    /// call one.
    pub allowed: Option<&'a [&'a str]>,
    /// When nobody waits any longer, retries included.
    pub deadline: Instant,
}

/// What a frame's questions to the model have cost so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spent {
    /// HTTP calls sent, retries included.
    pub calls: u32,
    /// Tokens billed.
    pub usage: Usage,
    /// Millionths of a US dollar.
    pub cost_micro_usd: f64,
    /// The model that said it answered last; empty if none did.
    pub model_answered: String,
    /// Time spent waiting, pauses between retries included.
    pub time: Duration,
}
