//! The HTTP door: the WebSocket of desktops, and whatever else HTTP is for. Every
//! request has an id, every error one shape, and nothing here waits for ever.

mod api;
mod asked;
mod body;
mod follow;
mod ids;
mod listener;
mod openapi;
mod page;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware::{Next, from_fn, map_response};
use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderName, Method, StatusCode};
use tokio::time::timeout;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::{PropagateRequestIdLayer, SetRequestIdLayer};

use super::Tls;
use super::door::Door;
use super::origin::Origins;
use super::problem::{self, Problem};
use super::silence::Keepalive;
use super::turns;
use super::websocket::{self, Streams};
use crate::world::World;
pub use listener::{Error, serve};

/// Where a request's id stands, on the way in and out.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What an answer may take once everything is there that it needs; and so a small
/// body.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// The most that a page is sent, in bytes.
const PAGE_BODY: usize = 1 << 20;
/// How long a browser may keep what it was told about origins.
const CORS_MAX_AGE: Duration = Duration::from_secs(600);

/// Where and how to listen.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port 0 means any free one.
    pub address: SocketAddr,
    /// `None`: plaintext, for a balancer that ends TLS.
    pub tls: Option<Tls>,
    /// How dead peers of streams are found, as at the gRPC door.
    pub keepalive: Keepalive,
    /// Whose pages may use this server from a browser.
    pub origins: Origins,
    /// Whether there is a page to try the service in a browser: for `serve --dev` alone.
    pub page: bool,
}

/// Everything that is served; streams go on in `streams` after they were opened.
fn routes(options: &Options, door: Door, world: World, streams: Streams) -> Router {
    // What is a stream, or reads a body, has deadlines of its own.
    let mut pages = api::router(api::PAGES);
    if options.page {
        pages = pages.merge(page::files());
    }
    let pages = pages
        .fallback(async || Problem::new(StatusCode::NOT_FOUND))
        .layer(RequestBodyLimitLayer::new(PAGE_BODY))
        .layer(from_fn(async |request, next: Next| {
            in_time(next.run(request)).await
        }));
    let site = websocket::Site {
        door,
        origins: options.origins.clone(),
        keepalive: options.keepalive,
        streams,
    };
    // The last layer is the first to see a request, and the last to see its answer.
    pages
        .merge(api::router(api::STREAMS))
        .with_state(site)
        .method_not_allowed_fallback(async || Problem::new(StatusCode::METHOD_NOT_ALLOWED))
        .layer(map_response(async |response: Response| {
            turns::keep(response, Body::new)
        }))
        .layer(CatchPanicLayer::custom(problem::crashed))
        .layer(cors(&options.origins))
        .layer(from_fn(asked::of_one_host))
        .layer(from_fn(body::hear_out))
        .layer(from_fn(problem::give_shape))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, ids::Ids::new(world)))
        .layer(from_fn(ids::drop_unusable))
}

/// What comes of it, unless that takes too long.
async fn in_time<T>(doing: impl Future<Output = T>) -> Result<T, Problem> {
    let done = timeout(PAGE_TIMEOUT, doing).await;
    done.map_err(|_| Problem::late())
}

fn cors(origins: &Origins) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.values()))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            REQUEST_ID,
            follow::LAST_EVENT_ID,
        ])
        .expose_headers([REQUEST_ID, RETRY_AFTER, LOCATION])
        .max_age(CORS_MAX_AGE)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use axum::response::IntoResponse;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_too_long_says_that_it_is_its_own_fault() {
        let late = in_time(pending::<()>()).await.unwrap_err().into_response();
        assert_eq!(late.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(late.headers()[RETRY_AFTER], "10");
    }
}
