//! Many desktops, over the connections that a balancer would have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::Result;
use super::content;
use super::desk::{Common, Desk};
use super::lab::Lab;
use super::tally::{Seen, Tally};

const CONNECT: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(crate) struct Crowd {
    common: Arc<Common>,
    endpoint: Endpoint,
    connections: usize,
    routes: watch::Sender<Vec<Channel>>,
    running: JoinSet<()>,
}

impl Crowd {
    /// Nobody yet.
    pub(crate) fn new(lab: &Lab, url: String, connections: usize) -> Result<Self> {
        let endpoint = Endpoint::from_shared(url)?;
        let endpoint = endpoint.tcp_nodelay(true).connect_timeout(CONNECT);
        let (routes, known) = watch::channel(vec![]);
        let crowd = Self {
            common: Arc::new(Common {
                world: lab.world.clone(),
                issuer: lab.issuer.clone(),
                tally: Tally::default(),
                routes: known,
                paused: AtomicBool::new(false),
                stop: CancellationToken::new(),
                context: content::context(),
                found: content::hits(),
                jpeg: content::jpeg(100),
                text: content::ocr(),
            }),
            endpoint,
            connections,
            routes,
            running: JoinSet::new(),
        };
        crowd.reroute();
        Ok(crowd)
    }

    /// Streams are opened on new connections from now on.
    pub(crate) fn reroute(&self) {
        let routes = (0..self.connections).map(|_| self.endpoint.connect_lazy());
        self.routes.send_replace(routes.collect());
    }

    /// One more desktop, which comes within so long.
    pub(crate) fn add(&mut self, user: String, pace: Option<Duration>, within: Duration) {
        let begin = self.common.world.up_to(within);
        let desk = Desk::new(self.common.clone(), self.running.len(), user, pace);
        self.running.spawn(desk.run(begin));
    }

    pub(crate) fn common(&self) -> Arc<Common> {
        self.common.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// What was seen since this was asked last.
    pub(crate) fn take(&self) -> Seen {
        self.common.tally.take()
    }

    /// Whether all had a session, since that was asked last, before so long.
    pub(crate) async fn all_arrived(&self, within: Duration) -> bool {
        let end = Instant::now() + within;
        while self.common.tally.arrived() < self.len() {
            if Instant::now() > end {
                return false;
            }
            sleep(LOOK_AGAIN).await;
        }
        true
    }

    /// No frame is begun any more, or frames are again.
    pub(crate) fn pause(&self, whether: bool) {
        self.common.paused.store(whether, Ordering::Relaxed);
    }

    /// Waits until each frame has its answer, but no longer than so long. How many have none.
    pub(crate) async fn unanswered(&self, within: Duration) -> u64 {
        let end = Instant::now() + within;
        while self.common.tally.open() > 0 && Instant::now() < end {
            sleep(LOOK_AGAIN).await;
        }
        self.common.tally.open()
    }

    /// All leave.
    pub(crate) async fn leave(&mut self) {
        self.common.stop.cancel();
        while self.running.join_next().await.is_some() {}
    }
}
