//! A thousand calls that are made while workers are killed, and the account of them.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use proactive::domain::{CallFault, CallFaultCode, Ran, Value};
use proactive::tools::workers::Workers;
use tokio::time::{Instant, sleep, timeout};

use crate::support::App;
use crate::{call, workers};

pub(crate) const CALLS: i64 = 1_000;
/// A thousand calls and all that is killed meanwhile; a few seconds, unless the machine
/// has other things to do.
const IN_ALL: Duration = Duration::from_secs(120);

/// How often workers have begun each call, by what they wrote down themselves.
pub(crate) type Begun = HashMap<i64, u32>;

/// Makes all calls of `add` while somebody kills workers and counts it, and checks what
/// became of each: it ended, it was begun once at most, and what was told of it is true.
pub(crate) async fn balance(
    what: &str,
    app: &App,
    killing: impl Future,
    kills: &Cell<u32>,
    begun: impl Fn() -> Begun,
) {
    let since = Instant::now();
    let workers = workers(app);
    let calls = timeout(IN_ALL, calls(&workers));
    let results = tokio::select! {
        _ = killing => panic!("it goes on"),
        results = calls => results.expect("all calls end"),
    };
    let begun = begun();
    let (mut answered, mut may_have_run, mut never_ran) = (0, 0, 0);
    for (number, result) in results {
        let times = begun.get(&number).copied().unwrap_or(0);
        assert!(times <= 1, "{number} was executed {times} times");
        match result {
            Ok(value) => {
                assert_eq!((value, times), (Value::Integer(number), 1));
                answered += 1;
            }
            Err(fault) => {
                // Its deadline is for those who hang.
                assert_ne!(fault.code, CallFaultCode::Timeout, "{number} hung");
                match fault.ran {
                    Ran::Maybe => may_have_run += 1,
                    Ran::Never => {
                        assert_eq!(times, 0, "{number} never ran: {fault:?}");
                        never_ran += 1;
                    }
                }
            }
        }
    }
    let kills = kills.get();
    println!(
        "{what}: {CALLS} calls in {:?}, {kills} kills: {answered} answered, {may_have_run} may \
         have run, {never_ran} never ran",
        since.elapsed()
    );
    assert_eq!(answered + may_have_run + never_ran, CALLS);
    assert!(answered > 0 && may_have_run > 0 && kills > 0);
}

/// What becomes of each call, of which 32 are under way at a time.
async fn calls(workers: &Workers) -> Vec<(i64, Result<Value, CallFault>)> {
    someone_comes(workers).await;
    let calls = stream::iter(0..CALLS).map(|number| async move {
        let result = call(workers, "add", Value::Integer(number)).await;
        // As a caller does who is told so: the next one when there is somebody.
        if result.is_err() {
            someone_comes(workers).await;
        }
        (number, result)
    });
    calls.buffer_unordered(32).collect().await
}

/// Leaves the machine to whoever starts.
async fn someone_comes(workers: &Workers) {
    while !workers.has("add") {
        sleep(Duration::from_millis(5)).await;
    }
}
