//! Ids of requests: the client's, if it can be written anywhere, or a new one.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderValue;
use tower_http::request_id::{MakeRequestId, RequestId};

use super::REQUEST_ID;
use crate::world::World;

/// A UUID has 36.
const MOST_CHARS: usize = 128;

/// Makes ids for requests that bring none.
#[derive(Clone)]
pub(super) struct Ids(World);

impl Ids {
    pub(super) fn new(world: World) -> Self {
        Self(world)
    }
}

impl MakeRequestId for Ids {
    fn make_request_id<B>(&mut self, _: &http::Request<B>) -> Option<RequestId> {
        let id = HeaderValue::from_str(&self.0.uuid()).ok()?;
        Some(RequestId::new(id))
    }
}

/// An id that is very long or has other than plain characters in it is as if none
/// were there: it comes back in headers and errors.
pub(super) async fn drop_unusable(mut request: Request, next: Next) -> Response {
    let is_usable = |id: &HeaderValue| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
        let id = id.as_bytes();
        !id.is_empty() && id.len() <= MOST_CHARS && id.iter().all(plain)
    };
    if request
        .headers()
        .get(REQUEST_ID)
        .is_some_and(|id| !is_usable(id))
    {
        request.headers_mut().remove(REQUEST_ID);
    }
    next.run(request).await
}
