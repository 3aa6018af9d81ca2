//! What can break, how it is broken, and for how long a frame may wait then.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use proactive::stand_in::Move;
use tokio::time::{sleep, timeout};

use crate::signal::signal;
use crate::stage::Stage;
use crate::support::PATIENCE;

/// How long nobody listens after a server has died.
const DOWN: Duration = Duration::from_secs(2);
/// How often the streams are cut, and the time between.
const CUTS: u32 = 3;
const BETWEEN_CUTS: Duration = Duration::from_secs(4);
/// What every byte takes on a long line, each way.
pub(crate) const LATENCY: Duration = Duration::from_millis(200);
/// Bytes of a huge answer of the model: more than the server reads.
const HUGE: usize = 5 << 20;

/// By docs/operations.md: the limit of a frame.
const FRAME: Duration = Duration::from_secs(60);
/// And how much longer than whatever spoilt its first try a frame may wait.
const AFTERWARDS: Duration = Duration::from_secs(240);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    KillNine,
    Sigterm,
    Reload,
    Cut,
    Silence,
    Latency,
    Loss,
    Hang,
    Flood,
}

impl Fault {
    const ALL: [Self; 10] = [
        Self::None,
        Self::KillNine,
        Self::Sigterm,
        Self::Reload,
        Self::Cut,
        Self::Silence,
        Self::Latency,
        Self::Loss,
        Self::Hang,
        Self::Flood,
    ];

    /// The one that is called so.
    pub(crate) fn named(name: &str) -> Self {
        let found = Self::ALL.into_iter().find(|fault| fault.name() == name);
        let names = Self::ALL.map(Self::name).join(", ");
        found.unwrap_or_else(|| panic!("no fault is called {name}; there are {names}"))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::KillNine => "kill-9",
            Self::Sigterm => "sigterm",
            Self::Reload => "reload",
            Self::Cut => "cut",
            Self::Silence => "silence",
            Self::Latency => "latency",
            Self::Loss => "loss",
            Self::Hang => "hang",
            Self::Flood => "flood",
        }
    }

    /// How long a frame may wait for its decision, if the fault lasted for so long.
    pub(crate) fn bound(self, lasted: Duration) -> Duration {
        match self {
            // No frame is to be sent twice for it.
            Self::None | Self::Reload | Self::Latency | Self::Loss => FRAME,
            Self::KillNine
            | Self::Sigterm
            | Self::Cut
            | Self::Silence
            | Self::Hang
            | Self::Flood => lasted + AFTERWARDS,
        }
    }

    /// Whether it takes streams away.
    pub(crate) fn breaks_streams(self) -> bool {
        matches!(
            self,
            Self::KillNine | Self::Sigterm | Self::Cut | Self::Silence
        )
    }

    /// Lets it happen, and mends it.
    pub(crate) async fn strike(self, stage: &mut Stage) {
        match self {
            // These are there from the beginning.
            Self::None | Self::Latency | Self::Loss => {}
            Self::KillNine => {
                stage.server.kill().await;
                sleep(DOWN).await;
                stage.server.start_again().await;
            }
            Self::Sigterm => {
                let ended = stage.server.terminate().await;
                assert_eq!(ended.code(), Some(0), "it leaves in good order");
                sleep(DOWN).await;
                stage.server.start_again().await;
            }
            Self::Reload => reload(stage.balancer.pid()).await,
            Self::Cut => {
                for _ in 0..CUTS {
                    stage.wire().cut();
                    sleep(BETWEEN_CUTS).await;
                }
            }
            Self::Silence => stage.wire().silence(),
            Self::Hang => put_out_of_order(stage, [Move::hang()]).await,
            Self::Flood => {
                let moves = [
                    Move::status(429).retry_info("1s"),
                    Move::status(500),
                    Move::endless(),
                    Move::status(503),
                    Move::raw(200, vec![b' '; HUGE]),
                    Move::rules().cut(),
                    Move::drop_connection(),
                ];
                put_out_of_order(stage, moves).await;
            }
        }
    }
}

/// Has the model do this, over and over, for as long as the experiment says.
async fn put_out_of_order(stage: &Stage, moves: impl IntoIterator<Item = Move>) {
    let model = &stage.outside.model;
    let asked = || model.traffic().borrow().arrived;
    let before = asked();
    model.usually(moves);
    sleep(stage.outage).await;
    assert!(asked() > before, "meanwhile nobody asked the model");
    model.usually([]);
}

/// Has nginx read its configuration anew: other processes take the connections that
/// come, and the old ones keep what they have.
async fn reload(nginx: u32) {
    let before = children(nginx);
    signal("HUP", nginx);
    let others = async {
        while children(nginx).is_subset(&before) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, others).await.unwrap();
}

fn children(process: u32) -> BTreeSet<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(path).unwrap();
    let children = children.split_whitespace();
    children.map(|child| child.parse().unwrap()).collect()
}
