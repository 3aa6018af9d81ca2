//! How the server is reached: each stream has a connection and a token of its own.

use tonic::transport::Channel;

use crate::desk::desktop::{Greeting, Link};
use crate::desk::{Error, Patience, TokenSource};
use crate::transport::proto::SessionReady;
use crate::transport::proto::server_event::Event;

/// `D` opens a connection.
pub(in crate::desk) struct Door<D> {
    pub(in crate::desk) dial: D,
    pub(in crate::desk) tokens: TokenSource,
    pub(in crate::desk) patience: Patience,
}

impl<D: AsyncFn() -> Result<Channel, Error>> Door<D> {
    /// Opens a stream. It takes no longer than the token's, the connection's and the
    /// hello's time together.
    ///
    /// # Errors
    /// [`Error::NoToken`], and as opening the connection and [`Link::open`].
    pub(super) async fn open(
        &self,
        greeting: Greeting,
        aside: impl FnMut(Event),
    ) -> Result<(Link, SessionReady), Error> {
        let token = self.tokens.token().await?;
        let channel = (self.dial)().await?;
        Link::open(channel, &token, greeting, &self.patience, aside).await
    }
}
