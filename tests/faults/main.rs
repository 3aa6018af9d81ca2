//! The real programs, and what breaks around them: `proactive serve` behind nginx with
//! TLS, a model that is a stand-in, and `proactive desk`s that each have a user, a folder
//! of pictures and a store. Whatever breaks, each picture is answered once in its store.
//!
//! `make faults` plays every fault with 50 desks and shows the table; FAULTS="kill-9 loss",
//! DESKS=20, FRAMES=12 and OUTAGE=60 (seconds for which the model is out of order) choose
//! otherwise. docs/operations.md says what each of them is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod desks;
mod fault;
mod ledger;
mod lossy;
mod outside;
#[path = "../balancers/proxy.rs"]
mod proxy;
mod server;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use tokio::time::timeout;

use desks::Desks;
use fault::Fault;
use ledger::Ledger;
use stage::Stage;
use support::tools::variable;

/// What needs no root and no second namespace.
const USUAL: &str = "none kill-9 sigterm reload cut latency hang flood";
const DESKS: usize = 5;
const FRAMES: usize = 6;
/// Seconds. With 40 the server is as it is shipped.
const OUTAGE: usize = 8;
/// Desks that this machine should bear at once, in all experiments.
const MOST_DESKS: usize = 50;

const HEAD: &str = "\
| fault | frames sent | answered once | answered twice | unanswered | longest wait | bound | streams lost | sent again |
|---|---|---|---|---|---|---|---|---|";

/// What an experiment came to.
struct Row {
    fault: Fault,
    ledger: Ledger,
    bound: Duration,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_every_frame_is_answered_once_in_its_desks_store() {
    let faults = text("FAULTS").unwrap_or_else(|| USUAL.to_owned());
    let faults: Vec<_> = faults.split_whitespace().map(Fault::named).collect();
    let (desks, frames) = (number("DESKS", DESKS), number("FRAMES", FRAMES));
    let outage = Duration::from_secs(number("OUTAGE", OUTAGE) as u64);
    let at_once = (MOST_DESKS / desks).max(1);
    println!("{desks} desks with {frames} pictures each\n\n{HEAD}");
    let mut rows = stream::iter(faults)
        .map(|fault| play(fault, desks, frames, outage))
        .buffered(at_once);
    let mut wrong = Vec::new();
    while let Some(row) = rows.next().await {
        let Some(row) = row else { continue };
        println!("{}", row.line());
        wrong.extend(row.wrong());
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// One experiment; `None` if this machine has not what it needs, which is said.
async fn play(fault: Fault, desks: usize, frames: usize, outage: Duration) -> Option<Row> {
    let mut folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::set(fault, outage, folder.path()).await?;
    let tokens: Vec<_> = (0..desks)
        .map(|nth| stage.outside.token(&format!("desk-{nth}")))
        .collect();
    let running = Desks::start(&stage.call(), &tokens, frames, folder.path());
    // In the middle of it; or else it is seen in the end that nothing is answered.
    let third = running.have_decided(desks * frames / 3);
    let _ = timeout(fault.bound(Duration::ZERO), third).await;
    let struck = Instant::now();
    fault.strike(&mut stage).await;
    let lasted = struck.elapsed();
    let bound = fault.bound(lasted);
    // A frame may be sent for the first time when another has waited for its whole time.
    let shown = running.left(Instant::now() + 2 * bound).await;
    let mut ledger = Ledger::default();
    for shown in &shown {
        ledger.add(shown, frames);
    }
    if let Some(lossy) = &stage.lossy {
        assert!(lossy.lost() > 0, "the network loses nothing");
    }
    let row = Row {
        fault,
        ledger,
        bound,
    };
    if row.wrong().next().is_some() {
        folder.disable_cleanup(true);
        println!("what was said and kept is in {}", folder.path().display());
    }
    Some(row)
}

impl Row {
    fn line(&self) -> String {
        let Ledger {
            sent,
            once,
            twice,
            unanswered,
            longest,
            again,
            lost,
            ..
        } = &self.ledger;
        format!(
            "| {} | {sent} | {once} | {twice} | {unanswered} | {:.1} s | {:.0} s | {lost} | {again} |",
            self.fault.name(),
            longest.as_secs_f64(),
            self.bound.as_secs_f64(),
        )
    }

    /// What is not as it should be, in words.
    fn wrong(&self) -> impl Iterator<Item = String> {
        let ledger = &self.ledger;
        let late = (ledger.longest > self.bound).then(|| "a frame waited for too long".to_owned());
        let tame = (self.fault.breaks_streams() && ledger.lost == 0)
            .then(|| "no stream was lost, so that this shows nothing".to_owned());
        let wrong = ledger.wrong.iter().cloned().chain(late).chain(tame);
        wrong.map(|what| format!("{}: {what}", self.fault.name()))
    }
}

fn text(name: &str) -> Option<String> {
    variable(name).map(|value| value.into_string().unwrap())
}

fn number(name: &str, usual: usize) -> usize {
    let given = text(name).map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number"))
    });
    given.unwrap_or(usual)
}
