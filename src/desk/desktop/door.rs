//! How the server is reached: each stream has a connection and a token of its own.

use tonic::transport::Channel;

use super::{Greeting, Link, Patience};
use crate::desk::{Error, TokenSource};
use crate::transport::proto::SessionReady;
use crate::transport::proto::server_event::Event;

/// The way to a server.
pub struct Door<D> {
    /// Opens a connection.
    pub dial: D,
    /// Gives a token for it.
    pub tokens: TokenSource,
    /// How long everything may take.
    pub patience: Patience,
}

impl<D: AsyncFn() -> Result<Channel, Error>> Door<D> {
    /// Opens a stream. It takes no longer than the token's, the connection's and the
    /// hello's time together.
    ///
    /// # Errors
    /// [`Error::NoToken`], and as opening the connection and [`Link::open`].
    pub(in crate::desk) async fn open(
        &self,
        greeting: Greeting,
        aside: impl FnMut(Event),
    ) -> Result<(Link, SessionReady), Error> {
        let token = self.tokens.token().await?;
        let channel = (self.dial)().await?;
        Link::open(channel, &token, greeting, &self.patience, aside).await
    }
}
