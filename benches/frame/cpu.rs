//! CPU time per frame: ours beside the bare server, and ours with few sessions
//! beside ours with many. The servers take turns, so that what else runs on
//! the machine disturbs all of them alike; each round gives one ratio.

use std::time::Duration;

use axum::body::Bytes;
use tokio::time::sleep;

use super::content;
use super::desk::{self, Crowd, Desk};
use super::process::{Free, Process};
use super::report::{Report, Spread};
use super::{Kind, Lab, Line, Result};

pub(crate) const FEW: usize = 10;
const MANY: usize = 1_000;
/// As behind a balancer.
pub(crate) const CONNECTIONS: usize = 4;
const IN_FLIGHT: usize = 10;
pub(crate) const ROUNDS: usize = 25;
/// Per round and server: so many that caches gone cold in the others' turns weigh
/// little.
pub(crate) const FRAMES: usize = 1_000;
/// After the last outcome a server has little left to do.
const REST: Duration = Duration::from_millis(20);

const MOST_OVER_BARE: f64 = 1.25;
const MOST_GROWTH: f64 = 1.15;

pub(crate) struct Bench {
    server: Process,
    crowd: Crowd,
    /// Microseconds per frame, by round.
    costs: Vec<f64>,
}

impl Bench {
    pub(crate) async fn new(
        lab: &Lab,
        kind: Kind,
        line: Line,
        sessions: usize,
        jpeg: &Bytes,
    ) -> Result<Self> {
        let server = lab.start(kind, line, Free::Kept)?;
        let desks = desk::open(&server, &lab.tokens, sessions, CONNECTIONS).await?;
        Self::of(server, desks, jpeg).await
    }

    /// Of a server that these desktops are at.
    pub(crate) async fn of(server: Process, desks: Vec<Desk>, jpeg: &Bytes) -> Result<Self> {
        let sessions = desks.len();
        let mut crowd = Crowd::new(desks, IN_FLIGHT);
        // Every session has had a frame before the first round.
        crowd.frames(sessions.max(4 * FRAMES), jpeg).await?;
        Ok(Self {
            server,
            crowd,
            costs: Vec::new(),
        })
    }

    /// How long each frame waited for its outcome when its search had been answered.
    pub(crate) async fn round(&mut self, jpeg: &Bytes) -> Result<Vec<Duration>> {
        let before = self.server.cpu()?;
        let waits = self.crowd.frames(FRAMES, jpeg).await?;
        sleep(REST).await;
        let spent = self.server.cpu()? - before;
        self.costs.push(spent.as_secs_f64() * 1e6 / FRAMES as f64);
        Ok(waits)
    }

    /// The same for so many frames with one in flight, whose CPU is not counted.
    pub(crate) async fn alone(&mut self, frames: usize, jpeg: &Bytes) -> Result<Vec<Duration>> {
        self.crowd.alone(frames, jpeg).await
    }

    pub(crate) fn process(&self) -> u32 {
        self.server.id()
    }

    pub(crate) fn cost(&self) -> Spread {
        Spread::of(self.costs.iter().copied())
    }

    pub(crate) fn over(&self, other: &Self) -> Spread {
        Spread::of(self.costs.iter().zip(&other.costs).map(|(a, b)| a / b))
    }
}

pub(crate) async fn measure(lab: &Lab, report: &mut Report) -> Result<()> {
    let jpeg = content::jpeg(100);
    for (line, name) in [
        (Line::Tls, "HTTP/2 and TLS"),
        (Line::Plain, "plain HTTP/1.1"),
    ] {
        let mut ours = Bench::new(lab, Kind::Ours, line, FEW, &jpeg).await?;
        let mut bare = Bench::new(lab, Kind::Bare, line, FEW, &jpeg).await?;
        let mut lean = Bench::new(lab, Kind::Lean, line, FEW, &jpeg).await?;
        let mut many = Bench::new(lab, Kind::Ours, line, MANY, &jpeg).await?;
        for _ in 0..ROUNDS {
            for bench in [&mut ours, &mut bare, &mut lean, &mut many] {
                bench.round(&jpeg).await?;
            }
        }
        report.heading(&format!(
            "CPU per frame, user and system; {name} to the model"
        ));
        report.fact("bare, 10 sessions", bare.cost().with("µs"));
        report.fact("lean, 10 sessions", lean.cost().with("µs"));
        report.fact("ours, 10 sessions", ours.cost().with("µs"));
        report.fact("ours, 1,000 sessions", many.cost().with("µs"));
        for (name, other) in [("ours / bare", &bare), ("ours / lean", &lean)] {
            report.bound(name, ours.over(other), MOST_OVER_BARE);
        }
        report.bound("1,000 / 10 sessions", many.over(&ours), MOST_GROWTH);
    }
    Ok(())
}
