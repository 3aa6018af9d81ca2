//! The way to the real Gemini: HTTP/2 over TLS, on one pooled connection.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::Request;
use axum::http::Version;
use axum::{Json, Router};
use futures::StreamExt;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Identity, Server, ServerTlsConfig};

/// Counts connections and requests, and those that did not come over HTTP/2
/// with the key in its header.
#[derive(Default)]
struct Counts {
    connections: AtomicU32,
    requests: AtomicU32,
    odd: AtomicU32,
}

#[tokio::test]
async fn gone_a_new_http_client_per_call_one_http2_connection_carries_all_calls() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("ca.pem");
    std::fs::write(&trusted, signed.cert.pem()).unwrap();
    let counts = Arc::new(Counts::default());
    let counted = counts.clone();
    let model = Router::new().fallback(async move |request: Request| {
        counted.requests.fetch_add(1, Ordering::SeqCst);
        let keyed = request
            .headers()
            .get("x-goog-api-key")
            .is_some_and(|key| key == "the-key");
        let plain = request.uri().query().is_none();
        if request.version() != Version::HTTP_2 || !keyed || !plain {
            counted.odd.fetch_add(1, Ordering::SeqCst);
        }
        let call = json!({ "functionCall": { "name": "no_task_found", "args": {} } });
        Json(json!({ "candidates": [{ "finishReason": "STOP", "content": { "parts": [call] } }] }))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let counted = counts.clone();
    let connections = TcpListenerStream::new(listener).inspect(move |_| {
        counted.connections.fetch_add(1, Ordering::SeqCst);
    });
    let identity = Identity::from_pem(signed.cert.pem(), signed.signing_key.serialize_pem());
    let mut server = Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity))
        .unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(
        server
            .add_routes(Routes::from(model))
            .serve_with_incoming(connections),
    );

    let demo = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_proactive"))
            .args(["demo", "--json"])
            .env_remove("GOOGLE_API_KEY")
            .env("GEMINI_API_KEY", "the-key")
            .env(
                "GOOGLE_GEMINI_BASE_URL",
                format!("https://localhost:{port}"),
            )
            .env("SSL_CERT_FILE", trusted)
            .output()
            .unwrap()
    });
    let demo = demo.await.unwrap();
    let told = String::from_utf8(demo.stdout).unwrap();
    assert!(
        demo.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&demo.stderr)
    );
    assert_eq!(told.matches("NO_TASK_FOUND").count(), 3, "{told}");
    assert_eq!(counts.requests.load(Ordering::SeqCst), 3);
    assert_eq!(
        counts.odd.load(Ordering::SeqCst),
        0,
        "all over HTTP/2, the key in the header"
    );
    assert_eq!(counts.connections.load(Ordering::SeqCst), 1);
}
