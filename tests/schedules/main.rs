//! Random schedules against the session core, on a paused clock: whatever a
//! client, a model and a stopping server do, every accepted frame gets exactly
//! one answer, and nothing is left behind.
//!
//! `SCHEDULES=100000` plays that many; `SEED=17` replays one and shows it:
//! `SEED=17 cargo test --test schedules -- --nocapture`.

mod ledger;
#[path = "../support/faulty.rs"]
mod model;
mod plan;
mod stage;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use stage::House;

const DEFAULT: u64 = 2_000;

#[test]
fn every_accepted_frame_gets_exactly_one_answer_and_nothing_is_left_behind() {
    crash_quietly();
    if let Some(seed) = number("SEED") {
        let (result, trace) = show(seed);
        println!("{trace}");
        return assert_eq!(result, Ok(()));
    }
    let count = number("SCHEDULES").unwrap_or(DEFAULT);
    let next = AtomicU64::new(0);
    let failed = Mutex::new(None);
    let pages: Vec<String> = thread::scope(|scope| {
        let work = || {
            let house = House::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= count {
                    return house.metrics();
                }
                if play(&house, seed, None).is_err() {
                    next.store(count, Ordering::Relaxed);
                    let mut failed = failed.lock().expect("nobody panics here");
                    failed.get_or_insert(seed);
                }
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined
            .map(|page| page.expect("a worker catches its panics"))
            .collect()
    });
    if let Some(seed) = *failed.lock().expect("nobody panics here") {
        let (result, trace) = show(seed);
        panic!(
            "{trace}schedule {seed}: {}\nreplay: SEED={seed} cargo test --test schedules -- --nocapture",
            result
                .err()
                .unwrap_or_else(|| "only fails beside others".to_owned()),
        );
    }
    println!("{count} schedules, seeds 0 to {}", count.saturating_sub(1));
    if count >= DEFAULT {
        everything_occurred(&pages);
    }
}

fn play(house: &House, seed: u64, trace: Option<&mut String>) -> Result<(), String> {
    let played = catch_unwind(AssertUnwindSafe(|| house.play(seed, trace)));
    // The session survives the crash of a frame; the schedule does not.
    match (CRASHED.take(), played) {
        (Some(what), _) => Err(format!("a crash: {what}")),
        (None, Ok(result)) => result,
        (None, Err(_)) => Err("a crash on purpose came through".to_owned()),
    }
}

fn show(seed: u64) -> (Result<(), String>, String) {
    let mut trace = String::new();
    let result = play(&House::new(), seed, Some(&mut trace));
    (result, trace)
}

/// A test of schedules in which nothing happens would prove nothing.
fn everything_occurred(pages: &[String]) {
    let frames = "extract_task reject_task no_task_found no_context invalid superseded cancelled \
                  gemini_error rate_limited timeout going_away internal abandoned";
    let frames = frames
        .split_whitespace()
        .map(|word| format!("frames_total{{result=\"{word}\"}}"));
    let ends = ["closed", "lost", "slow_client", "drained"];
    let ends = ends.map(|word| format!("sessions_ended_total{{end=\"{word}\"}}"));
    let tools = ["answered", "failed", "timeout", "gone", "cancelled"];
    let tools = tools.map(|word| format!("tool=\"search_similar\",result=\"{word}\"}}"));
    let others = [
        "duplicate_frames_total",
        "discarded_tool_results_total",
        "repeated_searches_total",
    ];
    let others = others.map(str::to_owned);
    for what in frames.chain(ends).chain(tools).chain(others) {
        let lines = pages.iter().flat_map(|page| page.lines());
        let found: Vec<_> = lines
            .filter_map(|line| line.split_once(&what)?.1.strip_prefix(' '))
            .collect();
        println!("{what} {found:?}");
        assert!(
            found.iter().any(|count| *count != "0"),
            "{what} never occurred"
        );
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
        if panic.payload_as_str() != Some(model::ON_PURPOSE) {
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
