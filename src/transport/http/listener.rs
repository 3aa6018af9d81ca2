//! Connections to the HTTP door, from TLS's handshake to the last answer.
//!
//! axum's own loop has no deadline for headers and takes WebSockets over HTTP/2,
//! so hyper is asked here for what it can do.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Options, routes};
use crate::transport::door::Door;
use crate::transport::silence::Keepalive;
use crate::transport::silence::{Attentive, Heard, Patience};
use crate::transport::websocket::Streams;
use crate::world::World;

/// More than balancers leave a connection idle, so that none sends a request just
/// when we hang up. Before its first request a connection has no longer than this.
const IDLE: Duration = Duration::from_secs(75);
/// Whoever follows a log says nothing for as long as its stream lives. What else is
/// slow has a deadline of its own: the first request, headers, bodies, the pongs of
/// WebSockets, and answers that are not read.
const LONGEST_SILENCE: Duration = Duration::from_secs(25 * 3_600);
/// A token has at most 16 KiB, and a browser may send it twice.
const MAX_HEADERS: usize = 64 << 10;
/// A browser opens a handful over one connection of HTTP/2, a balancer its users'.
const MAX_STREAMS: u32 = 1_000;

/// Why nothing is served any more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificate or its key cannot be used.
    #[error("the certificate cannot be used: {0}")]
    Tls(rustls::Error),
}

/// Serves on the listener until `door.stopping`, and then until the streams that
/// are open are over. Dropped, it ends them at once.
///
/// # Errors
/// TLS files that cannot be used.
pub async fn serve(
    listener: TcpListener,
    options: Options,
    door: Door,
    world: World,
) -> Result<(), Error> {
    let tls = options.tls.as_ref().map(|tls| tls.for_http());
    let tls = tls.transpose().map_err(Error::Tls)?;
    let patience = Patience {
        first: options.keepalive.first_byte,
        next: LONGEST_SILENCE,
    };
    let stopping = door.stopping.clone();
    let (places, metrics) = (door.places.clone(), door.metrics.clone());
    let mut listener = Attentive::new(listener, patience, places, metrics);
    let connections = TaskTracker::new();
    let gone = CancellationToken::new();
    let _when_dropped = gone.clone().drop_guard();
    let streams = Streams::new(gone.clone());
    let leaving = GracefulShutdown::new();
    let welcome = Arc::new(Welcome {
        tls: tls.map(TlsAcceptor::from),
        keepalive: options.keepalive,
        routes: routes(&options, door, world, streams.clone()),
    });
    while let Some((connection, _)) = stopping.run_until_cancelled(listener.accept()).await {
        let (welcome, watcher, gone) = (welcome.clone(), leaving.watcher(), gone.clone());
        connections.spawn(async move {
            gone.run_until_cancelled(welcome.receive(connection, watcher))
                .await;
        });
    }
    // New connections are refused by the operating system from now on.
    drop(listener);
    leaving.shutdown().await;
    connections.close();
    connections.wait().await;
    streams.ended().await;
    Ok(())
}

/// What is done with each connection.
struct Welcome {
    tls: Option<TlsAcceptor>,
    keepalive: Keepalive,
    routes: Router,
}

impl Welcome {
    async fn receive(&self, connection: Heard, watcher: Watcher) {
        match &self.tls {
            None => self.answer(connection, watcher).await,
            Some(tls) => {
                let handshake = timeout(self.keepalive.first_byte, tls.accept(connection));
                // Whoever breaks it off needs no answer.
                if let Ok(Ok(connection)) = handshake.await {
                    self.answer(connection, watcher).await;
                }
            }
        }
    }

    async fn answer<C>(&self, connection: C, watcher: Watcher)
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(MAX_HEADERS);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(self.keepalive.interval)
            .keep_alive_timeout(self.keepalive.timeout)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADERS as u32);
        let asked = CancellationToken::new();
        let (first, routes) = (asked.clone(), TowerToHyperService::new(self.routes.clone()));
        let service = service_fn(move |request| {
            first.cancel();
            routes.call(request)
        });
        // hyper waits for ever to learn which HTTP it is.
        let asks_nothing = async move {
            if timeout(IDLE, asked.cancelled()).await.is_ok() {
                pending::<()>().await;
            }
        };
        let serving = builder.serve_connection_with_upgrades(TokioIo::new(connection), service);
        tokio::select! {
            // What goes wrong on a connection is its client's to know. Boxed, for this task
            // would have room for it several times.
            _ = Box::pin(watcher.watch(serving.into_owned())) => {}
            () = asks_nothing => {}
        }
    }
}
