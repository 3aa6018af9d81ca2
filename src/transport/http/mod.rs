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
use axum::middleware::{from_fn, map_response};
use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderName, Method, StatusCode};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::{PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;

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
/// What a page may take; streams have deadlines of their own.
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
    // What is a stream, or takes one, has deadlines of its own.
    let mut pages = api::router(api::PAGES);
    if options.page {
        pages = pages.merge(page::files());
    }
    let pages = pages
        .fallback(async || Problem::new(StatusCode::NOT_FOUND))
        .layer(RequestBodyLimitLayer::new(PAGE_BODY))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            PAGE_TIMEOUT,
        ));
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
        .layer(from_fn(problem::give_shape))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, ids::Ids::new(world)))
        .layer(from_fn(ids::drop_unusable))
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
