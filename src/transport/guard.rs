//! Before a stream or a call opens, at whichever door: its token is verified, once.

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::auth::{self, Verifier};
use crate::domain::Principal;
use crate::telemetry::{AuthResult, Limit, Metrics, Seldom};

/// Streams that may wait at once until their token can be judged: a token names
/// its key, and for one that is not known the keys are fetched. Nobody is known
/// by then, and each may have its window of data in our memory.
const MOST_UNJUDGED: usize = 256;
/// Between two lines of the log about streams that were refused.
const LINES: Duration = Duration::from_secs(10);

/// Judges the tokens of all streams, and counts how.
#[derive(Clone)]
pub(super) struct Guard {
    verifier: Verifier,
    metrics: Metrics,
    unjudged: Arc<Semaphore>,
    lines: Arc<[Seldom; 2]>,
}

impl Guard {
    pub(super) fn new(verifier: Verifier, metrics: Metrics) -> Self {
        Self {
            verifier,
            metrics,
            unjudged: Arc::new(Semaphore::new(MOST_UNJUDGED)),
            lines: Arc::new([Seldom::new(LINES), Seldom::new(LINES)]),
        }
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// Why no stream is opened.
    pub(super) async fn admit(
        &self,
        token: Result<&str, auth::Error>,
    ) -> Result<Principal, Denied> {
        let Ok(_place) = self.unjudged.try_acquire() else {
            self.metrics.limit_met(Limit::Unjudged);
            self.metrics.stream_auth(AuthResult::Unavailable);
            let message = "Too many streams wait for their token to be judged; try again later.";
            return Err(Denied::Unavailable(message.to_owned()));
        };
        let [bad, unavailable] = &*self.lines;
        let verdict = match token {
            Ok(token) => self.verifier.verify(token).await,
            Err(error) => Err(error),
        };
        verdict
            .inspect(|_| self.metrics.stream_auth(AuthResult::Accepted))
            .map_err(|error| {
                let sentence = error.to_string();
                if error.is_unavailable() {
                    self.metrics.stream_auth(AuthResult::Unavailable);
                    if let Some(others) = unavailable.line() {
                        tracing::warn!(%error, others, "a stream was refused");
                    }
                    Denied::Unavailable(sentence)
                } else {
                    self.metrics.stream_auth(AuthResult::Refused);
                    match bad.line() {
                        Some(others) => tracing::info!(%error, others, "a stream was refused"),
                        None => tracing::debug!(%error, "a stream was refused"),
                    }
                    Denied::Unauthenticated(sentence)
                }
            })
    }
}

/// Why no stream is opened, in a sentence for the client that echoes nothing.
#[derive(Debug)]
pub(super) enum Denied {
    /// Another token is needed.
    Unauthenticated(String),
    /// That cannot be told now; the same token may do later.
    Unavailable(String),
}

impl Denied {
    /// As gRPC tells it.
    pub(super) fn status(self) -> Status {
        match self {
            Denied::Unauthenticated(sentence) => Status::unauthenticated(sentence),
            Denied::Unavailable(sentence) => Status::unavailable(sentence),
        }
    }
}

/// The token in the headers, as native clients send it.
pub(super) fn bearer(headers: &http::HeaderMap) -> Result<&str, auth::Error> {
    let value = headers.get(AUTHORIZATION);
    auth::bearer(value.and_then(|value| value.to_str().ok()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;
    use tonic::Code;

    use super::*;
    use crate::world::World;

    #[tokio::test]
    async fn only_so_many_streams_wait_until_their_tokens_can_be_judged() {
        let options = auth::Options {
            project_id: "p".to_owned(),
            keys_url: auth::DEFAULT_KEYS_URL.to_owned(),
            emulator: true,
            clock_skew: Duration::ZERO,
            max_stale: Duration::ZERO,
        };
        let verifier = Verifier::new(options, reqwest::Client::new(), World::real());
        let metrics = Metrics::new();
        let guard = Guard::new(verifier, metrics.clone());
        let headers = HeaderMap::new();
        let judged = async || guard.admit(bearer(&headers)).await.unwrap_err().status();
        let waiting = guard.unjudged.acquire_many(MOST_UNJUDGED as u32).await;
        let status = judged().await;
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().ends_with("try again later."), "{status}");
        let page = metrics.render();
        assert!(page.contains("proactive_limits_met_total{limit=\"unjudged\"} 1\n"));
        drop(waiting);
        assert_eq!(judged().await.code(), Code::Unauthenticated);
    }
}
