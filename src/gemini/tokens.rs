//! Access tokens for Vertex AI. Google's library fetches them, one fetch at a time
//! for all callers, and renews each four minutes before it expires; here a token is
//! waited for within a deadline, and replaced when it is refused.

use std::error::Error as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use google_cloud_auth::credentials::{CacheableResource, Credentials as Google};
use google_cloud_auth::errors::CredentialsError;
use http::{Extensions, HeaderMap};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::{Credentials, Error};

/// How long a fetch may take, and a call wait for it at most. Google and metadata
/// servers answer in well under a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// A token is not replaced again in this time, nor a fetch that was refused begun
/// anew: what is younger is as good as can be had.
const QUIET: Duration = Duration::from_secs(10);
/// A fetch that began after one that failed is hidden behind that failure; it is
/// given up when there was no token for so long.
const FAILING: Duration = Duration::from_secs(30);
/// Fetches that never ended, in a row. Each may hold a connection for as long as its
/// peer does: from the ninth on, one is begun only so often.
const MOST_SILENT: u32 = 8;
const SELDOM: Duration = Duration::from_secs(600);

/// The tokens of one server.
pub(super) struct Tokens {
    credentials: Credentials,
    held: Mutex<Held>,
}

/// A keeper of tokens, of Google's library.
struct Held {
    /// `None` if it could not be made.
    google: Option<Google>,
    /// Which one it is.
    number: u64,
    /// When it took the place of another.
    since: Option<Instant>,
    state: State,
    /// When the first of those began to wait who got no answer in their time.
    waited_since: Option<Instant>,
    /// How many before it gave no answer.
    silent: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Working,
    /// Told that no token can be had; it asks no more.
    Refused,
    /// Its fetch does not end.
    Silent,
}

/// What opens one call.
pub(super) struct Pass {
    /// `authorization`, marked as sensitive, and the project that pays if the
    /// credentials name one.
    pub(super) headers: HeaderMap,
    number: u64,
}

impl Tokens {
    /// Begins to fetch a token at once.
    pub(super) fn new(credentials: Credentials) -> Self {
        let held = Mutex::new(Held::new(&credentials, 0, 0));
        Self { credentials, held }
    }

    /// A token that is valid now, before the deadline.
    ///
    /// # Errors
    /// [`Error::NoToken`] if one can perhaps be had later, else
    /// [`Error::NoAccess`].
    pub(super) async fn pass(&self, deadline: Instant) -> Result<Pass, Error> {
        let (google, number) = {
            let mut held = self.held();
            held.replace_if_of_no_use(&self.credentials);
            (held.google.clone(), held.number)
        };
        let Some(google) = google else {
            return Err(Error::NoAccess);
        };
        let begun = Instant::now();
        let until = deadline.min(begun + PATIENCE);
        let answer = timeout_at(until, google.headers(Extensions::new())).await;
        let mut held = self.held();
        // Another one may be held by now.
        if held.number == number {
            held.learn(&answer, begun);
        }
        match answer {
            Ok(Ok(CacheableResource::New { data, .. })) => Ok(Pass {
                headers: data,
                number,
            }),
            Ok(Ok(CacheableResource::NotModified)) => {
                unreachable!("it is said only to those who name what they have")
            }
            Ok(Err(error)) => {
                self.tell(&error);
                Err(if error.is_transient() {
                    Error::NoToken
                } else {
                    Error::NoAccess
                })
            }
            Err(_) => {
                let from = &self.credentials;
                tracing::warn!(%from, "no access token for Vertex AI came in time");
                Err(Error::NoToken)
            }
        }
    }

    /// Says that this pass was refused. True if it is worth trying with another one.
    pub(super) fn refused(&self, pass: &Pass) -> bool {
        let mut held = self.held();
        if held.number == pass.number {
            if held.is_younger_than(QUIET) {
                return false;
            }
            tracing::info!("Vertex AI refused an access token; another one is fetched");
            held.replace(&self.credentials);
        }
        true
    }

    /// For the log: never the error's text, which may quote what was answered.
    fn tell(&self, error: &CredentialsError) {
        let causes = || std::iter::successors(error.source(), |&cause| cause.source());
        let status = causes().find_map(|cause| {
            let by_google = cause.downcast_ref::<google_cloud_gax::error::Error>();
            let by_http = cause.downcast_ref::<reqwest::Error>();
            let status = by_google.and_then(google_cloud_gax::error::Error::http_status_code);
            status.or_else(|| Some(by_http?.status()?.as_u16()))
        });
        let connect = causes()
            .filter_map(|cause| cause.downcast_ref::<reqwest::Error>())
            .any(reqwest::Error::is_connect);
        let from = &self.credentials;
        tracing::warn!(
            %from,
            status,
            connect,
            transient = error.is_transient(),
            "no access token for Vertex AI can be had"
        );
    }

    /// No holder leaves it half changed, so a poisoned lock is as good.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn new(credentials: &Credentials, number: u64, silent: u32) -> Self {
        let google = credentials
            .build()
            .inspect_err(|_| tracing::error!(%credentials, "the credentials cannot be used"));
        Self {
            google: google.ok(),
            number,
            since: None,
            state: State::Working,
            waited_since: None,
            silent,
        }
    }

    /// Takes note of what it gave to somebody who waited from `begun` on.
    fn learn<T>(&mut self, answer: &Result<Result<T, CredentialsError>, Elapsed>, begun: Instant) {
        match answer {
            Ok(Err(error)) if error.is_transient() => {
                if self.waited_since.get_or_insert(begun).elapsed() >= FAILING {
                    self.state = State::Silent;
                }
            }
            Ok(answer) => {
                self.waited_since = None;
                self.silent = 0;
                if answer.is_err() {
                    self.state = State::Refused;
                }
            }
            Err(_) => {
                if self.waited_since.get_or_insert(begun).elapsed() >= PATIENCE {
                    self.state = State::Silent;
                }
            }
        }
    }

    fn replace(&mut self, credentials: &Credentials) {
        *self = Self {
            since: Some(Instant::now()),
            ..Self::new(credentials, self.number + 1, self.silent)
        };
    }

    fn is_younger_than(&self, age: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() < age)
    }

    fn replace_if_of_no_use(&mut self, credentials: &Credentials) {
        let pause = match self.state {
            State::Working => return,
            State::Silent if self.silent >= MOST_SILENT => SELDOM,
            State::Silent | State::Refused => QUIET,
        };
        if !self.is_younger_than(pause) {
            if self.state == State::Silent {
                self.silent = self.silent.saturating_add(1);
            }
            self.replace(credentials);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::time::advance;

    use super::*;

    /// The paused clock goes on as soon as nobody has anything to do.
    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_does_not_end_is_given_up_in_time_and_begun_anew_a_few_times() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = silent.local_addr().unwrap().to_string();
        let tokens = Tokens::new(Credentials::of_the_machine(Some(&host)));
        let waits = async |seconds: u64, waited: u64| {
            let begun = Instant::now();
            let deadline = begun + Duration::from_secs(seconds);
            assert_eq!(tokens.pass(deadline).await.err(), Some(Error::NoToken));
            assert_eq!(begun.elapsed(), Duration::from_secs(waited));
            tokens.held().number
        };
        // Whatever time each of those who wait has.
        assert_eq!(waits(2, 2).await, 0);
        assert_eq!(waits(7, 7).await, 0);
        assert_eq!(waits(2, 2).await, 0);
        assert_eq!(waits(2, 2).await, 1, "the one before had ten seconds");
        for _ in 0..2 * MOST_SILENT {
            waits(60, 10).await;
            advance(QUIET).await;
        }
        assert_eq!(tokens.held().number, u64::from(MOST_SILENT));
        advance(SELDOM).await;
        assert_eq!(waits(60, 10).await, u64::from(MOST_SILENT) + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_hidden_behind_an_older_failure_is_given_up_as_well() {
        let mut held = Held::new(&Credentials::of_the_machine(Some("127.0.0.1:1")), 0, 0);
        let failed = |held: &mut Held| {
            let error = CredentialsError::from_msg(true, "503");
            held.learn::<()>(&Ok(Err(error)), Instant::now());
            held.state == State::Silent
        };
        assert!(!failed(&mut held));
        advance(FAILING / 2).await;
        assert!(!failed(&mut held));
        advance(FAILING / 2).await;
        assert!(failed(&mut held));
    }
}
