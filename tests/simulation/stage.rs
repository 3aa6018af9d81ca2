//! One simulation: clients, intruders, and servers that come and go, in one process
//! on a paused clock.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::SignedDuration;
use proactive::domain::{ResumeSecret, SessionId};
use proactive::session::{Limits, Options, Version};
use proactive::telemetry::Metrics;
use proactive::world::World;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::client::{Acks, Client, Habits};
use super::day::now;
use super::faulty;
use super::intruder;
use super::judge::{Judge, lock};
use super::model::Case;
use super::network::Cable;
use super::server::{Closed, Server, Token, Town, WallClock};

/// By then every frame is over, whatever happened: each is sent again five times
/// at most, and waits 90 s at most.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Where it plays; shared by all.
pub(crate) struct Stage {
    pub(crate) town: Town,
    /// All there were; the last one listens.
    servers: Mutex<Vec<Server>>,
    /// What the clients know of their sessions; an intruder may have found it.
    known: Mutex<Vec<(String, SessionId, ResumeSecret)>>,
}

/// Plays the seed; the trace is written if there is a place for it. Returns the page
/// of metrics.
///
/// # Errors
/// What was wrong.
pub(crate) fn play(seed: u64, trace: Option<&mut String>) -> Result<String, String> {
    faulty::reseed(seed);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    let stage = runtime.block_on(async {
        let mut dice = SmallRng::seed_from_u64(seed);
        let stage = Arc::new(Stage::new(seed, &mut dice, trace.is_some()));
        stage.clone().run(&mut dice).await;
        stage
    });
    drop(runtime);
    let (wrong, written) = stage.town.judge.verdict();
    if let Some(trace) = trace {
        *trace = written;
    }
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let page = stage.town.metrics.render();
    for gauge in [
        "sessions",
        "sessions_away",
        "frames_in_flight",
        "accounted_bytes",
    ] {
        if !page.contains(&format!("\nproactive_{gauge} 0\n")) {
            return Err(format!("{gauge} is not back to 0"));
        }
    }
    Ok(page)
}

impl Stage {
    fn new(seed: u64, dice: &mut SmallRng, traced: bool) -> Self {
        let options = Options {
            // So that streams also end of age, and of their tokens.
            max_age: Duration::from_secs(90),
            token_leeway: Duration::from_secs(10),
            go_away_notice: Duration::from_secs(20),
            drain_spread: Duration::from_secs(8),
            ..Options::default()
        };
        let mut one_of = |tight: usize, wide: usize| match dice.random_bool(0.2) {
            true => tight,
            false => wide,
        };
        let frames = one_of(10, 300) as u32;
        let limits = Limits {
            sessions_per_user: one_of(2, 20),
            sessions: one_of(3, 10_000),
            bytes_per_user: one_of(80 << 10, 32 << 20),
            bytes: one_of(120 << 10, 1 << 30),
            frames_per_minute: NonZeroU32::new(frames).expect("not 0"),
        };
        let clock = WallClock::new(now());
        let told = clock.clone();
        let town = Town {
            judge: Arc::new(Judge::new(traced)),
            watch: Arc::default(),
            world: World::with_clock(move || told.now(), seed),
            clock,
            metrics: Metrics::new(),
            options,
            limits,
            cables: TaskTracker::new(),
        };
        let first = Server::new(&town, 0);
        Self {
            servers: Mutex::new(vec![first]),
            known: Mutex::default(),
            town,
        }
    }

    async fn run(self: Arc<Self>, dice: &mut SmallRng) {
        let mut clients = JoinSet::new();
        for number in 0..dice.random_range(1..=3) {
            let habits = habits(number, dice);
            self.note(&habits.name, || format!("{habits:?}"));
            lock(&self.town.watch).belongs(&habits.name, &habits.uid);
            let (client, stage) = (Client::new(habits, dice.random()), self.clone());
            clients.spawn(async move { client.live(&stage).await });
        }
        let mut others = JoinSet::new();
        if dice.random_bool(0.3) {
            others.spawn(intruder::live(
                self.clone(),
                SmallRng::seed_from_u64(dice.random()),
            ));
        }
        if dice.random_bool(0.3) {
            let dice = SmallRng::seed_from_u64(dice.random());
            others.spawn(self.clone().set_clocks(dice));
        }
        let all = async { while clients.join_next().await.is_some() {} };
        // A server that is replaced forgets what it forgot to say: half of the time
        // none is.
        let stays = dice.random_bool(0.5);
        let deploys = async {
            if stays {
                std::future::pending().await
            }
            loop {
                sleep(Duration::from_millis(dice.random_range(5_000..200_000))).await;
                self.replace_server(dice).await;
            }
        };
        tokio::select! {
            biased;
            over = timeout(PATIENCE, all) => if over.is_err() {
                self.blame("a client still waits for its answers");
            },
            () = deploys => {}
        }
        clients.shutdown().await;
        others.shutdown().await;
        self.all_is_left().await;
    }

    /// What is left waits for nobody: streams that nobody told of their end are
    /// found out, and sessions wait to be taken up.
    async fn all_is_left(&self) {
        let servers = lock(&self.servers).clone();
        for server in servers {
            server.sessions.close();
            if timeout(PATIENCE, server.sessions.wait()).await.is_err() {
                self.blame("a session outlives its clients");
            }
            if server.lobby.known() != (0, 0) {
                self.blame("the lobby is not empty");
            }
            if server.seats.quota.bytes() != 0 {
                self.blame("bytes are held by nobody");
            }
        }
    }

    /// A crash, or a deploy.
    async fn replace_server(&self, dice: &mut SmallRng) {
        let number = lock(&self.servers).len();
        let next = Server::new(&self.town, number);
        let old = self.server();
        if dice.random_bool(0.5) {
            self.note("server", || "is killed".to_owned());
            old.killed.cancel();
            old.stop.hard.cancel();
            // Until it is back, whoever connects finds nobody.
            sleep(Duration::from_millis(dice.random_range(0..10_000))).await;
            lock(&self.servers).push(next);
            return;
        }
        self.note("server", || "drains".to_owned());
        lock(&self.servers).push(next);
        old.stop.soft.cancel();
        old.sessions.close();
        let grace = self.town.options.drain_grace;
        if timeout(grace, old.sessions.wait()).await.is_err() {
            old.stop.hard.cancel();
        }
        let rest = Duration::from_secs(10);
        if timeout(rest, old.sessions.wait()).await.is_err() {
            self.blame("a session outlives its server");
        }
        old.killed.cancel();
    }

    /// The wall clock jumps, forth and back.
    async fn set_clocks(self: Arc<Self>, mut dice: SmallRng) {
        loop {
            sleep(Duration::from_millis(dice.random_range(1_000..60_000))).await;
            let by = SignedDuration::from_secs(dice.random_range(-40_000..40_000));
            self.note("clock", || format!("jumps by {by:?}"));
            self.town.clock.step(by);
        }
    }

    fn server(&self) -> Server {
        let servers = lock(&self.servers);
        servers.last().expect("there is always one").clone()
    }

    /// Opens a stream to the server that listens now.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) fn connect(
        &self,
        token: &Token,
        promised_and_floods: (bool, bool),
        dice: &mut SmallRng,
    ) -> Result<Cable, Closed> {
        let server = self.server();
        server.connect(&self.town, token, promised_and_floods, dice)
    }

    /// A fresh one.
    pub(crate) fn token(&self, uid: &str, dice: &mut SmallRng) -> Token {
        let valid = SignedDuration::from_secs(dice.random_range(20..400));
        Token {
            uid: uid.to_owned(),
            expires_at: self.town.clock.now() + valid,
        }
    }

    /// A client has a session.
    pub(crate) fn knows(&self, uid: &str, session: &SessionId, secret: &ResumeSecret) {
        let known = (uid.to_owned(), session.clone(), secret.clone());
        lock(&self.known).push(known);
    }

    /// One of the sessions that clients have had lately.
    pub(crate) fn found(&self, dice: &mut SmallRng) -> Option<(String, SessionId, ResumeSecret)> {
        let known = lock(&self.known);
        known[known.len().saturating_sub(3)..].choose(dice).cloned()
    }

    /// How often an analysis of this frame has begun in this session.
    pub(crate) fn begun(&self, case: &Case) -> u32 {
        lock(&self.town.watch).begun(case)
    }

    pub(crate) fn blame(&self, what: &str) {
        self.town.judge.blame(what);
    }

    pub(crate) fn note(&self, who: &str, what: impl FnOnce() -> String) {
        self.town.judge.note(who, what);
    }
}

fn habits(number: usize, dice: &mut SmallRng) -> Habits {
    let version = match dice.random_range(0..4) {
        0 => Version::V1_0,
        _ => Version::V1_1,
    };
    let floods = dice.random_bool(0.02);
    Habits {
        name: format!("client{number}"),
        // Two of them may be one user's.
        uid: format!("user{}", dice.random_range(0..2)),
        resumes: version == Version::V1_1 && dice.random_bool(0.8),
        version,
        frames: if floods { 80 } else { dice.random_range(1..=5) },
        floods,
        acks: *[Acks::AtOnce, Acks::AtOnce, Acks::Late, Acks::Never]
            .choose(dice)
            .expect("not empty"),
        closes: dice.random_bool(0.1),
    }
}

/// When something is to happen that never happens.
pub(crate) fn never() -> Instant {
    Instant::now() + PATIENCE
}
