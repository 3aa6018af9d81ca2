//! What an outcome costs with its user's log beside what it costs without.
//!
//! A frame that ends without a task is written down only if LOG_NO_TASK_FOUND says
//! so. There the same server does the same work with the log off and on, and the
//! entry is about as long as a task's. A task is always written down, so those frames have
//! nothing beside them but the others; the task itself, longer to read and to send,
//! counts as the log's there. The users' logs are full: each entry removes one.
//!
//! The desktop is told when the entry is kept, so it waits for the disk as well.

use std::time::Duration;

use axum::body::Bytes;
use proactive::transport::proto::OutcomeKind;
use tempfile::TempDir;

use super::cpu::{Bench, CONNECTIONS, FEW, ROUNDS};
use super::process::Free;
use super::report::{Report, Spread};
use super::{Lab, Line, Result, content, desk, model, ours};

/// Medians of five runs were 1.02 to 1.12 in memory and 1.37 to 1.48 on disk, on a busy
/// machine; the rest is room for noise and for other disks.
const MOST_IN_MEMORY: f64 = 1.25;
const MOST_ON_DISK: f64 = 1.75;
/// Full before the first round, in which each session has had 400 frames.
const FULL: &str = "--log-entries-per-user=300";
/// Frames with one in flight, per round and server.
const ALONE: usize = 50;

struct Logged {
    name: &'static str,
    bench: Bench,
    /// Milliseconds from the search's result to the outcome, by round: with one
    /// frame in flight, and with ten.
    waits: [Vec<f64>; 2],
}

impl Logged {
    async fn new(
        lab: &Lab,
        name: &'static str,
        outcome: OutcomeKind,
        settings: &[&str],
        jpeg: &Bytes,
    ) -> Result<Self> {
        let mut model_url = lab.model_url(Line::Tls);
        if outcome == OutcomeKind::NoTaskFound {
            model_url += model::NO_TASK;
        }
        let args = [&[ours::ROLE, &model_url, &lab.keys_url, FULL], settings].concat();
        let server = lab.run(&args, Free::Kept)?;
        let desks = desk::open(&server, &lab.tokens, FEW, CONNECTIONS).await?;
        let desks = desks.into_iter().map(|desk| desk.expecting(outcome));
        Ok(Self {
            name,
            bench: Bench::of(server, desks.collect(), jpeg).await?,
            waits: Default::default(),
        })
    }

    async fn round(&mut self, jpeg: &Bytes) -> Result<()> {
        let ten = self.bench.round(jpeg).await?;
        let one = self.bench.alone(ALONE, jpeg).await?;
        for (medians, waits) in self.waits.iter_mut().zip([one, ten]) {
            medians.push(median(waits));
        }
        Ok(())
    }
}

fn median(mut waits: Vec<Duration>) -> f64 {
    waits.sort();
    waits[waits.len() / 2].as_secs_f64() * 1e3
}

pub(crate) async fn measure(lab: &Lab, report: &mut Report) -> Result<()> {
    use OutcomeKind::{ExtractTask, NoTaskFound};

    let jpeg = content::jpeg(100);
    let folders = [TempDir::new()?, TempDir::new()?];
    let folders = folders.each_ref().map(|folder| folder.path().display());
    let [one, other] = folders.map(|folder| format!("--data-dir={folder}"));
    let on = "--log-no-task-found=true";
    // The last is the most that it may cost beside the first.
    let cases: [(_, _, &[&str], _); 5] = [
        ("no task, off", NoTaskFound, &[], None),
        (
            "no task, in memory",
            NoTaskFound,
            &[on],
            Some(MOST_IN_MEMORY),
        ),
        (
            "no task, in SQLite",
            NoTaskFound,
            &[on, &one],
            Some(MOST_ON_DISK),
        ),
        ("a task, in memory", ExtractTask, &[], Some(MOST_IN_MEMORY)),
        (
            "a task, in SQLite",
            ExtractTask,
            &[&other],
            Some(MOST_ON_DISK),
        ),
    ];
    let mut servers = Vec::new();
    for (name, outcome, settings, most) in cases {
        let server = Logged::new(lab, name, outcome, settings, &jpeg).await?;
        servers.push((server, most));
    }
    for _ in 0..ROUNDS {
        for (server, _) in &mut servers {
            server.round(&jpeg).await?;
        }
    }
    report.heading("CPU per frame by its user's log, 10 sessions; HTTP/2 and TLS to the model");
    for (server, _) in &servers {
        report.fact(server.name, server.bench.cost().with("µs"));
    }
    for (server, most) in &servers {
        if let Some(most) = *most {
            let over_off = server.bench.over(&servers[0].0.bench);
            report.bound(&format!("{} / off", server.name), over_off, most);
        }
    }
    for (at, how) in ["one frame", "10 frames"].into_iter().enumerate() {
        report.heading(&format!(
            "Time from a search's result to the outcome, {how} in flight"
        ));
        for (server, _) in &servers {
            let waits = Spread::of(server.waits[at].iter().copied());
            report.fact(server.name, waits.with("ms"));
        }
    }
    Ok(())
}
