//! A thousand who follow one user's log, and many who wait.

use std::sync::Arc;
use std::time::Instant;

use futures::future::try_join_all;
use proactive::events::{Entry, Log, Options, Start, Told};
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::report::{Report, Spread};
use super::{Result, event, log, now, seen, user};

const FOLLOWERS: usize = 1_000;
const ENTRIES: usize = 500;
const ROUNDS: usize = 5;
/// Appended at once.
const AT_ONCE: usize = 8;
const WAITING: usize = 20_000;

/// What followers take who wait, each at another user's log.
pub(crate) async fn waiting(report: &Report) -> Result<()> {
    report.heading("Followers who wait");
    let (log, _) = log(Options::default()).await?;
    let users: Vec<_> = (0..WAITING).map(user).collect();
    let mut followers = Vec::with_capacity(WAITING);
    let before = seen::memory(std::process::id())?;
    for user in &users {
        followers.push(log.follow(user, Start::Now));
    }
    let after = seen::memory(std::process::id())?;
    let each = (after - before) as f64 / WAITING as f64;
    report.fact("memory of one, with its hub", format!("{each:>9.0} bytes"));
    Ok(())
}

pub(crate) async fn crowd(report: &Report) -> Result<()> {
    report.heading("A thousand followers of one user");
    let folder = TempDir::new()?;
    let options = Options {
        folder: Some(folder.path().to_owned()),
        entries_per_user: 100_000,
        ..Options::default()
    };
    let (on_disk, _) = log(options).await?;
    let (in_memory, _) = log(Options {
        memory: 1 << 30,
        entries_per_user: 100_000,
        ..Options::default()
    })
    .await?;
    for (name, log) in [("in SQLite", &on_disk), ("in memory", &in_memory)] {
        let (mut rates, mut costs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (rate, cost) = round(log).await?;
            rates.push(rate);
            costs.push(cost);
        }
        report.fact(
            &format!("{name}: told a second"),
            Spread::of(rates).with("/s"),
        );
        let cost = Spread::of(costs).with("ns");
        report.fact(&format!("{name}: CPU for each"), cost);
    }
    let mut costs = Vec::new();
    for _ in 0..ROUNDS {
        costs.push(channel().await?);
    }
    report.fact(
        "a channel of tokio's: CPU for each",
        Spread::of(costs).with("ns"),
    );
    on_disk.close().await;
    Ok(())
}

/// How much is told a second, and what each costs in nanoseconds of CPU.
async fn round(log: &Log) -> Result<(f64, f64)> {
    let mut followers = JoinSet::new();
    for _ in 0..FOLLOWERS {
        let mut follower = log.follow(&user(0), Start::Now);
        followers.spawn(async move {
            let mut told = 0;
            while told < ENTRIES {
                match follower.next().await {
                    Ok(Told::Entry(_)) => told += 1,
                    other => return Err(format!("{other:?}")),
                }
            }
            Ok(())
        });
    }
    let cpu = seen::cpu(std::process::id())?;
    let began = Instant::now();
    let user = user(0);
    for _ in 0..ENTRIES.div_ceil(AT_ONCE) {
        try_join_all((0..AT_ONCE).map(|_| log.append(&user, event(), None))).await?;
    }
    while let Some(follower) = followers.join_next().await {
        follower??;
    }
    let took = began.elapsed();
    let cpu = seen::cpu(std::process::id())? - cpu;
    let told = (FOLLOWERS * ENTRIES) as f64;
    Ok((told / took.as_secs_f64(), cpu.as_nanos() as f64 / told))
}

/// What the same costs by a channel, which keeps nothing.
async fn channel() -> Result<f64> {
    let (sender, _) = broadcast::channel(ENTRIES);
    let mut receivers = JoinSet::new();
    for _ in 0..FOLLOWERS {
        let mut receiver = sender.subscribe();
        receivers.spawn(async move {
            for _ in 0..ENTRIES {
                receiver.recv().await?;
            }
            Ok::<_, broadcast::error::RecvError>(())
        });
    }
    let cpu = seen::cpu(std::process::id())?;
    for offset in 0..ENTRIES as u64 {
        let (at, event) = (now(), event());
        sender.send(Arc::new(Entry { offset, at, event }))?;
        if offset % AT_ONCE as u64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    while let Some(receiver) = receivers.join_next().await {
        receiver??;
    }
    let cpu = seen::cpu(std::process::id())? - cpu;
    Ok(cpu.as_nanos() as f64 / (FOLLOWERS * ENTRIES) as f64)
}
