//! Connections to the HTTP door that are of no use to anybody: they end, and their
//! places are free again.

use std::time::Duration;

use proactive::transport::Tls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, pause, resume, sleep};

use crate::support::websocket::tls;
use crate::support::{App, TestApp, USER};

/// Longer than anything is waited for on a connection that asks for nothing, or takes
/// nothing.
const LONG: Duration = Duration::from_secs(100);

async fn connected(app: &App) -> TcpStream {
    let address = app.service.server.http_addr();
    TcpStream::connect(address).await.unwrap()
}

/// How long it takes until the server hangs up.
async fn hangs_up(mut stream: impl AsyncReadExt + Unpin) -> Duration {
    pause();
    let began = Instant::now();
    // A reset is as good as an end.
    let _ = stream.read_to_end(&mut Vec::new()).await;
    resume();
    began.elapsed()
}

#[tokio::test]
async fn who_begins_http2_and_never_ends_its_preface_is_given_up() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for beginning in [1, 16, 23] {
        let app = TestApp::new().start().await;
        let mut stream = connected(&app).await;
        stream.write_all(&preface[..beginning]).await.unwrap();
        app.metric_becomes("proactive_connections 1").await;
        let time = hangs_up(stream).await;
        assert!(time < LONG, "{beginning} bytes: {time:?}");
    }
}

#[tokio::test]
async fn who_asks_for_nothing_after_a_tls_handshake_is_given_up() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
    let files = Tls::new(certificate.clone(), key.into()).unwrap();
    let app = TestApp::new()
        .tweak(move |config| config.http.tls = Some(files))
        .start()
        .await;
    let stream = tls(app.service.server.http_addr(), &certificate).await;
    let time = hangs_up(stream).await;
    assert!(time < LONG, "{time:?}");
}

#[tokio::test]
async fn who_asks_and_asks_and_takes_no_answer_is_given_up() {
    let app = TestApp::new().start().await;
    let mut stream = connected(&app).await;
    let asked = "GET /v1/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n";
    // More than the operating system keeps for whoever does not read.
    stream
        .write_all(asked.repeat(400).as_bytes())
        .await
        .unwrap();
    app.metric_becomes("proactive_connections 1").await;
    pause();
    sleep(2 * LONG).await;
    resume();
    app.metric_becomes("proactive_connections 0").await;
}

#[tokio::test]
async fn who_follows_a_log_and_is_told_little_is_kept() {
    let app = TestApp::new().start().await;
    let mut stream = connected(&app).await;
    let token = app.service.token(USER);
    let asked =
        format!("GET /v1/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut told = Vec::new();
    while !told.ends_with(b"\n\n\r\n") {
        assert_ne!(stream.read_buf(&mut told).await.unwrap(), 0);
    }
    pause();
    sleep(5 * LONG).await;
    resume();
    app.metric_becomes("proactive_connections 1").await;
}
