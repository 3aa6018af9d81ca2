//! One play: a writer, and followers who are slow, give up and come back.

use std::future::Future;
use std::ops::AddAssign;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{join_all, try_join_all};
use jiff::Timestamp;
use proactive::domain::{
    Bill, Decided, Decision, Event, FrameId, JobId, JobState, Outcome, SessionId, Uid,
};
use proactive::events::{Log, Options, Start, Told};
use proactive::telemetry::Metrics;
use proactive::world::World;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{sleep, timeout};

const FOLLOWERS: u64 = 4;
/// An entry that does not come in this time does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What happened, so that a play in which nothing did is noticed.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) told: u64,
    pub(crate) connected: u64,
    pub(crate) given_up: u64,
}

impl AddAssign for Sum {
    fn add_assign(&mut self, more: Self) {
        self.told += more.told;
        self.connected += more.connected;
        self.given_up += more.given_up;
    }
}

/// Odd seeds play in SQLite, even ones in memory.
pub(crate) fn play(seed: u64, entries: u64) -> Result<Sum, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let options = Options {
        folder: (seed % 2 == 1).then(|| folder.path().to_owned()),
        entries_per_user: usize::try_from(entries).expect("not so many"),
        memory: 1 << 30,
        ..Options::default()
    };
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let now = Timestamp::UNIX_EPOCH;
        let log = Log::open(options, World::fixed(now, seed), Metrics::new()).await;
        let log = log.map_err(|error| error.to_string())?;
        let user = Uid::new("ada");
        // Each begins before anything is written, so that all of it is to be told.
        let begun = (0..FOLLOWERS).map(|n| {
            let start = if n == 0 { Start::Now } else { Start::Oldest };
            let follower = log.follow(&user, start);
            follow(&log, &user, follower, seed * FOLLOWERS + n, entries)
        });
        let followed = try_join_all(begun.map(FutureExt::boxed_local).collect::<Vec<_>>());
        let (written, followed) = futures::join!(write(&log, &user, seed, entries), followed);
        written?;
        log.close().await;
        Ok(followed?.into_iter().fold(Sum::default(), |mut sum, one| {
            sum += one;
            sum
        }))
    })
}

async fn write(log: &Log, user: &Uid, seed: u64, entries: u64) -> Result<(), String> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut written = 0;
    while written < entries {
        let burst = dice.random_range(1..=200).min(entries - written);
        // A job of two entries now and then.
        let job = burst >= 2 && dice.random_bool(0.2);
        if job {
            let id = JobId::new(format!("{written}"));
            let submitted = log.submit(user, id.clone(), FrameId::default(), None).await;
            submitted.map_err(|error| error.to_string())?;
            let moved = log.advance(user, &id, JobState::Streaming).await;
            moved.map_err(|error| error.to_string())?;
        }
        let rest = if job { burst - 2 } else { burst };
        let size = if dice.random_bool(0.05) { 20_000 } else { 100 };
        let appended = join_all((0..rest).map(|_| log.append(user, decided(size), None))).await;
        for appended in appended {
            appended.map_err(|error| error.to_string())?;
        }
        written += burst;
        pause(&mut dice).await;
    }
    Ok(())
}

async fn follow(
    log: &Log,
    user: &Uid,
    mut follower: proactive::events::Follower,
    seed: u64,
    entries: u64,
) -> Result<Sum, String> {
    let mut dice = StdRng::seed_from_u64(u64::MAX - seed);
    let mut sum = Sum::default();
    let mut last = 0;
    sum.connected = 1;
    while last < entries {
        for _ in 0..dice.random_range(1..=300) {
            if last == entries {
                break;
            }
            // Many give up while they wait, and ask again.
            let next = timeout(PATIENCE, follower.next());
            let told = if dice.random_bool(0.3) {
                match at_once(next).await {
                    None => {
                        sum.given_up += 1;
                        pause(&mut dice).await;
                        continue;
                    }
                    Some(told) => told,
                }
            } else {
                next.await
            };
            let told = told.map_err(|_| format!("nothing came after {last}"))?;
            match told.map_err(|error| error.to_string())? {
                Told::Gap => return Err(format!("a gap after {last}")),
                Told::Entry(entry) if entry.offset != last + 1 => {
                    return Err(format!("{} after {last}", entry.offset));
                }
                Told::Entry(entry) => last = entry.offset,
            }
            sum.told += 1;
            if dice.random_bool(0.01) {
                pause(&mut dice).await;
            }
        }
        let cursor = follower.cursor().cloned();
        if cursor.as_ref().map_or(0, |cursor| cursor.offset) != last {
            return Err(format!("{cursor:?} after {last}"));
        }
        if let Some(cursor) = cursor {
            drop(follower);
            pause(&mut dice).await;
            follower = log.follow(user, Start::After(cursor));
            sum.connected += 1;
        }
    }
    Ok(sum)
}

/// What a future comes to within a turn or two of the others.
async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let turns = async {
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    };
    tokio::select! {
        biased;
        done = future => Some(done),
        () = turns => None,
    }
}

async fn pause(dice: &mut StdRng) {
    match dice.random_range(0..10) {
        0 => sleep(Duration::from_millis(dice.random_range(0..4))).await,
        1..5 => tokio::task::yield_now().await,
        _ => {}
    }
}

pub(crate) fn decided(size: usize) -> Event {
    Event::Decided(Box::new(Decided {
        session: SessionId::new("a session"),
        frame: FrameId::new("a frame"),
        outcome: Outcome {
            decision: Decision::NoTask {
                reason: String::new(),
            },
            context_summary: "x".repeat(size),
            current_activity: String::new(),
            bill: Bill::default(),
        },
    }))
}
