//! Ten thousand sessions for minutes, their return after restarts, and a flood:
//! `make load`.
//!
//! The server is `proactive serve`, a process of its own; this one is everybody
//! else: the desktops, the balancer, the model's stand-in. Linux only. Desktops
//! share HTTP/2 connections, as behind a balancer. It says what it measures and
//! holds it to bounds, which stand beside the figures; it ends with 1 if one is
//! broken.
//!
//! `cargo bench --bench load -- --only flood` (or `soak`, `returns`) does a part;
//! `--help` lists what can be changed, each also by a variable. (cargo adds a
//! `--bench` of its own to the arguments.)

mod balancer;
#[path = "../frame/content.rs"]
mod content;
mod crowd;
mod desk;
mod flood;
mod lab;
#[path = "../frame/report.rs"]
mod report;
mod returns;
#[path = "../frame/seen.rs"]
mod seen;
mod soak;
mod tally;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tokio::time::Instant;

use balancer::Balancer;
use crowd::Crowd;
use lab::{Lab, Server};
use report::{Report, Spread};

/// As in `proactive` itself.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const HOST: &str = "127.0.0.1";
/// For answers to frames: longer than a desktop's own patience.
const PATIENCE: Duration = Duration::from_secs(120);
/// The sessions are opened over so long.
const OPENING: Duration = Duration::from_secs(20);
/// By then the allocator has given back what was freed.
const FREED: Duration = Duration::from_secs(15);
/// A call to the model, as far as there is no queue.
const CALL: Duration = Duration::from_millis(500);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Idle and active sessions, restarts and a flood, with bounds.
#[derive(Parser)]
struct Plan {
    /// Minutes that the sessions stay before the restarts.
    #[arg(long, env = "MINUTES", default_value_t = 10)]
    minutes: u64,
    /// Sessions that send no frame.
    #[arg(long, env = "IDLE", default_value_t = 10_000)]
    idle: usize,
    /// Sessions that send frames.
    #[arg(long, env = "ACTIVE", default_value_t = 200)]
    active: usize,
    /// Seconds between two frames of a session, on average.
    #[arg(long, env = "PACE", default_value_t = 5)]
    pace: u64,
    /// Connections that all of them share.
    #[arg(long, env = "CONNECTIONS", default_value_t = 100)]
    connections: usize,
    /// Rounds of a minute, half of it with the flood.
    #[arg(long, env = "ROUNDS", default_value_t = 4)]
    rounds: u32,
    /// A part alone.
    #[arg(long)]
    only: Option<Part>,
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Soak,
    Returns,
    Flood,
}

impl Plan {
    fn sessions(&self) -> usize {
        self.idle + self.active
    }

    fn has(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

/// A server with its desktops.
struct Bed {
    server: Server,
    balancer: Balancer,
    crowd: Crowd,
}

fn main() -> ExitCode {
    let plan = Plan::parse();
    let runtime = tokio::runtime::Runtime::new();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(measure(&plan)),
        Err(error) => Err(error.into()),
    };
    report::exit("load", done)
}

async fn measure(plan: &Plan) -> Result<ExitCode> {
    let mut report = Report::default();
    if plan.has(Part::Soak) || plan.has(Part::Returns) {
        sessions(plan, &mut report).await?;
    }
    if plan.has(Part::Flood) {
        flood::run(plan.rounds, &mut report).await?;
    }
    Ok(report.verdict())
}

async fn sessions(plan: &Plan, report: &mut Report) -> Result<()> {
    let mut lab = Lab::new(CALL).await?;
    // By default there are no more than 10,000; those that return find their old ones.
    lab.set("MAX_SESSIONS", 2 * plan.sessions());
    let server = lab.start().await?;
    let empty = server.memory()?;
    let balancer = Balancer::new(server.port).await?;
    let mut crowd = Crowd::new(&lab, balancer.url(), plan.connections)?;
    let pace = Duration::from_secs(plan.pace);
    for number in 0..plan.sessions() {
        let pace = (number < plan.active).then_some(pace);
        crowd.add(format!("user-{number}"), pace, OPENING);
    }
    let began = Instant::now();
    if !crowd.all_arrived(PATIENCE).await {
        let (_, troubles) = crowd.take().told_troubles();
        return Err(format!("not all sessions could be opened: {troubles}").into());
    }
    report.heading("The sessions are opened");
    let (took, full) = (began.elapsed().as_secs_f64(), server.memory()?);
    let each = (full - empty) as f64 / plan.sessions() as f64 / 1e3;
    report.fact("all were open after", format!("{took:.1} s"));
    report.fact("memory of one", format!("{each:.1} KB"));
    let mut bed = Bed {
        server,
        balancer,
        crowd,
    };
    drop(bed.crowd.take());
    if plan.has(Part::Soak) {
        soak::run(plan, &bed.server, &bed.crowd, report).await?;
    }
    if plan.has(Part::Returns) {
        returns::run(plan, &lab, &mut bed, report).await?;
    }
    report.heading("All have left");
    bed.crowd.leave().await;
    left_nothing(&bed.server, report).await
}

/// What the server says of itself once nobody is there any more, and what its log said.
async fn left_nothing(server: &Server, report: &mut Report) -> Result<()> {
    // Sessions whose streams broke while they were asked to leave wait for 30 s.
    let end = Instant::now() + PATIENCE;
    while server.metric("proactive_sessions").await? > 0.0 && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    tokio::time::sleep(FREED).await;
    report.fact("memory", format!("{:.0} MB", server.memory()? as f64 / 1e6));
    for (name, gauge) in [
        ("sessions", "proactive_sessions"),
        ("sessions without a stream", "proactive_sessions_away"),
        ("frames in flight", "proactive_frames_in_flight"),
        ("bytes accounted for", "proactive_accounted_bytes"),
    ] {
        let value = server.metric(gauge).await?;
        report.bound(name, Spread::of([value]), 0.0);
    }
    complaints(server, report)
}

fn complaints(server: &Server, report: &mut Report) -> Result<()> {
    let (errors, warnings) = server.complaints()?;
    for line in errors.iter().take(10) {
        println!("  {line}");
    }
    report.fact("warnings in its log", warnings.len().to_string());
    report.bound("errors in its log", Spread::of([errors.len() as f64]), 0.0);
    Ok(())
}
