//! A server as clients find it: it looks at their tokens, has so many seats, and
//! its clock jumps.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proactive::analysis::{self, Analyst};
use proactive::domain::{Principal, Uid};
use proactive::gemini::Scripted;
use proactive::session::{Caller, Full, Limits, Lobby, Options, Quota, Stop, Tools};
use proactive::telemetry::Metrics;
use proactive::tools::Router;
use proactive::world::World;
use rand::rngs::SmallRng;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::judge::{Judge, lock};
use super::log::empty_log;
use super::model::{Model, Watch};
use super::network::{self, Cable, Terms};

/// What a session without frames is counted with, in bytes.
const SESSION_BYTES: usize = 24 << 10;

/// A wall clock, which somebody sets now and then.
#[derive(Clone)]
pub(crate) struct WallClock {
    began: (Instant, Timestamp),
    steps: Arc<Mutex<SignedDuration>>,
}

impl WallClock {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            began: (Instant::now(), now),
            steps: Arc::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let (began, then) = self.began;
        then + began.elapsed() + *lock(&self.steps)
    }

    pub(crate) fn step(&self, by: SignedDuration) {
        *lock(&self.steps) += by;
    }
}

/// What a client shows at the door.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) uid: String,
    pub(crate) expires_at: Timestamp,
}

/// Why a client is not let in.
#[derive(Debug)]
pub(crate) enum Closed {
    /// As UNAUTHENTICATED.
    Expired,
    /// As RESOURCE_EXHAUSTED, or UNAVAILABLE.
    Full,
    /// As UNAVAILABLE.
    Nobody,
}

/// What all servers share.
pub(crate) struct Town {
    pub(crate) judge: Arc<Judge>,
    pub(crate) watch: Arc<Mutex<Watch>>,
    pub(crate) world: World,
    pub(crate) clock: WallClock,
    pub(crate) metrics: Metrics,
    pub(crate) options: Options,
    pub(crate) limits: Limits,
    pub(crate) cables: TaskTracker,
}

/// One server, from its start to its end.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) lobby: Lobby,
    pub(crate) stop: Stop,
    /// Its machine is gone.
    pub(crate) killed: CancellationToken,
    pub(crate) sessions: TaskTracker,
    pub(crate) seats: Seats,
}

/// Whose it is, and whether it is still taken.
type Seat = (String, Weak<()>);

/// Who sits in a server, as seen from outside.
#[derive(Clone)]
pub(crate) struct Seats {
    pub(crate) quota: Quota,
    pub(crate) limits: Limits,
    taken: Arc<Mutex<Vec<Seat>>>,
}

impl Seats {
    fn of(&self, uid: &str) -> usize {
        let taken = lock(&self.taken);
        let open = |(_, seat): &&Seat| seat.strong_count() > 0;
        taken.iter().filter(|it| it.0 == uid).filter(open).count()
    }

    fn all(&self) -> usize {
        let mut taken = lock(&self.taken);
        taken.retain(|(_, seat)| seat.strong_count() > 0);
        taken.len()
    }

    /// Frames may fill what the limit leaves; seats are taken beyond it.
    pub(crate) fn wrong(&self) -> Option<&'static str> {
        let most = self.limits.bytes + self.all() * SESSION_BYTES;
        (self.quota.bytes() > most).then_some("the server holds more bytes than it may")
    }

    /// Whether it is right to let this user in, or not to.
    fn judge(&self, uid: &str, entered: &Result<(), Full>) -> Option<String> {
        let (own, all) = (self.of(uid), self.all());
        let room = all < self.limits.sessions;
        let own_room = own < self.limits.sessions_per_user;
        let right = match entered {
            Ok(()) => room && own_room,
            Err(Full::Server) => !room,
            Err(Full::User(_)) => !own_room,
        };
        (!right).then(|| format!("with {own} of {all} seats taken, {uid} heard {entered:?}"))
    }
}

impl Server {
    pub(crate) fn new(town: &Town, number: usize) -> Self {
        let (stop, sessions) = (Stop::default(), TaskTracker::new());
        let (world, metrics) = (town.world.clone(), town.metrics.clone());
        let quota = Quota::new(town.limits, world.clone(), metrics.clone());
        let seats = Seats {
            quota: quota.clone(),
            limits: town.limits,
            taken: Arc::default(),
        };
        let model = Model {
            server: number,
            watch: town.watch.clone(),
            judge: town.judge.clone(),
            seats: seats.clone(),
        };
        let model = Arc::new(Scripted::new(move |view| model.answer(view)));
        let analysis = analysis::Options::default();
        let tools = Tools {
            analyst: Analyst::new(analysis, model, world.clone(), metrics.clone()),
            quota,
            log: empty_log(&metrics),
            router: Router::default(),
            world,
            metrics,
        };
        Self {
            lobby: Lobby::new(town.options, tools, stop.clone(), sessions.clone()),
            stop,
            killed: CancellationToken::new(),
            sessions,
            seats,
        }
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// It is refused, before any event.
    pub(crate) fn connect(
        &self,
        town: &Town,
        token: &Token,
        (promised, floods): (bool, bool),
        dice: &mut SmallRng,
    ) -> Result<Cable, Closed> {
        if self.stop.soft.is_cancelled() || self.stop.hard.is_cancelled() {
            return Err(Closed::Nobody);
        }
        let now = town.clock.now();
        if token.expires_at <= now {
            return Err(Closed::Expired);
        }
        let uid = Uid::new(token.uid.as_str());
        let seat = self.seats.quota.open(&uid);
        let entered = seat.as_ref().map(|_| ()).map_err(|full| *full);
        if let Some(wrong) = self.seats.judge(&token.uid, &entered) {
            town.judge.blame(&wrong);
        }
        let caller = Caller {
            seat: seat.map_err(|_| Closed::Full)?,
            principal: Principal {
                uid,
                expires_at: token.expires_at,
                plan: None,
                devices: false,
            },
            device: String::new(),
            platform: String::new(),
            app_version: String::new(),
            trace: None,
        };
        let valid = Duration::try_from(token.expires_at.duration_since(now));
        let valid = valid.unwrap_or_default() + town.options.token_leeway;
        let terms = Terms {
            life: town.options.max_age.min(valid),
            promised,
            floods,
            killed: self.killed.clone(),
        };
        let (lobby, cables) = (&self.lobby, &town.cables);
        let (cable, open) = network::connect(lobby, caller, terms, dice, cables, &town.judge);
        lock(&self.seats.taken).push((token.uid.clone(), open));
        Ok(cable)
    }
}
