//! `proactive serve` with a folder for its data, killed and started again where it was.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use crate::outside::{Outside, serve};
use crate::support::PATIENCE;
use crate::support::outside::SERVICE_TOKEN;

/// Its settings, where they are not as shipped: no entry goes by itself, nobody
/// waits for a desktop for long, and a session without news is heard of.
const SETTINGS: [(&str, &str); 7] = [
    ("SERVICE_TOKENS", SERVICE_TOKEN),
    ("LOG_ENTRIES_PER_USER", "1000000"),
    ("LOG_RETENTION", "30d"),
    ("FRAMES_PER_MINUTE", "1000000"),
    ("JOB_DESKTOP_WAIT", "200ms"),
    ("TOOL_TIMEOUT", "2s"),
    ("HEARTBEAT_INTERVAL", "5s"),
];

/// It is killed with the experiment.
pub(crate) struct Server {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    admin: SocketAddr,
    environment: Vec<(String, String)>,
    log: PathBuf,
    process: Child,
    started: Instant,
}

impl Server {
    /// Starts it. What it keeps goes into this folder, and so does what it logs.
    pub(crate) fn start(outside: &Outside, folder: &Path) -> Self {
        let [grpc, http, admin] = [8443, 8444, 8445].map(own_address);
        let [grpc_port, http_port, admin_port] =
            [grpc, http, admin].map(|address| address.port().to_string());
        let (host, data) = (grpc.ip().to_string(), folder.join("data"));
        let own = [
            ("BIND_ADDRESS", &*host),
            ("GRPC_PORT", &grpc_port),
            ("HTTP_PORT", &http_port),
            ("ADMIN_PORT", &admin_port),
            ("DATA_DIR", data.to_str().unwrap()),
        ];
        let environment = outside.environment().into_iter().chain(SETTINGS).chain(own);
        let environment: Vec<_> = environment
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let log = folder.join("server.log");
        Self {
            process: serve(&environment, &log),
            started: Instant::now(),
            grpc,
            http,
            admin,
            environment,
            log,
        }
    }

    /// Ends when it says that it is ready, with how long that took from its start.
    pub(crate) async fn ready(&mut self) -> Duration {
        let becoming = async {
            while !says_ready(self.admin).await {
                let ended = self.process.try_wait().unwrap();
                assert!(ended.is_none(), "the server ended: {ended:?}");
                sleep(Duration::from_millis(5)).await;
            }
        };
        let becoming = timeout(PATIENCE, becoming).await;
        becoming.expect("the server does not become ready");
        self.started.elapsed()
    }

    /// SIGKILL, and another one at once.
    pub(crate) async fn kill_and_start(&mut self) {
        let ended = self.process.try_wait().unwrap();
        assert!(ended.is_none(), "the server ended by itself: {ended:?}");
        self.process.kill().await.unwrap();
        self.process = serve(&self.environment, &self.log);
        self.started = Instant::now();
    }
}

/// Asks once, on a connection of its own: a client with a pool now and then waits for
/// ever if the server that it was connected to is killed.
async fn says_ready(admin: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(admin).await?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut told = String::new();
        stream.read_to_string(&mut told).await?;
        io::Result::Ok(told.starts_with("HTTP/1.1 200 "))
    };
    asked.await.unwrap_or(false)
}

/// An address for this process alone, so that ports need not be looked for.
fn own_address(port: u16) -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, 99, high, low), port))
}
