//! The WebSocket door: a session's events as JSON text messages, for browsers and
//! for whoever does not speak gRPC. `docs/websocket.md` describes it.
//!
//! The framing is read here, as gRPC's is, because no library of it can read past
//! a message: see `reader`. What is in front of a frame, close codes and the
//! handshake's hash are tungstenite's.

mod close;
mod frames;
mod notes;
mod reader;
mod upgrade;
mod writer;

use std::time::Duration;

use axum::extract::FromRef;
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::door::Door;
use super::origin::Origins;
use super::silence::Keepalive;
use crate::session::{Account, Input};

pub use close::Close;
pub use reader::MAX_MESSAGE;
pub(super) use upgrade::upgrade;

/// Where the door is.
pub const PATH: &str = "/v1/proactive";

/// The protocol that is spoken, as clients offer it.
pub const PROTOCOL: &str = "proactive.v1";

/// Longer than a fuzzer lets anything last.
const A_DAY: Duration = Duration::from_secs(86_400);

/// What a client says, in order, until the socket ends. Bytes of any client become
/// inputs of a session there: tests/fuzz feeds it.
#[doc(hidden)]
pub fn inputs(
    socket: impl AsyncRead + Unpin,
    account: Account,
) -> impl futures::Stream<Item = Input> {
    reader::inputs(socket, account, A_DAY, notes::Notes::new())
}

/// What the door needs.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) door: Door,
    pub(super) origins: Origins,
    pub(super) keepalive: Keepalive,
    pub(super) streams: Streams,
}

impl FromRef<Site> for Door {
    fn from_ref(site: &Site) -> Self {
        site.door.clone()
    }
}

/// The streams that are open.
#[derive(Clone)]
pub(super) struct Streams {
    tasks: TaskTracker,
    /// They end at once.
    gone: CancellationToken,
}

impl Streams {
    /// None yet; all end at once with `gone`.
    pub(super) fn new(gone: CancellationToken) -> Self {
        let tasks = TaskTracker::new();
        Self { tasks, gone }
    }

    /// Ends when all streams have, and no more come.
    pub(super) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn spawn(&self, stream: impl Future<Output = ()> + Send + 'static) {
        let gone = self.gone.clone();
        self.tasks.spawn(async move {
            gone.run_until_cancelled(stream).await;
        });
    }
}
