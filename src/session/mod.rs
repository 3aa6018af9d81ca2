//! One desktop's session, free of transport: it takes a stream of what the
//! client says and a sender for what it is told, never a socket. gRPC is one
//! door to it.

mod actor;
mod frames;
mod message;
mod outbox;
mod quota;
mod totals;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::analysis::Analyst;
use crate::domain::Principal;
use crate::telemetry::{Metrics, TraceContext};
use crate::world::World;

pub use actor::Session;
pub use message::{
    ClientMessage, GoAway, Hello, Input, Ready, Refusal, RefusalCode, ServerMessage, Version,
};

pub use quota::{Account, Full, Held, Limits, NoRoom, Quota, Seat};

/// Messages that wait for a slow transport before the session holds them
/// itself.
pub const OUTBOUND_QUEUE: usize = 8;

/// Limits of one session.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Frames analysed at once; one more may wait.
    pub frames_at_once: usize,
    /// Between two heartbeats to a client of protocol 1.1.
    pub heartbeat_interval: Duration,
    /// How long a client may leave its answers unread before its session ends.
    pub slow_client_limit: Duration,
    /// How long a drain may take in all.
    pub drain_grace: Duration,
    /// The longest reconnect delay suggested in a GoAway; each client gets its
    /// own share of it.
    pub reconnect_spread: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            frames_at_once: 2,
            heartbeat_interval: Duration::from_secs(20),
            slow_client_limit: Duration::from_secs(10),
            drain_grace: Duration::from_secs(25),
            reconnect_spread: Duration::from_secs(5),
        }
    }
}

/// How a session is told to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Take no more frames, finish those accepted, then end.
    pub soft: CancellationToken,
    /// End now.
    pub hard: CancellationToken,
}

/// What a session needs from the rest of the house; cheap to clone.
#[derive(Clone)]
pub struct Tools {
    /// Decides about frames.
    pub analyst: Analyst,
    /// Ids and chance.
    pub world: World,
    /// Where it is counted.
    pub metrics: Metrics,
    /// What may be open and under way.
    pub quota: Quota,
}

/// Whose session it is and where from.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Verified when the stream opened.
    pub principal: Principal,
    /// Its session, among those that may be open.
    pub seat: Seat,
    /// What the client calls its device, its platform and its version; for the
    /// log only, each may be empty.
    pub device: String,
    /// See `device`.
    pub platform: String,
    /// See `device`.
    pub app_version: String,
    /// The trace that the client is in, if it is in one.
    pub trace: Option<Box<TraceContext>>,
}
