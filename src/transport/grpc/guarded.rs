//! Services behind the guard: a request's token is verified before the service sees it.
//! The body of what may be large is set aside, to be read message by message and counted.

use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::Full;
use tonic::body::Body;
use tower::{Layer, Service};

use super::messages::RawBody;
use crate::transport::guard::{Guard, bearer};
use crate::transport::turns;

/// What tonic's reader is given instead of a body that is read in another way.
fn put_aside(path: &str) -> Option<Body> {
    /// A message of no bytes: prefix, flags and length.
    const EMPTY: &[u8] = &[0; 5];
    let (_, method) = path.rsplit_once('/')?;
    match method {
        "Session" => Some(Body::empty()),
        // A call must have a message.
        "SubmitFrame" => Some(Body::new(Full::new(Bytes::from_static(EMPTY)))),
        _ => None,
    }
}

/// Puts the [`Principal`](crate::domain::Principal) and the [`RawBody`] into the request's
/// extensions, or answers the request with a status.
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
pub(in crate::transport) struct Guarded<S> {
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
            match guard.admit(bearer(&parts.headers)).await {
                Ok(principal) => parts.extensions.insert(principal),
                Err(denied) => return Ok(denied.status().into_http()),
            };
            let body = match put_aside(parts.uri.path()) {
                Some(instead) => {
                    parts.extensions.insert(RawBody::new(body));
                    instead
                }
                None => body,
            };
            let response = inner.call(http::Request::from_parts(parts, body)).await?;
            Ok(turns::keep(response, Body::new))
        }
        .boxed()
    }
}
