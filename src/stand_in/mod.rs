//! A stand-in for Gemini: an HTTP server that speaks generateContent's wire
//! format, at the paths of the Gemini API and of Vertex AI, and decides by simple
//! rules, for the demo, tests and benchmarks.
//!
//! It is no model. It judges every request as strictly as Google's server
//! would, and reads it with types of its own, so that it is an independent
//! judge of what our client sends. Tests can script its answers: see [`Move`].

mod answer;
mod dates;
mod http;
mod judge;
mod line;
mod prompt;
mod refusal;
mod rules;
mod screen;
mod script;
mod text;
mod title;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use script::{Call, KEY_ECHO, Move};

use crate::world::World;

/// Requests kept while recording; older ones are forgotten.
const RECORDED_LIMIT: usize = 256;

/// How a stand-in behaves.
#[derive(Clone)]
pub struct Options {
    /// The `modelVersion` of every answer; says what it is.
    pub model_version: String,
    /// The only `x-goog-api-key` that is taken, and on Vertex AI the only access
    /// token; `None` takes any.
    pub api_key: Option<String>,
    /// Waited before every answer.
    pub latency: Duration,
    /// Keeps the last 256 requests, bodies included, for [`StandIn::recorded`].
    pub record: bool,
    /// Gives a thought signature with every turn of calls and demands it back,
    /// as Gemini does since version 3.
    pub signatures: bool,
    /// Refuses what Google takes but our client must not send: snake_case
    /// names and URL-safe base64. The official SDK sends both.
    pub canonical: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            model_version: "stand-in-1".to_owned(),
            api_key: None,
            latency: Duration::ZERO,
            record: false,
            signatures: true,
            canonical: true,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key.
        f.debug_struct("Options")
            .field("model_version", &self.model_version)
            .field("latency", &self.latency)
            .finish_non_exhaustive()
    }
}

/// A handle on one stand-in, shared by its server and a test; cheap to clone.
#[derive(Clone)]
pub struct StandIn(Arc<Shared>);

struct Shared {
    options: Options,
    world: World,
    moves: Mutex<Moves>,
    recorded: Mutex<VecDeque<Recorded>>,
    traffic: watch::Sender<Traffic>,
}

/// What comes next.
#[derive(Default)]
struct Moves {
    /// Each once.
    script: VecDeque<Move>,
    /// Then these, over and over; if there are none, the rules decide.
    usual: VecDeque<Move>,
}

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Path and query.
    pub path: String,
    /// All headers, the key included.
    pub headers: HeaderMap,
    /// The body as sent; empty if it was too large to be read.
    pub body: Bytes,
}

/// How many requests came, for tests that wait for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests whose body was read, since the start.
    pub arrived: u64,
    /// Of those, requests neither answered nor given up by their client.
    pub open: u64,
}

impl StandIn {
    /// A stand-in that is not yet served. Takes response ids from the world,
    /// and today's date if a prompt does not say it.
    pub fn new(options: Options, world: World) -> Self {
        Self(Arc::new(Shared {
            options,
            world,
            moves: Mutex::default(),
            recorded: Mutex::default(),
            traffic: watch::Sender::default(),
        }))
    }

    /// Answers requests until `stop`, then lets the open ones finish for at
    /// most 5 seconds. HTTP/1.1 and cleartext HTTP/2 with prior knowledge.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        warn!(
            address = %listener.local_addr()?,
            model_version = self.0.options.model_version,
            "this is a STAND-IN for Gemini: it makes decisions by simple rules and is not a model"
        );
        http::serve(self, listener, stop).await
    }

    /// Queues moves: each request that passes the judge takes the next one.
    /// Without any, the rules decide.
    pub fn script(&self, moves: impl IntoIterator<Item = Move>) {
        lock(&self.0.moves).script.extend(moves);
    }

    /// Moves that no request has taken yet.
    pub fn unplayed(&self) -> usize {
        lock(&self.0.moves).script.len()
    }

    /// From now on, whatever is not scripted gets these moves in turn, over and over:
    /// a model that is out of order for as long as a test wants. Without any, the
    /// rules decide again.
    pub fn usually(&self, moves: impl IntoIterator<Item = Move>) {
        lock(&self.0.moves).usual = moves.into_iter().collect();
    }

    /// The last 256 requests, oldest first; empty unless `Options::record`.
    pub fn recorded(&self) -> Vec<Recorded> {
        lock(&self.0.recorded).iter().cloned().collect()
    }

    /// Follows the number of requests, so that a test can wait for one to
    /// arrive, or for a client to go away.
    pub fn traffic(&self) -> watch::Receiver<Traffic> {
        self.0.traffic.subscribe()
    }
}

impl Shared {
    fn next_move(&self) -> Move {
        let mut moves = lock(&self.moves);
        if let Some(next) = moves.script.pop_front() {
            return next;
        }
        if !moves.usual.is_empty() {
            moves.usual.rotate_left(1);
        }
        moves.usual.back().cloned().unwrap_or_else(Move::rules)
    }

    fn record(&self, request: impl FnOnce() -> Recorded) {
        if !self.options.record {
            return;
        }
        let mut recorded = lock(&self.recorded);
        if recorded.len() == RECORDED_LIMIT {
            recorded.pop_front();
        }
        recorded.push_back(request());
    }
}

/// No holder leaves the lists half changed, so a poisoned lock is as good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
