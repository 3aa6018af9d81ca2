//! Where a server is, and the connection to it: TLS for every host but this one.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use tokio::time::timeout;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::{Error, files};

/// The port of a server on this host, if none is named.
const LOCAL_PORT: u16 = 50_051;
/// The port of a server elsewhere, if none is named.
const TLS_PORT: u16 = 443;
/// Between two HTTP/2 pings, and how long one may go unanswered.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// A file of certificates is no longer than this, in bytes.
const MOST_CERTIFICATES: u64 = 1024 * 1024;

/// A server's address: HOST, HOST:PORT, or either behind https:// (http:// for this
/// host only).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    tls: bool,
}

/// The address cannot be used; correct it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is not written like an address.
    #[error("{0:?} is not HOST:PORT, as in desk.example.com:443 or 127.0.0.1:50051")]
    Unreadable(String),
    /// Tokens and screens would travel in the clear.
    #[error(
        "http:// would send the token and the screens in the clear to {0}: use https://, or \
         leave the scheme out"
    )]
    Plaintext(String),
}

/// Whom to believe that a server is who it says.
#[derive(Clone, Debug, Default)]
pub enum Roots {
    /// The authorities that the system believes.
    #[default]
    System,
    /// These alone, as PEM.
    Private(String),
}

/// A file of certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnfitRoots {
    /// It is missing, too long, or may not be read.
    #[error("--ca: {0}")]
    File(#[from] files::Error),
    /// It is a file of something else.
    #[error("--ca {}: it holds no PEM certificate", .0.display())]
    NoCertificate(PathBuf),
}

impl FromStr for Address {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let unreadable = || Unfit::Unreadable(text.to_owned());
        let (scheme, rest) = match text.trim().split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text.trim()),
        };
        // An address of IP version 6 may stand without its brackets.
        let rest = match rest.parse() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
            _ => rest.trim_end_matches('/').to_owned(),
        };
        let uri: Uri = format!("http://{rest}").parse().map_err(|_| unreadable())?;
        let authority = uri.authority().ok_or_else(unreadable)?;
        let odd = uri.path() != "/" || uri.query().is_some() || authority.as_str().contains('@');
        // What stands behind the last colon must be a port.
        let written = authority.as_str().strip_prefix(authority.host()) != Some("");
        if odd || authority.host().is_empty() || written && authority.port_u16().is_none() {
            return Err(unreadable());
        }
        let host = authority.host().to_owned();
        let here = is_loopback(&host);
        let tls = match scheme.as_deref() {
            None => !here,
            Some("https") => true,
            Some("http") if here => false,
            Some("http") => return Err(Unfit::Plaintext(host)),
            Some(_) => return Err(unreadable()),
        };
        let usual = if tls { TLS_PORT } else { LOCAL_PORT };
        let port = authority.port_u16().unwrap_or(usual);
        Ok(Self { host, port, tls })
    }
}

impl From<SocketAddr> for Address {
    /// A server that this process started, without TLS.
    fn from(address: SocketAddr) -> Self {
        let host = match address.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Self {
            host,
            port: address.port(),
            tls: false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Roots {
    /// Reads a file of PEM certificates.
    ///
    /// # Errors
    /// [`UnfitRoots`] says what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, UnfitRoots> {
        let pem = files::lossy(files::read(path, MOST_CERTIFICATES)?);
        if !pem.contains("-----BEGIN CERTIFICATE-----") {
            return Err(UnfitRoots::NoCertificate(path.to_owned()));
        }
        Ok(Self::Private(pem))
    }
}

impl Address {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::Connect`] or [`Error::TooSlow`].
    pub async fn dial(&self, roots: &Roots, limit: Duration) -> Result<Channel, Error> {
        let refused = |cause: &dyn std::error::Error| Error::Connect {
            address: self.to_string(),
            cause: root(cause),
        };
        let scheme = if self.tls { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{self}"))
            .map_err(|error| refused(&error))?
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1);
        if self.tls {
            let tls = match roots {
                Roots::System => ClientTlsConfig::new().with_native_roots(),
                Roots::Private(pem) => {
                    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
                }
            };
            endpoint = endpoint.tls_config(tls).map_err(|error| refused(&error))?;
        }
        timeout(limit, endpoint.connect())
            .await
            .map_err(|_| Error::TooSlow {
                what: "connection",
                waited: limit,
            })?
            .map_err(|error| refused(&error))
    }
}

fn is_loopback(host: &str) -> bool {
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// The innermost cause: "connection refused", not "transport error".
fn root(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_is_spoken_to_in_the_clear() {
        for (text, host, port, tls) in [
            ("127.0.0.1", "127.0.0.1", 50_051, false),
            ("localhost:8080", "localhost", 8_080, false),
            ("http://LOCALHOST", "LOCALHOST", 50_051, false),
            ("https://localhost", "localhost", 443, true),
            ("127.9.9.9:1", "127.9.9.9", 1, false),
            ("::1", "[::1]", 50_051, false),
            ("[::1]:9", "[::1]", 9, false),
            ("desk.example.com", "desk.example.com", 443, true),
            ("desk.example.com:8443", "desk.example.com", 8_443, true),
            ("https://desk.example.com/", "desk.example.com", 443, true),
            ("10.0.0.7:50051", "10.0.0.7", 50_051, true),
            ("localhost.example.com", "localhost.example.com", 443, true),
        ] {
            let host = host.to_owned();
            let address = Address { host, port, tls };
            assert_eq!(text.parse(), Ok(address), "{text}");
        }
        let clear = "http://desk.example.com".parse::<Address>().unwrap_err();
        assert!(matches!(clear, Unfit::Plaintext(_)));
        for wrong in [
            "",
            "a b",
            "ftp://x",
            "host:port",
            "host:99999",
            "host:",
            "https://host/path",
            "me:secret@host",
            "://",
        ] {
            let unfit = wrong.parse::<Address>();
            assert!(
                matches!(unfit, Err(Unfit::Unreadable(_))),
                "{wrong}: {unfit:?}"
            );
        }
    }

    #[test]
    fn a_file_without_a_certificate_is_told_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "-----BEGIN PRIVATE KEY-----").unwrap();
        let told = Roots::read(&file).unwrap_err().to_string();
        assert!(
            told.ends_with("ca.pem: it holds no PEM certificate"),
            "{told}"
        );
        let told = Roots::read(&folder.path().join("no")).unwrap_err();
        assert!(told.to_string().contains("No such file"), "{told}");
    }

    #[tokio::test]
    async fn nobody_at_the_address_is_one_sentence() {
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::from(gone.local_addr().unwrap());
        drop(gone);
        let limit = Duration::from_secs(5);
        let error = address.dial(&Roots::System, limit).await.err().unwrap();
        let wanted = format!("cannot connect to {address}: Connection refused");
        assert!(error.to_string().starts_with(&wanted), "{error}");
    }
}
