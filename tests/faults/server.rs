//! `proactive serve`, which can be ended in every way and started again where it was.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use crate::outside::{Outside, serve};
use crate::proxy::own_address;
use crate::signal::signal;
use crate::support::PATIENCE;

/// A drain takes DRAIN_GRACE (25 s), 2 s of goodbyes, and 3 s for the last spans.
const LONGEST_DRAIN: Duration = Duration::from_secs(40);

/// It is killed with the experiment.
pub(crate) struct Server {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    environment: Vec<(String, String)>,
    log: PathBuf,
    process: Child,
}

impl Server {
    /// Starts it. For a call to the model, and before a model out of order is asked
    /// again, it waits so long; all else is as it is shipped. What it logs goes into
    /// this folder.
    pub(crate) async fn start(outside: &Outside, patience: Duration, folder: &Path) -> Self {
        let grpc = own_address();
        let admin = SocketAddr::new(grpc.ip(), grpc.port() + 1);
        let http = SocketAddr::new(grpc.ip(), grpc.port() + 2);
        let host = grpc.ip().to_string();
        let ports = [grpc, admin, http].map(|address| address.port().to_string());
        let [grpc_port, admin_port, http_port] = ports;
        let patience = humantime::format_duration(patience).to_string();
        let own = [
            ("BIND_ADDRESS", &*host),
            ("GRPC_PORT", &grpc_port),
            ("HTTP_PORT", &http_port),
            ("ADMIN_PORT", &admin_port),
            ("MODEL_TIMEOUT", &patience),
            ("MODEL_CIRCUIT_OPEN", &patience),
        ];
        let environment = outside.environment().into_iter().chain(own);
        let environment: Vec<_> = environment
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let log = folder.join("server.log");
        let mut server = Self {
            process: serve(&environment, &log),
            grpc,
            http,
            admin,
            environment,
            log,
        };
        server.listening().await;
        server
    }

    /// As the kernel's out-of-memory killer ends it.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// As Kubernetes ends it; how it ended.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        signal("TERM", self.process.id().unwrap());
        let ended = timeout(LONGEST_DRAIN, self.process.wait()).await;
        ended.expect("a drain ends in time").unwrap()
    }

    /// Starts it again, at the same addresses.
    pub(crate) async fn start_again(&mut self) {
        self.process = serve(&self.environment, &self.log);
        self.listening().await;
    }

    /// Ends when it takes connections.
    async fn listening(&mut self) {
        let connected = async {
            while TcpStream::connect(self.grpc).await.is_err() {
                let ended = self.process.try_wait().unwrap();
                assert!(ended.is_none(), "the server ended: {ended:?}");
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, connected).await.unwrap();
    }
}
