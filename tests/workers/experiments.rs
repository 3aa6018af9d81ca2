//! What becomes of calls when workers are killed under load.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use proactive::domain::{Ran, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::support::App;
use crate::worker::{Worker, hello, n, whole};
use crate::{call, has, started, workers};

const CALLS: i64 = 1_000;

/// How often each call was executed.
type Executed = Arc<Mutex<HashMap<i64, u32>>>;

/// Executes what it is given, each call in a while, until it is dropped.
async fn works(app: &App, executed: &Executed) {
    let Ok(mut worker) = Worker::start(app, hello(&["add"], 8)).await else {
        return;
    };
    let mut calls = JoinSet::new();
    while let Ok(Some(command)) = worker.next().await {
        use proactive::transport::proto::workers::worker_command::Command;
        let Command::Execute(asked) = command else {
            continue;
        };
        let (call, say) = (asked.call.unwrap(), worker.say.clone());
        *executed.lock().unwrap().entry(n(&call)).or_default() += 1;
        calls.spawn(async move {
            sleep(Duration::from_millis(5)).await;
            use proactive::transport::proto::workers::WorkerEvent;
            let event = Some(crate::worker::result(&call.call_id, Some(whole(n(&call)))));
            let _ = say.send(WorkerEvent { event }).await;
        });
    }
}

/// Lives, is killed in the middle of its work, and comes back after a moment.
async fn is_killed_again_and_again(app: &App, executed: &Executed, life: Duration) {
    loop {
        let _killed = timeout(life, works(app, executed)).await;
        sleep(Duration::from_millis(30)).await;
    }
}

struct Counts {
    answered: u32,
    may_have_run: u32,
    never_ran: u32,
}

async fn run(app: &App, lives: &[u64]) -> Counts {
    let executed = Executed::default();
    let workers = workers(app);
    let killing = lives.iter().map(|life| {
        let life = Duration::from_millis(*life);
        is_killed_again_and_again(app, &executed, life)
    });
    let killing = futures::future::join_all(killing);
    let calling = async {
        has(&workers, "add").await;
        let calls = stream::iter(0..CALLS).map(|number| {
            let workers = &workers;
            async move {
                let result = call(workers, "add", Value::Integer(number)).await;
                // As a caller does who is told that nothing ran: a moment later.
                if result.is_err() {
                    sleep(Duration::from_millis(5)).await;
                }
                (number, result)
            }
        });
        calls.buffer_unordered(32).collect::<Vec<_>>().await
    };
    let results = tokio::select! {
        _ = killing => panic!("it goes on"),
        results = calling => results,
    };
    let executed = executed.lock().unwrap();
    let times = |number: i64| executed.get(&number).copied().unwrap_or(0);
    let mut counts = Counts {
        answered: 0,
        may_have_run: 0,
        never_ran: 0,
    };
    assert_eq!(results.len(), CALLS as usize);
    for (number, result) in results {
        assert!(times(number) <= 1, "{number} was executed twice");
        match result {
            Ok(value) => {
                assert_eq!((value, times(number)), (Value::Integer(number), 1));
                counts.answered += 1;
            }
            Err(fault) if fault.ran == Ran::Maybe => counts.may_have_run += 1,
            Err(fault) => {
                assert_eq!(times(number), 0, "{number} never ran: {fault:?}");
                counts.never_ran += 1;
            }
        }
    }
    counts
}

#[tokio::test]
async fn c08_a_worker_is_killed_and_restarted_during_a_thousand_calls_and_none_hangs_or_runs_twice()
{
    for (what, lives) in [
        ("one worker, killed again and again", &[120][..]),
        ("three workers, killed in turns", &[120, 170, 230]),
    ] {
        let app = started().await;
        let began = Instant::now();
        let counts = timeout(Duration::from_secs(60), run(&app, lives)).await;
        let Counts {
            answered,
            may_have_run,
            never_ran,
        } = counts.unwrap();
        println!(
            "{what}: {CALLS} calls in {:?}: {answered} answered, {may_have_run} may have run, \
             {never_ran} never ran",
            began.elapsed()
        );
        assert_eq!(i64::from(answered + may_have_run + never_ran), CALLS);
        assert!(answered > 0 && may_have_run > 0);
    }
}
