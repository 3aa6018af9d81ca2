//! A key server on loopback, a verifier that asks it, and time that stands
//! still unless a test moves it.

mod fetching;
mod rules;

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::local::LocalIssuer;
use super::{Options, Verifier};
use crate::world::World;

const PROJECT: &str = "demo-proactive";
const HOUR: Duration = Duration::from_secs(3600);
const SECRET: &str = "0123456789abcdef";

fn world() -> World {
    World::fixed(Timestamp::from_second(1_800_000_000).unwrap(), 1)
}

/// Two issuers for all tests: keys take a while to make.
static ISSUERS: LazyLock<[LocalIssuer; 2]> = LazyLock::new(|| {
    let world = world();
    [(); 2].map(|()| LocalIssuer::new(PROJECT, world.clone()))
});

/// What the key server answers, to be changed at any time.
#[derive(Clone)]
struct Answer {
    status: StatusCode,
    cache_control: &'static str,
    body: String,
    /// Accept the request and say nothing.
    silent: bool,
}

impl Answer {
    fn keys(body: impl Into<String>) -> Self {
        Self {
            status: StatusCode::OK,
            cache_control: "public, max-age=1000, must-revalidate",
            body: body.into(),
            silent: false,
        }
    }

    fn failure() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            ..Self::keys("")
        }
    }

    fn silence() -> Self {
        Self {
            silent: true,
            ..Self::keys("")
        }
    }
}

/// What was logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A running verifier and its key server.
struct Bench {
    verifier: Verifier,
    answer: Arc<Mutex<Answer>>,
    hits: watch::Receiver<u32>,
    log: Log,
    _logging: tracing::subscriber::DefaultGuard,
    _tasks: JoinSet<()>,
    _still: std::sync::mpsc::Sender<()>,
}

impl Bench {
    /// Starts both. Use under paused time: it then moves by [`pass`](Self::pass)
    /// alone, although sockets are waited on.
    async fn start(answer: Answer) -> Self {
        // Tokio moves paused time on its own when nothing but I/O is left to wait
        // for, though not while a blocking task runs.
        let (still, end) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || end.recv());

        // In every test: tracing forgets an event for good if the first thread
        // that reaches it has nobody who listens.
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
        let logging = tracing::subscriber::set_default(subscriber.finish());

        let answer = Arc::new(Mutex::new(answer));
        let (counter, hits) = watch::channel(0);
        let answers = answer.clone();
        let handler = move || {
            counter.send_modify(|hits| *hits += 1);
            let answer = answers.lock().unwrap().clone();
            async move {
                if answer.silent {
                    std::future::pending::<()>().await;
                }
                let headers = [(header::CACHE_CONTROL, answer.cache_control)];
                (answer.status, headers, answer.body)
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let verifier = Verifier::new(
            options(&format!("http://{address}/keys?secret={SECRET}")),
            reqwest::Client::builder().no_proxy().build().unwrap(),
            world(),
        );
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let app = Router::new().route("/keys", get(handler));
            axum::serve(listener, app).await.unwrap();
        });
        let keeper = verifier.clone();
        tasks.spawn(async move { keeper.keep_fresh().await });
        let mut bench = Self {
            verifier,
            answer,
            hits,
            log,
            _logging: logging,
            _tasks: tasks,
            _still: still,
        };
        bench.fetches(1).await;
        bench
    }

    fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Waits until so many fetches have begun, and fails if there are more.
    async fn fetches(&mut self, count: u32) {
        let hits = *self.hits.wait_for(|hits| *hits >= count).await.unwrap();
        assert_eq!(hits, count, "fetches of the key document");
    }

    async fn pass(&self, time: Duration) {
        tokio::time::advance(time).await;
    }
}

fn options(keys_url: &str) -> Options {
    Options {
        project_id: PROJECT.to_owned(),
        keys_url: keys_url.to_owned(),
        emulator: false,
        clock_skew: Duration::from_secs(10),
        max_stale: 2 * HOUR,
    }
}

/// The issuer's key in the other format: a map of key id to certificate.
fn certificates(issuer: &LocalIssuer) -> String {
    let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
        &issuer.private_key().into(),
        &rcgen::PKCS_RSA_SHA256,
    )
    .unwrap();
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    serde_json::json!({ issuer.kid(): certificate }).to_string()
}
