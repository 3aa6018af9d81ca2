//! What lies between the desktop and its server, to be cut on purpose.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Carries one connection at a time, until it is dropped.
pub(super) struct Wire {
    address: SocketAddr,
    cut: Arc<Notify>,
    _carrier: JoinSet<()>,
}

impl Wire {
    pub(super) async fn to(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let cut = Arc::new(Notify::new());
        let mut carrier = JoinSet::new();
        carrier.spawn(carry(listener, server, cut.clone()));
        Ok(Self {
            address,
            cut,
            _carrier: carrier,
        })
    }

    /// Where the desktop is to connect.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nothing more comes through, either way; the next connection is carried again.
    pub(super) fn cut(&self) {
        self.cut.notify_one();
    }
}

async fn carry(listener: TcpListener, server: SocketAddr, cut: Arc<Notify>) {
    while let Ok((mut desktop, _)) = listener.accept().await {
        let Ok(mut server) = TcpStream::connect(server).await else {
            continue;
        };
        for side in [&desktop, &server] {
            let _ = side.set_nodelay(true);
        }
        tokio::select! {
            // What was not carried yet is lost.
            biased;
            () = cut.notified() => {}
            _ = copy_bidirectional(&mut desktop, &mut server) => {}
        }
    }
}
