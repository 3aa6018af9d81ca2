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
#[path = "../support/signal.rs"]
mod signal;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use std::time::{Duration, Instant};

use desks::Desks;
use fault::Fault;
use futures::{StreamExt, stream};
use ledger::Ledger;
use stage::Stage;
use support::tools::variable;

/// What needs no root, and no minutes.
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
    name: String,
    ledger: Ledger,
    bound: Duration,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_every_frame_is_answered_once_in_its_desks_store() {
    let faults = text("FAULTS").unwrap_or_else(|| USUAL.to_owned());
    let faults: Vec<_> = faults.split_whitespace().map(Fault::named).collect();
    let (desks, frames) = (number("DESKS", DESKS), number("FRAMES", FRAMES));
    let outage = Duration::from_secs(number("OUTAGE", OUTAGE) as u64);
    let at_once = (MOST_DESKS / desks.max(1)).max(1);
    println!("{desks} desks with {frames} pictures each\n\n{HEAD}");
    let mut rows = stream::iter(faults)
        .map(|fault| play(fault, desks, frames, outage))
        .buffered(at_once);
    let mut wrong = Vec::new();
    while let Some(row) = rows.next().await {
        let Some(row) = row else { continue };
        println!("{}", row.line());
        let what = row.ledger.wrong.iter();
        wrong.extend(what.map(|what| format!("{}: {what}", row.name)));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// One experiment; `None` if this machine has not what it needs, which is said.
async fn play(fault: Fault, desks: usize, frames: usize, outage: Duration) -> Option<Row> {
    let mut folder = tempfile::tempdir().unwrap();
    // What was said and kept stays to be looked at, unless all goes well.
    folder.disable_cleanup(true);
    let Some(mut stage) = Stage::set(fault, outage, folder.path()).await else {
        folder.disable_cleanup(false);
        return None;
    };
    let tokens: Vec<_> = (0..desks)
        .map(|nth| stage.outside.token(&format!("desk-{nth}")))
        .collect();
    let running = Desks::start(&stage.call(), &tokens, frames, folder.path());
    // In the middle of it; or else it is seen in the end that nothing is answered.
    let patience = fault.bound(Duration::ZERO);
    running.have_decided(desks * frames / 3, patience).await;
    let struck = Instant::now();
    fault.strike(&mut stage).await;
    let bound = fault.bound(struck.elapsed());
    // Not one frame is decided for as long as each may wait.
    let shown = running.left(bound).await;
    let mut ledger = Ledger::default();
    for shown in &shown {
        ledger.add(shown, frames);
    }
    if ledger.longest > bound {
        ledger.wrong.push("a frame waited for too long".to_owned());
    }
    // What does not happen shows nothing.
    if fault.breaks_streams() && ledger.lost == 0 {
        ledger.wrong.push("no stream was lost".to_owned());
    }
    let mut name = fault.name().to_owned();
    if let Some(lossy) = &stage.lossy {
        name += &format!(" ({} packets)", lossy.lost());
        if lossy.lost() == 0 {
            ledger.wrong.push("too few packets to lose one".to_owned());
        }
    }
    if ledger.wrong.is_empty() {
        folder.disable_cleanup(false);
    } else {
        let kept = folder.path().display();
        let where_to_look = format!("what was said and kept is in {kept}");
        ledger.wrong.push(where_to_look);
    }
    Some(Row {
        name,
        ledger,
        bound,
    })
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
            self.name,
            longest.as_secs_f64(),
            self.bound.as_secs_f64(),
        )
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
