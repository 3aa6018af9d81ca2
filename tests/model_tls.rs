//! The way to the real Gemini: HTTP/2 over TLS, on a few pooled connections.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::http::Version;
use axum::{Json, Router};
use futures::StreamExt;
use futures::future::join_all;
use proactive::app;
use proactive::domain::Uid;
use proactive::gemini::{
    Access, Ask, Brief, CircuitOptions, Client, Conversation, Error, MediaResolution, Model,
    Options, Pool, Prices, Spent, TextPart, Turn,
};
use proactive::telemetry::Metrics;
use proactive::world::World;
use serde_json::{Value, json};
use tokio::io::{copy, copy_bidirectional, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Identity, Server, ServerTlsConfig};

/// Calls under way at once on one connection: far fewer than the 100 that a
/// server should allow (RFC 9113, section 6.5.2), and as many as the client puts
/// on one before it uses the next.
const STREAMS: u32 = 16;

/// A model behind TLS. Counts connections.
struct Outside {
    port: u16,
    certificate: String,
    connections: Arc<AtomicU32>,
    _serving: JoinSet<()>,
}

impl Outside {
    async fn start(model: Router) -> Self {
        let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = signed.cert.pem();
        let identity = Identity::from_pem(&certificate, signed.signing_key.serialize_pem());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicU32::new(0));
        let counted = connections.clone();
        let incoming = TcpListenerStream::new(listener).inspect(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let mut server = Server::builder()
            .max_concurrent_streams(STREAMS)
            .tls_config(ServerTlsConfig::new().identity(identity))
            .unwrap();
        let mut serving = JoinSet::new();
        let served = server
            .add_routes(Routes::from(model))
            .serve_with_incoming(incoming);
        serving.spawn(async move { served.await.unwrap() });
        Self {
            port,
            certificate,
            connections,
            _serving: serving,
        }
    }

    fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }

    /// Our client as the server builds it, trusting this one; by another port,
    /// perhaps.
    fn client(&self, port: u16) -> Client {
        let base_url = format!("https://localhost:{port}");
        let root = reqwest::Certificate::from_pem(self.certificate.as_bytes()).unwrap();
        let make = || {
            let roots = [root.clone()];
            app::http_builder(&base_url).tls_certs_only(roots).build()
        };
        let options = Options {
            base_url: base_url.clone(),
            version: "v1beta".into(),
            model: "gemini-3.5-flash-lite".into(),
            fallback: None,
            access: Access::Key("the-key".into()),
            call_timeout: Duration::from_secs(30),
            thinking: None,
            media_resolution: MediaResolution::Low,
            calls_at_once: 400,
            circuit: CircuitOptions::default(),
            max_output_tokens: 1_000,
            prices: Prices::DEFAULT.parse().unwrap(),
        };
        Client::new(
            options,
            Pool::new(make).unwrap(),
            World::real(),
            Metrics::new(),
        )
    }
}

fn answer() -> Json<Value> {
    let call = json!({ "functionCall": { "name": "no_task_found", "args": {} } });
    Json(json!({ "candidates": [{ "finishReason": "STOP", "content": { "parts": [call] } }] }))
}

async fn ask(client: &Client, within: Duration) -> (Result<Turn, Error>, Spent) {
    let conversation =
        Conversation::new(&Brief::new("x", &json!([])), &TextPart::new("a"), None, "b");
    let mut spent = Spent::default();
    let ask = Ask {
        user: &Uid::new("somebody"),
        conversation: &conversation,
        allowed: None,
        deadline: Instant::now() + within,
    };
    (client.generate(ask, &mut spent).await, spent)
}

/// Counts requests, and those that did not come over HTTP/2 with the key in its
/// header.
#[derive(Default)]
struct Counts {
    requests: AtomicU32,
    odd: AtomicU32,
}

#[tokio::test]
async fn gone_a_new_http_client_per_call_a_few_http2_connections_carry_all_calls() {
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
        answer()
    });
    let outside = Outside::start(model).await;
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("ca.pem");
    std::fs::write(&trusted, &outside.certificate).unwrap();
    let port = outside.port;

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
    // The demo's frames come one after the other.
    assert_eq!(outside.connections(), 1);
}

#[tokio::test]
async fn calls_beyond_the_streams_of_a_connection_go_on_another_at_once() {
    const CALLS: usize = 3 * STREAMS as usize;
    // Each waits for all others: none can be behind another.
    let all = Arc::new(Barrier::new(CALLS));
    let model = Router::new().fallback(async move || {
        all.wait().await;
        answer()
    });
    let outside = Outside::start(model).await;
    let client = outside.client(outside.port);
    let round = async || {
        let calls = (0..CALLS).map(|_| ask(&client, Duration::from_secs(10)));
        for (turn, _) in join_all(calls).await {
            assert_eq!(turn.unwrap().calls.len(), 1);
        }
    };
    round().await;
    let connections = outside.connections();
    round().await;
    assert_eq!(outside.connections(), connections, "they are kept");
}

/// It takes as long as a dead connection may go unnoticed.
#[tokio::test]
async fn a_connection_that_dies_silently_is_replaced_before_its_calls_time_out() {
    let outside = Outside::start(Router::new().fallback(async || answer())).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (die, model) = (Arc::new(Notify::new()), outside.port);
    let dies = die.clone();
    let mut proxy = JoinSet::new();
    proxy.spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(("127.0.0.1", model)).await.unwrap();
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => panic!("it was closed"),
            () = dies.notified() => {}
        }
        // It takes what is sent, and says nothing.
        let mut nowhere = sink();
        let silent = copy(&mut near, &mut nowhere);
        let others = async {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut far = TcpStream::connect(("127.0.0.1", model)).await.unwrap();
                copy_bidirectional(&mut near, &mut far).await.unwrap();
            }
        };
        let _ = tokio::join!(silent, others);
    });
    let client = outside.client(port);
    let within = Duration::from_secs(60);
    assert!(ask(&client, within).await.0.is_ok());
    die.notify_one();
    let (turn, spent) = ask(&client, within).await;
    assert_eq!(turn.unwrap().calls.len(), 1);
    assert_eq!(
        spent.calls, 2,
        "one on the dead connection, one on a new one"
    );
}
