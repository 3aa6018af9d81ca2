//! The house put together: everything built, bound, run and stopped.

mod client;
mod reachable;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::analysis::Analyst;
use crate::auth::Verifier;
use crate::config::Config;
use crate::events::{self, Log};
use crate::gemini;
use crate::jobs::Jobs;
use crate::local_workers::{self, LocalWorkers};
use crate::session::{Lobby, Quota, Stop, Tools};
use crate::telemetry::Metrics;
use crate::tools::workers::Workers;
use crate::tools::{Router, Served};
use crate::transport::admin::{self, Admin};
use crate::transport::calls::Calls;
use crate::transport::fire::Post;
use crate::transport::followers::Followers;
use crate::transport::{Behind, Door, Turns, grpc, http};
use crate::world::World;

pub use client::{http_builder, http_client};
pub use reachable::reachable;

/// How long connections may take to say goodbye after their streams are over.
const FLUSH: Duration = Duration::from_secs(2);
/// How long the users' logs may take to close: what is under way then is on its way to
/// the disk, which takes longer only if it hangs.
const CLOSE: Duration = Duration::from_secs(3);

/// Why the server could not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Choose other addresses or ports. One line each.
    #[error("{}", lines(.0))]
    Bind(Vec<Unbound>),
    /// The users' logs cannot be had; what it says is what to do.
    #[error(transparent)]
    Log(#[from] events::OpenError),
    /// No HTTP client could be made; the system's TLS set-up is broken.
    #[error("no HTTPS client could be made: {0}")]
    Http(reqwest::Error),
    /// A listener failed while it ran.
    #[error("the {0} listener failed")]
    Listener(&'static str),
    /// A fault of the server: no job or message can be taken until it is started again.
    #[error("the users' logs can be written no more; the server's log says what crashed")]
    LogCrashed,
    /// A fault of the server: a part that runs until it is stopped ended before.
    #[error("a part of the server ended by itself; the log says what failed")]
    Ended,
}

/// Nothing can listen there.
#[derive(Debug, thiserror::Error)]
#[error("{name}: cannot listen on {address}: {cause}{}", advice(cause))]
pub struct Unbound {
    /// The variable or flag that names the port.
    name: &'static str,
    address: SocketAddr,
    cause: std::io::Error,
}

/// A server that runs.
pub struct Running {
    grpc: SocketAddr,
    http: SocketAddr,
    admin: SocketAddr,
    metrics: Metrics,
    verifier: Verifier,
    stop: Stop,
    /// Ends what must outlive the sessions.
    closing: CancellationToken,
    sessions: TaskTracker,
    workers: Workers,
    /// Workers' streams end after the sessions that call their tools.
    workers_leave: CancellationToken,
    workers_running: TaskTracker,
    log: Log,
    drain_grace: Duration,
    local_workers: LocalWorkers,
    parts: JoinSet<Result<(), Error>>,
}

/// Builds everything, binds and serves.
///
/// # Errors
/// Why that is not possible; nothing is left running then.
pub async fn start(config: Config, world: World) -> Result<Running, Error> {
    // Should another provider ever come into the graph, rustls need not guess. Who
    // embeds this server may have chosen already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let connections = gemini::Pool::new(|| http_client(&config.gemini.base_url));
    let connections = connections.map_err(Error::Http)?;
    let metrics = Metrics::new();
    let model = gemini::Client::new(
        config.gemini.clone(),
        connections,
        world.clone(),
        metrics.clone(),
    );
    let keys = http_client(&config.auth.keys_url).map_err(Error::Http)?;
    let (grpc_listener, http_listener, admin_listener) = match (
        bind("GRPC_PORT", config.grpc.address).await,
        bind("HTTP_PORT", config.http.address).await,
        bind("ADMIN_PORT", config.admin).await,
    ) {
        (Ok(grpc), Ok(http), Ok(admin)) => (grpc, http, admin),
        (grpc, http, admin) => {
            let unbound = [grpc.err(), http.err(), admin.err()];
            return Err(Error::Bind(unbound.into_iter().flatten().collect()));
        }
    };
    // A certificate is for the name by which others come, so workers that are started
    // here come past it, by a way that leads nowhere else.
    let has_workers = !config.local_workers.commands.is_empty();
    let their_listener = match config.grpc.tls.is_some() && has_workers {
        true => {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let listener = bind("LOCAL_WORKERS", address).await;
            Some(listener.map_err(|unbound| Error::Bind(vec![unbound]))?)
        }
        false => None,
    };
    let bound = |listener: &TcpListener, asked| listener.local_addr().unwrap_or(asked);
    let grpc = bound(&grpc_listener, config.grpc.address);
    let http = bound(&http_listener, config.http.address);
    let admin = bound(&admin_listener, config.admin);
    if config.auth.emulator {
        tracing::warn!(
            "FIREBASE_AUTH_EMULATOR_HOST is set: UNSIGNED TOKENS ARE ACCEPTED, anybody can be any \
             user of project {}; never do this in production",
            config.auth.project_id
        );
    }
    let their_token = has_workers.then(|| local_workers::token(&world));
    let service_tokens = match &their_token {
        Some(token) => config.service_tokens.with_local_workers(token.clone()),
        None => config.service_tokens,
    };
    let folder = config.events.folder.clone();
    let log = Log::open(config.events, world.clone(), metrics.clone()).await?;
    let verifier = Verifier::new(config.auth, keys, world.clone());
    let (stop, closing, sessions) = <(Stop, CancellationToken, TaskTracker)>::default();
    let workers = Workers::new(config.workers, world.clone(), metrics.clone());
    let served = Served::new(config.catalogue.clone(), workers.clone());
    let router = Router::new(config.catalogue, config.routing, Some(served.clone()));
    let tools_router = router.clone();
    let tools = Tools {
        analyst: Analyst::new(
            config.analysis,
            Arc::new(model),
            world.clone(),
            metrics.clone(),
        ),
        quota: Quota::new(config.limits, world.clone(), metrics.clone()),
        world: world.clone(),
        metrics: metrics.clone(),
        router,
        log: log.clone(),
    };
    let jobs = Jobs::new(config.jobs, tools.clone(), stop.clone(), sessions.clone());
    let lobby = Lobby::new(config.session, tools, stop.clone(), sessions.clone());
    let (workers_leave, workers_running) = <(CancellationToken, TaskTracker)>::default();
    let behind_workers = grpc::BehindWorkers {
        tokens: service_tokens.clone(),
        workers: workers.clone(),
        accepts: Arc::new(move |declared| served.accepts(declared)),
        world: world.clone(),
        stopping: stop.soft.clone(),
        leaving: workers_leave.clone(),
        running: workers_running.clone(),
    };
    let behind = Behind {
        calls: Calls {
            jobs,
            log: log.clone(),
            quota: lobby.quota().clone(),
            turns: Turns::default(),
            followers: Followers {
                options: config.session,
                world: world.clone(),
                stopping: stop.soft.clone(),
                running: sessions.clone(),
            },
        },
        post: Post {
            tokens: service_tokens,
            log: log.clone(),
            world: world.clone(),
        },
        lobby,
    };
    let door = Door::new(
        verifier.clone(),
        behind,
        metrics.clone(),
        stop.soft.clone(),
        config.max_connections,
    );
    let pages = Admin {
        verifier: verifier.clone(),
        metrics: metrics.clone(),
        router: tools_router,
        draining: stop.soft.clone(),
    };
    let mut parts = JoinSet::new();
    let (options, http_options) = (config.grpc, config.http);
    // Before anything that runs can say something: the addresses come first.
    // Whoever connects from now on is queued by the operating system.
    let tls = options.tls.is_some();
    tracing::info!(%grpc, %http, %admin, tls, model = config.gemini.model, "serving");
    match folder {
        Some(folder) => {
            tracing::info!(folder = %folder.display(), "users' logs and jobs are kept in DATA_DIR");
        }
        None => tracing::info!(
            "DATA_DIR is not set: users' logs and jobs are in memory, and go with this process"
        ),
    }
    let mut at = grpc;
    if let Some(listener) = their_listener {
        at = bound(&listener, grpc);
        let (tls, door, behind_workers) = (None, door.clone(), behind_workers.clone());
        let options = grpc::Options {
            tls,
            ..options.clone()
        };
        parts.spawn(async move {
            let served = grpc::serve(listener, options, door, behind_workers).await;
            served.map_err(|_| Error::Listener("local workers'"))
        });
    }
    let local_workers = match their_token {
        Some(token) => LocalWorkers::start(
            config.local_workers,
            reachable(at),
            &token,
            &world,
            &metrics,
        ),
        None => LocalWorkers::none(),
    };
    let other_door = door.clone();
    parts.spawn(async move {
        grpc::serve(grpc_listener, options, other_door, behind_workers)
            .await
            .map_err(|_| Error::Listener("gRPC"))
    });
    parts.spawn(async move {
        http::serve(http_listener, http_options, door, world)
            .await
            .map_err(|_| Error::Listener("HTTP"))
    });
    let closed = closing.clone();
    parts.spawn(async move {
        admin::serve(admin_listener, pages, closed)
            .await
            .map_err(|_| Error::Listener("admin"))
    });
    let (closed, keeper) = (closing.clone(), verifier.clone());
    parts.spawn(async move {
        closed.run_until_cancelled(keeper.keep_fresh()).await;
        Ok(())
    });
    let (closed, kept) = (closing.clone(), workers.clone());
    parts.spawn(async move {
        closed.run_until_cancelled(kept.keep_clean()).await;
        Ok(())
    });
    let (closed, watched) = (closing.clone(), log.clone());
    parts.spawn(async move {
        match closed.run_until_cancelled(watched.crashed()).await {
            Some(()) => Err(Error::LogCrashed),
            None => Ok(()),
        }
    });
    Ok(Running {
        grpc,
        http,
        admin,
        metrics,
        verifier,
        stop,
        closing,
        sessions,
        workers,
        workers_leave,
        workers_running,
        log,
        drain_grace: config.drain_grace,
        local_workers,
        parts,
    })
}

impl Running {
    /// Where gRPC is served.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc
    }

    /// Where WebSocket is served, and what else is HTTP for users.
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// Where the operators' pages are.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// The server's metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The workers that are connected, and what they can be asked.
    pub fn workers(&self) -> Workers {
        self.workers.clone()
    }

    /// The workers that were started with the server.
    pub fn local_workers(&self) -> &LocalWorkers {
        &self.local_workers
    }

    /// Ends when tokens can be judged, so that streams can be opened.
    pub async fn ready(&self) {
        self.verifier.until_ready().await;
    }

    /// Ends only if a part fails: all of them run until they are stopped.
    pub async fn failed(&mut self) -> Error {
        tokio::select! {
            ended = self.parts.join_next() => match ended {
                Some(Ok(Err(error))) => error,
                Some(Ok(Ok(())) | Err(_)) | None => Error::Ended,
            },
            () = self.local_workers.failed() => Error::Ended,
        }
    }

    /// Stops in good order: no new streams, health off, every session told;
    /// accepted frames finish within the grace period, and what is left of them
    /// is answered GOING_AWAY. Dropping the future stops at once.
    pub async fn stop(mut self) {
        tracing::info!(
            grace_s = self.drain_grace.as_secs(),
            // Sessions, followers and jobs.
            open = self.sessions.len(),
            "draining: accepted frames are finished"
        );
        self.stop.soft.cancel();
        self.sessions.close();
        if timeout(self.drain_grace, self.sessions.wait())
            .await
            .is_err()
        {
            tracing::warn!(open = self.sessions.len(), "the grace period is over");
        }
        self.stop.hard.cancel();
        self.workers_leave.cancel();
        self.closing.cancel();
        self.workers_running.close();
        let flushed = async {
            self.sessions.wait().await;
            self.workers_running.wait().await;
            while self.parts.join_next().await.is_some() {}
        };
        // Frames that were being finished may have needed the workers until now.
        let (flushed, ()) = tokio::join!(timeout(FLUSH, flushed), self.local_workers.end());
        if flushed.is_err() {
            tracing::info!("some connections were closed before they said goodbye");
        }
        if timeout(CLOSE, self.log.close()).await.is_err() {
            tracing::warn!("the users' logs were not closed in time: look after DATA_DIR's disk");
        }
        tracing::info!("stopped");
    }
}

/// Listens; `name` is the variable or flag that names the port.
///
/// # Errors
/// Why not, with advice for whoever started the program.
pub async fn bind(name: &'static str, address: SocketAddr) -> Result<TcpListener, Unbound> {
    TcpListener::bind(address).await.map_err(|cause| Unbound {
        name,
        address,
        cause,
    })
}

fn lines(unbound: &[Unbound]) -> String {
    let lines: Vec<_> = unbound.iter().map(Unbound::to_string).collect();
    lines.join("\n")
}

/// What to do about a port that cannot be had.
fn advice(cause: &std::io::Error) -> &'static str {
    match cause.kind() {
        ErrorKind::AddrInUse => {
            "; stop what listens there, or choose another port (0: any free one)"
        }
        ErrorKind::AddrNotAvailable => {
            "; BIND_ADDRESS must be an address of this machine, or 0.0.0.0 for all"
        }
        ErrorKind::PermissionDenied => {
            "; ports below 1024 need a privilege, choose a higher one (0: any free one)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[tokio::test]
    async fn a_part_that_crashes_is_told_in_a_whole_sentence() {
        let config = Settings::defaults().embedded().check().unwrap();
        let mut running = start(config, World::real()).await.unwrap();
        running.parts.spawn(async { panic!("a crash on purpose") });
        let told = running.failed().await.to_string();
        assert!(told.starts_with("a part of the server ended"), "{told}");
        running.stop().await;
    }

    /// A server that keeps its logs in this folder, and by this clock.
    async fn start_in(folder: &std::path::Path, world: World) -> Running {
        let mut config = Settings::defaults().embedded().check().unwrap();
        config.events.folder = Some(folder.to_owned());
        start(config, world).await.unwrap()
    }

    #[tokio::test]
    async fn logs_that_cannot_be_written_any_more_end_the_server() {
        let folder = tempfile::tempdir().unwrap();
        // The thread that writes crashes as soon as it asks for the time.
        let clock = || match std::thread::current().name() {
            Some("logs") => panic!("a crash on purpose"),
            _ => World::real().now(),
        };
        let mut running = start_in(folder.path(), World::with_clock(clock, 1)).await;
        let told = timeout(Duration::from_secs(60), running.failed()).await;
        let told = told.unwrap().to_string();
        assert!(told.starts_with("the users' logs can be written"), "{told}");
        running.stop().await;
    }

    #[tokio::test]
    async fn logs_that_are_closed_in_good_order_are_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let mut running = start_in(folder.path(), World::real()).await;
        running.closing.cancel();
        running.log.close().await;
        while let Some(ended) = running.parts.join_next().await {
            ended.unwrap().unwrap();
            running.stop.soft.cancel();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn logs_that_hang_do_not_keep_the_server_from_stopping() {
        let config = Settings::defaults().embedded().check().unwrap();
        let mut running = start(config, World::real()).await.unwrap();
        running.log = events::hanging_log(Metrics::new());
        let stopped = timeout(Duration::from_secs(60), running.stop());
        stopped.await.unwrap();
    }

    #[tokio::test]
    async fn the_crypto_provider_is_chosen_before_anything_needs_one() {
        let config = Settings::defaults().embedded().check().unwrap();
        let running = start(config, World::real()).await.unwrap();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
        running.stop().await;
    }
}
