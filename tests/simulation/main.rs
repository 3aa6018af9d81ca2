//! Clients on a network that breaks, servers that crash and are replaced, and a
//! model that does everything wrong, on a paused clock: every frame ends once at
//! its client, and nothing is left behind.
//!
//! `SEEDS=1000000` plays that many; `SEED=17` replays one and shows it:
//! `SEED=17 cargo test --test simulation -- --nocapture`.

mod client;
#[path = "../support/faulty.rs"]
mod faulty;
mod network;
mod stage;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use proactive::telemetry::Metrics;

const DEFAULT: u64 = 500;

#[test]
fn every_frame_ends_once_at_its_client_whatever_breaks() {
    crash_quietly();
    if let Some(seed) = number("SEED") {
        let mut trace = String::new();
        let result = play(seed, Some(&mut trace));
        println!("{trace}");
        return assert_eq!(result.err(), None);
    }
    let count = number("SEEDS").unwrap_or(DEFAULT);
    let next = AtomicU64::new(0);
    let failed = Mutex::new(None);
    let occurred = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= count {
                    return;
                }
                match play(seed, None) {
                    Ok(metrics) => {
                        count_up(&mut occurred.lock().expect("nobody panics here"), &metrics);
                    }
                    Err(wrong) => {
                        next.store(count, Ordering::Relaxed);
                        let mut failed = failed.lock().expect("nobody panics here");
                        failed.get_or_insert((seed, wrong));
                    }
                }
            }
        };
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    if let Some((seed, wrong)) = failed.into_inner().expect("nobody panics here") {
        panic!(
            "seed {seed}: {wrong}\nreplay: SEED={seed} cargo test --test simulation -- --nocapture"
        );
    }
    println!(
        "{count} simulations, seeds 0 to {}",
        count.saturating_sub(1)
    );
    if count >= DEFAULT {
        everything_occurred(&occurred.into_inner().expect("nobody panics here"));
    }
}

/// Adds up what was counted in one simulation.
fn count_up(sums: &mut BTreeMap<String, u64>, metrics: &Metrics) {
    for line in metrics.render().lines() {
        if let Some((name, count)) = line.split_once("_total")
            && let Some((labels, count)) = count.rsplit_once(' ')
        {
            let sum = sums.entry(format!("{name}{labels}")).or_default();
            *sum += count.parse::<u64>().unwrap_or_default();
        }
    }
}

/// Simulations in which nothing happens would prove nothing.
fn everything_occurred(sums: &BTreeMap<String, u64>) {
    let returns = ["taken_up", "unknown"];
    let returns = returns.map(|word| format!("session_returns{{result=\"{word}\"}}"));
    let ends = ["closed", "lost", "drained", "expired"];
    let ends = ends.map(|word| format!("sessions_ended{{end=\"{word}\"}}"));
    let frames = "extract_task reject_task no_task_found superseded cancelled gemini_error \
                  rate_limited timeout going_away internal abandoned";
    let frames = frames.split_whitespace();
    let frames = frames.map(|word| format!("frames{{result=\"{word}\"}}"));
    let others = ["duplicate_frames", "discarded_tool_results"].map(str::to_owned);
    let all = returns.into_iter().chain(ends).chain(frames).chain(others);
    for what in all {
        let count = sums.get(&format!("proactive_{what}"));
        let count = count.copied().unwrap_or_default();
        println!("{what} {count}");
        assert!(count > 0, "{what} never occurred");
    }
}

fn play(seed: u64, trace: Option<&mut String>) -> Result<Metrics, String> {
    let played = catch_unwind(AssertUnwindSafe(|| stage::play(seed, trace)));
    match (CRASHED.take(), played) {
        (Some(what), _) => Err(format!("a crash: {what}")),
        (None, Ok(result)) => result,
        (None, Err(_)) => Err("a crash on purpose came through".to_owned()),
    }
}

thread_local! {
    /// The last crash of this thread that was not on purpose.
    static CRASHED: Cell<Option<String>> = const { Cell::new(None) };
}

/// Crashes on purpose are not printed; all others are, and are noted.
fn crash_quietly() {
    let loud = take_hook();
    set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some(faulty::ON_PURPOSE) {
            CRASHED.set(Some(panic.to_string()));
            loud(panic);
        }
    }));
}

#[expect(clippy::disallowed_methods, reason = "how a test is told its size")]
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number")),
    )
}
