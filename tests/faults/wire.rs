//! A line between the desks and the balancer that delays what passes, or breaks.

use std::net::SocketAddr;
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
    cut: watch::Sender<()>,
    _carrying: JoinSet<()>,
}

impl Wire {
    /// Carries connections from one address to the other. Every byte takes this long,
    /// each way.
    pub(crate) async fn between(from: SocketAddr, to: SocketAddr, delay: Duration) -> Self {
        let listener = TcpListener::bind(from).await.unwrap();
        let (cut, cuts) = watch::channel(());
        let mut carrying = JoinSet::new();
        carrying.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let mut cuts = cuts.clone();
                cuts.mark_unchanged();
                connections.spawn(async move {
                    select! {
                        () = carry(near, to, delay) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Self {
            cut,
            _carrying: carrying,
        }
    }

    /// Breaks all connections there are, whatever is on its way in them.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(());
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
