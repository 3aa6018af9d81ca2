//! What lies between the desktop and its server: to be cut on purpose, or to lead to
//! another server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// Carries connections until it is dropped.
pub(super) struct Wire {
    address: SocketAddr,
    server: watch::Sender<SocketAddr>,
    cut: Arc<Notify>,
    _carrier: JoinSet<()>,
}

impl Wire {
    pub(super) async fn to(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let cut = Arc::new(Notify::new());
        let server = watch::Sender::new(server);
        let mut carrier = JoinSet::new();
        carrier.spawn(carry(listener, server.subscribe(), cut.clone()));
        Ok(Self {
            address,
            server,
            cut,
            _carrier: carrier,
        })
    }

    /// Where the desktop is to connect.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nothing more comes through, either way, on the connections there are.
    pub(super) fn cut(&self) {
        self.cut.notify_waiters();
    }

    /// The connections to come lead to this server.
    pub(super) fn lead_to(&self, server: SocketAddr) {
        self.server.send_replace(server);
    }
}

async fn carry(listener: TcpListener, server: watch::Receiver<SocketAddr>, cut: Arc<Notify>) {
    // As many as one desktop opens.
    let mut connections = JoinSet::new();
    while let Ok((mut desktop, _)) = listener.accept().await {
        let (server, cut) = (*server.borrow(), cut.clone());
        connections.spawn(async move {
            let Ok(mut server) = TcpStream::connect(server).await else {
                return;
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
        });
    }
}
