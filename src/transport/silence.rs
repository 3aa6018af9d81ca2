//! Connections on which nothing is heard are given up, whatever they wait for:
//! a TLS handshake, HTTP/2's preface, the rest of a request. So are those on which
//! nothing that is said is taken. And there are only so many, so that descriptors do
//! not run out.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::telemetry::{Limit, Metrics, Seldom};

/// Between two lines of the log about connections too many.
const LINES: Duration = Duration::from_secs(10);
/// After the operating system has refused to accept a connection.
const PAUSE: Duration = Duration::from_secs(1);
/// A connection whose peer takes nothing of what is written for so long is closed, at
/// every door. Whoever lives long and reads, if only now and then, is never so slow:
/// streams that stand still within HTTP/2 fill its windows and not the connection, and
/// a WebSocket that is not read is closed long before.
const UNTAKEN: Duration = Duration::from_secs(60);

/// How dead peers are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Between two HTTP/2 pings.
    pub interval: Duration,
    /// A peer that has not answered a ping after this long is dead.
    pub timeout: Duration,
    /// A connection whose peer has said nothing by then is closed, and so is one
    /// whose TLS handshake takes longer. Later, before there can be pings, it may
    /// be silent a little longer than they allow.
    pub first_byte: Duration,
}

impl Keepalive {
    /// HTTP/2 pings, also while no stream is open: they find dead peers.
    pub const USUAL: Self = Self {
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(10),
        first_byte: Duration::from_secs(10),
    };

    /// Longer than a peer that answers pings is ever silent, and than hyper
    /// takes to drop one that does not.
    pub(super) fn patience(self) -> Patience {
        Patience {
            first: self.first_byte,
            next: self.interval + 2 * self.timeout,
        }
    }
}

/// How long a connection may say nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Before its first byte.
    pub(super) first: Duration,
    /// After any byte.
    pub(super) next: Duration,
}

/// The connections that may be open at once, at all listeners that share them.
#[derive(Clone)]
pub(super) struct Places(Arc<Semaphore>);

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))))
    }
}

/// A listener whose connections fail when patience is over.
pub(super) struct Attentive {
    listener: TcpListener,
    patience: Patience,
    places: Places,
    metrics: Metrics,
    lines: Seldom,
}

impl Attentive {
    /// Takes as many connections as there are places.
    pub(super) fn new(
        listener: TcpListener,
        patience: Patience,
        places: Places,
        metrics: Metrics,
    ) -> Self {
        Self {
            listener,
            patience,
            places,
            metrics,
            lines: Seldom::new(LINES),
        }
    }

    /// The next connection for which there is a place. Others are closed at
    /// once: left unanswered, their clients and balancers would wait here
    /// instead of trying elsewhere.
    async fn welcome(&mut self) -> (TcpStream, SocketAddr, Place) {
        loop {
            let (stream, address) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.not_accepted(&error).await;
                    continue;
                }
            };
            if let Ok(permit) = self.places.0.clone().try_acquire_owned() {
                let place = Place {
                    _permit: permit,
                    _counted: Counted::new(self.metrics.clone()),
                };
                return (stream, address, place);
            }
            self.metrics.limit_met(Limit::Connections);
            if let Some(others) = self.lines.line() {
                tracing::warn!(others, "a connection was closed: there are MAX_CONNECTIONS");
            }
        }
    }

    /// A connection that ended while it waited concerns nobody. What else the
    /// operating system refuses, such as one file too many, it refuses again until
    /// something has changed: asked at once, it would take a whole core.
    async fn not_accepted(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        if let ConnectionAborted | ConnectionRefused | ConnectionReset = error.kind() {
            return;
        }
        if let Some(others) = self.lines.line() {
            tracing::error!(%error, others, "no connection can be accepted; trying again every second");
        }
        sleep(PAUSE).await;
    }
}

/// One of the connections that may be open; its place is free before it is said
/// to be.
struct Place {
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

/// Counts a connection for as long as it is open.
struct Counted(Metrics);

impl Counted {
    fn new(metrics: Metrics) -> Self {
        metrics.connection_opened();
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

/// A connection that fails when patience is over, or nothing is taken any more.
pub(super) struct Heard {
    stream: TcpStream,
    next: Duration,
    /// When patience is over, as far as the timer knows.
    timer: Pin<Box<Sleep>>,
    /// When it really is: put off by every byte, which must cost nothing.
    until: Instant,
    untaken: Untaken,
    _place: Place,
}

/// By when the peer must take something of what could not be written, if there is
/// anything.
#[derive(Default)]
struct Untaken(Option<Pin<Box<Sleep>>>);

impl Untaken {
    /// What came of writing, or an error when that has waited for too long.
    fn judge(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.0 = None;
            return written;
        }
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep(UNTAKEN)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Listener for Attentive {
    type Io = Heard;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Heard, SocketAddr) {
        let (stream, address, place) = self.welcome().await;
        // Answers are small and must not wait for more; without it they are
        // late, not wrong.
        let _ = stream.set_nodelay(true);
        let timer = Box::pin(sleep(self.patience.first));
        let heard = Heard {
            stream,
            next: self.patience.next,
            until: timer.deadline(),
            timer,
            untaken: Untaken::default(),
            _place: place,
        };
        (heard, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let it = &mut *self;
        // First of all: nobody may have asked for a while, and what has arrived
        // since then counts.
        if let Poll::Ready(read) = Pin::new(&mut it.stream).poll_read(context, buffer) {
            it.until = Instant::now() + it.next;
            return Poll::Ready(read);
        }
        loop {
            ready!(it.timer.as_mut().poll(context));
            if it.timer.deadline() >= it.until {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            it.timer.as_mut().reset(it.until);
        }
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.untaken.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.untaken.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// TCP has nothing to flush.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for Heard {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Patience = Patience {
        first: Duration::from_secs(10),
        next: Duration::from_secs(75),
    };

    /// An HTTP server, a connection to it, and when that was made.
    async fn connected(tasks: &mut JoinSet<()>) -> (TcpStream, Instant) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Attentive::new(listener, PATIENCE, Places::new(2), Metrics::new());
        tasks.spawn(async move {
            let pages = Router::new().route("/", get(async || "page"));
            axum::serve(listener, pages).await.unwrap();
        });
        let began = Instant::now();
        (TcpStream::connect(address).await.unwrap(), began)
    }

    async fn rest(mut stream: TcpStream) -> String {
        let mut said = String::new();
        // A reset is as good as an end.
        let _ = stream.read_to_string(&mut said).await;
        said
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_word_is_closed_after_the_first_patience() {
        let mut tasks = JoinSet::new();
        let (stream, began) = connected(&mut tasks).await;
        assert_eq!(rest(stream).await, "");
        let time = began.elapsed();
        assert!(
            (PATIENCE.first..PATIENCE.next).contains(&time),
            "after {time:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_request_is_closed_after_the_second_patience() {
        let mut tasks = JoinSet::new();
        let (mut stream, began) = connected(&mut tasks).await;
        stream.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
        assert!(!rest(stream).await.contains("200"));
        let time = began.elapsed();
        assert!(
            (PATIENCE.next..2 * PATIENCE.next).contains(&time),
            "{time:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_now_and_then_is_kept() {
        let mut tasks = JoinSet::new();
        let (mut stream, _) = connected(&mut tasks).await;
        for _ in 0..5 {
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                .await
                .unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"page") {
                assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
            }
            tokio::time::advance(Duration::from_secs(60)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_now_and_then_is_waited_for_and_what_is_not_taken_fails() {
        let mut untaken = Untaken::default();
        for _ in 0..5 {
            let writing = poll_fn(|context| untaken.judge(context, Poll::Pending));
            let waited = timeout(UNTAKEN - Duration::from_secs(1), writing).await;
            assert!(waited.is_err(), "it has time yet");
            let written = poll_fn(|context| untaken.judge(context, Poll::Ready(Ok(7)))).await;
            assert_eq!(written.unwrap(), 7);
            sleep(2 * UNTAKEN).await;
        }
        let began = Instant::now();
        let failed = poll_fn(|context| untaken.judge(context, Poll::Pending)).await;
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), UNTAKEN);
    }
}
