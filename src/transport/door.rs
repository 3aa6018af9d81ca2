//! What the doors to sessions share, whichever wire they speak: who may come in,
//! how many, and where they go.

use ::http::HeaderMap;
use tokio_util::sync::CancellationToken;

use super::calls::Calls;
use super::fire::Post;
use super::guard::Guard;
use super::silence::Places;
use crate::auth::Verifier;
use crate::domain::{Principal, clip};
use crate::session::{Caller, Lobby, Seat};
use crate::telemetry::{Metrics, TraceContext};

/// Characters of each thing a client says of itself that are kept for the log.
const CLIENT_CHARS: usize = 64;

/// What every session of any door needs; cheap to clone.
#[derive(Clone)]
pub struct Door {
    /// Whether tokens can be judged.
    pub(super) verifier: Verifier,
    /// Judges tokens.
    pub(super) guard: Guard,
    /// Where streams become sessions.
    pub(super) lobby: Lobby,
    /// What else users ask for.
    pub(super) calls: Calls,
    /// Where the operator's programs leave messages.
    pub(super) post: Post,
    pub(super) metrics: Metrics,
    /// No more streams are taken from then on.
    pub(super) stopping: CancellationToken,
    /// The connections of all doors.
    pub(super) places: Places,
}

/// What is behind all doors.
pub struct Behind {
    /// Where streams become sessions.
    pub lobby: Lobby,
    /// What else users ask for.
    pub calls: Calls,
    /// Where the operator's programs leave messages.
    pub post: Post,
}

impl Door {
    /// One with so many connections at most; more are closed as they come. No more
    /// streams are taken from `stopping` on.
    pub fn new(
        verifier: Verifier,
        behind: Behind,
        metrics: Metrics,
        stopping: CancellationToken,
        max_connections: usize,
    ) -> Self {
        let Behind { lobby, calls, post } = behind;
        Self {
            guard: Guard::new(verifier.clone(), metrics.clone()),
            verifier,
            lobby,
            calls,
            post,
            metrics,
            stopping,
            places: Places::new(max_connections),
        }
    }
}

/// Whoever opens a stream with these headers, which may say more about it.
pub(super) fn caller(headers: &HeaderMap, principal: Principal, seat: Seat) -> Caller {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let said = |name| clip(header(name).unwrap_or_default(), CLIENT_CHARS).into_owned();
    Caller {
        principal,
        seat,
        device: said("x-device-id"),
        platform: said("x-app-platform"),
        app_version: said("x-app-version"),
        trace: TraceContext::of_headers(header),
    }
}
