//! What the desktops and the servers need: a model's stand-in, an issuer of tokens,
//! and the server itself, `proactive serve`, as a process of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use proactive::auth::local::LocalIssuer;
use proactive::stand_in::{Options, StandIn};
use proactive::world::World;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{HOST, Result, seen};

const PROJECT: &str = "load";
/// A server that takes longer to be ready, or to leave, has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub(crate) struct Lab {
    pub(crate) world: World,
    pub(crate) issuer: Arc<LocalIssuer>,
    /// The variables of every server.
    environment: Vec<(&'static str, String)>,
    /// Holds the servers' logs.
    directory: TempDir,
    _serving: JoinSet<()>,
}

impl Lab {
    /// Each call to its model takes so long.
    pub(crate) async fn new(call: Duration) -> Result<Self> {
        let world = World::real();
        let issuer = Arc::new(LocalIssuer::new(PROJECT, world.clone()));
        let mut serving = JoinSet::new();
        let (keys, document) = (TcpListener::bind((HOST, 0)).await?, issuer.jwks());
        let keys_url = format!("http://{}/", keys.local_addr()?);
        serving.spawn(async move {
            let page = Router::new().route("/", get(async || document));
            let _ = axum::serve(keys, page).await;
        });
        let model = TcpListener::bind((HOST, 0)).await?;
        let model_url = format!("http://{}", model.local_addr()?);
        let options = Options {
            latency: call,
            ..Options::default()
        };
        let stand_in = StandIn::new(options, world.clone());
        serving.spawn(async move {
            let _ = stand_in.serve(model, CancellationToken::new()).await;
        });
        let environment = vec![
            ("GEMINI_API_KEY", PROJECT.to_owned()),
            ("GOOGLE_GEMINI_BASE_URL", model_url),
            ("FIREBASE_PROJECT_ID", PROJECT.to_owned()),
            ("FIREBASE_KEYS_URL", keys_url),
            ("BIND_ADDRESS", HOST.to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
        ];
        Ok(Self {
            world,
            issuer,
            environment,
            directory: TempDir::new()?,
            _serving: serving,
        })
    }

    /// All servers from now on have this setting.
    pub(crate) fn set(&mut self, name: &'static str, value: impl ToString) {
        self.environment.push((name, value.to_string()));
    }

    /// Starts a server on free ports, and waits until it is ready.
    pub(crate) async fn start(&self) -> Result<Server> {
        let [grpc, admin] = [free_port().await?, free_port().await?];
        self.start_on(grpc, admin).await
    }

    /// Starts a server where another one has been.
    pub(crate) async fn start_again(&self, former: &Server) -> Result<Server> {
        self.start_on(former.port, former.admin).await
    }

    async fn start_on(&self, port: u16, admin: u16) -> Result<Server> {
        let log = self
            .directory
            .path()
            .join(format!("{}.log", self.world.uuid()));
        let began = Instant::now();
        let process = Command::new(env!("CARGO_BIN_EXE_proactive"))
            .arg("serve")
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("GRPC_PORT", port.to_string())
            .env("HTTP_PORT", "0")
            .env("ADMIN_PORT", admin.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true)
            .spawn()?;
        let server = Server {
            process,
            port,
            admin,
            log,
        };
        let ready = async {
            let url = format!("http://{HOST}:{admin}/readyz");
            while !reqwest::get(&url)
                .await
                .is_ok_and(|it| it.status().is_success())
            {
                sleep(LOOK_AGAIN).await;
            }
        };
        if timeout(PATIENCE, ready).await.is_err() {
            let log = std::fs::read_to_string(&server.log)?;
            return Err(format!("no server was ready after {:?}:\n{log}", began.elapsed()).into());
        }
        Ok(server)
    }
}

/// `proactive serve`, until it is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
    admin: u16,
    log: PathBuf,
}

impl Server {
    pub(crate) fn url(&self) -> String {
        format!("http://{HOST}:{}", self.port)
    }

    pub(crate) fn memory(&self) -> Result<u64> {
        seen::memory(self.id()?)
    }

    pub(crate) fn cpu(&self) -> Result<Duration> {
        seen::cpu(self.id()?)
    }

    fn id(&self) -> Result<u32> {
        Ok(self.process.id().ok_or("the server has ended")?)
    }

    /// SIGTERM. How long it took to leave.
    pub(crate) async fn leave(&mut self) -> Result<Duration> {
        let began = Instant::now();
        let id = self.id()?.to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().await?;
        let left = timeout(PATIENCE, self.process.wait()).await;
        let status = left.map_err(|_| "the server does not leave")??;
        match told.success() && status.success() {
            true => Ok(began.elapsed()),
            false => Err(format!("the server left with {status}").into()),
        }
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }

    /// The value of a gauge, or the sum of a counter's values.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        let url = format!("http://{HOST}:{}/metrics", self.admin);
        let page = reqwest::get(url).await?.text().await?;
        let of_it = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        };
        let lines = page.lines().filter(of_it);
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values
            .reduce(|a, b| a + b)
            .ok_or_else(|| format!("there is no metric {name}").into())
    }

    /// The lines of its log that are errors, and those that warn.
    pub(crate) fn complaints(&self) -> Result<(Vec<String>, Vec<String>)> {
        Ok((self.lines("ERROR")?, self.lines("WARN")?))
    }

    fn lines(&self, level: &str) -> Result<Vec<String>> {
        let level = format!("\"level\":\"{level}\"");
        let log = std::fs::read_to_string(Path::new(&self.log))?;
        let lines = log.lines().filter(|line| line.contains(&level));
        Ok(lines.map(str::to_owned).collect())
    }
}

async fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((HOST, 0)).await?.local_addr()?.port())
}
