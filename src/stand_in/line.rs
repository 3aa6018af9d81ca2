//! Connections that the server can break off from inside, as a failing network
//! would.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A listener whose connections end with a token.
pub(super) struct Lines {
    tcp: TcpListener,
    all: CancellationToken,
}

impl Lines {
    /// Connections of this listener break off when `all` is cancelled.
    pub(super) fn new(tcp: TcpListener, all: CancellationToken) -> Self {
        Self { tcp, all }
    }
}

impl Listener for Lines {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        let (tcp, address) = Listener::accept(&mut self.tcp).await;
        // Answers are small and come in one piece: send them at once. A socket
        // that refuses this is slower, not wrong.
        tcp.set_nodelay(true).ok();
        let knife = self.all.child_token();
        let cut = Box::pin(knife.clone().cancelled_owned());
        (Line { tcp, knife, cut }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// One connection.
pub(super) struct Line {
    tcp: TcpStream,
    knife: CancellationToken,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Cancelled to break off the connection that a request came by.
#[derive(Clone)]
pub(super) struct Knife(pub(super) CancellationToken);

impl Connected<IncomingStream<'_, Lines>> for Knife {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        Self(stream.io().knife.clone())
    }
}

impl Line {
    /// Polling the token here also wakes the connection's task when it is cut.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
