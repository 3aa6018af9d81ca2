//! Before a stream opens: its token is verified, once, and its body set aside
//! for the session to read.

use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::messages::RawBody;
use crate::auth::{self, Verifier};
use crate::domain::Principal;
use crate::telemetry::{AuthResult, Metrics};

/// Puts the [`Principal`] and the [`RawBody`] into the request's extensions, or
/// answers the request with a status.
#[derive(Clone)]
pub(super) struct Guard {
    verifier: Verifier,
    metrics: Metrics,
}

impl Guard {
    pub(super) fn new(verifier: Verifier, metrics: Metrics) -> Self {
        Self { verifier, metrics }
    }

    async fn admit(&self, headers: &http::HeaderMap) -> Result<Principal, Status> {
        let verdict = match auth::bearer(headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok())) {
            Ok(token) => self.verifier.verify(token).await,
            Err(error) => Err(error),
        };
        verdict
            .inspect(|_| self.metrics.stream_auth(AuthResult::Accepted))
            .map_err(|error| {
                let sentence = error.to_string();
                if error.is_unavailable() {
                    self.metrics.stream_auth(AuthResult::Unavailable);
                    tracing::warn!(%error, "a stream was refused");
                    Status::unavailable(sentence)
                } else {
                    self.metrics.stream_auth(AuthResult::Refused);
                    tracing::debug!(%error, "a stream was refused");
                    Status::unauthenticated(sentence)
                }
            })
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            guard: self.clone(),
            inner,
        }
    }
}

/// A service behind a [`Guard`].
#[derive(Clone)]
pub(super) struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let guard = self.guard.clone();
        // The service that is ready is this one, not its clone.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        async move {
            let (mut parts, body) = request.into_parts();
            match guard.admit(&parts.headers).await {
                Ok(principal) => parts.extensions.insert(principal),
                Err(status) => return Ok(status.into_http()),
            };
            parts.extensions.insert(RawBody::new(body));
            inner
                .call(http::Request::from_parts(parts, Body::empty()))
                .await
        }
        .boxed()
    }
}
