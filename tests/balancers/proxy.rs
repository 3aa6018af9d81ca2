//! A balancer that runs with the file of `deploy/balancers`: only addresses,
//! paths and the scale of its idle timeouts are other than there.

#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "shared with the experiments, which use a part of it"
)]

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use reqwest::Client;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::support::http::Http;
use crate::support::outside::Caller;
use crate::support::tools::{envoy, haproxy, nginx};
use crate::support::websocket::{self, Socket};
use crate::support::{Door, PATIENCE};

/// Every idle timeout in the files.
pub(crate) const IDLE: &str = "60s";

/// Which one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
    Envoy,
}

/// Where it stands.
pub(crate) struct Site {
    /// What desktops connect to.
    pub(crate) listen: SocketAddr,
    /// The server behind it.
    pub(crate) server: SocketAddr,
    /// The same server's other door.
    pub(crate) http: SocketAddr,
    /// That server's page for operators.
    pub(crate) admin: SocketAddr,
    /// What is put in place of [`IDLE`].
    pub(crate) idle: &'static str,
}

/// A balancer in front of a server; it ends with the test.
pub(crate) struct Proxy {
    address: SocketAddr,
    certificate: String,
    process: Child,
    folder: TempDir,
}

impl Kind {
    fn program(self) -> Option<OsString> {
        match self {
            Self::Nginx => nginx(),
            Self::Haproxy => haproxy(),
            Self::Envoy => envoy(),
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::Haproxy => "haproxy.cfg",
            Self::Envoy => "envoy.yaml",
        }
    }

    /// What is there once in the file, and what the test puts in its place.
    fn moved(self, site: &Site) -> Vec<(&'static str, String)> {
        let Site {
            listen,
            server,
            http,
            ..
        } = site;
        let (host, port) = (listen.ip(), listen.port());
        match self {
            Self::Nginx => vec![
                ("listen 443 ", format!("listen {listen} ")),
                ("server proactive:50051;", format!("server {server};")),
                ("server proactive:8080;", format!("server {http};")),
            ],
            Self::Haproxy => vec![
                ("bind :443 ", format!("bind {listen} ")),
                (
                    "server proactive1 proactive:50051",
                    format!("server one {server}"),
                ),
                ("server http1 proactive:8080", format!("server one {http}")),
                (
                    "default-server proto h2 check check-proto h1 port 9464",
                    format!(
                        "default-server proto h2 check check-proto h1 port {}",
                        site.admin.port()
                    ),
                ),
                (
                    "default-server check port 9464",
                    format!("default-server check port {}", site.admin.port()),
                ),
            ],
            Self::Envoy => vec![
                (
                    "address: 0.0.0.0, port_value: 443",
                    format!("address: {host}, port_value: {port}"),
                ),
                (
                    "address: proactive, port_value: 50051",
                    format!("address: {}, port_value: {}", server.ip(), server.port()),
                ),
                (
                    "address: proactive, port_value: 8080",
                    format!("address: {}, port_value: {}", http.ip(), http.port()),
                ),
                (
                    "health_check_config: { port_value: 9464 }",
                    format!(
                        "health_check_config: {{ port_value: {} }}",
                        site.admin.port()
                    ),
                ),
            ],
        }
    }

    fn command(self, program: OsString, folder: &Path) -> Command {
        let file = folder.join(self.file());
        let mut command = Command::new(program);
        match self {
            Self::Nginx => {
                // Where the distribution puts what every nginx needs.
                let pid = format!("daemon off; pid {}/pid;", folder.display());
                command.arg("-p").arg(folder).arg("-c").arg(file);
                command.args(["-e", "stderr", "-g", &pid]);
            }
            Self::Haproxy => {
                // One process in the foreground.
                command.arg("-db").arg("-f").arg(file);
            }
            Self::Envoy => {
                command.arg("-c").arg(file);
                command.args(["--disable-hot-restart", "--concurrency", "1"]);
                command.args(["--log-level", "warning"]);
            }
        }
        command
    }

    /// Starts it there; `None` if it is not installed.
    pub(crate) async fn start(self, site: &Site) -> Option<Proxy> {
        let program = self.program()?;
        let folder = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned(), site.listen.ip().to_string()];
        let signed = rcgen::generate_simple_self_signed(names).unwrap();
        let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
        fs::write(folder.path().join("tls.crt"), &certificate).unwrap();
        fs::write(folder.path().join("tls.key"), &key).unwrap();
        fs::write(folder.path().join("tls.pem"), certificate.clone() + &key).unwrap();
        let deployed = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/balancers");
        let mut text = fs::read_to_string(deployed.join(self.file())).unwrap();
        for (there, here) in self.moved(site) {
            assert_eq!(text.matches(there).count(), 1, "{there} in {}", self.file());
            text = text.replace(there, &here);
        }
        for there in ["/etc/proactive", IDLE] {
            assert!(text.contains(there), "{there} in {}", self.file());
        }
        text = text
            .replace("/etc/proactive", folder.path().to_str().unwrap())
            .replace(IDLE, site.idle);
        fs::write(folder.path().join(self.file()), text).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let process = self
            .command(program, folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut proxy = Proxy {
            address: site.listen,
            certificate,
            process,
            folder,
        };
        let listening = timeout(PATIENCE, proxy.listening()).await;
        assert!(
            listening.is_ok(),
            "{self:?} does not listen: {}",
            proxy.log()
        );
        Some(proxy)
    }
}

/// An address that nobody else has: of the 16 million of this machine's own net
/// one for each process and listener, so that the port is free.
pub(crate) fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let one = NEXT.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from(([127, one, high, low], 8443))
}

impl Proxy {
    /// A desktop's connection to it: TLS, and HTTP/2 only if that was agreed on.
    pub(crate) async fn channel(&self) -> Channel {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.certificate))
            .domain_name("localhost");
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address)).unwrap();
        let connected = endpoint.tls_config(tls).unwrap().connect().await;
        connected.unwrap_or_else(|error| panic!("{error:?}\n{}", self.log()))
    }

    /// A stream of a desktop that speaks WebSocket.
    pub(crate) async fn websocket(&self, token: &str) -> Socket {
        let request = websocket::request(self.address, token);
        let connection = websocket::tls(self.address, &self.certificate).await;
        match Socket::open_over(connection, request).await {
            Ok((socket, _)) => socket,
            Err(refused) => panic!("{refused:?}\n{}", self.log()),
        }
    }

    /// A client for what is asked outside of sessions, with this token.
    pub(crate) async fn caller(&self, door: Door, token: &str) -> Caller {
        let token = token.to_owned();
        match door {
            Door::Grpc => Caller::Grpc(self.channel().await, token),
            Door::WebSocket => Caller::Http(Http::with(self.client(), self.url(""), token)),
        }
    }

    /// A program that speaks HTTP to it: HTTP/2, if that is agreed on.
    pub(crate) fn client(&self) -> Client {
        let trusted = reqwest::Certificate::from_pem(self.certificate.as_bytes()).unwrap();
        let client = Client::builder().tls_certs_only([trusted]).no_proxy();
        client.build().unwrap()
    }

    /// Where something is, as seen from outside.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// The head of the answer to a request of HTTP/1.1 that no library has mended.
    pub(crate) async fn told(&self, head: &str) -> String {
        let mut connection = websocket::tls(self.address, &self.certificate).await;
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut told = Vec::new();
        let reading = async {
            while !told.windows(4).any(|it| it == b"\r\n\r\n") {
                assert!(connection.read_buf(&mut told).await.unwrap() > 0);
            }
        };
        timeout(PATIENCE, reading).await.expect("no answer");
        String::from_utf8(told).unwrap()
    }

    /// The certificate that it shows, which names its address.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("tls.crt")
    }

    /// The process that was started.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends when it takes connections.
    async fn listening(&mut self) {
        while TcpStream::connect(self.address).await.is_err() {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What it said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // TERM: nginx' master must end its workers.
        let id = self.process.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status();
        if !told.is_ok_and(|status| status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
        if std::thread::panicking() {
            println!("the balancer said:\n{}", self.log());
        }
    }
}
