//! The current public keys, and the one task that fetches them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use backon::{BackoffBuilder, ExponentialBuilder};
use jsonwebtoken::DecodingKey;
use reqwest::StatusCode;
use reqwest::header::{CACHE_CONTROL, HeaderMap};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::Error;
use super::keys::{self, Keys, Unusable};
use crate::domain::causes;
use crate::world::World;

/// One fetch, body included. Google answers in well under a second.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a verifier waits for a fetch: longer than any takes.
const PATIENCE: Duration = Duration::from_secs(6);
/// Unknown key ids cause at most one fetch in this time, all callers together.
pub(super) const QUIET: Duration = Duration::from_secs(5);
/// Google's documents are below 10 KiB.
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
/// How long keys count as fresh if the endpoint does not say.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// Between two looks at whether the keys are still usable.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// Less would be a busy loop, more would keep withdrawn keys too long.
const LIFETIME_BOUNDS: (Duration, Duration) = (QUIET, Duration::from_secs(24 * 60 * 60));

/// Keys as a whole: verifiers read them without a lock, the fetching task
/// replaces them.
pub(super) struct Keyring {
    url: String,
    http: reqwest::Client,
    world: World,
    max_stale: Duration,
    current: ArcSwapOption<Fetched>,
    /// Told after each fetch, successful or not.
    rounds: watch::Sender<Option<Round>>,
    /// Somebody saw a key id that is not known.
    asked: Notify,
}

pub(super) struct Fetched {
    keys: Keys,
    fresh_until: Instant,
}

/// How a fetch went.
#[derive(Clone, Copy)]
struct Round {
    ended: Instant,
    succeeded: bool,
}

/// Why a fetch brought no keys. Logged, never told to clients.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    /// Retried; the endpoint cannot be reached.
    #[error("the endpoint cannot be reached: {}", causes(.0))]
    Http(#[source] reqwest::Error),
    /// Retried; the endpoint has trouble, or the URL is wrong.
    #[error("the endpoint answered {0}")]
    Status(StatusCode),
    /// Retried; the URL is probably wrong.
    #[error("the document is larger than 256 KiB")]
    TooLarge,
    /// Retried; the URL is probably wrong.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

impl Keyring {
    pub(super) fn new(
        url: String,
        max_stale: Duration,
        http: reqwest::Client,
        world: World,
    ) -> Self {
        Self {
            url,
            http,
            world,
            max_stale,
            current: ArcSwapOption::empty(),
            rounds: watch::Sender::new(None),
            asked: Notify::new(),
        }
    }

    /// The keys, unless they are too old.
    pub(super) fn usable(&self) -> Option<Arc<Fetched>> {
        let current = self.current.load_full();
        current.filter(|fetched| fetched.fresh_until.elapsed() <= self.max_stale)
    }

    /// Ends when there are usable keys.
    pub(super) async fn until_usable(&self) {
        let mut rounds = self.rounds.subscribe();
        while self.usable().is_none() && rounds.changed().await.is_ok() {}
    }

    /// Ends when there are none any more.
    pub(super) async fn until_unusable(&self) {
        while let Some(fetched) = self.usable() {
            // While they are fresh, this is too short, and there is a next time.
            let left = self.max_stale.saturating_sub(fetched.fresh_until.elapsed());
            sleep(left.max(SHORTEST_WAIT)).await;
        }
    }

    /// The key of that id. If it is not known, a fetch is asked for and waited
    /// for, unless one ended just now.
    pub(super) async fn find(&self, kid: &str) -> Result<Arc<DecodingKey>, Error> {
        if let Ok(key) = self.look_up(kid) {
            return Ok(key);
        }
        let succeeded = self.round().await;
        match self.look_up(kid) {
            // Perhaps the document that we could not get has it.
            Err(Error::UnknownKey) if !succeeded => Err(Error::KeysUnavailable),
            found => found,
        }
    }

    fn look_up(&self, kid: &str) -> Result<Arc<DecodingKey>, Error> {
        let usable = self.usable().ok_or(Error::KeysUnavailable)?;
        usable.keys.get(kid).cloned().ok_or(Error::UnknownKey)
    }

    /// Whether the next fetch, or the last if that was just now, succeeded.
    async fn round(&self) -> bool {
        let mut rounds = self.rounds.subscribe();
        let last = *rounds.borrow_and_update();
        if let Some(last) = last.filter(Round::is_recent) {
            return last.succeeded;
        }
        self.asked.notify_one();
        match timeout(PATIENCE, rounds.changed()).await {
            Ok(Ok(())) => rounds.borrow().is_some_and(|round| round.succeeded),
            // The sender lives in `self`: only a keyring that nobody keeps
            // fresh gets here.
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Fetches, and waits until it is time to fetch again, without end.
    pub(super) async fn keep_fresh(&self) {
        let mut retries = backoff();
        loop {
            let pause = match self.refresh().await {
                Ok(lifetime) => {
                    retries = backoff();
                    refresh_after(lifetime, &self.world)
                }
                Err(error) => {
                    let pause = retries.next().unwrap_or(QUIET);
                    let pause = pause + self.world.up_to(pause);
                    tracing::warn!(
                        error = %error,
                        retry_in_ms = pause.as_millis() as u64,
                        have_keys = self.usable().is_some(),
                        "the public keys for ID tokens could not be fetched"
                    );
                    pause
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.asked_after_quiet() => {}
            }
        }
    }

    /// Ends when somebody asks and the last fetch is old enough. Those who ask
    /// earlier know already how it went.
    async fn asked_after_quiet(&self) {
        loop {
            self.asked.notified().await;
            if !self.rounds.borrow().is_some_and(|round| round.is_recent()) {
                return;
            }
        }
    }

    /// One fetch; keys that cannot be replaced stay. Returns their lifetime.
    async fn refresh(&self) -> Result<Duration, FetchError> {
        let fetched = self.fetch().await;
        let succeeded = fetched.is_ok();
        let outcome = fetched.map(|(keys, lifetime)| {
            tracing::info!(
                keys = keys.len(),
                lifetime_s = lifetime.as_secs(),
                "fetched the public keys for ID tokens"
            );
            let fresh_until = Instant::now() + lifetime;
            self.current
                .store(Some(Arc::new(Fetched { keys, fresh_until })));
            lifetime
        });
        self.rounds.send_replace(Some(Round {
            ended: Instant::now(),
            succeeded,
        }));
        outcome
    }

    async fn fetch(&self) -> Result<(Keys, Duration), FetchError> {
        let request = self.http.get(&self.url).timeout(FETCH_TIMEOUT).send();
        let mut response = request.await.map_err(http)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let lifetime = lifetime(response.headers());
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(http)? {
            if document.len() + chunk.len() > MAX_DOCUMENT_BYTES {
                return Err(FetchError::TooLarge);
            }
            document.extend_from_slice(&chunk);
        }
        Ok((keys::read(&document)?, lifetime))
    }
}

impl Round {
    fn is_recent(&self) -> bool {
        self.ended.elapsed() < QUIET
    }
}

/// At 70 to 80 % of the lifetime: with time left for retries, and not in step
/// with the other servers.
pub(super) fn refresh_after(lifetime: Duration, world: &World) -> Duration {
    lifetime.mul_f64(0.7) + world.up_to(lifetime.mul_f64(0.1))
}

/// The URL is the operator's and may carry a secret: it stays out of the log.
fn http(error: reqwest::Error) -> FetchError {
    FetchError::Http(error.without_url())
}

/// 1 s doubling to 30 s, before jitter (ours, not backon's: chance comes from
/// `World`).
fn backoff() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_secs(1))
        .with_max_delay(Duration::from_secs(30))
        .without_max_times()
        .build()
}

/// `max-age` of Cache-Control within bounds; `no-cache` and `no-store` are the
/// shortest.
pub(super) fn lifetime(headers: &HeaderMap) -> Duration {
    let mut lifetime = DEFAULT_LIFETIME;
    for directive in headers
        .get_all(CACHE_CONTROL)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
    {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "max-age" => {
                if let Ok(seconds) = value.trim().trim_matches('"').parse() {
                    lifetime = Duration::from_secs(seconds);
                }
            }
            "no-cache" | "no-store" => {
                lifetime = Duration::ZERO;
                break;
            }
            _ => {}
        }
    }
    lifetime.clamp(LIFETIME_BOUNDS.0, LIFETIME_BOUNDS.1)
}
