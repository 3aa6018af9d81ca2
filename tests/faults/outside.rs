//! The server's process, and what it reaches out to: keys, and a model that can be put
//! out of order, in this process, so that they can misbehave.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use proactive::auth::local::LocalIssuer;
use proactive::stand_in::{Options, StandIn};
use proactive::world::World;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const PROJECT: &str = "demo-faults";
/// No experiment lasts as long.
const TOKEN_LIFE: Duration = Duration::from_secs(3_600);

pub(crate) struct Outside {
    issuer: LocalIssuer,
    pub(crate) model: StandIn,
    keys_url: String,
    model_url: String,
    _servers: JoinSet<()>,
}

impl Outside {
    /// Each answer of the model takes so long: frames are to be under way when something
    /// breaks.
    pub(crate) async fn start(latency: Duration) -> Self {
        let issuer = LocalIssuer::new(PROJECT, World::real());
        let options = Options {
            latency,
            ..Options::default()
        };
        let model = StandIn::new(options, World::real());
        let mut servers = JoinSet::new();
        let keys = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let keys_url = format!("http://{}/keys", keys.local_addr().unwrap());
        let model_url = format!("http://{}", listener.local_addr().unwrap());
        let document = issuer.jwks();
        let page = Router::new().route("/keys", get(async move || document));
        servers.spawn(async move { axum::serve(keys, page).await.unwrap() });
        let serving = model.clone().serve(listener, CancellationToken::new());
        servers.spawn(async move { serving.await.unwrap() });
        Self {
            issuer,
            model,
            keys_url,
            model_url,
            _servers: servers,
        }
    }

    /// What a server is told of it.
    pub(crate) fn environment(&self) -> [(&str, &str); 4] {
        [
            ("GEMINI_API_KEY", "key-of-an-experiment"),
            ("GOOGLE_GEMINI_BASE_URL", &self.model_url),
            ("FIREBASE_PROJECT_ID", PROJECT),
            ("FIREBASE_KEYS_URL", &self.keys_url),
        ]
    }

    pub(crate) fn token(&self, uid: &str) -> String {
        self.issuer.mint(uid, TOKEN_LIFE, None)
    }
}

/// `proactive serve` with these settings alone; what it says goes to the end of a file.
pub(crate) fn serve(environment: &[(String, String)], log: &Path) -> Child {
    let log: File = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    Command::new(env!("CARGO_BIN_EXE_proactive"))
        .arg("serve")
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}
