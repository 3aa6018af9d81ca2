//! The HTTP client that the model and the keys are asked with.

use std::net::IpAddr;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const POOL_IDLE: Duration = Duration::from_secs(90);
/// A dead connection is known after 15 s, before a call of 30 s times out: its
/// calls fail as broken connections, which are asked again. Idle ones are not
/// pinged, which servers may take for abuse; the next call does it at once.
const HTTP2_PING: Duration = Duration::from_secs(10);
const HTTP2_PONG: Duration = Duration::from_secs(5);

/// A client for the server of this URL: HTTP/2 where it offers it, on one
/// connection then.
///
/// # Errors
/// The system's TLS set-up is broken.
pub fn http_client(url: &str) -> reqwest::Result<reqwest::Client> {
    http_builder(url).build()
}

/// What [`http_client`] is built with.
pub fn http_builder(url: &str) -> reqwest::ClientBuilder {
    let mut builder = reqwest::Client::builder();
    if on_loopback(url) {
        // A proxy that the environment names has a loopback of its own.
        builder = builder.no_proxy();
    }
    builder
        .user_agent(concat!("proactive/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE)
        .http2_keep_alive_interval(HTTP2_PING)
        .http2_keep_alive_timeout(HTTP2_PONG)
        .http2_keep_alive_while_idle(false)
        // A redirect would carry the key to a host nobody configured.
        .redirect(reqwest::redirect::Policy::none())
}

fn on_loopback(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_in_each_way_to_write_it() {
        for url in [
            "http://127.0.0.1:1/keys",
            "http://127.9.9.9",
            "http://[::1]:1/",
            "http://LOCALHOST:1/",
        ] {
            assert!(on_loopback(url), "{url}");
        }
        for url in [
            "https://generativelanguage.googleapis.com",
            "http://localhost.example.com",
            "http://10.0.0.1",
            "none",
        ] {
            assert!(!on_loopback(url), "{url}");
        }
    }
}
