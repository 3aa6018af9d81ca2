//! What stands between the desktops and the server: it carries connections to
//! whichever server is in force, and can cut all of them.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{HOST, Result};

pub(crate) struct Balancer {
    port: u16,
    target: Arc<AtomicU16>,
    lines: Arc<Mutex<JoinSet<()>>>,
    _accepting: JoinSet<()>,
}

impl Balancer {
    pub(crate) async fn new(target: u16) -> Result<Self> {
        let listener = TcpListener::bind((HOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let target = Arc::new(AtomicU16::new(target));
        let lines = Arc::<Mutex<JoinSet<()>>>::default();
        let mut accepting = JoinSet::new();
        let (to, all) = (target.clone(), lines.clone());
        accepting.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let to = to.load(Ordering::Relaxed);
                let mut lines = all.lock().unwrap_or_else(PoisonError::into_inner);
                lines.spawn(async move { drop(carry(client, to).await) });
                while lines.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            port,
            target,
            lines,
            _accepting: accepting,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{HOST}:{}", self.port)
    }

    /// Connections go there from now on; those that are open stay.
    pub(crate) fn switch(&self, target: u16) {
        self.target.store(target, Ordering::Relaxed);
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.abort_all();
    }
}

async fn carry(mut client: TcpStream, to: u16) -> std::io::Result<()> {
    let mut server = TcpStream::connect((HOST, to)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
