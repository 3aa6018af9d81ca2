//! What becomes of calls when workers are killed under load, played within this process:
//! their streams break at once and in any place.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proactive::transport::proto::workers::WorkerEvent;
use proactive::transport::proto::workers::worker_command::Command;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::accounts::{Begun, balance};
use crate::started;
use crate::support::App;
use crate::worker::{Worker, hello, n, result, whole};

/// Executes what it is given, each call in a while, until it is dropped.
async fn works(app: &App, begun: &Arc<Mutex<Begun>>) {
    let Ok(mut worker) = Worker::start(app, hello(&["add"], 8)).await else {
        return;
    };
    let mut calls = JoinSet::new();
    while let Ok(Some(command)) = worker.next().await {
        let Command::Execute(asked) = command else {
            continue;
        };
        let (call, say) = (asked.call.unwrap(), worker.say.clone());
        *begun.lock().unwrap().entry(n(&call)).or_default() += 1;
        calls.spawn(async move {
            sleep(Duration::from_millis(5)).await;
            let event = Some(result(&call.call_id, Some(whole(n(&call)))));
            let _ = say.send(WorkerEvent { event }).await;
        });
    }
}

/// Lives, is killed in the middle of its work, and comes back after a moment.
async fn is_killed_again_and_again(
    app: &App,
    begun: &Arc<Mutex<Begun>>,
    life: Duration,
    kills: &Cell<u32>,
) {
    loop {
        let _killed = timeout(life, works(app, begun)).await;
        kills.set(kills.get() + 1);
        sleep(Duration::from_millis(30)).await;
    }
}

#[tokio::test]
async fn c08_a_worker_is_killed_and_restarted_during_a_thousand_calls_and_none_hangs_or_runs_twice()
{
    for (what, lives) in [
        ("one worker, killed again and again", &[120][..]),
        ("three workers, killed in turns", &[120, 170, 230]),
    ] {
        let app = started().await;
        let (begun, kills) = (Arc::<Mutex<Begun>>::default(), Cell::new(0));
        let killing = lives.iter().map(|life| {
            let life = Duration::from_millis(*life);
            is_killed_again_and_again(&app, &begun, life, &kills)
        });
        let killing = futures::future::join_all(killing);
        balance(what, &app, killing, &kills, || {
            begun.lock().unwrap().clone()
        })
        .await;
    }
}
