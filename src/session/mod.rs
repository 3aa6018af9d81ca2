//! One desktop's session, free of transport: it takes a stream of what the
//! client says and a sender for what it is told, never a socket. gRPC is one
//! door to it.

mod absences;
mod actor;
mod answers;
mod following;
mod frames;
mod line;
mod lobby;
mod message;
mod outbox;
mod quota;
mod timers;
mod totals;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::analysis::Analyst;
use crate::domain::Principal;
use crate::events::Log;
use crate::telemetry::{Metrics, TraceContext};
use crate::tools::Router;
use crate::world::World;

pub use actor::Session;
pub use line::{Connection, Inputs, StreamEnd};
pub use lobby::Lobby;
pub use message::{
    ClientMessage, Follow, FrameAnswer, GoAway, Hello, Input, Ready, Refusal, RefusalCode,
    Resumable, Resume, Resumed, ServerMessage, Version,
};

pub use quota::{Account, Full, Held, Limits, NoRoom, Quota, Seat};

/// Messages that wait for a slow transport before the session holds them
/// itself.
pub const OUTBOUND_QUEUE: usize = 8;
/// Of a device's id that a hello says, in the log.
const DEVICE_CHARS: usize = 8;

/// Limits of one session.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Frames analysed at once; one more may wait.
    pub frames_at_once: usize,
    /// Between two heartbeats to a client of protocol 1.1.
    pub heartbeat_interval: Duration,
    /// How long a client may leave its answers unread before its session ends.
    pub slow_client_limit: Duration,
    /// By when a stream must have brought a hello or a frame.
    pub hello_timeout: Duration,
    /// How long a stream lives at most. Its session goes on, if another stream
    /// takes it up.
    pub max_age: Duration,
    /// How long a stream may outlive the token that opened it.
    pub token_leeway: Duration,
    /// How long before such an end the client is told.
    pub go_away_notice: Duration,
    /// How long a session whose stream broke waits to be taken up.
    pub resume_grace: Duration,
    /// What sessions without a stream may keep.
    pub away: AwayLimits,
    /// How long a drain may take in all.
    pub drain_grace: Duration,
    /// Over how much of that the clients are told, each at a moment of its own.
    pub drain_spread: Duration,
    /// The longest reconnect delay suggested in a GoAway; each client gets its
    /// own share of it.
    pub reconnect_spread: Duration,
    /// Whether the log is told of frames without a task, too.
    pub log_no_task: bool,
}

impl Options {
    /// How long a stream may live whose token is valid for that long. Those that opened
    /// together, after a restart, do not all end together.
    pub fn life(&self, valid: Duration, world: &World) -> Duration {
        let age = self.max_age - world.up_to(self.max_age / 10);
        age.min(valid + self.token_leeway)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            frames_at_once: 2,
            heartbeat_interval: Duration::from_secs(20),
            slow_client_limit: Duration::from_secs(10),
            hello_timeout: Duration::from_secs(10),
            max_age: Duration::from_secs(2 * 3_600),
            token_leeway: Duration::from_secs(300),
            go_away_notice: Duration::from_secs(60),
            resume_grace: Duration::from_secs(30),
            away: AwayLimits::default(),
            drain_grace: Duration::from_secs(25),
            drain_spread: Duration::ZERO,
            reconnect_spread: Duration::from_secs(5),
            log_no_task: false,
        }
    }
}

/// What sessions without a stream may keep. Whoever has been away longest goes
/// first.
#[derive(Clone, Copy, Debug)]
pub struct AwayLimits {
    /// Of all users.
    pub sessions: usize,
    /// Of one user.
    pub sessions_per_user: usize,
    /// Of all users: frames under way, answers, and what the model is told of tasks.
    pub bytes: usize,
    /// The same of one user.
    pub bytes_per_user: usize,
}

impl Default for AwayLimits {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            sessions_per_user: 8,
            bytes: 256 << 20,
            bytes_per_user: 32 << 20,
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
    /// What tools there are, and who executes them.
    pub router: Router,
    /// Every user's log.
    pub log: Log,
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

impl Caller {
    /// What the log calls the device: as its headers do, else the beginning of what its
    /// first word says, of which as much is shown as of a uid.
    fn shown_device(&self, first: Option<&Input>) -> String {
        let said = match first {
            Some(Input::Message(ClientMessage::Hello(hello))) => hello.profile.as_ref(),
            _ => None,
        };
        let said = said.and_then(|profile| profile.device.as_ref());
        match (&*self.device, said) {
            ("", Some(device)) => device.as_str().chars().take(DEVICE_CHARS).collect(),
            (header, _) => header.to_owned(),
        }
    }
}
