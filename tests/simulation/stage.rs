//! One simulation: clients, their cables, and servers that come and go, in one
//! process on a paused clock.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proactive::analysis::{self, Analyst};
use proactive::domain::{Principal, Uid};
use proactive::gemini::{Scripted, View};
use proactive::session::{Caller, Limits, Lobby, Options, Quota, Stop, Tools, Version};
use proactive::telemetry::Metrics;
use proactive::world::World;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::{Client, Habits};
use super::faulty;
use super::network::{self, Cable};

/// By then every frame is over, whatever happened: each is sent again five times
/// at most, and waits 90 s at most.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Where it plays; shared by all.
pub(crate) struct Stage {
    began: Instant,
    /// All there were; the last one listens.
    servers: Mutex<Vec<Server>>,
    tools: Tools,
    options: Options,
    cables: TaskTracker,
    wrong: Mutex<Option<String>>,
    trace: Option<Mutex<String>>,
}

/// The server that listens now.
#[derive(Clone)]
struct Server {
    lobby: Lobby,
    stop: Stop,
    /// Its machine is gone.
    killed: CancellationToken,
    sessions: TaskTracker,
}

/// Plays the seed.
///
/// # Errors
/// What was wrong.
pub(crate) fn play(seed: u64, trace: Option<&mut String>) -> Result<Metrics, String> {
    faulty::reseed(seed);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    let stage = runtime.block_on(async {
        let stage = Arc::new(Stage::new(seed, trace.is_some()));
        stage.clone().run(seed).await;
        stage
    });
    drop(runtime);
    if let (Some(trace), Some(written)) = (trace, &stage.trace) {
        *trace = lock(written).clone();
    }
    let page = stage.tools.metrics.render();
    for gauge in [
        "sessions",
        "sessions_away",
        "frames_in_flight",
        "accounted_bytes",
    ] {
        if !page.contains(&format!("\nproactive_{gauge} 0\n")) {
            stage.blame(&format!("{gauge} is not back to 0"));
        }
    }
    let wrong = lock(&stage.wrong).take();
    wrong.map_or(Ok(stage.tools.metrics.clone()), Err)
}

impl Stage {
    fn new(seed: u64, traced: bool) -> Self {
        let metrics = Metrics::new();
        let world = World::fixed(now(), seed);
        let model = Arc::new(Scripted::new(|view: View| {
            own_frame_only(&view.text);
            faulty::answer(view)
        }));
        let analysis = analysis::Options::default();
        let tools = Tools {
            analyst: Analyst::new(analysis, model, world.clone(), metrics.clone()),
            quota: Quota::new(Limits::default(), world.clone(), metrics.clone()),
            world,
            metrics,
        };
        let options = Options {
            // So that streams also end of age.
            max_age: Duration::from_secs(90),
            go_away_notice: Duration::from_secs(20),
            drain_spread: Duration::from_secs(8),
            ..Options::default()
        };
        Self {
            began: Instant::now(),
            servers: Mutex::new(vec![Server::new(&tools, options)]),
            tools,
            options,
            cables: TaskTracker::new(),
            wrong: Mutex::new(None::<String>),
            trace: traced.then(Mutex::default),
        }
    }

    async fn run(self: Arc<Self>, seed: u64) {
        let mut dice = SmallRng::seed_from_u64(seed);
        let mut clients = JoinSet::new();
        for number in 0..dice.random_range(1..=3) {
            let version = match dice.random_range(0..4) {
                0 => Version::V1_0,
                _ => Version::V1_1,
            };
            let habits = Habits {
                name: format!("client{number}"),
                // Two of them may be one user's.
                uid: format!("user{}", dice.random_range(0..2)),
                resumes: version == Version::V1_1 && dice.random_bool(0.8),
                version,
                frames: dice.random_range(1..=5),
            };
            self.note(&habits.name, || format!("{habits:?}"));
            let (client, stage) = (Client::new(habits, dice.random()), self.clone());
            clients.spawn(async move { client.live(&stage).await });
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
                self.replace_server(&mut dice).await;
            }
        };
        tokio::select! {
            over = timeout(PATIENCE, all) => if over.is_err() {
                self.blame("a client still waits for its answers");
            },
            () = deploys => {}
        }
        clients.shutdown().await;
        // What is left waits for nobody: streams that nobody told of their end are
        // found out, and sessions wait to be taken up.
        let servers = lock(&self.servers).clone();
        for server in servers {
            server.sessions.close();
            if timeout(PATIENCE, server.sessions.wait()).await.is_err() {
                self.blame("a session outlives its clients");
            }
            if server.lobby.known() != (0, 0) {
                self.blame("the lobby is not empty");
            }
        }
    }

    /// A crash, or a deploy.
    async fn replace_server(&self, dice: &mut SmallRng) {
        let next = Server::new(&self.tools, self.options);
        if dice.random_bool(0.5) {
            self.note("server", || "is killed".to_owned());
            let old = self.server();
            old.killed.cancel();
            old.stop.hard.cancel();
            // Until it is back, whoever connects finds nobody.
            sleep(Duration::from_millis(dice.random_range(0..10_000))).await;
            lock(&self.servers).push(next);
            return;
        }
        self.note("server", || "drains".to_owned());
        let old = self.server();
        lock(&self.servers).push(next);
        old.stop.soft.cancel();
        old.sessions.close();
        if timeout(self.options.drain_grace, old.sessions.wait())
            .await
            .is_err()
        {
            old.stop.hard.cancel();
        }
        if timeout(Duration::from_secs(10), old.sessions.wait())
            .await
            .is_err()
        {
            self.blame("a session outlives its server");
        }
        old.killed.cancel();
    }

    fn server(&self) -> Server {
        let servers = lock(&self.servers);
        servers.last().expect("there is always one").clone()
    }

    /// Opens a stream to the server that listens now.
    pub(crate) fn connect(&self, uid: &str, dice: &mut SmallRng) -> Cable {
        let server = self.server();
        network::connect(
            &server.lobby,
            caller(uid, &server.lobby),
            dice,
            server.killed,
            &self.cables,
        )
    }

    /// Something is wrong; the first thing counts.
    pub(crate) fn blame(&self, what: &str) {
        self.note("WRONG", || what.to_owned());
        lock(&self.wrong).get_or_insert_with(|| what.to_owned());
    }

    pub(crate) fn note(&self, who: &str, what: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let at = self.began.elapsed().as_secs_f64();
            let _ = writeln!(lock(trace), "{at:9.3} {who}: {}", what());
        }
    }
}

impl Server {
    fn new(tools: &Tools, options: Options) -> Self {
        let (stop, sessions) = (Stop::default(), TaskTracker::new());
        Self {
            lobby: Lobby::new(options, tools.clone(), stop.clone(), sessions.clone()),
            stop,
            killed: CancellationToken::new(),
            sessions,
        }
    }
}

/// A result that went to another frame's conversation would stand beside its name.
fn own_frame_only(text: &str) {
    let names = text.split("<frame ").skip(1);
    let mut names = names.map(|rest| rest.split('>').next());
    let own = names.next();
    assert!(
        own.is_none_or(|own| names.all(|name| name == own)),
        "a frame's conversation holds another's result"
    );
}

fn caller(uid: &str, lobby: &Lobby) -> Caller {
    let uid = Uid::new(uid);
    Caller {
        seat: lobby.quota().open(&uid).expect("there is room"),
        principal: Principal {
            uid,
            expires_at: now() + SignedDuration::from_hours(1),
            plan: None,
        },
        device: String::new(),
        platform: String::new(),
        app_version: String::new(),
        trace: None,
    }
}

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().expect("a valid time")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}
