//! The whole service in one process, over real loopback gRPC and HTTP, with
//! keys of its own and, if wanted, a stand-in for the model: for the demo and
//! for tests.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::{self, Running};
use crate::auth::local::LocalIssuer;
use crate::config::Config;
use crate::stand_in::StandIn;
use crate::world::World;

const LOOPBACK: &str = "127.0.0.1:0";

/// Why it could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No loopback port could be had.
    #[error("no loopback port could be had: {0}")]
    Loopback(#[from] io::Error),
    /// The server could not start.
    #[error(transparent)]
    App(#[from] app::Error),
}

/// A service that runs in this process.
pub struct Embedded {
    /// The server.
    pub server: Running,
    config: Config,
    world: World,
    issuer: LocalIssuer,
    stop: CancellationToken,
    /// The key endpoint and the stand-in.
    helpers: JoinSet<()>,
}

impl Embedded {
    /// Starts the server with this configuration, but its own keys; and, if
    /// there is a stand-in, asks that one instead of the configured model.
    ///
    /// # Errors
    /// Why that is not possible.
    pub async fn start(
        mut config: Config,
        stand_in: Option<StandIn>,
        world: World,
    ) -> Result<Self, Error> {
        let stop = CancellationToken::new();
        let mut helpers = JoinSet::new();
        let issuer = LocalIssuer::new(config.auth.project_id.clone(), world.clone());
        let keys = TcpListener::bind(LOOPBACK).await?;
        config.auth.keys_url = format!("http://{}/keys", keys.local_addr()?);
        let document = issuer.jwks();
        let endpoint = Router::new().route("/keys", get(async move || document));
        let stopped = stop.clone();
        helpers.spawn(async move {
            let serving = axum::serve(keys, endpoint);
            let _ = serving
                .with_graceful_shutdown(stopped.cancelled_owned())
                .await;
        });
        if let Some(stand_in) = stand_in {
            let listener = TcpListener::bind(LOOPBACK).await?;
            config.gemini.base_url = format!("http://{}", listener.local_addr()?);
            let stopped = stop.clone();
            helpers.spawn(async move {
                let _ = stand_in.serve(listener, stopped).await;
            });
        }
        let server = app::start(config.clone(), world.clone()).await?;
        Ok(Self {
            server,
            config,
            world,
            issuer,
            stop,
            helpers,
        })
    }

    /// Where gRPC is served.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.server.grpc_addr()
    }

    /// Ends when streams can be opened.
    pub async fn ready(&self) {
        self.server.ready().await;
    }

    /// A token of that user, good for an hour.
    pub fn token(&self, uid: &str) -> String {
        self.issuer.mint(uid, Duration::from_secs(3600), None)
    }

    /// The same, of a user who may use all of their devices from any of them.
    pub fn token_with_devices(&self, uid: &str) -> String {
        let mut claims = self.issuer.claims(uid, Duration::from_secs(3600));
        claims["devices"] = true.into();
        self.issuer.sign(&self.issuer.header(), &claims)
    }

    /// Makes any token.
    pub fn issuer(&self) -> &LocalIssuer {
        &self.issuer
    }

    /// Another server in the same surroundings, ready to take the place of this one.
    ///
    /// # Errors
    /// Why it cannot start.
    pub async fn successor(&self) -> Result<Running, Error> {
        let next = app::start(self.config.clone(), self.world.clone()).await?;
        next.ready().await;
        Ok(next)
    }

    /// Puts a successor into the place of the server, which stops in good order.
    pub async fn replace(&mut self, next: Running) {
        mem::replace(&mut self.server, next).stop().await;
    }

    /// Stops everything in good order.
    pub async fn stop(mut self) {
        self.server.stop().await;
        self.stop.cancel();
        while self.helpers.join_next().await.is_some() {}
    }
}
