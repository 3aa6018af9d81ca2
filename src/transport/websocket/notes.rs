//! What the two halves of a WebSocket tell each other: the one that reads belongs
//! to the session, the one that writes is a task of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::close::Close;

/// Why nothing more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client closed the stream, with this code.
    Theirs(Option<u16>),
    /// What the client sent closes it.
    Ours(Close),
    /// The connection broke, or nobody is there any more.
    Gone,
}

/// Notes of the reading half to the writing one; `R` is the socket's half that is
/// read, which goes back in the end.
pub(super) struct Notes<R>(Arc<Shared<R>>);

struct Shared<R> {
    page: Mutex<Page<R>>,
    news: Notify,
}

struct Page<R> {
    /// To be said in a pong. Of many pings only the newest need be answered
    /// (RFC 6455, 5.5.3), so that a flood of them fills nothing.
    pong: Option<Bytes>,
    ending: Option<Ending>,
    socket: Option<R>,
}

/// What is new.
pub(super) enum News {
    Pong(Bytes),
    Ending(Ending),
}

impl<R> Clone for Notes<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R> Notes<R> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            page: Mutex::new(Page {
                pong: None,
                ending: None,
                socket: None,
            }),
            news: Notify::new(),
        }))
    }

    /// A ping has come.
    pub(super) fn answer(&self, ping: Bytes) {
        // A copy: it may be a part of a large buffer.
        self.page().pong = Some(Bytes::copy_from_slice(&ping));
        self.0.news.notify_one();
    }

    /// Nothing more is read.
    pub(super) fn end(&self, ending: Ending) {
        self.page().ending = Some(ending);
        self.0.news.notify_one();
    }

    /// The socket is not read by the session any more.
    pub(super) fn give_back(&self, socket: R) {
        self.page().socket = Some(socket);
        self.0.news.notify_one();
    }

    /// Why nothing more is read, if that is so.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.page().ending
    }

    /// What is new; endings again and again. For one listener alone. Cancel-safe.
    pub(super) async fn news(&self) -> News {
        loop {
            {
                let mut page = self.page();
                if let Some(pong) = page.pong.take() {
                    return News::Pong(pong);
                }
                if let Some(ending) = page.ending {
                    return News::Ending(ending);
                }
            }
            self.0.news.notified().await;
        }
    }

    /// The socket, once it is not read any more.
    pub(super) async fn socket(&self) -> R {
        loop {
            if let Some(socket) = self.page().socket.take() {
                return socket;
            }
            self.0.news.notified().await;
        }
    }

    fn page(&self) -> MutexGuard<'_, Page<R>> {
        self.0.page.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
