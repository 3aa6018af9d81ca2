//! The stand-in over real HTTP: every scripted misbehaviour reaches a client
//! as it would from Google.

use std::time::Duration;

use jiff::Timestamp;
use proactive::stand_in::{Call, KEY_ECHO, Move, Options, StandIn};
use proactive::world::World;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A stand-in that is being served, and a client of it.
struct Served {
    stand_in: StandIn,
    base: String,
    http: reqwest::Client,
    stop: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

impl Served {
    async fn new(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stand_in = StandIn::new(options, World::fixed(Timestamp::UNIX_EPOCH, 1));
        let stop = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(stand_in.clone().serve(listener, stop.clone()));
        Self {
            stand_in,
            base,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            stop,
            server: tasks,
        }
    }
}
