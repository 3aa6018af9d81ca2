//! A line between the desks and the balancer that delays what passes, or breaks.

use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio::{join, select};

/// Bytes that are read at once, and how many such pieces are on their way.
const PIECE: usize = 16 * 1024;
const PIECES: usize = 64;

/// It ends with the experiment, and every connection with it.
pub(crate) struct Wire {
    breaking: watch::Sender<Break>,
    _carrying: JoinSet<()>,
}

/// How connections break.
#[derive(Clone, Copy)]
enum Break {
    /// Both sides are told.
    Cut,
    /// Neither side is told, but nothing passes any more.
    Silence,
}

impl Wire {
    /// Carries connections from one address to the other. Every byte takes this long,
    /// each way.
    pub(crate) async fn between(from: SocketAddr, to: SocketAddr, delay: Duration) -> Self {
        let listener = TcpListener::bind(from).await.unwrap();
        let (breaking, breaks) = watch::channel(Break::Cut);
        let mut carrying = JoinSet::new();
        carrying.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let mut breaks = breaks.clone();
                breaks.mark_unchanged();
                connections.spawn(async move {
                    let mut carrying = pin!(carry(near, to, delay));
                    select! {
                        () = &mut carrying => return,
                        _ = breaks.changed() => {}
                    }
                    let how = *breaks.borrow();
                    match how {
                        Break::Cut => {}
                        // Its sockets stay open.
                        Break::Silence => pending().await,
                    }
                });
            }
        });
        Self {
            breaking,
            _carrying: carrying,
        }
    }

    /// Closes all connections there are, whatever is on its way in them.
    pub(crate) fn cut(&self) {
        self.breaking.send_replace(Break::Cut);
    }

    /// Carries nothing more in the connections there are, as if their network had gone.
    pub(crate) fn silence(&self) {
        self.breaking.send_replace(Break::Silence);
    }
}

async fn carry(near: TcpStream, to: SocketAddr, delay: Duration) {
    let Ok(far) = TcpStream::connect(to).await else {
        return;
    };
    for end in [&near, &far] {
        end.set_nodelay(true).unwrap();
    }
    let (near, far) = (near.into_split(), far.into_split());
    join!(one_way(near.0, far.1, delay), one_way(far.0, near.1, delay));
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (tell, mut told) = mpsc::channel(PIECES);
    let reading = async move {
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let read = from.read_buf(&mut piece).await;
            let due = Instant::now() + delay;
            if !read.is_ok_and(|bytes| bytes > 0) || tell.send((due, piece)).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = told.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        // Dropping it says so to the other side.
    };
    join!(reading, writing);
}
