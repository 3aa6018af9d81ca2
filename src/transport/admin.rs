//! The operators' door: liveness, readiness, metrics and tools, over plain HTTP.

use std::io;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::silence::{Attentive, Patience, Places};
use crate::auth::Verifier;
use crate::telemetry::{METRICS_CONTENT_TYPE, Metrics};
use crate::tools;

/// The longer one leaves a collector that asks once a minute its connection.
const PATIENCE: Patience = Patience {
    first: Duration::from_secs(10),
    next: Duration::from_secs(75),
};

/// Probes and collectors are few.
const MAX_CONNECTIONS: usize = 256;

/// What the pages show.
#[derive(Clone)]
pub struct Admin {
    /// Not ready while it has no usable keys.
    pub verifier: Verifier,
    /// Shown at `/metrics`.
    pub metrics: Metrics,
    /// Shown at `/tools`.
    pub router: tools::Router,
    /// Not ready any more once this is cancelled.
    pub draining: CancellationToken,
}

/// Serves until `stop`.
///
/// # Errors
/// A listener that fails.
pub async fn serve(listener: TcpListener, admin: Admin, stop: CancellationToken) -> io::Result<()> {
    let pages = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/tools", get(inventory))
        .with_state(admin.clone());
    let places = Places::new(MAX_CONNECTIONS);
    let listener = Attentive::new(listener, PATIENCE, places, admin.metrics);
    axum::serve(listener, pages)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    if admin.draining.is_cancelled() {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "draining: the server is shutting down\n",
        )
    } else if !admin.verifier.ready() {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: Firebase's public keys were never fetched, or too long ago\n",
        )
    } else {
        (StatusCode::OK, "ready\n")
    }
}

async fn inventory(State(admin): State<Admin>) -> impl IntoResponse {
    Json(admin.router.inventory())
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    admin.metrics.keys_usable(admin.verifier.ready());
    (
        [(CONTENT_TYPE, METRICS_CONTENT_TYPE)],
        admin.metrics.render(),
    )
}
